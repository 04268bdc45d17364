"""A datastore whose answers come late, in any order, or not at all; and whose clients can die between two writes.

Wraps any Store. Everything that happens follows from the seed, so a failure can be run again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from random import Random

from datastore.resource import Key, Resource
from datastore.store import Change, Conflict, Create, Delete, Listing, Store, StoreError, Unavailable, Update, Write


class Crash(BaseException):
    """The process ended here: nothing of it runs on, no handler sees it."""


@dataclass
class StoreLine:
    """A node's way to the datastore. While it is cut nothing is answered; what was under way breaks off.

    ``answer_after_s``: how long a call then waits before it gives up.
    """

    is_cut: bool = False
    answer_after_s: float = 0.0
    _under_way: dict[asyncio.Timeout, None] = field(default_factory=dict)

    def cut(self, *, answer_after_s: float = 0.0) -> None:
        self.is_cut, self.answer_after_s = True, answer_after_s
        for call in self._under_way:
            if not call.expired():
                call.reschedule(0.0)

    def mend(self) -> None:
        self.is_cut = False

    @asynccontextmanager
    async def use(self) -> AsyncIterator[None]:
        """Raises Unavailable."""
        if self.is_cut:
            await asyncio.sleep(self.answer_after_s)
            raise Unavailable("the datastore is away")
        try:
            async with asyncio.timeout(None) as call:
                self._under_way[call] = None
                try:
                    yield
                finally:
                    del self._under_way[call]
        except TimeoutError:
            raise Unavailable("the datastore went away") from None


@dataclass
class Faults:
    """What goes wrong. ``crash_at`` counts this client's writes from 1: it dies before that write, or (see
    ``crash_after``) right after it. A lost answer: the write was made and its maker hears that the store is away.
    Chances are out of 1. ``on_call`` is called as each call comes and goes, and may raise Crash.
    """

    random: Random
    crash_at: int = 0
    crash_after: bool = False
    conflict_chance: float = 0.0
    unavailable_chance: float = 0.0
    lost_answer_chance: float = 0.0
    longest_delay: int = 3
    slow_chance: float = 0.0
    slowest_s: float = 0.0
    line: StoreLine | None = None
    on_crash: Callable[[], None] = lambda: None
    on_call: Callable[[], None] = lambda: None
    writes: int = field(default=0, init=False)
    is_dead: bool = field(default=False, init=False)

    def use_line(self) -> AbstractAsyncContextManager[None]:
        return nullcontext() if self.line is None else self.line.use()

    def die(self) -> None:
        self.is_dead = True
        self.on_crash()
        raise Crash


class FaultyStore:
    def __init__(self, store: Store, faults: Faults) -> None:
        self._store, self._faults = store, faults

    async def get(self, key: Key) -> Resource:
        async with self._faults.use_line():
            await self._delay()
            found = await self._store.get(key)
            await self._delay()
            return found

    async def list(self, kind: str, *, namespace: str = "", node: str = "") -> Listing:
        async with self._faults.use_line():
            await self._delay()
            listing = await self._store.list(kind, namespace=namespace, node=node)
            await self._delay()
            return listing

    async def create(self, resource: Resource) -> Resource:
        return _result((await self.write_many([Create(resource)]))[0])

    async def update(self, resource: Resource) -> Resource:
        return _result((await self.write_many([Update(resource)]))[0])

    async def delete(self, key: Key, *, revision: str = "", uid: str = "") -> Resource:
        return _result((await self.write_many([Delete(key, revision, uid)]))[0])

    async def write_many(self, writes: Sequence[Write]) -> Sequence[Resource | StoreError]:
        async with self._faults.use_line():
            await self._delay()
            if self._faults.random.random() < self._faults.unavailable_chance:
                raise Unavailable("the datastore is away")
            return [await self._write(write) for write in writes]

    async def _write(self, write: Write) -> Resource | StoreError:
        self._faults.writes += 1
        is_last = self._faults.writes == self._faults.crash_at
        if is_last and not self._faults.crash_after:
            self._faults.die()
        if isinstance(write, Update) and self._faults.random.random() < self._faults.conflict_chance:
            return Conflict(write.resource.key)
        result = (await self._store.write_many([write]))[0]
        if is_last:
            self._faults.die()
        if self._faults.random.random() < self._faults.lost_answer_chance:
            raise Unavailable("the datastore did not answer in time")
        await self._delay()
        return result

    async def watch(self, kind: str, *, since: str, node: str = "") -> AsyncGenerator[Change, None]:
        async with aclosing(self._store.watch(kind, since=since, node=node)) as changes:
            while True:
                async with self._faults.use_line():
                    change = await anext(changes)
                    await self._delay()
                yield change

    async def close(self) -> None:
        await self._store.close()

    async def _delay(self) -> None:
        """Some turns of the loop, now and then a while."""
        self._arrive()
        for _ in range(self._faults.random.randint(0, self._faults.longest_delay)):
            await asyncio.sleep(0)
        if self._faults.slow_chance and self._faults.random.random() < self._faults.slow_chance:
            await asyncio.sleep(self._faults.random.random() * self._faults.slowest_s)
        self._arrive()

    def _arrive(self) -> None:
        if self._faults.is_dead:
            raise Crash
        self._faults.on_call()


def _result(result: Resource | StoreError) -> Resource:
    if isinstance(result, StoreError):
        raise result
    return result
