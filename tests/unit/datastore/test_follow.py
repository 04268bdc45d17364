"""A follower is told the whole truth, then what changes; an outage tells it nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest

from datastore.follow import LARGEST_BATCH, LONGEST_PAUSE_S, Batch, follow
from datastore.memory import Memory, MemoryStore
from datastore.resource import Key, Resource
from datastore.store import (
    Compacted,
    Create,
    Delete,
    Forbidden,
    NotSupported,
    Rejected,
    Unavailable,
)
from tests.unreliable import Unreliable
from tests.virtual_time import virtually

DOWN = Unavailable("no route to the store")


def pool(name: str, value: object = 1) -> Resource:
    return Resource("IPPool", name, spec={"value": value})


@dataclass
class Scene:
    """A follower of all pools, what it was told, and the stores: one that never fails and the one it follows."""

    memory: Memory = field(default_factory=Memory)
    told: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    chances: list[float] = field(default_factory=lambda: [0.0])
    node: str = ""
    kind: str = "IPPool"

    def __post_init__(self) -> None:
        self.truth = MemoryStore(self.memory)
        self.store = Unreliable(self.memory)

    @asynccontextmanager
    async def following(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self._follow())
        await self.settle()
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _follow(self) -> None:
        await follow(
            self.store,
            self.kind,
            self.hear,
            random=lambda: self.chances[len(self.store.calls) % len(self.chances)],
            node=self.node,
            on_trouble=lambda kind, error: self.troubles.append(f"{kind}: {error}"),
        )

    def hear(self, batch: Batch) -> None:
        puts = [f"{put.name}={put.spec.get('value', '')}" for put in batch.puts]
        gones = [f"-{key.name}" for key in batch.gones]
        self.told.append(" ".join(["snapshot" if batch.is_snapshot else "delta", *puts, *gones]))

    async def settle(self) -> None:
        """All that can happen without time passing, or in a moment."""
        await asyncio.sleep(0.001)

    def tell(self) -> list[str]:
        told, self.told = self.told, []
        return told


@virtually
async def test_first_comes_everything_and_then_what_changes() -> None:
    scene = Scene()
    await scene.truth.create(pool("a"))
    await scene.truth.create(pool("b"))
    async with scene.following():
        assert scene.tell() == ["snapshot a=1 b=1"]
        await scene.truth.create(pool("c"))
        await scene.settle()
        await scene.truth.delete(Key("IPPool", "a"))
        await scene.settle()
        assert scene.tell() == ["delta c=1", "delta -a"]


@virtually
async def test_a_snapshot_of_nothing_is_told_too() -> None:
    scene = Scene()
    async with scene.following():
        assert scene.tell() == ["snapshot"]


@virtually
async def test_changes_that_are_ready_together_come_together_and_the_last_of_each_object_counts() -> None:
    scene = Scene()
    old = await scene.truth.create(pool("removed"))
    made_anew = await scene.truth.create(pool("anew", 1))
    async with scene.following():
        scene.tell()
        first = await scene.truth.create(pool("a", 1))
        await scene.truth.update(replace(first, spec={"value": 2}))
        await scene.truth.delete(old.key)
        await scene.truth.write_many([Delete(made_anew.key), Create(pool("anew", 2))])
        await scene.truth.write_many([Create(pool("brief")), Delete(Key("IPPool", "brief"))])
        await scene.settle()
        assert scene.tell() == ["delta a=2 anew=2 -removed -brief"]


@virtually
async def test_a_batch_is_bounded_and_nothing_is_left_out() -> None:
    scene = Scene()
    async with scene.following():
        scene.tell()
        many = [f"p{number:04}" for number in range(3 * LARGEST_BATCH + 7)]
        await scene.truth.write_many([Create(pool(name)) for name in many])
        await scene.settle()
        deltas = [delta.split()[1:] for delta in scene.tell()]
        assert [name for delta in deltas for name in delta] == [f"{name}=1" for name in many]
        assert max(map(len, deltas)) <= LARGEST_BATCH
        assert len(deltas) <= 6


@virtually
async def test_a_lost_watch_tells_nothing_and_goes_on_where_it_stood() -> None:
    """Invariant 8: a lost watch or a stale read never deletes."""
    scene = Scene()
    await scene.truth.create(pool("kept"))
    await scene.truth.create(pool("removed meanwhile"))
    async with scene.following():
        await scene.truth.create(pool("told before"))
        await scene.settle()
        assert scene.tell() == ["snapshot kept=1 removed meanwhile=1", "delta told before=1"]
        scene.store.fail(DOWN)
        await asyncio.sleep(60)
        assert scene.tell() == []
        await scene.truth.create(pool("new"))
        await scene.truth.delete(Key("IPPool", "removed meanwhile"))
        scene.store.recover()
        await asyncio.sleep(LONGEST_PAUSE_S)
        assert scene.tell() == ["delta new=1 -removed meanwhile"]
        assert scene.store.calls.count("list IPPool") == 1


@virtually
async def test_a_list_that_fails_tells_nothing() -> None:
    """Invariant 8: a lost watch or a stale read never deletes."""
    scene = Scene()
    await scene.truth.create(pool("a"))
    scene.store.fail(DOWN)
    async with scene.following():
        await asyncio.sleep(60)
        assert scene.tell() == []
        scene.store.recover()
        await asyncio.sleep(LONGEST_PAUSE_S)
        assert scene.tell() == ["snapshot a=1"]


@virtually
async def test_what_is_no_longer_kept_is_listed_once_however_long_the_outage_was() -> None:
    scene = Scene(Memory(changes_kept=5))
    await scene.truth.create(pool("removed meanwhile"))
    async with scene.following():
        scene.tell()
        scene.store.fail(DOWN)
        await scene.truth.delete(Key("IPPool", "removed meanwhile"))
        for number in range(20):
            await scene.truth.create(pool(f"p{number % 10}{number // 10}"))
        await asyncio.sleep(300)
        assert scene.tell() == []
        scene.store.recover()
        await asyncio.sleep(60)
        assert len(scene.told) == 1
        assert scene.told[0].startswith("snapshot p00=1 p01=1 p10=1")
        assert scene.store.calls.count("list IPPool") == 2


@virtually
async def test_a_store_that_forgets_faster_than_it_lists_is_not_listed_without_a_pause() -> None:
    scene = Scene()
    scene.store.refused_watches = [Compacted("IPPool", "x") for _ in range(6)]
    async with scene.following():
        await asyncio.sleep(30)
        listed = [at for at, call in zip(scene.store.at, scene.store.calls, strict=True) if call.startswith("list")]
        assert [round(later - earlier, 3) for earlier, later in pairwise(listed)] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6]


@virtually
async def test_a_watch_that_lost_its_place_is_listed_anew_at_once() -> None:
    scene = Scene()
    async with scene.following():
        begin = asyncio.get_running_loop().time()
        scene.store.break_watches(Compacted("IPPool", "x"))
        await scene.settle()
        assert scene.store.calls == ["list IPPool", "watch IPPool"] * 2
        assert scene.store.at[2:] == [begin, begin]
        assert scene.troubles == []


@virtually
async def test_pauses_between_tries_double_up_to_a_limit_and_are_spread_by_chance() -> None:
    for chance, first, longest in ((0.0, 0.05, LONGEST_PAUSE_S / 2), (0.999, 0.1, LONGEST_PAUSE_S)):
        scene = Scene(chances=[chance])
        scene.store.fail(DOWN)
        async with scene.following():
            await asyncio.sleep(120)
            pauses = [round(later - earlier, 6) for earlier, later in pairwise(scene.store.at)]
            assert pauses[:5] == pytest.approx([first * 2**n for n in range(5)], rel=0.01)
            assert pauses == sorted(pauses)
            assert pauses[-1] == pytest.approx(longest, rel=0.01)


@virtually
async def test_pauses_are_short_again_after_a_sign_of_life() -> None:
    scene = Scene()
    async with scene.following():
        for _ in range(3):
            scene.store.fail(DOWN)
            await asyncio.sleep(20)
            scene.store.recover()
            await asyncio.sleep(LONGEST_PAUSE_S)
            begin = len(scene.store.at)
            scene.store.fail(DOWN)
            await asyncio.sleep(0.04)
            assert len(scene.store.at) == begin
            await asyncio.sleep(0.02)
            assert len(scene.store.at) == begin + 1
            scene.store.recover()
            await asyncio.sleep(1)


@virtually
async def test_trouble_is_told_when_it_begins_and_when_it_is_over() -> None:
    scene = Scene()
    async with scene.following():
        assert scene.troubles == []
        scene.store.fail(DOWN)
        await asyncio.sleep(60)
        scene.store.fail(Unavailable("something else"))
        await asyncio.sleep(60)
        assert scene.troubles == ["IPPool: no route to the store"]
        scene.store.recover()
        await asyncio.sleep(LONGEST_PAUSE_S)
        assert scene.troubles == ["IPPool: no route to the store", "IPPool: None"]


@virtually
async def test_trouble_lasts_until_the_watch_stands_not_only_the_list() -> None:
    scene = Scene()
    scene.store.refused_watches = [Unavailable("too many watches")] * 3
    async with scene.following():
        assert scene.tell() == ["snapshot"]
        assert scene.troubles == ["IPPool: too many watches"]
        await asyncio.sleep(30)
        assert scene.troubles == ["IPPool: too many watches", "IPPool: None"]
        assert scene.store.calls == ["list IPPool"] + ["watch IPPool"] * 4


@virtually
async def test_only_what_belongs_to_the_node_is_told() -> None:
    def affinity(name: str, node: str) -> Resource:
        return Resource("BlockAffinity", name, spec={"node": node, "value": node})

    scene = Scene(kind="BlockAffinity", node="node1")
    await scene.truth.create(affinity("here", "node1"))
    moving = await scene.truth.create(affinity("moving", "node1"))
    await scene.truth.create(affinity("there", "node2"))
    async with scene.following():
        await scene.truth.update(replace(moving, spec={"node": "node2"}))
        await scene.settle()
        assert scene.tell() == ["snapshot here=node1 moving=node1", "delta -moving"]


@virtually
async def test_a_mistake_of_the_sink_is_not_taken_for_trouble_with_the_store() -> None:
    scene = Scene()

    def fail(batch: Batch) -> None:
        if not batch.is_snapshot:
            raise ZeroDivisionError

    scene.hear = fail  # type: ignore[method-assign]
    async with scene.following() as task:
        await scene.truth.create(pool("a"))
        await scene.settle()
        assert task.done()
        with pytest.raises(ExceptionGroup) as caught:
            task.result()
        assert caught.group_contains(ZeroDivisionError)
        assert scene.troubles == []


@virtually
async def test_a_follower_that_is_cancelled_leaves_no_watch_behind() -> None:
    scene = Scene()
    async with scene.following():
        assert len(scene.memory.shelf("IPPool").listeners) == 1
    assert len(scene.memory.shelf("IPPool").listeners) == 0


@virtually
async def test_a_follower_that_is_cancelled_in_the_moment_of_an_outage_ends() -> None:
    for turns in range(10):
        scene = Scene()
        async with scene.following() as task:
            scene.store.fail(DOWN)
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task], timeout=60)
            assert task.cancelled(), f"it goes on when cancelled {turns} turns after the outage began"


@virtually
async def test_an_error_of_the_store_is_never_raised_to_the_one_who_follows() -> None:
    """Whatever its class: a permission may be given, or a kind installed, while we run."""
    key = Key("IPPool", "")
    errors = [DOWN, Forbidden("no"), NotSupported("watch", key), Rejected("", "no"), Compacted("IPPool", "x")]
    for error in errors:
        scene = Scene()
        scene.store.fail(error)
        async with scene.following() as task:
            await asyncio.sleep(1)
            assert not task.done()
            assert scene.troubles == [f"IPPool: {error}"]
            assert len(scene.store.calls) < 10
