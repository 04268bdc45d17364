"""The lab's own etcd: one member in the fabric's namespace, at an address that every node reaches.

Its data is in the lab's folder. It ends with the fabric, and can be ended and started again before.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from lab import namespaces
from lab.namespaces import Holder
from lab.node import LabError, environment_of, run_ip
from lab.plan import SUBNET, BadWish

ADDRESS = SUBNET[2]
ENDPOINT = f"http://{ADDRESS}:2379"
ENVIRONMENT = {"DATASTORE_TYPE": "etcdv3", "ETCD_ENDPOINTS": ENDPOINT}
READY_PATIENCE_S = 30.0

_PEER = "http://127.0.0.1:2380"


def check() -> None:
    """Raises BadWish."""
    if shutil.which("etcd") is None:
        raise BadWish("--datastore etcd: etcd is not installed; Debian has it in the package etcd-server")


def make(fabric: Holder, folder: Path) -> None:
    """Give it its address and start it. Raises LabError."""
    run_ip(fabric, [f"address add {ADDRESS}/32 dev near"])
    start(fabric, folder)


def start(fabric: Holder, folder: Path) -> None:
    """Returns when it answers. Raises LabError."""
    log = folder / "etcd.log"
    holder = namespaces.leave_inside(fabric, _command(folder), environment=_environment(), log=log)
    (folder / "etcd.pid").write_text(f"{holder.pid} {holder.started}")
    deadline = time.monotonic() + READY_PATIENCE_S
    while not _answers(fabric):
        if not holder.is_alive or time.monotonic() > deadline:
            raise LabError(f"etcd did not start: {log.read_text()[-1000:]}")
        time.sleep(0.1)  # it tells nobody when it is ready


def stop(folder: Path, *, how: signal.Signals = signal.SIGKILL) -> None:
    """End it (or, with SIGSTOP, silence it) as an outage does."""
    os.kill(namespaces.recorded(folder / "etcd.pid").pid, how)


def _answers(fabric: Holder) -> bool:
    environment = environment_of("", ENVIRONMENT)
    status, _ = namespaces.run_inside(fabric, ["calicoctl", "get", "nodes"], environment=environment)
    return status == 0


def _environment() -> Mapping[str, str]:
    """etcd reads its settings from ETCD_ variables as well, and would take ours for its own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ETCD_")}


def _command(folder: Path) -> list[str]:
    return [
        "etcd",
        *("--name", "lab", "--data-dir", str(folder / "etcd"), "--log-level", "warn"),
        *("--listen-client-urls", ENDPOINT, "--advertise-client-urls", ENDPOINT),
        *("--listen-peer-urls", _PEER, "--initial-advertise-peer-urls", _PEER, "--initial-cluster", f"lab={_PEER}"),
    ]
