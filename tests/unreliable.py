"""A client of the memory store that fails when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from datastore.memory import Memory, MemoryStore
from datastore.plain import run
from datastore.resource import Key, Resource
from datastore.store import Change, Listing, StoreError, Unavailable, Write


class Unreliable:
    """While ``outage`` is set, every call raises it; ``calls`` has what was asked, ``at`` the loop's time of each."""

    def __init__(self, memory: Memory) -> None:
        self.outage: StoreError | None = None
        self.refused_watches: list[StoreError] = []
        self.calls: list[str] = []
        self.at: list[float] = []
        self._memory = memory
        self._store = MemoryStore(memory)
        self._watching: dict[MemoryStore, StoreError] = {}

    def fail(self, error: StoreError) -> None:
        """From now on, and for the watches that stand."""
        self.outage = error
        self.break_watches(error)

    def break_watches(self, error: StoreError) -> None:
        for client in self._watching:
            self._watching[client] = error
            run(client.close())

    def recover(self) -> None:
        self.outage = None

    async def get(self, key: Key) -> Resource:
        self._ask(f"get {key}")
        return await self._store.get(key)

    async def list(self, kind: str, *, namespace: str = "", node: str = "") -> Listing:
        self._ask(f"list {kind}")
        return await self._store.list(kind, namespace=namespace, node=node)

    async def create(self, resource: Resource) -> Resource:
        self._ask(f"create {resource.key}")
        return await self._store.create(resource)

    async def update(self, resource: Resource) -> Resource:
        self._ask(f"update {resource.key}")
        return await self._store.update(resource)

    async def delete(self, key: Key, *, revision: str = "", uid: str = "") -> Resource:
        self._ask(f"delete {key}")
        return await self._store.delete(key, revision=revision, uid=uid)

    async def write_many(self, writes: Sequence[Write]) -> Sequence[Resource | StoreError]:
        self._ask("write_many")
        return await self._store.write_many(writes)

    async def watch(self, kind: str, *, since: str, node: str = "") -> AsyncGenerator[Change, None]:
        self._ask(f"watch {kind}")
        if self.refused_watches:
            raise self.refused_watches.pop(0)
        client = MemoryStore(self._memory)
        self._watching[client] = Unavailable("this client was closed")
        try:
            async with aclosing(client.watch(kind, since=since, node=node)) as changes:
                async for change in changes:
                    yield change
        except Unavailable:
            raise self._watching[client] from None
        finally:
            del self._watching[client]

    async def close(self) -> None:
        await self._store.close()

    def _ask(self, what: str) -> None:
        self.calls.append(what)
        self.at.append(asyncio.get_running_loop().time())
        if self.outage is not None:
            raise self.outage
