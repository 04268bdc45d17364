"""The model of a datastore: all in this process, and every rule of :mod:`datastore.store` as plain as it can be.

What other rooms' tests and the simulation stand on, and what every real driver is compared with. A :class:`Memory` is
the shared state, each :class:`MemoryStore` on it one client. Documents are held as JSON text: nobody can change what is
stored by changing what he was given.

Revisions are unordered on purpose and each kind has its own: code that sorts them, or takes one kind's for another's,
fails here first.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from zlib import crc32

from datastore.codec import from_json, to_json
from datastore.resource import Key, Resource, node_of
from datastore.store import (
    Change,
    Compacted,
    Conflict,
    Create,
    Delete,
    Exists,
    Gone,
    Listing,
    Mark,
    Missing,
    Put,
    StoreError,
    Unavailable,
    Update,
    Write,
)

CHANGES_KEPT = 10_000
"""Of each kind; a watch that asks for older ones has to list again."""

_SHUFFLE = 0x9E3779B1
_UNSHUFFLE = pow(_SHUFFLE, -1, 1 << 32)
_NO_REVISION = "none"


@dataclass(frozen=True, slots=True)
class _Logged:
    """One change. ``text`` is None for a deletion; ``came_from`` is the node that the object belonged to before."""

    number: int
    key: Key
    text: str | None
    node: str
    came_from: str


@dataclass
class _Shelf:
    """All of one kind. Changes are numbered from 1: ``log`` has the last of them, ``stored`` those that still count."""

    kind: str
    log: deque[_Logged]
    newest: int = 0
    stored: dict[Key, _Logged] = field(default_factory=dict)
    listeners: dict[asyncio.Event, None] = field(default_factory=dict)  # a set's order is another in every run

    def revision(self, number: int) -> str:
        return f"{(number * _SHUFFLE + crc32(self.kind.encode())) & 0xFFFFFFFF:08x}"

    def number(self, revision: str) -> int:
        """Raises Compacted where it is none of this kind's."""
        try:
            number = ((int(revision, 16) - crc32(self.kind.encode())) * _UNSHUFFLE) & 0xFFFFFFFF
        except ValueError:
            raise Compacted(self.kind, revision) from None
        if number > self.newest:
            raise Compacted(self.kind, revision)
        return number

    def after(self, number: int) -> list[_Logged]:
        """Raises Compacted where they are not all kept."""
        forgotten = self.newest - len(self.log)
        if number < forgotten:
            raise Compacted(self.kind, self.revision(number))
        return list(islice(self.log, number - forgotten, None))

    def resource(self, logged: _Logged) -> Resource:
        return from_json(json.loads(logged.text or ""), revision=self.revision(logged.number))

    def change(self, logged: _Logged, node: str) -> Change | None:
        """What a watcher of ``node`` (of all, if "") is told of it; None where it does not concern that node."""
        if logged.text is not None and node in ("", logged.node):
            return Put(self.resource(logged))
        if node in ("", logged.came_from):
            return Gone(logged.key, self.revision(logged.number))
        return None

    def put(self, resource: Resource) -> Resource:
        logged = self._log(resource.key, json.dumps(to_json(resource)), node_of(resource))
        self.stored[resource.key] = logged
        return self.resource(logged)

    def remove(self, key: Key) -> Resource:
        removed = self.resource(self.stored[key])
        self._log(key, None, "")
        del self.stored[key]
        return removed

    def _log(self, key: Key, text: str | None, node: str) -> _Logged:
        before = self.stored.get(key)
        self.newest += 1
        logged = _Logged(self.newest, key, text, node, before.node if before else "")
        self.log.append(logged)
        for listener in self.listeners:
            listener.set()
        return logged


class Memory:
    """The state that clients share. ``wall_clock`` gives the seconds since 1970 that ``created`` is made from."""

    def __init__(self, *, changes_kept: int = CHANGES_KEPT, wall_clock: Callable[[], float] = time.time) -> None:
        self._changes_kept = changes_kept
        self._wall_clock = wall_clock
        self._shelves: dict[str, _Shelf] = {}
        self._uids = 0

    def shelf(self, kind: str) -> _Shelf:
        if kind not in self._shelves:
            self._shelves[kind] = _Shelf(kind, deque(maxlen=self._changes_kept))
        return self._shelves[kind]

    def get(self, key: Key) -> Resource:
        shelf = self.shelf(key.kind)
        if key not in shelf.stored:
            raise Missing(key)
        return shelf.resource(shelf.stored[key])

    def write(self, write: Write) -> Resource:
        match write:
            case Create(resource):
                return self._create(resource)
            case Update(resource):
                stored = self._expect(resource.key, resource.revision or _NO_REVISION, resource.uid)
                kept = resource.stamped(revision="", uid=stored.uid, created=stored.created)
                return self.shelf(resource.kind).put(kept)
            case Delete(key, revision, uid):
                self._expect(key, revision, uid)
                return self.shelf(key.kind).remove(key)

    def compact(self) -> None:
        """Forget all changes up to now: a watch that has not seen them has to list again."""
        for shelf in self._shelves.values():
            shelf.log.clear()

    def _create(self, resource: Resource) -> Resource:
        shelf = self.shelf(resource.kind)
        if resource.key in shelf.stored:
            raise Exists(resource.key)
        self._uids += 1
        uid = f"00000000-0000-4000-8000-{self._uids:012d}"
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._wall_clock()))
        return shelf.put(resource.stamped(revision="", uid=uid, created=created))

    def _expect(self, key: Key, revision: str, uid: str) -> Resource:
        """What is stored, if it is still what the writer saw; an empty ``revision`` or ``uid`` means any."""
        stored = self.get(key)
        if revision not in ("", stored.revision) or uid not in ("", stored.uid):
            raise Conflict(key)
        return stored


class MemoryStore:
    """One client of a Memory (its own one, if none is given). What it writes, the others see at once."""

    def __init__(self, memory: Memory | None = None) -> None:
        self._memory = memory or Memory()
        self._is_closed = False
        self._listening: dict[asyncio.Event, None] = {}

    async def get(self, key: Key) -> Resource:
        return self._memory.get(key)

    async def list(self, kind: str, *, namespace: str = "", node: str = "") -> Listing:
        shelf = self._memory.shelf(kind)
        of_namespace = (key for key in shelf.stored if namespace in ("", key.namespace))
        found = (shelf.stored[key] for key in sorted(of_namespace, key=lambda key: (key.namespace, key.name)))
        items = tuple(shelf.resource(logged) for logged in found if node in ("", logged.node))
        return Listing(items, shelf.revision(shelf.newest))

    async def create(self, resource: Resource) -> Resource:
        return self._memory.write(Create(resource))

    async def update(self, resource: Resource) -> Resource:
        return self._memory.write(Update(resource))

    async def delete(self, key: Key, *, revision: str = "", uid: str = "") -> Resource:
        return self._memory.write(Delete(key, revision, uid))

    async def write_many(self, writes: Sequence[Write]) -> Sequence[Resource | StoreError]:
        return [self._result_of(write) for write in writes]

    def _result_of(self, write: Write) -> Resource | StoreError:
        try:
            return self._memory.write(write)
        except StoreError as error:
            return error

    async def watch(self, kind: str, *, since: str, node: str = "") -> AsyncGenerator[Change, None]:
        shelf = self._memory.shelf(kind)
        number = shelf.number(since)
        shelf.after(number)
        heard = asyncio.Event()
        shelf.listeners[heard] = self._listening[heard] = None
        try:
            while not self._is_closed:
                heard.clear()
                news = shelf.after(number)
                number = shelf.newest
                concerning = [change for logged in news if (change := shelf.change(logged, node))]
                for change in concerning or [Mark(shelf.revision(number))]:
                    yield change
                if number == shelf.newest:
                    await heard.wait()
        finally:
            del shelf.listeners[heard], self._listening[heard]
        raise Unavailable("this client of the datastore was closed")

    async def close(self) -> None:
        self._is_closed = True
        for listener in self._listening:
            listener.set()
