"""``calicoctl node checksystem``: does this machine's kernel have what a Calico node asks of it?

A feature is there when it is loaded, built in, or can be loaded, or when the kernel was configured to have it. What is
loaded is read where ``lsmod`` reads it, so that a machine without that program is judged as well; upstream gives up
there. The list is upstream's: what routing alone needs is less.
Source: Calico calicoctl/commands/node/checksystem.go.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from calicoctl.failure import Failure
from calicoctl.flags import Flag
from calicoctl.terminal import Terminal
from calicoctl.usage import Usage

USAGE = Usage(
    "",
    "Checks that this machine's kernel is new enough and has the modules that a Calico node uses. Needs root.",
    "calicoctl node checksystem",
    (Flag("kernel-config", "The kernel's configuration, where it is not in its usual place.", "f"),),
    most=0,
)

OLDEST_KERNEL = "2.6.24"
"""The first with network namespaces and veths."""


class Feature(NamedTuple):
    """``others`` are modules that give the same, ``settings`` any of which in the kernel's configuration means it."""

    name: str
    settings: Sequence[str]
    others: Sequence[str] = ()
    is_optional: bool = False


FEATURES = (
    Feature("ip_set", ("IP_SET",)),
    Feature("ip6_tables", ("IP6_NF_IPTABLES",), is_optional=True),
    Feature("ip_tables", ("IP_NF_IPTABLES",)),
    Feature("ipt_ipvs", ("NETFILTER_XT_MATCH_IPVS",), ("xt_ipvs",)),
    Feature("vfio-pci", ("VFIO", "VFIO_PCI"), ("vfio_pci",)),
    Feature("xt_bpf", ("BPF", "NETFILTER_XT_MATCH_BPF"), is_optional=True),
    Feature("ipt_REJECT", ("IP_NF_TARGET_REJECT", "NFT_REJECT", "NETFILTER_XT_TARGET_REJECT"), ("xt_REJECT",)),
    Feature(
        "xt_rpfilter",
        ("IP_NF_MATCH_RPFILTER", "IP6_NF_MATCH_RPFILTER", "NETFILTER_XT_MATCH_RPFILTER"),
        ("ipt_rpfilter",),
    ),
    Feature("nf_conntrack_netlink", ("NF_CT_NETLINK",)),
    Feature("xt_addrtype", ("NETFILTER_XT_MATCH_ADDRTYPE",)),
    Feature("xt_conntrack", ("NETFILTER_XT_MATCH_CONNTRACK",)),
    Feature("xt_mark", ("NETFILTER_XT_MARK", "IP_NF_TARGET_MARK", "NETFILTER_XT_TARGET_MARK")),
    Feature("xt_multiport", ("NETFILTER_XT_MATCH_MULTIPORT", "IP_NF_MATCH_MULTIPORT")),
    Feature("xt_set", ("NETFILTER_XT_SET",), ("ipt_set",)),
    Feature("xt_u32", ("NETFILTER_XT_MATCH_U32",), is_optional=True),
)


class Machine(NamedTuple):
    """``read`` gives a file's text, or None where there is no such file."""

    is_root: bool
    release: str
    exists: Callable[[str], bool]
    read: Callable[[str], str | None]


def run(terminal: Terminal) -> None:
    """Raises Failure."""
    check(terminal, Machine(os.geteuid() == 0, os.uname().release, os.path.exists, _text_of))


def check(terminal: Terminal, machine: Machine) -> None:
    """Raises Failure where something is missing."""
    if not machine.is_root:
        raise Failure("Need super user privileges: Operation not permitted", is_output=True)
    terminal.say("Checking kernel version...")
    is_new_enough = _check_release(terminal, machine.release)
    terminal.say("Checking kernel modules...")
    has_all = _check_features(terminal, Kernel.of(machine, terminal.words.text("kernel-config")))
    if not (is_new_enough and has_all):
        raise Failure("system doesn't meet one or more minimum systems requirements to run Calico")
    terminal.say("System meets minimum system requirements to run Calico!")


def _check_release(terminal: Terminal, release: str) -> bool:
    is_new_enough = _numbers(release) >= _numbers(OLDEST_KERNEL)
    _say_result(terminal, release, "OK" if is_new_enough else "FAIL")
    if not is_new_enough:
        terminal.say(f"Minimum kernel version to run Calico is {OLDEST_KERNEL}. Detected kernel version: {release}")
    return is_new_enough


def _numbers(release: str) -> list[int]:
    """Of ``6.1.0-13-amd64``: 6, 1, 0."""
    return [int(number) for number in re.findall(r"\d+", release.partition("-")[0])]


def _check_features(terminal: Terminal, kernel: Kernel) -> bool:
    has_all = True
    for feature in FEATURES:
        if kernel.has(feature):
            _say_result(terminal, feature.name, "OK")
        elif feature.is_optional:
            terminal.say(f"WARNING: Unable to detect optional module/feature {feature.name}; continuing")
            _say_result(terminal, feature.name, "SKIP")
        else:
            terminal.say(f"WARNING: Unable to detect the {feature.name} module as Loaded/Builtin module or lsmod")
            _say_result(terminal, feature.name, "FAIL")
            has_all = False
    return has_all


def _say_result(terminal: Terminal, what: str, result: str) -> None:
    terminal.say(f"\t\t{what:<20}\t\t\t\t\t{result}")


class Kernel(NamedTuple):
    """What is known of the running kernel: its modules' files, those that are loaded, its configuration."""

    files: str
    loaded: frozenset[str]
    settings: frozenset[str]
    is_in_sysfs: Callable[[str], bool]

    @classmethod
    def of(cls, machine: Machine, configuration: str) -> Kernel:
        """``configuration`` names the file, "" for the first that is in a usual place."""
        folder = f"/lib/modules/{machine.release}"
        files = "".join(machine.read(f"{folder}/{name}") or "" for name in ("modules.dep", "modules.builtin"))
        loaded = frozenset(line.partition(" ")[0] for line in (machine.read("/proc/modules") or "").splitlines())
        paths = [configuration] if configuration else _usual_places(machine.release)
        text = next((text for path in paths if (text := machine.read(path)) is not None), "")
        settings = frozenset(re.findall(r"^CONFIG_(\w+)=[ym]", text, re.MULTILINE))
        return cls(files, loaded, settings, lambda name: machine.exists(f"/sys/module/{name}"))

    def has(self, feature: Feature) -> bool:
        return any(self._has_module(name) for name in (feature.name, *feature.others)) or any(
            setting in self.settings for setting in feature.settings
        )

    def _has_module(self, name: str) -> bool:
        """The kernel's own lists write an underscore where file names may have a dash."""
        called = name.replace("-", "_")
        return self.is_in_sysfs(called) or called in self.loaded or f"/{name}.ko" in self.files


def _usual_places(release: str) -> Iterable[str]:
    return (
        "/usr/src/linux/.config",
        f"/boot/config-{release}",
        f"/usr/src/linux-{release}/.config",
        f"/usr/src/linux-headers-{release}/.config",
        f"/lib/modules/{release}/build/.config",
    )


def _text_of(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return None
