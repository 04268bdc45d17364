"""Pods that host-local gave addresses to keep them, and nobody else gets them."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from pathlib import Path

from datastore.memory import MemoryStore
from datastore.resource import Key, Resource
from felix.startup.upgrade_ipam import upgrade
from ipam import block as blocks
from ipam import facts
from ipam.allocator import Allocator
from ipam.block import Holder
from ipam.records import Records

NODE = "node1"


class Host:
    """A node with host-local's files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "k8s-pod-network"
        self.store = MemoryStore()
        self.records = Records(self.store)

    def lease(self, address: str, container: str) -> None:
        self.folder.mkdir(exist_ok=True)
        (self.folder / "lock").touch()
        (self.folder / "last_reserved_ip.0").write_text(address)
        (self.folder / address).write_text(f"{container}\r\neth0")

    async def begin(self, pool: str = "10.244.0.0/16") -> None:
        await self.store.create(Resource("Node", NODE))
        await self.store.create(Resource("IPPool", "pool", spec={"cidr": pool}))

    async def pod(self, name: str, address: str) -> None:
        spec = {"orchestrator": "k8s", "node": NODE, "pod": name, "endpoint": "eth0", "ipNetworks": [f"{address}/32"]}
        await self.store.create(Resource("WorkloadEndpoint", f"{NODE}-k8s-{name}-eth0", "default", spec=spec))

    async def upgrade(self) -> list[str]:
        return await upgrade(self.store, NODE, self.folder, wall_ns=1)

    async def held(self) -> dict[str, str]:
        """Who has which address."""
        found = (await self.records.blocks()).values()
        return {str(ip): held.handle for block in found for ip, held in blocks.allocations(block)}

    def files(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()} if self.folder.is_dir() else set()


def test_a_node_that_never_had_host_local_has_nothing_to_do(tmp_path: Path) -> None:
    host = Host(tmp_path)
    assert asyncio.run(host.upgrade()) == []


def test_running_pods_keep_their_addresses_under_the_handle_that_their_deletion_names(tmp_path: Path) -> None:
    async def scenario() -> None:
        host = Host(tmp_path)
        await host.begin()
        await host.pod("web", "10.244.1.5")
        host.lease("10.244.1.5", "abc")
        host.lease("10.244.1.6", "def")
        assert await host.upgrade() == [
            "10.244.1.5 taken over, web keeps it",
            "10.244.1.6 taken over, def keeps it",
            f"{host.folder} is no longer needed, and is removed",
        ]
        assert await host.held() == {"10.244.1.5": "k8s-pod-network.abc", "10.244.1.6": "k8s-pod-network.def"}
        assert host.files() == set()
        assert await host.upgrade() == []

    asyncio.run(scenario())


def test_an_address_of_no_pool_stays_and_is_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        host = Host(tmp_path)
        await host.begin("192.168.0.0/16")
        host.lease("10.244.1.5", "abc")
        (line,) = await host.upgrade()
        assert line.startswith("10.244.1.5 stays with host-local: ")
        assert "10.244.1.5" in host.files()

    asyncio.run(scenario())


def test_an_address_that_two_pods_have_is_told_with_the_one_to_delete(tmp_path: Path) -> None:
    async def scenario() -> None:
        host = Host(tmp_path)
        await host.begin()
        allocator = Allocator(host.records, NODE, facts=lambda: facts.read(host.store, NODE), wall_ns=lambda: 1)
        await allocator.assign_address(ip_address("10.244.1.5"), Holder("k8s-pod-network.new"))
        host.lease("10.244.1.5", "abc")
        (line,) = await host.upgrade()
        assert line.startswith("10.244.1.5 is another's too: ")
        assert line.endswith("; delete the pod of container abc")
        assert await host.held() == {"10.244.1.5": "k8s-pod-network.new"}

    asyncio.run(scenario())


def test_what_was_cut_short_is_done_by_the_next_start(tmp_path: Path) -> None:
    async def scenario() -> None:
        host = Host(tmp_path)
        await host.begin()
        host.lease("10.244.1.5", "abc")
        await host.upgrade()
        host.lease("10.244.1.5", "abc")  # its file had not gone yet
        assert (await host.upgrade())[0] == "10.244.1.5 taken over, abc keeps it"
        assert await host.held() == {"10.244.1.5": "k8s-pod-network.abc"}
        assert (await host.store.get(Key("IPAMHandle", "k8s-pod-network.abc"))).spec["block"] == {"10.244.1.0/26": 1}

    asyncio.run(scenario())
