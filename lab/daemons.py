"""The daemons of a node: started in its namespaces, found there by a file with their process number.

A daemon says that it is ready with sd_notify's protocol; starting waits for that, not for a time.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from lab import control_plane, namespaces
from lab.namespaces import Holder
from lab.node import LabError, environment_of
from lab.state import LabState, NodeState, folder

NAMES = ("felix", "bgp", "bfd")
"""Those that every node has."""
FLANNELD = "flanneld"
"""The one that every node has instead, where the network is flannel's."""
CONTROLLERS = "controllers"
"""One that a lab has where it is asked for, on any node; it says nothing when it is ready."""
READY_PATIENCE_S = 30.0
END_PATIENCE_S = 5.0


def names(lab: LabState) -> tuple[str, ...]:
    """Those that every node of this lab has."""
    return (FLANNELD,) if lab.environment.get("LAB_NETWORK") == "flannel" else NAMES


def start(lab: LabState, node: NodeState, name: str) -> None:
    """Raises LabError when it ends, or is not ready in time; its log has the reason."""
    if running(lab, node, name):
        raise LabError(f"{name} runs already on {node.name}")
    if name == CONTROLLERS:
        start_unheard(lab, node, name)
    else:
        start_all(lab, [(node, name)])


def start_unheard(lab: LabState, node: NodeState, name: str) -> None:
    """Start it without waiting for anything."""
    _record(lab, node, name, _spawn(lab, node, name, folder(lab.name) / "nobody-listens"))


def start_all(lab: LabState, pairs: Sequence[tuple[NodeState, str]]) -> None:
    """Start many at once, then wait for each. Raises LabError."""
    waiting = []
    try:
        for node, name in pairs:
            notify = _Notify(folder(lab.name) / f"{node.name}-{name}.ready")
            holder = _spawn(lab, node, name, notify.path)
            _record(lab, node, name, holder)
            waiting.append((notify, holder, log_path(lab, node, name)))
        for notify, holder, log in waiting:
            notify.wait(holder, log)
    finally:
        for notify, _, _ in waiting:
            notify.close()


def stop(lab: LabState, node: NodeState, name: str, *, how: signal.Signals = signal.SIGTERM) -> None:
    """End it and wait until it has ended. Raises LabError when it does not run, or does not end."""
    holder = running(lab, node, name)
    if holder is None:
        raise LabError(f"{name} does not run on {node.name}")
    descriptor = os.pidfd_open(holder.pid)
    try:
        signal.pidfd_send_signal(descriptor, how)
        if not select.select([descriptor], [], [], END_PATIENCE_S)[0]:
            raise LabError(f"{name} on {node.name} did not end within {END_PATIENCE_S:.0f} s of {how.name}")
    finally:
        os.close(descriptor)
    _pid_file(lab, node, name).unlink(missing_ok=True)


def send(lab: LabState, node: NodeState, name: str, what: signal.Signals) -> None:
    """Raises LabError when it does not run."""
    holder = running(lab, node, name)
    if holder is None:
        raise LabError(f"{name} does not run on {node.name}")
    os.kill(holder.pid, what)


def running(lab: LabState, node: NodeState, name: str) -> Holder | None:
    try:
        pid, started = _pid_file(lab, node, name).read_text().split()
    except (FileNotFoundError, ValueError):
        return None
    found = Holder(int(pid), int(started))
    return found if found.is_alive else None


def log_path(lab: LabState, node: NodeState, name: str) -> Path:
    return folder(lab.name) / "nodes" / node.name / "log" / f"{name}.log"


def _record(lab: LabState, node: NodeState, name: str, holder: Holder) -> None:
    _pid_file(lab, node, name).write_text(f"{holder.pid} {holder.started}")


def _pid_file(lab: LabState, node: NodeState, name: str) -> Path:
    return folder(lab.name) / "nodes" / node.name / f"{name}.pid"


def _spawn(lab: LabState, node: NodeState, name: str, notify: Path) -> Holder:
    environment = {**environment_of(node.name, lab.environment), "NOTIFY_SOCKET": str(notify)}
    if name == CONTROLLERS:
        environment |= control_plane.admin_environment(lab)  # it may do what no node may
    words = _WORDS.get(name) or ["calico-node", f"-{name}"]
    try:
        return namespaces.leave_inside(node.holder, words, environment=environment, log=log_path(lab, node, name))
    except namespaces.NamespaceError as error:
        raise LabError(f"{name} could not be started on {node.name}: {error}") from None


_WORDS = {CONTROLLERS: ["calico-kube-controllers"], FLANNELD: ["flanneld"]}


class _Notify:
    """The socket that a daemon tells of its readiness."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))

    def wait(self, holder: Holder, log: Path) -> None:
        deadline = time.monotonic() + READY_PATIENCE_S
        descriptor = os.pidfd_open(holder.pid) if holder.is_alive else -1
        try:
            while True:
                watched: list[socket.socket | int] = [self._socket, *([descriptor] if descriptor >= 0 else [])]
                ready = select.select(watched, [], [], max(0.0, deadline - time.monotonic()))[0]
                if self._socket in ready and b"READY=1" in self._socket.recv(4096):
                    return
                if descriptor < 0 or descriptor in ready or not ready:
                    raise LabError(f"not ready: {log.stem}; {_last_words(log)}")
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def close(self) -> None:
        self._socket.close()
        self.path.unlink(missing_ok=True)


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return f"the end of {log}:\n  " + "\n  ".join(lines[-8:])
