"""Policies that are stored are said not to be enforced, and the saying ends with them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from datastore.events import Event
from datastore.memory import Memory, MemoryStore
from datastore.resource import Key, Resource
from felix.policies import LOOK_EVERY_S, watch
from tests.virtual_time import virtually


@virtually
async def test_stored_policies_are_counted_and_told_until_they_are_gone() -> None:
    store = MemoryStore(Memory())
    told: list[list[str]] = []

    def report(events: Sequence[Event]) -> None:
        told.append([event.text for event in events])

    await store.create(Resource("NetworkPolicy", "a", "default"))
    await store.create(Resource("NetworkPolicy", "b", "default"))
    await store.create(Resource("GlobalNetworkPolicy", "c"))
    await store.create(Resource("StagedNetworkPolicy", "d", "default"))
    watching = asyncio.create_task(watch(store, report))
    await asyncio.sleep(1)
    for kind, name, namespace in (
        ("NetworkPolicy", "a", "default"),
        ("NetworkPolicy", "b", "default"),
        ("GlobalNetworkPolicy", "c", ""),
    ):
        await store.delete(Key(kind, name, namespace))
    await asyncio.sleep(LOOK_EVERY_S)
    assert told == [["2 NetworkPolicy and 1 GlobalNetworkPolicy: stored, and NOT ENFORCED"], []]
    watching.cancel()
