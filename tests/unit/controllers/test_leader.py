"""One replica leads; another takes over when the first is silent, or lets go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from controllers import lease
from controllers.leader import Leader
from datastore.memory import Memory, MemoryStore
from tests.models.faulty_store import Faults, FaultyStore, StoreLine
from tests.virtual_time import virtually

WALL_NS = 1_800_000_000 * 10**9


@asynccontextmanager
async def running(*leaders: Leader) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(each.run()) for each in leaders]
    await asyncio.sleep(0.1)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def leader(memory: Memory, name: str, line: StoreLine | None = None) -> Leader:
    from random import Random

    store = MemoryStore(memory)
    faulty = FaultyStore(store, Faults(Random(name), line=line))
    return Leader(faulty if line is not None else store, name, wall_ns=lambda: WALL_NS)


async def until(is_so: Callable[[], bool], *, within_s: float) -> float:
    """After how many seconds it was so."""
    started = asyncio.get_running_loop().time()
    async with asyncio.timeout(within_s):
        while not is_so():  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(0.1)
    return asyncio.get_running_loop().time() - started


@virtually
async def test_of_two_that_start_at_once_one_leads() -> None:
    memory = Memory()
    one, two = leader(memory, "one"), leader(memory, "two")
    async with running(one, two):
        for _ in range(100):
            assert [one.leads, two.leads] == [True, False]
            await asyncio.sleep(1)


@virtually
async def test_one_that_falls_silent_is_replaced_and_never_leads_beside_the_other() -> None:
    memory, line = Memory(), StoreLine()
    one, two = leader(memory, "one", line), leader(memory, "two")
    async with running(one, two):
        line.cut()
        for _ in range(400):
            assert not (one.leads and two.leads)
            await asyncio.sleep(0.1)
        assert two.leads
        line.mend()
        await asyncio.sleep(60)
        assert [one.leads, two.leads] == [False, True]


@virtually
async def test_the_other_takes_over_in_time_and_at_once_from_one_that_lets_go() -> None:
    memory, line = Memory(), StoreLine()
    one, two, three = leader(memory, "one", line), leader(memory, "two"), leader(memory, "three")
    async with running(one, two):
        line.cut()
        assert await until(lambda: two.leads, within_s=60) <= lease.DURATION_S + 2 * lease.RENEWAL_S
    await two.resign()
    async with running(three):
        assert await until(lambda: three.leads, within_s=60) <= 1


@virtually
async def test_the_record_is_a_lease_as_kubernetes_knows_it() -> None:
    memory = Memory()
    async with running(leader(memory, "one")):
        record = await MemoryStore(memory).get(lease.KEY)
    assert record.spec == {
        "acquireTime": "2027-01-15T08:00:00.000000Z",
        "leaseTransitions": 0,
        "holderIdentity": "one",
        "leaseDurationSeconds": 15,
        "renewTime": "2027-01-15T08:00:00.000000Z",
    }
