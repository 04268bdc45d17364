"""Whoever follows a datastore ends up with what is in it, whatever happened on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from random import Random

from datastore.codec import decode, spec, text
from datastore.follow import Batch, follow
from datastore.resource import Resource
from datastore.store import Create, Delete, Store, Update, Write
from datastore.table import Table
from tests.contract.drivers import Datastore
from tests.contract.words import PATIENCE_S, clients

KIND = "HostEndpoint"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostEndpoint:
    resource: Resource
    node: str = spec("node", text)


def endpoint(number: int, node: str) -> Resource:
    return Resource(KIND, f"a{number}", spec={"node": node})


LAST = endpoint(99, "node1")


class Follower:
    """A table of what one node, or all, has; ``is_complete`` when the last object came."""

    def __init__(self) -> None:
        self.table = Table(HostEndpoint)
        self.is_complete = asyncio.Event()

    @asynccontextmanager
    async def of(self, store: Store, node: str) -> AsyncIterator[Follower]:
        task = asyncio.create_task(follow(store, KIND, self._hear, node=node, random=Random(1).random))
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.wait([task])

    def _hear(self, batch: Batch) -> None:
        self.table.apply(batch)
        if LAST.key in self.table.values:
            self.is_complete.set()


async def write_at_random(store: Store, random: Random) -> None:
    """A few writes at a time: objects come, go, and move between two nodes."""
    stored = {item.name: item for item in (await store.list(KIND)).items}
    writes: list[Write] = []
    for number in random.sample(range(8), 3):
        node = random.choice(("node1", "node2"))
        held = stored.get(f"a{number}")
        if held is None:
            writes.append(Create(endpoint(number, node)))
        elif random.random() < 0.3:
            writes.append(Delete(held.key))
        else:
            writes.append(Update(replace(held, spec=endpoint(number, node).spec)))
    await store.write_many(writes)


async def test_a_follower_ends_up_with_what_is_stored(datastore: Datastore) -> None:
    random = Random(3)
    async with clients(datastore, 2) as (writer, reader):
        await write_at_random(writer, random)
        async with Follower().of(reader, "") as whole, Follower().of(reader, "node1") as mine:
            for _ in range(25):
                await write_at_random(writer, random)
                await asyncio.sleep(random.choice((0, 0, 0.002)))  # whether changes come one by one or together
            await writer.create(LAST)
            for follower, node in ((whole, ""), (mine, "node1")):
                await asyncio.wait_for(follower.is_complete.wait(), PATIENCE_S)
                stored = (await writer.list(KIND, node=node)).items
                assert follower.table.values == {item.key: decode(HostEndpoint, item) for item in stored}
