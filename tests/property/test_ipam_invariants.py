"""Invariants 1 and 2, and that nothing leaks for good: whatever the order of writers, conflicts and crashes.

Many processes on many nodes give and take addresses of two small pools through a store that delays, refuses and lets
them die between two writes. What a dead process had begun is asked for again by its successor, as a runtime does, and
what nobody asks for again is found by garbage collection.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from itertools import chain
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from datastore.codec import encode
from datastore.memory import Memory, MemoryStore
from datastore.resource import Resource
from datastore.resources import BlockAffinity, IPAMBlock
from datastore.store import Unavailable
from ipam import affinity, facts, gc
from ipam import block as blocks
from ipam.allocator import Allocator, Assigned, Request
from ipam.block import Holder, Release
from ipam.records import Contention, Records
from ipam.release import Releaser
from ipam.writer import BlockWriter
from tests.models.faulty_store import Crash, Faults, FaultyStore

POOLS = ("10.0.0.0/27", "10.0.1.0/28")


@dataclass
class World:
    """The truth: who was told that he has an address, and has not been told that it is gone."""

    random: Random
    memory: Memory = field(default_factory=Memory)
    holders: dict[str, Assigned] = field(default_factory=dict)
    unsure: set[str] = field(default_factory=set)
    ticks: int = 1_700_000_000 * 10**9

    def wall_ns(self) -> int:
        self.ticks += 10**6
        return self.ticks

    async def prepare(self, nodes: int, *, strict: bool) -> None:
        store = MemoryStore(self.memory)
        for number, cidr in enumerate(POOLS):
            await store.create(Resource("IPPool", f"p{number}", spec={"cidr": cidr, "blockSize": 29}))
        for number in range(nodes):
            await store.create(Resource("Node", f"n{number}"))
        await store.create(Resource("IPAMConfiguration", "default", spec={"strictAffinity": strict}))


class Process:
    """One felix: an allocator and a releaser on their own client of the store."""

    def __init__(self, world: World, node: str, faults: Faults) -> None:
        self.world, self.node = world, node
        store = FaultyStore(MemoryStore(world.memory), faults)
        records = Records(store)

        async def read() -> facts.Facts:
            return await facts.read(store, node)

        self.allocator = Allocator(records, node, facts=read, wall_ns=world.wall_ns)
        self.releaser = Releaser(store, BlockWriter(records), facts=read, wall_ns=world.wall_ns)

    async def take(self, handles: list[str]) -> None:
        self.world.unsure |= set(handles)
        requests = [Request(Holder(handle, {"node": self.node})) for handle in handles]
        for handle, outcome in zip(handles, await self.allocator.assign(requests), strict=True):
            self.world.unsure.discard(handle)
            if isinstance(outcome, Assigned):
                self.world.holders[handle] = outcome

    async def give(self, handles: list[str]) -> None:
        for handle in handles:
            self.world.holders.pop(handle, None)
        self.world.unsure |= set(handles)
        await self.releaser.release_handles(handles, are_settled=True)
        self.world.unsure -= set(handles)


async def live(world: World, process: Process, number: int, rounds: int) -> None:
    """What one pod-making caller does: takes some, gives some back; a store that is away is asked again."""
    mine = [f"h{number}-{each}" for each in range(3)]
    for _ in range(rounds):
        for attempt in (process.take, process.give) if world.random.random() < 0.7 else (process.take,):
            wanted = world.random.sample(mine, world.random.randint(1, 3))
            try:
                await attempt(wanted)
            except (Unavailable, Contention):
                continue


async def run(seed: int, *, callers: int, nodes: int, strict: bool, crashes: bool) -> World:
    world = World(Random(seed))
    await world.prepare(nodes, strict=strict)
    lives = []
    for number in range(callers):
        faults = Faults(
            random=world.random,
            crash_at=world.random.randint(1, 12) if crashes and world.random.random() < 0.5 else 0,
            crash_after=world.random.random() < 0.5,
            conflict_chance=0.1,
            unavailable_chance=0.02,
            lost_answer_chance=0.02,
        )
        process = Process(world, f"n{number % nodes}", faults)
        lives.append(live(world, process, number, rounds=3))
    results = await asyncio.gather(*lives, return_exceptions=True)
    unexpected = [each for each in results if each is not None and not isinstance(each, Crash)]
    assert not unexpected, unexpected
    return world


async def state(world: World) -> tuple[dict[str, list[str]], list[IPAMBlock], list[BlockAffinity]]:
    """Every address of every handle, the blocks, the affinities."""
    records = Records(MemoryStore(world.memory))
    found = list((await records.blocks()).values())
    held: dict[str, list[str]] = {}
    for block in found:
        for address, attribute in blocks.allocations(block):
            held.setdefault(attribute.handle, []).append(str(address))
    affinities = [each for node in {f"n{number}" for number in range(9)} for each in await records.affinities(node)]
    return held, found, affinities


async def check(world: World) -> None:
    held, found, affinities = await state(world)
    records = Records(MemoryStore(world.memory))
    for handle, assigned in world.holders.items():
        assert held.get(handle) == [str(assigned.address)], f"{handle} was told {assigned}, the store has {held}"
    twice = [address for address, count in Counter(chain.from_iterable(held.values())).items() if count > 1]
    assert not twice, f"invariant 1: {twice} have two holders"
    owners = Counter(each.cidr for each in affinities if each.is_confirmed)
    assert all(count == 1 for count in owners.values()), f"invariant 2: {owners}"
    for each in affinities:
        if each.is_confirmed:
            block = await records.block(each.cidr)
            assert block is not None
            assert block.node == each.node, f"{each.cidr} is confirmed for {each.node} and owned by {block.node}"
    assert [flaw for block in found for flaw in blocks.flaws(block)] == []
    counted = {handle.handle: handle for handle in await records.handles()}
    for handle, addresses in held.items():
        assert handle in counted, f"{handle} holds {addresses} and no handle knows"
        assert sum(counted[handle].blocks.values()) >= len(addresses)
    assert set(held) - set(world.holders) <= world.unsure, "an address is held for a caller that is done"


async def collect(world: World) -> None:
    """What garbage collection does, once it has looked twice."""
    store = MemoryStore(world.memory)
    records = Records(store)
    releaser = Releaser(store, BlockWriter(records), facts=lambda: facts.read(store, "n0"), wall_ns=world.wall_ns)
    all_blocks = await records.blocks()
    leaked = gc.leaks(all_blocks.values(), lambda _address, attribute: attribute.handle in world.holders)
    await releaser.release_addresses([Release(each.address, each.handle, each.sequence) for each in leaked])
    idle = gc.idle_handles(await records.handles(), await records.blocks())
    await releaser.release_handles([handle.handle for handle in idle], are_settled=True)
    _, _, affinities = await state(world)
    for each in gc.dangling_affinities(affinities, await records.blocks()):
        try:
            await affinity.release(records, each.node, each.cidr, must_be_empty=True)
        except affinity.ClaimedByOther:
            continue


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), strict=st.booleans())
def test_invariants_1_and_2_hold_for_any_interleaving_of_50_writers(seed: int, strict: bool) -> None:
    async def scenario() -> None:
        await check(await run(seed, callers=50, nodes=5, strict=strict, crashes=False))

    asyncio.run(scenario())


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), strict=st.booleans())
def test_nothing_leaks_that_garbage_collection_could_not_find(seed: int, strict: bool) -> None:
    async def scenario() -> None:
        world = await run(seed, callers=20, nodes=4, strict=strict, crashes=True)
        await check(world)
        await collect(world)
        world.unsure.clear()
        await check(world)
        held, _, affinities = await state(world)
        handles = {each.handle for each in await Records(MemoryStore(world.memory)).handles()}
        assert set(held) == set(world.holders) == handles
        assert gc.dangling_affinities(affinities, await Records(MemoryStore(world.memory)).blocks()) == []

    asyncio.run(scenario())


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_holder_that_asks_again_after_a_crash_gets_the_address_it_has(seed: int) -> None:
    async def scenario() -> None:
        world = World(Random(seed))
        await world.prepare(1, strict=False)
        faults = Faults(world.random, crash_at=world.random.randint(1, 6), crash_after=world.random.random() < 0.5)
        try:
            await Process(world, "n0", faults).take(["h"])
        except Crash:
            await Process(world, "n0", Faults(world.random)).take(["h"])
        await check(world)
        assert len((await state(world))[0]["h"]) == 1

    asyncio.run(scenario())


def test_an_interleaving_with_a_full_pool_gives_out_every_address_once() -> None:
    async def scenario() -> None:
        world = World(Random(7))
        await world.prepare(5, strict=False)
        processes = [Process(world, f"n{number}", Faults(world.random)) for number in range(5)]
        await asyncio.gather(
            *(each.take([f"n{at}h{number}" for number in range(12)]) for at, each in enumerate(processes))
        )
        await check(world)
        assert len(world.holders) == 48

    asyncio.run(scenario())


def test_the_records_of_a_block_are_what_calico_stores() -> None:
    """The stored form of one assignment, field by field."""

    async def scenario() -> None:
        world = World(Random(1))
        await world.prepare(1, strict=False)
        await Process(world, "n0", Faults(world.random)).take(["net.c1"])
        block = next(iter((await Records(MemoryStore(world.memory)).blocks()).values()))
        spec = encode(block).spec
        assert spec["affinity"] == "host:n0"
        assert spec["allocations"] == [0] + [None] * 7
        assert spec["unallocated"] == [1, 2, 3, 4, 5, 6, 7]
        assert spec["attributes"] == [{"handle_id": "net.c1", "secondary": {"node": "n0"}}]
        assert spec["sequenceNumberForAllocation"] == {"0": spec["sequenceNumber"] - 1}
        assert (spec["deleted"], spec["strictAffinity"]) == (False, False)

    asyncio.run(scenario())
