"""``calicoctl node diags``: what there is to know of this machine's networking, in one archive to send to somebody.

What cannot be had (a program that is not installed, a log that is not there) is told and left out. Upstream asks every
process that is called felix for its statistics with a signal; here felix exports them, and the BGP sessions are added.
Source: Calico calicoctl/commands/node/diags.go.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from calicoctl.failure import Failure
from calicoctl.flags import Flag
from calicoctl.programs import ran
from calicoctl.terminal import Terminal
from calicoctl.usage import Usage

USAGE = Usage(
    "",
    "Collects routes, devices, packet filters, sockets, Calico's logs and its containers' into an archive. Needs root.",
    "calicoctl node diags",
    (Flag("log-dir", "Where Calico's logs are.", default="/var/log/calico"),),
    most=0,
)


class Step(NamedTuple):
    """A command; what it prints goes to the file ``name``. ``about`` is said before, unless it is ""."""

    about: str
    command: str
    name: str


STEPS = (
    Step("", "date", "date"),
    Step("", "hostname", "hostname"),
    Step("Dumping routes (IPv4)", "ip -4 route", "ipv4_route"),
    Step("Dumping routes (IPv6)", "ip -6 route", "ipv6_route"),
    Step("Dumping interface info (IPv4)", "ip -4 addr", "ipv4_addr"),
    Step("Dumping interface info (IPv6)", "ip -6 addr", "ipv6_addr"),
    Step("Dumping nftables", "nft -n -a list ruleset", "nft_ruleset"),
    Step("Dumping iptables (IPv4)", "iptables-save -c", "ipv4_tables"),
    Step("Dumping iptables (IPv6)", "ip6tables-save -c", "ipv6_tables"),
    Step("Dumping ipsets", "ipset list", "ipsets"),
    Step(
        "Copying journal for calico-node.service",
        "journalctl -u calico-node.service --no-pager",
        "journalctl_calico_node",
    ),
    Step("Dumping BGP status", "calicoctl node status", "bgp_status"),
)
_NETSTAT = Step("Dumping netstat", "netstat -a -n", "netstat")
_SS = Step("Dumping ss", "ss -a -n", "ss")
RUNTIMES = ("docker", "nerdctl", "crictl")
_NO_RUNTIME = f"(tried {', '.join(RUNTIMES)})"


def run(terminal: Terminal) -> None:
    """Raises Failure."""
    if os.geteuid() != 0:
        raise Failure("Need super user privileges: Operation not permitted", is_output=True)
    terminal.say("Collecting diagnostics")
    folder = Path(tempfile.mkdtemp(prefix="calico"))
    terminal.say(f"Using temp dir: {folder}")
    inside = folder / "diagnostics"
    inside.mkdir()
    runtime = next((name for name in RUNTIMES if shutil.which(name)), "")
    for step in list(_steps(terminal, runtime)):  # what is skipped is said first
        _carry_out(terminal, step, inside)
    _copy_logs(terminal, Path(terminal.words.text("log-dir")), inside / "logs")
    _copy_containers_logs(terminal, runtime, inside / "logs")
    _pack(terminal, inside)


def _steps(terminal: Terminal, runtime: str) -> Iterator[Step]:
    yield from STEPS
    yield _NETSTAT if shutil.which("netstat") else _SS
    if not runtime:
        terminal.say(f"Skipping container ipset dump: no supported container runtime found in PATH {_NO_RUNTIME}")
    elif runtime != "crictl":
        command = f"{runtime} run --rm --privileged --net=host calico/node ipset list"
        yield Step("Dumping ipsets (container)", command, "ipset_container")
    elif ids := _output(terminal, "crictl ps --name calico-node -q").split():
        yield Step("Dumping ipsets (container)", f"crictl exec {ids[0]} ipset list", "ipset_container")
    else:
        terminal.say('Skipping container ipset dump: crictl: no container matching "calico-node" found')


def _carry_out(terminal: Terminal, step: Step, folder: Path) -> None:
    if step.about:
        terminal.say(step.about)
    output = ran(step.command)
    if output.status:
        terminal.say(f"Failed to run command: {step.command}\nError: {output.text}")
    else:
        (folder / step.name).write_text(output.text)


def _output(terminal: Terminal, command: str) -> str:
    """What it printed; "" and a word to the user where it failed."""
    output = ran(command)
    if output.status:
        terminal.say(f"Could not run {command.split()[0]} command: {output.text.strip()}")
        return ""
    return output.text


# --- logs ---------------------------------------------------------------------------------------------------------


def _copy_logs(terminal: Terminal, source: Path, target: Path) -> None:
    if not source.exists():
        terminal.say(f"Error copying log files: stat {source}: no such file or directory")
    elif not source.is_dir():
        terminal.say(f"No logs found in {source}; skipping log copying")
    else:
        terminal.say("Copying Calico logs")
        try:
            shutil.copytree(source, target, ignore=_but_files)
        except OSError as error:
            terminal.say(f"Error copying log files: {error}")


def _but_files(folder: str, names: list[str]) -> list[str]:
    """Neither sockets nor pipes: reading those would not end."""
    return [name for name in names if not (Path(folder, name).is_dir() or Path(folder, name).is_file())]


def _copy_containers_logs(terminal: Terminal, runtime: str, folder: Path) -> None:
    if not runtime:
        terminal.say(f"Could not collect container logs: no container runtime found {_NO_RUNTIME}")
        return
    folder.mkdir(exist_ok=True)
    listed = _output(terminal, _LISTING[runtime == "crictl"].format(runtime=runtime))
    lines = [line for line in listed.splitlines() if line and "k8s_POD" not in line]
    if not lines:
        return
    terminal.say(f"Copying logs from Calico containers ({runtime})")
    (folder / "container_creation_time").write_text("".join(f"{line}\n" for line in lines))
    for line in lines:
        name = line.partition(":")[0]
        output = ran([runtime, "logs", name])
        if output.status:
            terminal.say(f"Could not pull log for container {name}: {output.text.strip()}")
        else:
            (folder / f"{name}.log").write_text(output.text)


_LISTING = {
    False: "{runtime} ps -a --filter name=calico --format {{{{.Names}}}}:{{{{.CreatedAt}}}}",
    True: "{runtime} ps -a --name calico -q",
}


def _pack(terminal: Terminal, folder: Path) -> None:
    since = time.strftime("%Y%m%d_%H%M%S", time.localtime(terminal.wall_ns() / 1e9))
    archive = folder.parent / f"diags-{since}.tar.gz"
    try:
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(folder, arcname="diagnostics")
    except OSError as error:
        terminal.say(f"Error compressing the diagnostics: {error}")
    else:
        shutil.rmtree(folder)
    terminal.say(f"\nDiags saved to {archive}")
    terminal.say("If required, you can upload the diagnostics bundle to a file sharing service.")
