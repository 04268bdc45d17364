"""A whole datastore goes from one driver to the next and is the same in the end: SQLite, etcd, Kubernetes and back."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from calicoctl.migration import IPAM_KINDS
from calicoctl.terminal import Environ
from datastore.resource import Key, Resource
from datastore.store import Store
from tests.contract.drivers import DRIVERS, Datastore
from tests.servers.kubernetes import contract_server
from tests.unit.calicoctl.pods import add_pod
from tests.unit.calicoctl.shell import GOLDEN, Shell

pytestmark = pytest.mark.server

NODES = ("node1", "node2", "node3")


@dataclass
class DriverShell(Shell):
    """A terminal to the datastore of a driver."""

    datastore: Datastore = field(kw_only=True)

    def _connect(self, environ: Environ) -> Store:
        return self.datastore.client()

    def _drive(self, environ: Environ, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(work)

    def ask(self, work: Any) -> Any:
        async def whole() -> Any:
            store = self.datastore.client()
            try:
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(whole())


@pytest.fixture
def shells(tmp_path: Path) -> Iterator[dict[str, DriverShell]]:
    types = {"sqlite": "sqlite", "etcd": "etcdv3", "kubernetes": "kubernetes"}
    with ExitStack() as stack:
        opened = {name: stack.enter_context(DRIVERS[name](tmp_path)) for name in types}
        yield {name: DriverShell(datastore=opened[name], environ={"DATASTORE_TYPE": types[name]}) for name in types}


@pytest.fixture
def kubernetes_nodes() -> Iterator[None]:
    """Kubernetes has all nodes but the last."""
    server = contract_server()
    for name in NODES[:-1]:
        body = {"kind": "Node", "apiVersion": "v1", "metadata": {"name": name}}
        asyncio.run(server.do("POST", "/api/v1/nodes", body))
    yield
    for name in NODES[:-1]:
        asyncio.run(server.do("DELETE", f"/api/v1/nodes/{name}"))


def moved(old: Shell, new: Shell) -> str:
    """What import said."""
    if "Datastore locked" not in (locked := old("datastore migrate lock").out):
        raise AssertionError(locked)
    exported = old("datastore migrate export")
    assert exported.status == 0, exported.err
    shown = new("datastore migrate import -f -", exported.out)
    assert shown.status == 0, shown.err
    return shown.out


def held(shell: Shell, *kinds: str) -> dict[str, Resource]:
    """Without what each driver has of its own. A block's strictAffinity is one of those: etcd has no place for it."""

    async def work(store: Store) -> dict[str, Resource]:
        items = [item for kind in kinds for item in (await store.list(kind)).items]
        bare = (replace(item, uid="", revision="", created="", labels={}, status=None) for item in items)
        return {str(item.key): replace(item, spec=_said(item)) for item in bare}

    found: dict[str, Resource] = shell.ask(work)
    return found


def test_all_that_a_datastore_holds_goes_through_every_driver_and_comes_back(
    shells: dict[str, DriverShell], kubernetes_nodes: None, tmp_path: Path
) -> None:
    first, etcd, kubernetes = shells.values()
    assert first("apply -f -", (GOLDEN / "pools_and_nodes.yaml").read_text()).status == 0
    add_pod(first, "node1", "a", "10.244.166.128")
    add_pod(first, "node2", "b", "10.244.104.7")
    assert first("ipam configure --strictaffinity=true --max-blocks-per-host=4").status == 0

    moved(first, etcd)
    assert held(etcd, *IPAM_KINDS, "IPPool", "Node", "WorkloadEndpoint") == held(
        first, *IPAM_KINDS, "IPPool", "Node", "WorkloadEndpoint"
    )
    said = moved(etcd, kubernetes)
    assert "[WARNING] Attempted to import node Node(node3) from etcd that references a nonexistent" in said
    assert "[WARNING] WorkloadEndpoint(default/node1-cni-a-eth0) is not Kubernetes' own and is left out." in said
    assert held(kubernetes, *IPAM_KINDS, "IPPool") == held(first, *IPAM_KINDS, "IPPool")
    assert "172.30.0.1/24" in kubernetes("get node node1 -o wide").out
    assert kubernetes("get profiles").out.count("projectcalico-default-allow") == 1

    with DRIVERS["sqlite"](tmp_path / "..") as last_place:
        last = DriverShell(datastore=last_place)
        moved(kubernetes, last)
        assert held(last, *IPAM_KINDS, "IPPool") == held(first, *IPAM_KINDS, "IPPool")
        assert identity(last) == identity(first)


def _said(item: Resource) -> dict[str, Any]:
    unsaid = ("strictAffinity", "deleted") if item.kind in IPAM_KINDS and item.kind != "IPAMConfiguration" else ()
    return {key: value for key, value in item.spec.items() if key not in unsaid}


def identity(shell: Shell) -> str:
    async def work(store: Store) -> str:
        return str((await store.get(Key("ClusterInformation", "default"))).spec["clusterGUID"])

    found: str = shell.ask(work)
    return found
