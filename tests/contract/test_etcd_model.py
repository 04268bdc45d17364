"""The model of etcd that outages are played on answers as the real one does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager

import pytest

from datastore import etcd_wire as wire
from datastore.etcd_client import EtcdClient
from datastore.etcd_wire import Delete, Heard, Put, Range, Txn
from flannel.etcd_leases import Etcd
from tests.etcd_server import EtcdServer
from tests.models.etcd_model import EtcdModel, ModelClient

pytestmark = pytest.mark.server

PATIENCE_S = 10.0
Open = Callable[[], Etcd]


@pytest.fixture(params=["etcd", "model"])
def compactable(request: pytest.FixtureRequest) -> Iterator[tuple[Callable[[], Etcd], Callable[[], None]]]:
    """How to reach it, and how to compact it."""
    if request.param == "model":
        model = EtcdModel()
        yield (lambda: ModelClient(model)), model.compact
        return
    server = EtcdServer(name="beside-the-model").start()
    yield (lambda: EtcdClient(server.settings)), server.compact
    server.remove()


@asynccontextmanager
async def opened(open_: Open) -> AsyncIterator[Etcd]:
    client = open_()
    try:
        yield client
    finally:
        await client.close()


async def put(etcd: Etcd, key: bytes, value: bytes, lease: int = 0) -> None:
    await etcd.write(Txn((), (Put(key, value, lease),)))


async def shown(etcd: Etcd, of: Range) -> list[str]:
    return [f"{one.key.decode()}={one.value.decode()}" for one in (await etcd.range(of)).stored]


ALL = Range(b"/a/", b"/a0")


async def test_a_range_has_its_keys_in_order_and_no_others(
    compactable: tuple[Open, Callable[[], None]],
) -> None:
    async with opened(compactable[0]) as etcd:
        for key in (b"/a/2", b"/a/1", b"/b/1", b"/a"):
            await put(etcd, key, key[-1:])
        assert await shown(etcd, ALL) == ["/a/1=1", "/a/2=2"]
        assert await shown(etcd, Range(b"/b/1")) == ["/b/1=1"]


async def test_conditions_hold_or_do_not_and_the_other_way_is_gone(
    compactable: tuple[Open, Callable[[], None]],
) -> None:
    async with opened(compactable[0]) as etcd:
        create = Txn((wire.never_written(b"/a/1"),), (Put(b"/a/1", b"x"),))
        assert [(await etcd.write(create)).is_done for _ in range(2)] == [True, False]
        (stored,) = (await etcd.range(Range(b"/a/1"))).stored
        edit = Txn((wire.unchanged(b"/a/1", stored.mod_revision),), (Put(b"/a/1", b"y"),), (Put(b"/a/2", b"late"),))
        assert [(await etcd.write(edit)).is_done for _ in range(2)] == [True, False]
        assert await shown(etcd, ALL) == ["/a/1=y", "/a/2=late"]
        outcome = await etcd.write(Txn((), (Delete(b"/a/1"),)))
        assert [one.value for one in outcome.answers[0].stored] == [b"y"]  # type: ignore[union-attr]
        assert (await etcd.write(create)).is_done, "what was deleted was never written"


async def test_a_key_ends_with_its_lease_and_not_with_the_one_that_it_had_before(
    compactable: tuple[Open, Callable[[], None]],
) -> None:
    async with opened(compactable[0]) as etcd:
        first, second = await etcd.grant(60), await etcd.grant(60)
        assert first != second
        await put(etcd, b"/a/1", b"x", first)
        await put(etcd, b"/a/1", b"x", second)
        await etcd.revoke(first)
        assert await shown(etcd, ALL) == ["/a/1=x"]
        await etcd.revoke(second)
        assert await shown(etcd, ALL) == []


async def test_a_watch_tells_what_happened_since_and_what_happens_then(
    compactable: tuple[Open, Callable[[], None]],
) -> None:
    async with opened(compactable[0]) as etcd:
        since = (await etcd.range(ALL)).revision
        await put(etcd, b"/a/1", b"x")
        await put(etcd, b"/b/1", b"elsewhere")
        async with aclosing(etcd.watch(b"/a/", b"/a0", start=since + 1, wants_before=False)) as watch:
            told: list[str] = []
            await until(watch, told, 1)
            await etcd.write(Txn((), (Delete(b"/a/1"),)))
            await until(watch, told, 2)
        assert told == ["put /a/1=x", "deleted /a/1="]


async def test_a_watch_from_before_a_compaction_ends_with_a_word_of_it(
    compactable: tuple[Open, Callable[[], None]],
) -> None:
    open_, compact = compactable
    async with opened(open_) as etcd:
        since = (await etcd.range(ALL)).revision
        for value in (b"x", b"y"):
            await put(etcd, b"/a/1", value)
        await asyncio.to_thread(compact)
        heard: list[Heard] = []
        async with (
            asyncio.timeout(PATIENCE_S),
            aclosing(etcd.watch(b"/a/", b"/a0", start=since + 1, wants_before=False)) as watch,
        ):
            async for one in watch:
                heard.append(one)
                if one.compacted:
                    break
        assert heard[-1].compacted > since


async def until(watch: AsyncIterator[Heard], told: list[str], count: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while len(told) < count:
            for event in (await anext(watch)).events:
                what = "deleted" if event.is_deletion else "put"
                told.append(f"{what} {event.stored.key.decode()}={event.stored.value.decode()}")
