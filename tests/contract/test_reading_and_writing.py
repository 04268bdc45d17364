"""What every datastore does with one object, with many, and with writers who come too late."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import pytest

from datastore.resource import Key, Resource
from datastore.store import (
    Conflict,
    Create,
    Delete,
    Exists,
    Missing,
    Store,
    StoreError,
    Update,
)
from tests.contract.drivers import Datastore
from tests.contract.words import clients, endpoint, pool, pool_key

EVERYTHING = Resource(
    "NetworkPolicy",
    "everything",
    "prod",
    spec={"order": 1.5, "ingress": [{"action": "Allow", "fromTheFuture": {"deep": [1, 2, {"x": True}]}}], "none": {}},
    status={"conditions": [{"type": "Ready", "text": "zażółć gęślą jaźń 🐱 \\ \" ' \n\t \x7f"}]},
    labels={"a/b": "c", "empty": ""},
    annotations={"note": "ünïcödé"},
    metadata={"finalizers": ["keep"], "ownerReferences": [{"kind": "X", "uid": "u"}], "generateName": "every"},
)
BIG_BLOCK = Resource(
    "IPAMBlock",
    "10-0-0-0-20",
    spec={
        "cidr": "10.0.0.0/20",
        "affinity": "host:node1",
        "allocations": [number % 7 or None for number in range(4096)],
        "unallocated": list(range(4096)),
        "attributes": [{"handle_id": f"k8s-pod-network.{n:064x}", "secondary": {"pod": f"p{n}"}} for n in range(200)],
        "sequenceNumberForAllocation": {str(n): n for n in range(4096)},
    },
)


def content(resource: Resource) -> Resource:
    return resource.stamped(revision="", uid="", created="")


async def names(store: Store, kind: str, *, namespace: str = "", node: str = "") -> list[str]:
    listing = await store.list(kind, namespace=namespace, node=node)
    return [f"{item.namespace}/{item.name}" if item.namespace else item.name for item in listing.items]


@pytest.mark.parametrize("resource", [EVERYTHING, BIG_BLOCK], ids=["everything", "big block"])
async def test_an_object_comes_back_as_it_was_written(datastore: Datastore, resource: Resource) -> None:
    async with clients(datastore, 2) as (writer, reader):
        created = await writer.create(resource)
        assert content(created) == resource
        assert await reader.get(resource.key) == created
        assert (await reader.list(resource.kind)).items == (created,)


async def test_a_new_object_is_given_revision_uid_and_creation_time(datastore: Datastore) -> None:
    async with clients(datastore) as (store,):
        one = await store.create(pool("a").stamped(revision="mine", uid="mine", created="mine"))
        other = await store.create(pool("b"))
        assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", one.uid)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", one.created)
        assert one.revision not in ("", "mine", other.revision)
        assert one.uid != other.uid


async def test_what_exists_cannot_be_created_again(datastore: Datastore) -> None:
    async with clients(datastore, 2) as (first, second):
        created = await first.create(pool("a", 1))
        with pytest.raises(Exists, match=r"^resource already exists: IPPool\(a\) with error: "):
            await second.create(pool("a", 2))
        assert await second.get(pool_key("a")) == created


async def test_what_is_not_there_is_missing(datastore: Datastore) -> None:
    async with clients(datastore) as (store,):
        with pytest.raises(Missing, match=r"^resource does not exist: IPPool\(a\) with error: "):
            await store.get(pool_key("a"))
        with pytest.raises(Missing):
            await store.update(pool("a").stamped(revision="7", uid="", created=""))
        with pytest.raises(Missing):
            await store.delete(pool_key("a"))


async def test_an_update_replaces_the_object_and_keeps_uid_and_creation_time(datastore: Datastore) -> None:
    async with clients(datastore) as (store,):
        created = await store.create(replace(pool("a", 1), labels={"old": "1"}))
        updated = await store.update(replace(created, spec={"value": 2}, labels={"new": "2"}, uid="", created=""))
        assert updated == replace(created, spec={"value": 2}, labels={"new": "2"}, revision=updated.revision)
        assert updated.revision != created.revision
        assert await store.get(created.key) == updated


async def test_the_second_of_two_writers_gets_a_conflict_and_changes_nothing(datastore: Datastore) -> None:
    async with clients(datastore, 2) as (first, second):
        seen_by_both = await first.create(pool("a", 0))
        winner = await first.update(replace(seen_by_both, spec={"value": 1}))
        with pytest.raises(Conflict, match=r"^update conflict: IPPool\(a\)$"):
            await second.update(replace(seen_by_both, spec={"value": 2}))
        assert await second.get(winner.key) == winner


async def test_an_update_without_a_revision_is_a_conflict(datastore: Datastore) -> None:
    async with clients(datastore) as (store,):
        created = await store.create(pool("a", 1))
        with pytest.raises(Conflict):
            await store.update(pool("a", 2))
        assert await store.get(created.key) == created


async def test_an_object_that_was_made_anew_is_not_the_one_that_was_seen(datastore: Datastore) -> None:
    async with clients(datastore) as (store,):
        first_life = await store.create(pool("a"))
        await store.delete(first_life.key)
        second_life = await store.create(pool("a"))
        with pytest.raises(Conflict):
            await store.update(first_life)
        with pytest.raises(Conflict):
            await store.update(replace(second_life, uid=first_life.uid))
        with pytest.raises(Conflict):
            await store.delete(first_life.key, revision=first_life.revision)
        with pytest.raises(Conflict):
            await store.delete(first_life.key, uid=first_life.uid)
        assert await store.get(second_life.key) == second_life


async def test_a_delete_returns_what_it_removed(datastore: Datastore) -> None:
    async with clients(datastore) as (store,):
        for given in ("nothing", "revision", "uid", "both"):
            made = await store.create(EVERYTHING)
            removed = await store.delete(
                made.key,
                revision=made.revision if given in ("revision", "both") else "",
                uid=made.uid if given in ("uid", "both") else "",
            )
            assert content(removed) == EVERYTHING
            assert (removed.uid, removed.created) == (made.uid, made.created)
            assert await names(store, "NetworkPolicy") == []


async def test_a_delete_with_an_old_revision_is_a_conflict(datastore: Datastore) -> None:
    async with clients(datastore) as (store,):
        created = await store.create(pool("a", 1))
        updated = await store.update(replace(created, spec={"value": 2}))
        with pytest.raises(Conflict):
            await store.delete(created.key, revision=created.revision)
        assert await store.get(created.key) == updated


async def test_a_list_is_sorted_by_namespace_and_name(datastore: Datastore) -> None:
    async with clients(datastore) as (store,):
        for namespace, name in [
            ("b", "a"),
            ("a", "b-2"),
            ("a", "b"),
            ("a", "b.1"),
            ("a-b", "a"),
            ("a", "10"),
            ("a", "9"),
        ]:
            await store.create(Resource("NetworkPolicy", name, namespace))
        assert await names(store, "NetworkPolicy") == ["a/10", "a/9", "a/b", "a/b-2", "a/b.1", "a-b/a", "b/a"]
        assert await names(store, "NetworkPolicy", namespace="a") == ["a/10", "a/9", "a/b", "a/b-2", "a/b.1"]
        assert await names(store, "NetworkPolicy", namespace="none") == []


async def test_a_list_holds_its_own_kind_only(datastore: Datastore) -> None:
    async with clients(datastore) as (store,):
        empty = await store.list("IPPool")
        assert (empty.items, empty.revision != "") == ((), True)
        await store.create(pool("same"))
        await store.create(Resource("BGPPeer", "same"))
        assert await names(store, "IPPool") == ["same"]
        await store.delete(Key("BGPPeer", "same"))
        assert await names(store, "IPPool") == ["same"]


async def test_a_list_of_a_node_holds_what_belongs_to_it(datastore: Datastore) -> None:
    async with clients(datastore) as (store,):
        await store.create(endpoint("one", "node1"))
        await store.create(endpoint("two", "node2"))
        moving = await store.create(endpoint("moving", "node1"))
        assert await names(store, "HostEndpoint", node="node1") == ["moving", "one"]
        await store.update(replace(moving, spec={"node": "node2"}))
        assert await names(store, "HostEndpoint", node="node1") == ["one"]
        assert await names(store, "HostEndpoint", node="node2") == ["moving", "two"]
        assert await names(store, "HostEndpoint") == ["moving", "one", "two"]


async def test_the_same_name_in_two_namespaces_is_two_objects(datastore: Datastore) -> None:
    async with clients(datastore) as (store,):
        one = await store.create(Resource("NetworkPolicy", "p", "one"))
        await store.create(Resource("NetworkPolicy", "p", "two"))
        await store.delete(one.key)
        assert await names(store, "NetworkPolicy") == ["two/p"]


async def test_what_is_stored_does_not_change_with_what_was_handed_over(datastore: Datastore) -> None:
    async with clients(datastore) as (store,):
        mine: dict[str, object] = {"value": 1}
        created = await store.create(Resource("IPPool", "a", spec=mine))
        mine["value"] = 2
        assert (await store.get(created.key)).spec == {"value": 1}


async def test_many_writes_give_one_result_each_and_a_bad_one_stops_no_other(datastore: Datastore) -> None:
    async with clients(datastore, 2) as (store, reader):
        old = await store.create(pool("changed", 0))
        await store.create(pool("removed"))
        results = await store.write_many(
            [
                Create(pool("changed", 1)),
                Update(replace(old, spec={"value": 2})),
                Update(replace(old, spec={"value": 3})),
                Delete(pool_key("absent")),
                Delete(pool_key("removed")),
                Delete(pool_key("changed"), revision=old.revision),
                Create(pool("new", 4)),
            ]
        )
        assert [_told(result) for result in results] == [
            "resource already exists: IPPool(changed)",
            "IPPool(changed) 2",
            "update conflict: IPPool(changed)",
            "resource does not exist: IPPool(absent)",
            "IPPool(removed) 1",
            "update conflict: IPPool(changed)",
            "IPPool(new) 4",
        ]
        assert [_told(item) for item in (await reader.list("IPPool")).items] == ["IPPool(changed) 2", "IPPool(new) 4"]


async def test_a_write_sees_those_before_it_in_the_same_call(datastore: Datastore) -> None:
    async with clients(datastore) as (store,):
        results = await store.write_many(
            [Create(pool("a")), Create(pool("a")), Delete(pool_key("a")), Create(pool("a", 2))]
        )
        assert [type(result).__name__ for result in results] == ["Resource", "Exists", "Resource", "Resource"]
        assert isinstance(results[3], Resource)
        assert await store.get(pool_key("a")) == results[3]


async def test_no_writes_give_no_results(datastore: Datastore) -> None:
    async with clients(datastore) as (store,):
        assert list(await store.write_many([])) == []


async def test_one_of_many_who_create_the_same_object_wins(datastore: Datastore) -> None:
    async with clients(datastore, 3) as stores:
        tried = await asyncio.gather(
            *(store.create(pool("a", number)) for number, store in enumerate(stores * 5)), return_exceptions=True
        )
        won = [result for result in tried if isinstance(result, Resource)]
        assert len(won) == 1
        assert sum(isinstance(result, Exists) for result in tried) == len(tried) - 1
        assert await stores[0].get(pool_key("a")) == won[0]


async def test_every_increment_of_many_writers_arrives(datastore: Datastore) -> None:
    async def count_up(store: Store, times: int) -> None:
        for _ in range(times):
            await _increment(store)

    async with clients(datastore, 3) as stores:
        await stores[0].create(pool("counter", 0))
        await asyncio.gather(*(count_up(store, 10) for store in stores * 2))
        assert (await stores[0].get(pool_key("counter"))).spec == {"value": 60}


async def _increment(store: Store) -> None:
    while True:
        seen = await store.get(pool_key("counter"))
        await asyncio.sleep(0)
        try:
            await store.update(replace(seen, spec={"value": seen.spec["value"] + 1}))
        except Conflict:
            continue
        return


def _told(result: Resource | StoreError) -> str:
    """Without the server's own words."""
    return f"{result.key} {result.spec['value']}" if isinstance(result, Resource) else str(result).split(" with ")[0]
