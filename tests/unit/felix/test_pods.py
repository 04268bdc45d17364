"""ADD, DEL, CHECK and GC on a model node: what is there afterwards, and what is left when a step fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from hashlib import sha1
from ipaddress import ip_address
from random import Random
from typing import Any

import pytest

from datastore.memory import Memory, MemoryStore
from datastore.resource import Key, Resource
from datastore.store import Store, StoreError, Unavailable, Write
from felix.cni.request import CniError, Code, Command, NetConf, Request, Workload
from felix.cni.result import Interface
from felix.pods import Pods, Surroundings
from ipam import block as blocks
from ipam import facts
from ipam.allocator import Allocator, Assigned
from ipam.block import Holder
from ipam.choose import NoPool
from ipam.group_commit import GroupCommit
from ipam.records import Records
from ipam.release import Releaser
from ipam.writer import BlockWriter
from tests.models.faulty_store import Faults, FaultyStore
from tests.models.node_model import ModelFlows, ModelLocal, ModelVeths
from tests.virtual_time import virtually

WEB = Workload("k8s", "c1", "eth0", "shop", "web-0")
PLAIN = Workload("cni", "717821d73f3abc", "eth0")


class Addresses:
    """Group commit, and addresses by name beside it, as the agent puts them together."""

    def __init__(self, commit: GroupCommit, allocator: Allocator) -> None:
        self.assign, self.release = commit.assign, commit.release
        self._allocator = allocator

    async def assign_address(self, address: Any, holder: Holder) -> Assigned:
        return await self._allocator.assign_address(address, holder)


class Node:
    """One felix on a store that tests can make fail. What it holds in memory dies with it."""

    def __init__(self, memory: Memory, *, faults: Faults | None = None, veths: ModelVeths | None = None) -> None:
        plain = MemoryStore(memory)
        self.unlocked = False
        self.store: Store = FaultyStore(plain, faults) if faults is not None else plain
        self.records = Records(plain)
        self.veths, self.local, self.flows = veths or ModelVeths(), ModelLocal(), ModelFlows()
        records = Records(self.store)
        allocator = Allocator(records, "node1", facts=self._facts, wall_ns=lambda: 10**18)
        releaser = Releaser(self.store, BlockWriter(records), facts=self._facts, wall_ns=lambda: 10**18)
        self.commit = GroupCommit(allocator, releaser)
        macs = iter(f"42:00:00:00:00:{number:02x}" for number in range(256))
        around = Surroundings(
            node="node1",
            host_mtu_bytes=lambda: 1500,
            pool_by_name=_no_such_pool,
            owns_block=lambda cidr: cidr.prefixlen == 26,
            is_unlocked=lambda: self.unlocked,
            new_mac=lambda: next(macs),
            timestamp=lambda: "2026-01-02 03:04:05 +0000 UTC",
        )
        addresses = Addresses(self.commit, allocator)
        self.pods = Pods(
            around, store=self.store, addresses=addresses, veths=self.veths, flows=self.flows, local=self.local
        )

    async def _facts(self) -> facts.Facts:
        return await facts.read(self.store, "node1")

    async def held(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for block in (await self.records.blocks()).values():
            for address, attribute in blocks.allocations(block):
                found.setdefault(attribute.handle, []).append(str(address))
        return found

    async def everything(self) -> str:
        """What a pod leaves in any of its places, as text; "" when nothing is left."""
        endpoints = [each.name for each in (await self.store.list("WorkloadEndpoint")).items]
        handles = [each.handle for each in await self.records.handles()]
        local = [key.name for key in self.local.endpoints]
        places = [*endpoints, *handles, *(await self.held()), *self.veths.pairs, *local]
        return " ".join(places)


def _no_such_pool(name: str) -> Any:
    raise NoPool(f"no pool {name}")


async def prepared(*, pool: str = "10.244.0.0/16", **cluster: Any) -> Memory:
    memory = Memory()
    store = MemoryStore(memory)
    await store.create(Resource("IPPool", "default", spec={"cidr": pool, "blockSize": 26}))
    await store.create(Resource("Node", "node1"))
    await store.create(Resource("ClusterInformation", "default", spec={"datastoreReady": True, **cluster}))
    return memory


def add(workload: Workload = WEB, **conf: Any) -> Request:
    return Request(Command.ADD, NetConf("k8s-pod-network", "1.0.0", **conf), workload, netns="/run/netns/x")


def on_node(scenario: Callable[[Node], Awaitable[None]], **cluster: Any) -> None:
    async def run() -> None:
        node = Node(await prepared(**cluster))
        serving = asyncio.create_task(node.commit.run())
        try:
            await scenario(node)
        finally:
            serving.cancel()

    asyncio.run(run())


async def refused(call: Awaitable[object]) -> tuple[int, str]:
    with pytest.raises(CniError) as caught:
        await call
    return caught.value.code.value, caught.value.message


@virtually
async def test_an_add_that_a_frozen_store_fails_is_answered_within_5_s_and_gives_back_later() -> None:
    """Nothing was read, so the assignment is the first to wait; giving back must not wait for the same store."""
    node = Node(await prepared())
    node.unlocked = True
    thaw, frozen = asyncio.Event(), node.records._store
    write_many = frozen.write_many

    async def late(writes: Sequence[Write]) -> Sequence[Resource | StoreError]:
        await thaw.wait()
        return await write_many(writes)

    frozen.write_many = late  # type: ignore[method-assign]
    serving = asyncio.create_task(node.commit.run())
    begun = asyncio.get_running_loop().time()
    assert (await refused(node.pods.add(add(), 1)))[0] == Code.TRY_AGAIN_LATER.value
    assert asyncio.get_running_loop().time() - begun < 5
    thaw.set()
    await asyncio.sleep(1)
    assert await node.everything() == ""
    serving.cancel()


def test_an_endpoint_that_the_watch_has_not_told_of_yet_is_taken_over() -> None:
    async def scenario(node: Node) -> None:
        await node.pods.add(add(), 1)
        node.local.endpoints.clear()
        again = replace(WEB, container="c2")
        await node.pods.add(add(again), 2)
        (left,) = (await node.store.list("WorkloadEndpoint")).items
        assert left.spec["containerID"] == "c2"

    on_node(scenario)


def test_an_endpoint_that_is_known_and_gone_is_made_again() -> None:
    async def scenario(node: Node) -> None:
        await node.pods.add(add(), 1)
        ghost = dict(node.local.endpoints)
        await node.pods.delete(add())
        node.local.endpoints.update(ghost)
        await node.pods.add(add(replace(WEB, container="c2")), 2)
        (left,) = (await node.store.list("WorkloadEndpoint")).items
        assert left.spec["containerID"] == "c2"

    on_node(scenario)


def test_a_cluster_that_is_known_to_be_open_is_not_asked_and_one_that_is_not_is() -> None:
    async def scenario(node: Node) -> None:
        node.unlocked = True
        (cluster,) = (await node.store.list("ClusterInformation")).items
        await node.store.delete(cluster.key)
        await node.pods.add(add(), 1)
        node.unlocked = False
        assert (await refused(node.pods.add(add(PLAIN), 2)))[1].startswith("error getting ClusterInformation")

    on_node(scenario)


def test_an_addresss_connections_begin_with_its_holder_and_end_with_it_and_a_second_add_is_no_beginning() -> None:
    async def scenario(node: Node) -> None:
        await node.pods.add(add(), 1)
        await node.pods.add(add(), 1)
        assert node.flows.told == ["10.244.166.128 begins in 10.244.166.128/26"]
        await node.pods.delete(add())
        await node.pods.delete(add())
        assert node.flows.told[1:] == ["10.244.166.128 ends"]

    on_node(scenario)


def test_an_added_pod_has_an_address_a_veth_an_endpoint_and_a_route() -> None:
    async def scenario(node: Node) -> None:
        made = await node.pods.add(add(), netns=7)
        assert made.host_device == "cali" + sha1(b"shop.web-0").hexdigest()[:11]
        assert [str(each.address) for each in made.addresses] == ["10.244.166.128"]
        assert await node.held() == {"k8s-pod-network.c1": ["10.244.166.128"]}
        assert list(node.veths.pairs) == [made.host_device]
        endpoint = await node.store.get(Key("WorkloadEndpoint", "node1-k8s-web--0-eth0", "shop"))
        assert endpoint.spec["ipNetworks"] == ["10.244.166.128/32"]
        assert endpoint.spec["profiles"] == ["kns.shop", "ksa.shop.default"]
        assert list(node.local.endpoints) == [endpoint.key]

    on_node(scenario)


def test_a_plain_container_is_named_after_its_id() -> None:
    async def scenario(node: Node) -> None:
        assert (await node.pods.add(add(PLAIN), netns=7)).host_device == "cali717821d73f3"
        endpoint = await node.store.get(Key("WorkloadEndpoint", "node1-cni-717821d73f3abc-eth0", "default"))
        assert endpoint.spec["profiles"] == ["k8s-pod-network"]

    on_node(scenario)


def test_add_twice_gives_the_same_answer_and_changes_nothing() -> None:
    async def scenario(node: Node) -> None:
        first = await node.pods.add(add(), netns=7)
        before = await node.everything()
        assert await node.pods.add(add(), netns=7) == first
        assert await node.everything() == before

    on_node(scenario)


def test_add_repairs_a_veth_that_has_gone_and_keeps_the_address() -> None:
    async def scenario(node: Node) -> None:
        first = await node.pods.add(add(), netns=7)
        node.veths.pairs.clear()
        again = await node.pods.add(add(), netns=7)
        assert again.addresses == first.addresses
        assert list(node.veths.pairs) == [first.host_device]

    on_node(scenario)


def test_del_leaves_nothing_and_a_second_del_finds_nothing_to_do() -> None:
    async def scenario(node: Node) -> None:
        await node.pods.add(add(), netns=7)
        await node.pods.delete(add())
        assert await node.everything() == ""
        await node.pods.delete(add())
        assert await node.everything() == ""

    on_node(scenario)


def test_del_of_a_container_that_was_never_added_is_no_error() -> None:
    on_node(lambda node: node.pods.delete(add()))


def test_a_late_del_of_the_old_container_leaves_the_new_pod_alone() -> None:
    async def scenario(node: Node) -> None:
        await node.pods.add(add(), netns=7)
        new = replace(WEB, container="c2")
        made = await node.pods.add(add(new), netns=8)
        await node.pods.delete(add())
        assert list(node.veths.pairs) == [made.host_device]
        assert await node.held() == {"k8s-pod-network.c2": [str(made.addresses[0].address)]}
        endpoint = await node.store.get(Key("WorkloadEndpoint", "node1-k8s-web--0-eth0", "shop"))
        assert endpoint.spec["containerID"] == "c2"

    on_node(scenario)


@pytest.mark.parametrize("broken", ["veth", "route"])
def test_a_step_that_fails_undoes_the_steps_before_it(broken: str) -> None:
    async def scenario(node: Node) -> None:
        node.veths.broken = "cannot make the pair: no memory" if broken == "veth" else ""
        node.local.in_the_way = "a foreign route is in the way" if broken == "route" else ""
        code, message = await refused(node.pods.add(add(), netns=7))
        assert code == Code.FAILED.value
        assert message == node.veths.broken or message == node.local.in_the_way
        assert await node.everything() == ""

    on_node(scenario)


def test_a_full_pool_is_named_and_nothing_leaks() -> None:
    async def scenario(node: Node) -> None:
        for number in range(64):
            await node.pods.add(add(replace(PLAIN, container=f"c{number:02}000000000")), netns=number)
        before = await node.everything()
        code, message = await refused(node.pods.add(add(), netns=99))
        assert (code, message) == (
            999,
            "failed to request IPv4 addresses: Assigned 0 out of 1 requested IPv4 addresses; "
            "No IPs available in pools: [10.9.0.0/26]",
        )
        assert await node.everything() == before

    on_node(scenario, pool="10.9.0.0/26")


def test_a_locked_cluster_takes_no_pod() -> None:
    async def scenario(node: Node) -> None:
        said = (999, "Calico is currently not ready to process requests")
        assert await refused(node.pods.add(add(), netns=7)) == said

    on_node(scenario, datastoreReady=False)


def test_del_in_a_locked_cluster_is_to_be_done_later() -> None:
    async def scenario(node: Node) -> None:
        with pytest.raises(Unavailable):
            await node.pods.delete(add())

    on_node(scenario, datastoreReady=False)


def test_an_address_that_was_asked_for_is_given_or_its_holder_is_told() -> None:
    async def scenario(node: Node) -> None:
        wanted = replace(add(), address="10.244.0.9")
        made = await node.pods.add(wanted, netns=7)
        assert made.addresses[0].address == ip_address("10.244.0.9")
        other = replace(wanted, workload=PLAIN)
        code, message = await refused(node.pods.add(other, netns=8))
        assert code == 999
        assert message.startswith("resource already exists: 10.244.0.9")

    on_node(scenario)


def test_check_says_what_is_missing() -> None:
    async def scenario(node: Node) -> None:
        assert (await refused(node.pods.check(add(), netns=7)))[0] == Code.UNKNOWN_CONTAINER.value
        await node.pods.add(add(), netns=7)
        await node.pods.check(add(), netns=7)
        node.veths.pairs.clear()
        said = (999, "shop/web-0: interface eth0 is not in the pod's namespace")
        assert await refused(node.pods.check(add(), netns=7)) == said

    on_node(scenario)


def test_gc_disconnects_what_the_runtime_does_not_name() -> None:
    async def scenario(node: Node) -> None:
        await node.pods.add(add(), netns=7)
        await node.pods.add(add(PLAIN), netns=8)
        await node.pods.collect(NetConf("k8s-pod-network", "1.1.0", valid_attachments=(("c1", "eth0"),)))
        assert list(await node.held()) == ["k8s-pod-network.c1"]

    on_node(scenario)


def test_an_add_whose_datastore_is_away_is_to_be_tried_again() -> None:
    async def run() -> None:
        node = Node(await prepared(), faults=Faults(Random(1), unavailable_chance=1.0))
        serving = asyncio.create_task(node.commit.run())
        code, _ = await refused(node.pods.add(add(), netns=7))
        serving.cancel()
        assert code == Code.TRY_AGAIN_LATER.value

    asyncio.run(run())


@pytest.mark.parametrize("crash_after", [False, True])
@pytest.mark.parametrize("crash_at", range(1, 8))
def test_after_a_crash_at_any_write_of_add_the_next_del_leaves_nothing(crash_at: int, crash_after: bool) -> None:
    async def run() -> None:
        memory, veths, left = await prepared(), ModelVeths(), ModelVeths()
        faults = Faults(Random(1), crash_at=crash_at, crash_after=crash_after)
        faults.on_crash = lambda: left.pairs.update(veths.pairs)
        node = Node(memory, faults=faults, veths=veths)
        serving = asyncio.create_task(node.commit.run())
        adding = asyncio.create_task(node.pods.add(add(), netns=7))
        await asyncio.wait([adding])
        serving.cancel()
        await asyncio.gather(serving, adding, return_exceptions=True)

        successor = Node(memory, veths=left if faults.is_dead else veths)
        serving = asyncio.create_task(successor.commit.run())
        await successor.pods.delete(add())
        assert await successor.everything() == ""
        made: Interface = await successor.pods.add(add(), netns=7)
        serving.cancel()
        assert str(made.addresses[0].address) in ("10.244.166.128", "10.244.166.129")

    asyncio.run(run())
