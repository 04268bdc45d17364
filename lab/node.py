"""One node of a lab: its namespaces, its own files where the daemons look for them, its uplink, its daemons.

The node sees the machine's files, but what is written below /etc, /var and /opt stays with the node (overlays), and
/run is its own. So the daemons run with their real default paths.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab import namespaces
from lab.namespaces import Holder
from lab.plan import NodePlan, node_commands, uplink_commands

OWN_TREES = ("etc", "var", "opt")
OWN_FOLDERS = (
    "/run/calico",
    "/run/netns",
    "/var/lib/calico",
    "/var/log/calico",
    "/etc/cni/net.d",
    "/etc/calico",
    "/opt/cni/bin",
)


class LabError(Exception):
    """A step of making or using the lab failed; the message has the command's own words."""


def make_fabric(commands: Sequence[str], lab_folder: Path) -> Holder:
    holder = namespaces.hold("fabric", lambda: None, lab_folder / "fabric.holder")
    try:
        run_ip(holder, commands)
        write_file(holder, "/proc/sys/net/ipv4/ip_forward", "1")
        write_file(holder, "/proc/sys/net/ipv6/conf/all/forwarding", "1")
    except BaseException:
        namespaces.end(holder)
        raise
    return holder


def make_node(plan: NodePlan, fabric: Holder, lab_folder: Path) -> Holder:
    """The node's namespaces with its uplink plugged in. Raises LabError, NamespaceError; then nothing is left."""
    own = lab_folder / "nodes" / plan.name
    for tree in OWN_TREES:
        for part in ("upper", "work"):
            (own / tree / part).mkdir(parents=True, exist_ok=True)
    (own / "log").mkdir(exist_ok=True)
    holder = namespaces.hold(plan.name, lambda: _mount_own_files(own, lab_folder), own / "node.holder")
    try:
        run_ip(fabric, uplink_commands(plan, holder.pid))
        run_ip(holder, node_commands(plan))
    except BaseException:
        namespaces.end(holder)
        raise
    return holder


def remove_node(plan: NodePlan, holder: Holder, fabric: Holder, lab_folder: Path) -> None:
    namespaces.end(holder)
    if fabric.is_alive:
        run_ip(fabric, [f"link del {plan.port}"], may_fail=True)
    shutil.rmtree(lab_folder / "nodes" / plan.name, ignore_errors=True)


def _mount_own_files(own: Path, lab_folder: Path) -> None:
    """In the node, before anything runs there. The lab's folder stays visible under its own path."""
    for tree in OWN_TREES:
        _mount_overlay(f"/{tree}", f"lowerdir=/{tree},upperdir={own}/{tree}/upper,workdir={own}/{tree}/work")
    outside = os.open(lab_folder, os.O_PATH)
    namespaces.mount("tmpfs", "/run", "tmpfs", "mode=755")
    lab_folder.mkdir(parents=True)
    namespaces.bind(f"/proc/self/fd/{outside}", str(lab_folder))
    os.close(outside)
    for path in OWN_FOLDERS:
        shutil.rmtree(path, ignore_errors=True)
        Path(path).mkdir(parents=True)


def _mount_overlay(target: str, options: str) -> None:
    """Volatile where the kernel has it (5.10): otherwise taking it down waits until the whole disk is written."""
    try:
        namespaces.mount("overlay", target, "overlay", f"{options},volatile")
    except namespaces.NamespaceError:
        namespaces.mount("overlay", target, "overlay", options)


def run_ip(holder: Holder, commands: Sequence[str], *, may_fail: bool = False) -> None:
    """``ip -batch`` in the network namespace of ``holder``. Raises LabError."""
    child = subprocess.run(
        ["ip", "-batch", "-"],
        input="".join(f"{line}\n" for line in commands),
        text=True,
        capture_output=True,
        preexec_fn=lambda: namespaces.enter_netns(Path(f"/proc/{holder.pid}/ns/net")),
        check=False,
    )
    if child.returncode and not may_fail:
        raise LabError(f"ip -batch: {child.stderr.strip()}")


def write_file(holder: Holder, path: str, text: str, *, mode: str = "") -> None:
    """Write a file as the node sees it. Raises LabError."""
    script = 'cat > "$1" && { [ -z "$2" ] || chmod "$2" "$1"; }'
    status, _ = namespaces.run_inside(
        holder, ["sh", "-c", script, "sh", path, mode], environment=os.environ, stdin=text.encode()
    )
    if status:
        raise LabError(f"cannot write {path}")


def environment_of(node: str, lab_environment: Mapping[str, str]) -> dict[str, str]:
    """What a program on a node gets: the lab's datastore, the node's name, and our programs on its path."""
    programs = Path(shutil.which("calico-node") or "calico-node").parent
    path = f"{programs}:{os.environ.get('PATH', '/usr/sbin:/usr/bin:/sbin:/bin')}"
    return {**os.environ, **lab_environment, "NODENAME": node, "PATH": path}
