"""What each daemon loads: a package costs its memory on every node, in every daemon that so much as names it.

Each is started as its container starts it, up to where its loop would begin. What all of it takes:
``python -m tests.bench.memory``.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

DATASTORES = {
    "sqlite": {"DATASTORE_TYPE": "sqlite"},
    "etcd": {"ETCD_ENDPOINTS": "http://127.0.0.1:2379"},
    "kubernetes": {"DATASTORE_TYPE": "kubernetes", "K8S_API_ENDPOINT": "http://127.0.0.1:6443"},
}
CLIENTS = {
    "sqlite": set[str](),
    "etcd": {"grpclib", "h2", "hpack", "hyperframe", "multidict"},
    "kubernetes": {"h11"},
}
OWN = {"felix": {"inotify_simple", "pyroute2", "setproctitle"}, "bgp": {"exabgp", "setproctitle"}, "bfd": set[str]()}
ROOMS = {"datastore", "ipam", "bgp", "felix", "cni_plugin"}
NEVER = (
    *("pyroute2.ndb", "pyroute2.ipdb", "pyroute2.ethtool", "pyroute2.nslink", "pyroute2.plan9"),
    *("exabgp.configuration", "exabgp.reactor", "exabgp.application"),
    *("email", "http.client", "urllib.request", "tarfile", "zipfile", "calicoctl", "controllers", "flannel", "lab"),
)
_STOP_AT_THE_LOOP = """
import asyncio, sys

def listed(loop):
    loop.close()
    print(*sorted(sys.modules))

asyncio.run = listed
from felix.command import main
sys.argv = ["calico-node", "-{daemon}"]
sys.exit(main())
"""
_BFD = """
import sys
from bgp.bfd import daemon, settings
from felix import command, notify
print(*sorted(sys.modules))
"""


def loaded(daemon: str, datastore: str) -> set[str]:
    code = _BFD if daemon == "bfd" else _STOP_AT_THE_LOOP.format(daemon=daemon)
    environment = {**os.environ, "NODENAME": "node1", **DATASTORES[datastore]}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def packages(modules: set[str]) -> set[str]:
    """Neither Python's own nor ours. Debian's Python loads a sitecustomize of the machine's at every start."""
    found = {name.partition(".")[0] for name in modules if not name.startswith("_")}
    return found - sys.stdlib_module_names - ROOMS - {"sitecustomize"}


@pytest.mark.parametrize("datastore", DATASTORES)
@pytest.mark.parametrize("daemon", ["felix", "bgp"])
def test_a_daemon_loads_the_packages_that_it_works_with_and_no_other(daemon: str, datastore: str) -> None:
    modules = loaded(daemon, datastore)
    assert packages(modules) == OWN[daemon] | CLIENTS[datastore]
    assert not [name for name in NEVER if name in modules]
    assert "sqlite3" not in modules or datastore == "sqlite"


def test_bfd_loads_neither_packages_nor_an_event_loop() -> None:
    modules = loaded("bfd", "sqlite")
    assert packages(modules) == OWN["bfd"]
    assert not modules & {"asyncio", "ssl", "subprocess", "datastore", *NEVER}
