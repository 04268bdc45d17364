"""node checksystem finds a kernel's features wherever they are, and says which are missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

import pytest

from calicoctl.failure import Failure
from calicoctl.flags import Words, parse
from calicoctl.node_checksystem import FEATURES, USAGE, Machine, check
from calicoctl.terminal import Terminal
from calicoctl.usage import GLOBAL

RELEASE = "6.1.0-13-amd64"
REQUIRED = [feature for feature in FEATURES if not feature.is_optional]
NOTHING: Mapping[str, str] = {}


def shown(files: Mapping[str, str], line: str = "", *, release: str = RELEASE, is_root: bool = True) -> list[str]:
    """What it printed, the complaint last."""
    out: list[str] = []
    words: Words = parse(line.split(), (*USAGE.flags, *GLOBAL))
    terminal = Terminal(words, NOTHING, out.append, out.append, str, _no_store, _no_store, lambda: 0, lambda s: None)
    try:
        check(terminal, Machine(is_root, release, files.__contains__, files.get))
    except Failure as failure:
        out.append(f"{failure}\n")
    return "".join(out).splitlines()


def _no_store(*arguments: object) -> NoReturn:
    raise AssertionError("no datastore is needed")


def loaded(*names: str) -> dict[str, str]:
    return {"/proc/modules": "".join(f"{name} 16384 0 - Live 0x0\n" for name in names)}


def all_but(lacking: str) -> dict[str, str]:
    return loaded(*(feature.name.replace("-", "_") for feature in FEATURES if feature.name != lacking))


def test_a_machine_that_has_everything_meets_the_requirements() -> None:
    lines = shown(all_but(""))
    assert lines[:2] == ["Checking kernel version...", f"\t\t{RELEASE:<20}\t\t\t\t\tOK"]
    assert lines[2:4] == ["Checking kernel modules...", f"\t\t{'ip_set':<20}\t\t\t\t\tOK"]
    assert lines[-1] == "System meets minimum system requirements to run Calico!"


@pytest.mark.parametrize("lacking", [feature.name for feature in REQUIRED])
def test_one_that_is_missing_is_named_and_fails_the_check(lacking: str) -> None:
    lines = shown(all_but(lacking))
    assert f"WARNING: Unable to detect the {lacking} module as Loaded/Builtin module or lsmod" in lines
    assert f"\t\t{lacking:<20}\t\t\t\t\tFAIL" in lines
    assert lines[-1] == "system doesn't meet one or more minimum systems requirements to run Calico"


def test_an_optional_one_that_is_missing_is_skipped() -> None:
    lines = shown(all_but("xt_u32"))
    assert "WARNING: Unable to detect optional module/feature xt_u32; continuing" in lines
    assert lines[-1] == "System meets minimum system requirements to run Calico!"


@pytest.mark.parametrize(
    "place",
    [
        {"/sys/module/xt_set": ""},
        {f"/lib/modules/{RELEASE}/modules.dep": "kernel/net/netfilter/xt_set.ko.xz: kernel/x.ko\n"},
        {f"/lib/modules/{RELEASE}/modules.builtin": "kernel/net/netfilter/ipt_set.ko\n"},
        {f"/boot/config-{RELEASE}": "CONFIG_X=y\nCONFIG_NETFILTER_XT_SET=m\n"},
    ],
)
def test_a_feature_is_found_wherever_it_is(place: dict[str, str]) -> None:
    assert shown({**all_but("xt_set"), **place})[-1] == "System meets minimum system requirements to run Calico!"


def test_a_setting_that_is_off_or_only_begins_alike_is_none() -> None:
    text = "# CONFIG_NETFILTER_XT_SET is not set\nCONFIG_NETFILTER_XT_SETS=y\n"
    assert shown({**all_but("xt_set"), f"/boot/config-{RELEASE}": text})[-1].startswith("system doesn't")


def test_the_configuration_that_the_user_names_is_the_one_that_counts() -> None:
    files = {**all_but("xt_set"), f"/boot/config-{RELEASE}": "CONFIG_NETFILTER_XT_SET=y\n", "/tmp/config": ""}
    assert shown(files, "-f /tmp/config")[-1].startswith("system doesn't")


@pytest.mark.parametrize("release", ["2.6.23-generic", "2.4.99"])
def test_an_old_kernel_fails(release: str) -> None:
    lines = shown(all_but(""), release=release)
    assert lines[2] == f"Minimum kernel version to run Calico is 2.6.24. Detected kernel version: {release}"
    assert lines[-1].startswith("system doesn't meet")


def test_it_needs_root() -> None:
    assert shown(all_but(""), is_root=False) == ["Need super user privileges: Operation not permitted"]
