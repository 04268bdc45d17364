"""Every change once, in order, or an error that says so: what every datastore's watch does."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace

import pytest

from datastore.resource import Key, Resource
from datastore.store import Compacted, Conflict, Create, Delete, Exists, Mark, Put, Unavailable
from tests.contract.drivers import CHANGES_OF_AN_OVERFLOW, Datastore
from tests.contract.test_reading_and_writing import BIG_BLOCK
from tests.contract.words import PATIENCE_S, clients, endpoint, first_of, pool, pool_key, said, take, take_changes


async def test_a_watch_tells_each_change_once_and_in_order(datastore: Datastore) -> None:
    async with clients(datastore, 2) as (writer, reader):
        start = await reader.list("IPPool")
        async with aclosing(reader.watch("IPPool", since=start.revision)) as watch:
            assert await first_of(watch) == "mark"
            created = await writer.create(pool("a", 1))
            await writer.update(replace(created, spec={"value": 2}))
            await writer.delete(created.key)
            await writer.create(pool("a", 3))
            assert await take(watch, 4) == [
                "put IPPool(a) 1",
                "put IPPool(a) 2",
                "gone IPPool(a)",
                "put IPPool(a) 3",
            ]


async def test_a_put_is_the_object_as_it_was_at_that_revision(datastore: Datastore) -> None:
    async with clients(datastore) as (store,):
        start = await store.list("IPAMBlock")
        created = await store.create(BIG_BLOCK)
        updated = await store.update(replace(created, spec={**created.spec, "affinity": None, "new": "ü"}))
        async with aclosing(store.watch("IPAMBlock", since=start.revision)) as watch:
            assert await take_changes(watch, 2) == [Put(created), Put(updated)]


async def test_nothing_is_missed_between_a_list_and_its_watch(datastore: Datastore) -> None:
    async with clients(datastore, 2) as (writer, reader):
        listed = await writer.create(pool("listed"))
        start = await reader.list("IPPool")
        await writer.create(pool("between"))
        await writer.delete(listed.key)
        async with aclosing(reader.watch("IPPool", since=start.revision)) as watch:
            assert await take(watch, 2) == ["put IPPool(between) 1", "gone IPPool(listed)"]


async def test_a_watch_goes_on_from_any_revision_that_was_seen(datastore: Datastore) -> None:
    async with clients(datastore) as (store,):
        start = await store.list("IPPool")
        for name in "abc":
            await store.create(pool(name))
        await store.delete(pool_key("a"))
        await store.create(pool("d"))
        expected = ["put IPPool(a) 1", "put IPPool(b) 1", "put IPPool(c) 1", "gone IPPool(a)", "put IPPool(d) 1"]
        async with aclosing(store.watch("IPPool", since=start.revision)) as watch:
            changes = await take_changes(watch, 5)
        assert [said(change) for change in changes] == expected
        for seen, change in enumerate(changes[:-1], start=1):
            since = change.resource.revision if isinstance(change, Put) else change.revision
            async with aclosing(store.watch("IPPool", since=since)) as watch:
                assert await take(watch, 5 - seen) == expected[seen:]


async def test_a_mark_can_be_watched_from(datastore: Datastore) -> None:
    async with clients(datastore) as (store,):
        await store.create(pool("before"))
        async with aclosing(store.watch("IPPool", since=(await store.list("IPPool")).revision)) as watch:
            mark = await anext(watch)
        assert isinstance(mark, Mark)
        await store.create(pool("after"))
        async with aclosing(store.watch("IPPool", since=mark.revision)) as watch:
            assert await take(watch, 1) == ["put IPPool(after) 1"]


async def test_a_watch_tells_of_its_own_kind_only(datastore: Datastore) -> None:
    async with clients(datastore) as (store,):
        start = await store.list("IPPool")
        async with aclosing(store.watch("IPPool", since=start.revision)) as watch:
            await first_of(watch)
            await store.create(Resource("BGPPeer", "other"))
            await store.delete(Key("BGPPeer", "other"))
            await store.create(pool("mine"))
            assert await take(watch, 1) == ["put IPPool(mine) 1"]


async def test_writes_made_together_are_told_one_by_one(datastore: Datastore) -> None:
    async with clients(datastore) as (store,):
        start = await store.list("IPPool")
        await store.write_many([Create(pool("a")), Create(pool("a")), Create(pool("b")), Delete(pool_key("a"))])
        async with aclosing(store.watch("IPPool", since=start.revision)) as watch:
            assert await take(watch, 3) == ["put IPPool(a) 1", "put IPPool(b) 1", "gone IPPool(a)"]


async def test_a_write_that_failed_is_not_told(datastore: Datastore) -> None:
    async with clients(datastore) as (store,):
        old = await store.create(pool("a", 1))
        await store.update(replace(old, spec={"value": 2}))
        start = await store.list("IPPool")
        for attempt in (store.create(pool("a")), store.update(old), store.delete(old.key, revision=old.revision)):
            with pytest.raises((Exists, Conflict)):
                await attempt
        await store.create(pool("b"))
        async with aclosing(store.watch("IPPool", since=start.revision)) as watch:
            assert await take(watch, 1) == ["put IPPool(b) 1"]


async def test_a_watch_of_a_node_sees_an_object_come_and_go_with_its_node(datastore: Datastore) -> None:
    async with clients(datastore) as (store,):
        start = await store.list("HostEndpoint")
        here = await store.create(endpoint("a", "node1"))
        moved = await store.update(replace(here, spec={"node": "node2"}))
        stays = await store.update(replace(moved, spec={"node": "node2", "number": 2}))
        back = await store.update(replace(stays, spec={"node": "node1"}))
        await store.delete(back.key)
        seen = {
            "node1": [
                "put HostEndpoint(a) node1",
                "gone HostEndpoint(a)",
                "put HostEndpoint(a) node1",
                "gone HostEndpoint(a)",
            ],
            "node2": ["put HostEndpoint(a) node2", "put HostEndpoint(a) node2 2", "gone HostEndpoint(a)"],
        }
        for node, expected in seen.items():
            async with aclosing(store.watch("HostEndpoint", since=start.revision, node=node)) as watch:
                assert await take(watch, len(expected)) == expected


async def test_a_watch_of_a_node_is_not_told_of_what_never_was_there(datastore: Datastore) -> None:
    async with clients(datastore) as (store,):
        start = await store.list("HostEndpoint", node="node1")
        other = await store.create(endpoint("elsewhere", "node2"))
        await store.update(replace(other, spec={"node": "node3"}))
        await store.delete(other.key)
        await store.create(endpoint("here", "node1"))
        async with aclosing(store.watch("HostEndpoint", since=start.revision, node="node1")) as watch:
            assert await take(watch, 1) == ["put HostEndpoint(here) node1"]


async def test_a_watch_of_a_node_says_that_it_stands_where_only_others_changed(datastore: Datastore) -> None:
    async with clients(datastore) as (store,):
        start = await store.list("HostEndpoint", node="node1")
        await store.create(endpoint("elsewhere", "node2"))
        async with aclosing(store.watch("HostEndpoint", since=start.revision, node="node1")) as watch:
            assert await first_of(watch) == "mark"


async def test_changes_that_are_no_longer_kept_are_compacted(datastore: Datastore) -> None:
    async with clients(datastore) as (store,):
        before = await store.list("IPPool")
        made = await store.create(pool("a"))
        await datastore.forget_changes("IPPool")
        for since in (before.revision, made.revision):
            with pytest.raises(
                Compacted, match=r"^changes of IPPool since revision \w+ are no longer kept: list again$"
            ):
                await first_of(store.watch("IPPool", since=since))
        listing = await store.list("IPPool")
        assert [item.name for item in listing.items] == ["a"]
        async with aclosing(store.watch("IPPool", since=listing.revision)) as watch:
            assert await first_of(watch) == "mark"


async def test_a_revision_that_the_store_never_gave_is_compacted(datastore: Datastore) -> None:
    async with clients(datastore) as (store,):
        for since in ("", "99999999999999999999", "nonsense", "-1"):
            with pytest.raises(Compacted):
                await first_of(store.watch("IPPool", since=since))


async def test_a_watcher_who_falls_far_behind_is_told_everything_or_that_it_is_too_late(datastore: Datastore) -> None:
    async with clients(datastore, 2) as (writer, reader):
        start = await reader.list("IPPool")
        async with aclosing(reader.watch("IPPool", since=start.revision)) as watch:
            assert await first_of(watch) == "mark"
            await writer.create(pool("missed"))
            await datastore.forget_changes("IPPool")
            await writer.create(pool("last"))
            try:
                told = await take(watch, 1)
                while told[-1] != "put IPPool(last) 1":
                    told += await take(watch, 1)
            except Compacted:
                return
            assert (told[0], len(told)) == ("put IPPool(missed) 1", CHANGES_OF_AN_OVERFLOW + 2)


async def test_two_watches_of_one_client_do_not_disturb_each_other(datastore: Datastore) -> None:
    async with clients(datastore) as (store,):
        pools, peers = await store.list("IPPool"), await store.list("BGPPeer")
        async with (
            aclosing(store.watch("IPPool", since=pools.revision)) as one,
            aclosing(store.watch("IPPool", since=pools.revision)) as two,
            aclosing(store.watch("BGPPeer", since=peers.revision)) as three,
        ):
            assert [await first_of(watch) for watch in (one, two, three)] == ["mark"] * 3
            await store.create(pool("a"))
            assert await take(one, 1) == ["put IPPool(a) 1"]
            await one.aclose()
            await store.create(Resource("BGPPeer", "n"))
            await store.create(pool("b"))
            assert await take(two, 2) == ["put IPPool(a) 1", "put IPPool(b) 1"]
            assert await take(three, 1) == ["put BGPPeer(n) "]


async def test_a_watch_that_waits_ends_with_an_error_when_its_client_is_closed(datastore: Datastore) -> None:
    async def listen() -> None:
        async for _ in watch:
            stands.set()

    async with clients(datastore) as (store,):
        watch = store.watch("IPPool", since=(await store.list("IPPool")).revision)
        stands = asyncio.Event()
        listening = asyncio.create_task(listen())
        await asyncio.wait_for(stands.wait(), PATIENCE_S)
        await store.close()
        with pytest.raises(Unavailable, match="closed"):
            await asyncio.wait_for(listening, PATIENCE_S)


async def test_a_watch_that_is_cancelled_leaves_its_client_usable(datastore: Datastore) -> None:
    async with clients(datastore) as (store,):
        start = (await store.list("IPPool")).revision
        watch = store.watch("IPPool", since=start)
        await first_of(watch)
        waiting = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        await store.create(pool("a"))
        async with aclosing(store.watch("IPPool", since=start)) as again:
            assert await take(again, 1) == ["put IPPool(a) 1"]


async def test_a_storm_of_writes_reaches_a_watcher_whole_and_in_order(datastore: Datastore) -> None:
    """As many as are surely kept, so that a datastore with a short log has no reason to give up."""

    async def write() -> None:
        for number in range(40):
            await writer.create(pool(f"p{number:02}", number))

    async with clients(datastore, 2) as (writer, reader):
        start = await reader.list("IPPool")
        async with aclosing(reader.watch("IPPool", since=start.revision)) as watch:
            writing = asyncio.ensure_future(write())
            assert await take(watch, 40) == [f"put IPPool(p{number:02}) {number}" for number in range(40)]
            await writing
