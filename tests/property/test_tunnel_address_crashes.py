"""A node that dies between any two writes of a tunnel's life goes on where it was: nothing leaks, nothing is doubled.

Every step of a switch is a write to the datastore: block, handle, Node. The process is killed before or after each of
them in turn, and another starts with an empty memory.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from felix.tunnels import Tunnel
from tests import virtual_time
from tests.models.faulty_store import Crash, Faults, FaultyStore
from tests.models.tunnel_world import TunnelWorld, running, settle

POOL, OTHER = "10.244.0.0/16", "10.245.0.0/16"
NEVER: dict[str, Any] = {"ipipMode": "Never", "vxlanMode": "Never"}
IPIP: dict[str, Any] = {"ipipMode": "Always", "vxlanMode": "Never"}
VXLAN: dict[str, Any] = {"ipipMode": "Never", "vxlanMode": "Always"}

SWITCHES = {
    "first start": (NEVER, IPIP),
    "all is never": (IPIP, NEVER),
    "ipip to vxlan": (IPIP, VXLAN),
    "vxlan to ipip": (VXLAN, IPIP),
    "the pool is disabled": (IPIP, {"disabled": True}),
}


async def _die(world: TunnelWorld, crash_at: int, *, after: bool) -> bool:
    """Run a process until its ``crash_at``-th write; whether it came so far."""
    faults = Faults(Random(1), crash_at=crash_at, crash_after=after, longest_delay=0)
    addresses = world.process(lambda store: FaultyStore(store, faults))
    task = asyncio.create_task(addresses.run())
    try:
        for _ in range(3):
            addresses.changed()
            for _ in range(300):
                await asyncio.sleep(0)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, Crash):
            await task
    return faults.is_dead


async def _check(world: TunnelWorld, *, first: str) -> None:
    """What is published is held, once, and nothing else is."""
    published = await world.published()
    held = await world.in_ipam()
    assert held == sorted([f"{address} {word}-tunnel-addr-node1" for word, address in published.items()])
    assert await world.handles() == sorted(line.split()[1] for line in held)
    assert " ".join(published) == first
    on_devices = {tunnel.word: str(address) for tunnel, address in world.devices.held.items() if address is not None}
    assert on_devices == published


def _wanted(spec: dict[str, Any]) -> str:
    if spec.get("disabled"):
        return ""
    return "ipip" if spec.get("ipipMode") == "Always" else "vxlan" if spec.get("vxlanMode") == "Always" else ""


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("switch", SWITCHES)
def test_a_death_at_any_write_of_a_switch_is_continued_by_the_next_process(switch: str, after: bool) -> None:
    before, spec = SWITCHES[switch]

    async def scenario(crash_at: int) -> bool:
        world = TunnelWorld()
        await world.prepare((POOL, before))
        async with running(world.process()):
            pass
        await world.edit_pool(POOL, **spec)
        has_died = await _die(world, crash_at, after=after)
        world.devices.held = {}
        async with running(world.process()):
            await _check(world, first=_wanted(spec))
        return has_died

    points = 0
    while virtual_time.run(scenario(points + 1)):
        points += 1
    assert points >= 3, "a switch writes a block, a handle and the Node"


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_death_at_any_write_of_a_move_between_pools_is_continued(after: bool) -> None:
    async def scenario(crash_at: int) -> bool:
        world = TunnelWorld()
        await world.prepare((POOL, IPIP), (OTHER, IPIP))
        async with running(world.process()):
            pass
        await world.delete_pool(POOL)
        has_died = await _die(world, crash_at, after=after)
        world.devices.held = {}
        async with running(world.process()):
            await _check(world, first="ipip")
            assert await world.published() == {"ipip": "10.245.166.128"}
        return has_died

    points = 0
    while virtual_time.run(scenario(points + 1)):
        points += 1
    assert points >= 6, "a new block and address, the Node, and the old address given back"


STEPS = st.lists(
    st.tuples(
        st.sampled_from([IPIP, VXLAN, NEVER, {"disabled": True}, {"disabled": None}]),
        st.booleans(),
        st.sampled_from([(), (Tunnel.IPIP,), (Tunnel.VXLAN,)]),
        st.integers(0, 8),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, seed=st.integers(0, 1000))
def test_any_edits_deaths_conflicts_and_outages_end_in_what_the_last_edit_asks_for(
    steps: list[tuple[dict[str, Any], bool, tuple[Tunnel, ...], int]], seed: int
) -> None:
    async def scenario() -> None:
        world = TunnelWorld()
        await world.prepare((POOL, NEVER))
        for spec, is_up, busy, crash_at in steps:
            await world.edit_pool(POOL, **spec)
            world.devices.is_up, world.devices.busy, world.devices.held = is_up, set(busy), {}
            await _live(world, seed, crash_at)
        world.devices.is_up, world.devices.busy, world.devices.held = True, set(), {}
        addresses = world.process()
        async with running(addresses):
            await settle(addresses)
            pool = (await world.store.list("IPPool")).items[0]
            await _check(world, first=_wanted(dict(pool.spec)))

    virtual_time.run(scenario())


async def _live(world: TunnelWorld, seed: int, crash_at: int) -> None:
    faults = Faults(
        Random(seed), crash_at=crash_at, conflict_chance=0.2, unavailable_chance=0.1, lost_answer_chance=0.1
    )
    addresses = world.process(lambda store: FaultyStore(store, faults))
    task = asyncio.create_task(addresses.run())
    await asyncio.wait([task], timeout=30)
    task.cancel()
    with suppress(asyncio.CancelledError, Crash):
        await task
