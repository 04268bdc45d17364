"""The collector on a datastore: what it gives back, how soon, and what keeps it from it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from controllers.collector import Collector
from datastore.initial import initialise
from datastore.memory import Memory, MemoryStore
from datastore.resource import Key, Resource
from datastore.store import Listing, Rejected
from ipam import facts
from ipam.allocator import Allocator, Assigned, Request
from ipam.block import Holder
from ipam.choose import Wish
from ipam.records import Records
from tests.models.faulty_store import Faults, FaultyStore, StoreLine
from tests.virtual_time import virtually

WALL_NS = 1_800_000_000 * 10**9


class World:
    """A small cluster's datastore, and what people and nodes do to it. ``line``: the collector's way to it."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.store = MemoryStore(self.memory)
        self.line = StoreLine()

    async def prepare(self, *nodes: str) -> None:
        await initialise(self.store, new_guid=lambda: "0" * 32)
        await self.store.create(Resource("IPPool", "p", spec={"cidr": "10.0.0.0/24", "blockSize": 29}))
        for node in nodes:
            await self.store.create(Resource("Node", node))

    async def give(self, node: str, handle: str, **owner: str) -> str:
        async def read() -> facts.Facts:
            return await facts.read_cluster(self.store)

        allocator = Allocator(Records(self.store), node, facts=read, wall_ns=lambda: WALL_NS)
        known = {"namespace": "default", "node": node, "pod": handle, "timestamp": "t", **owner}
        (outcome,) = await allocator.assign([Request(Holder(handle, known), Wish(4))])
        assert isinstance(outcome, Assigned)
        return str(outcome.address)

    async def connect(self, node: str, pod: str, address: str) -> Key:
        spec = {"node": node, "pod": pod, "ipNetworks": [f"{address}/32"]}
        return (await self.store.create(Resource("WorkloadEndpoint", f"{node}-{pod}", "default", spec=spec))).key

    def collector(self, store: Any = None) -> Collector:
        faults = Faults(Random("collector"), line=self.line)
        line = FaultyStore(store or self.store, faults)
        return Collector(line, "me", random=lambda: 0.5, wall_ns=lambda: WALL_NS, period_s=300.0)

    async def kinds(self) -> dict[str, int]:
        kinds = ("IPAMBlock", "BlockAffinity", "IPAMHandle")
        return {kind: len((await self.store.list(kind)).items) for kind in kinds}


@asynccontextmanager
async def running(collector: Collector) -> AsyncIterator[None]:
    task = asyncio.ensure_future(collector.run())
    await asyncio.sleep(2)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


ALL = {"IPAMBlock": 1, "BlockAffinity": 1, "IPAMHandle": 2}
NOTHING = {"IPAMBlock": 0, "BlockAffinity": 0, "IPAMHandle": 0}


@virtually
async def test_what_a_deleted_node_had_is_free_within_a_minute() -> None:
    world = World()
    await world.prepare("n1", "n2")
    await world.give("n1", "net.c1")
    await world.give("n1", "ipip-tunnel-addr-n1", type="ipipTunnelAddress")
    collector = world.collector()
    async with running(collector):
        assert await world.kinds() == ALL
        await world.store.delete(Key("Node", "n1"))
        await asyncio.sleep(15)
        assert await world.kinds() == ALL
        await asyncio.sleep(45)
        assert await world.kinds() == NOTHING
    assert collector.released == {"address": 2, "affinity": 1}


@virtually
async def test_a_pod_that_runs_on_keeps_its_address_though_its_node_is_deleted() -> None:
    world = World()
    await world.prepare("n1", "n2")
    address = await world.give("n1", "net.c1")
    key = await world.connect("n1", "net.c1", address)
    async with running(world.collector()):
        await world.store.delete(Key("Node", "n1"))
        await asyncio.sleep(3600)
        assert (await world.kinds())["IPAMBlock"] == 1
        await world.store.delete(key)
        await asyncio.sleep(30)
        assert await world.kinds() == NOTHING


@virtually
async def test_a_leak_on_a_node_that_is_there_goes_after_the_grace_that_is_configured() -> None:
    world = World()
    await world.prepare("n1")
    address = await world.give("n1", "net.c1")
    await world.connect("n1", "net.c1", address)
    await world.give("n1", "net.lost")
    spec = {"controllers": {"node": {"leakGracePeriod": "10m"}}}
    await world.store.create(Resource("KubeControllersConfiguration", "default", spec=spec))
    collector = world.collector()
    async with running(collector):
        await asyncio.sleep(590)
        assert (await world.kinds())["IPAMHandle"] == 2
        await asyncio.sleep(20)
        assert (await world.kinds())["IPAMHandle"] == 1
        assert "ipam_allocations_gc_reclamations" in collector.metrics()
        assert 'ipam_allocations_in_use{ippool="p",node="n1"} 1\n' in collector.metrics()
        assert 'ipam_allocations_gc_reclamations{ippool="p",node="n1"} 1\n' in collector.metrics()
        assert 'tortie_controllers_releases{what="address"} 1\n' in collector.metrics()


class Blind(MemoryStore):
    """Its watch of endpoints says nothing of what comes: the collector's picture is old."""

    async def watch(self, kind: str, *, since: str, node: str = "") -> Any:
        async for change in super().watch(kind, since=since, node=node):
            if kind not in ("WorkloadEndpoint", "Node"):
                yield change

    async def list(self, kind: str, *, namespace: str = "", node: str = "") -> Listing:
        return await super().list(kind, namespace=namespace, node=node)


@virtually
async def test_an_endpoint_that_no_watch_told_of_is_seen_at_the_last_look(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    await world.prepare("n1")
    address = await world.give("n1", "net.c1")
    collector = world.collector(Blind(world.memory))
    with caplog.at_level(logging.INFO):
        async with running(collector):
            await world.connect("n1", "net.c1", address)
            await asyncio.sleep(2000)
            assert (await world.kinds())["IPAMHandle"] == 1
    assert "spared address=10.0.0." in caplog.text
    assert "an endpoint has it" in caplog.text


@virtually
async def test_nothing_is_released_while_the_cluster_is_locked() -> None:
    world = World()
    await world.prepare("n1")
    await world.give("n1", "net.c1")
    cluster = await world.store.get(Key("ClusterInformation", "default"))
    locked = Resource(
        cluster.kind, cluster.name, spec={**cluster.spec, "datastoreReady": False}, revision=cluster.revision
    )
    locked = await world.store.update(locked)
    async with running(world.collector()):
        await asyncio.sleep(2000)
        assert (await world.kinds())["IPAMHandle"] == 1
        await world.store.update(replace(cluster, revision=locked.revision))
        await asyncio.sleep(400)
        assert (await world.kinds())["IPAMHandle"] == 0


@virtually
async def test_an_outage_releases_nothing_and_after_it_all_goes_on() -> None:
    world = World()
    await world.prepare("n1")
    collector = world.collector()
    async with running(collector):
        world.line.cut()
        await world.store.delete(Key("Node", "n1"))
        await world.store.create(Resource("Node", "n1"))
        address = await world.give("n1", "net.c1")
        await world.connect("n1", "net.c1", address)
        await asyncio.sleep(600)
        assert collector.clerk.missing() != ""
        world.line.mend()
        await asyncio.sleep(2000)
        assert collector.clerk.missing() == ""
        assert collector.released == {}


def handles_of(listed: Sequence[Resource]) -> list[str]:
    return sorted(each.spec["handleID"] for each in listed)


@virtually
async def test_an_idle_handle_goes_and_one_that_is_used_again_stays() -> None:
    world = World()
    await world.prepare("n1")
    for name in ("net.idle", "net.again"):
        spec = {"handleID": name, "block": {"10.0.0.0/29": 1}, "deleted": False}
        await world.store.create(Resource("IPAMHandle", name, spec=spec))
    async with running(world.collector()):
        await asyncio.sleep(600)
        address = await world.give("n1", "net.again")
        await world.connect("n1", "net.again", address)
        await asyncio.sleep(600)
        assert handles_of((await world.store.list("IPAMHandle")).items) == ["net.again"]


class Garbled(MemoryStore):
    """Cannot read the WorkloadEndpoints, and says so."""

    async def list(self, kind: str, *, namespace: str = "", node: str = "") -> Listing:
        listed = await super().list(kind, namespace=namespace, node=node)
        if kind != "WorkloadEndpoint":
            return listed
        return Listing((), listed.revision, {item.key: Rejected(str(item.key), "garbled") for item in listed.items})


@virtually
async def test_an_endpoint_that_cannot_be_read_keeps_the_addresses_of_its_node_and_is_told() -> None:
    world = World()
    await world.prepare("n1", "n-2")
    await world.give("n-2", "net.c1")
    await world.store.create(Resource("WorkloadEndpoint", "n--2-k8s-pod-eth0", "default"))
    await world.store.delete(Key("Node", "n-2"))
    collector = world.collector(Garbled(world.memory))
    async with running(collector):
        await asyncio.sleep(300)
        assert await world.kinds() == {"IPAMBlock": 1, "BlockAffinity": 1, "IPAMHandle": 1}
        assert 'tortie_controllers_objects_unreadable{type="WorkloadEndpoint"} 1' in collector.metrics()
