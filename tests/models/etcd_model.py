"""etcd as far as flannel's leases use it: keys with revisions, leases that end, watches, compaction; and outages.

Time is the loop's. ``clock_ahead_s`` is how far etcd's own clock has gone beyond it. What it answers, the real one
answers as well: ``tests/contract/test_etcd_model.py`` asks both.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from typing import NamedTuple

from datastore import etcd_wire as wire
from datastore.etcd_wire import Answer, Compare, Delete, Event, Found, Heard, Outcome, Put, Range, Stored, Txn
from datastore.store import Unavailable

PATIENCE_S, PING_S = 4.0, 20.0
"""After which a client gives up on an answer, and on a connection that is silent."""


class _Change(NamedTuple):
    revision: int
    event: Event


class EtcdModel:
    def __init__(self) -> None:
        self._is_away = False
        self._clock_ahead_s = 0.0
        self.revision = 1
        self.compacted = 0
        self._keys: dict[bytes, Stored] = {}
        self._ends: dict[int, float] = {}
        self._next_lease = 1
        self._changes: list[_Change] = []
        self._changed = asyncio.Event()

    @property
    def is_away(self) -> bool:
        return self._is_away

    @is_away.setter
    def is_away(self, now: bool) -> None:
        self._is_away = now
        self._changed.set()

    @property
    def clock_ahead_s(self) -> float:
        return self._clock_ahead_s

    @clock_ahead_s.setter
    def clock_ahead_s(self, now: float) -> None:
        self._clock_ahead_s = now
        self._changed.set()

    # --- what a person or time does -------------------------------------------------------------------------------

    def put(self, key: str, value: str, lease: int = 0) -> None:
        self._do(Put(key.encode(), value.encode(), lease), self._next())

    def delete(self, prefix: str = "") -> None:
        """All keys that begin so."""
        at = self._next()
        for key in [key for key in self._keys if key.startswith(prefix.encode())]:
            self._do(Delete(key), at)

    def compact(self) -> None:
        self.compacted = self.revision
        self._changes.clear()

    def values(self, prefix: str = "") -> dict[str, str]:
        self._expire()
        return {key.decode(): one.value.decode() for key, one in self._keys.items() if key.startswith(prefix.encode())}

    def left_s(self, key: str) -> float:
        """Of the lease that the key ends with."""
        return self._ends[self._keys[key.encode()].lease] - self._now()

    # --- what it answers --------------------------------------------------------------------------------------------

    def range(self, of: Range) -> Found:
        self._expire()
        return Found(tuple(self._in(of.key, of.end)), self.revision)

    def write(self, txn: Txn) -> Outcome:
        self._expire()
        is_done = all(map(self._holds, txn.compares))
        ops = txn.then if is_done else txn.otherwise
        at = self._next() if any(isinstance(op, Put | Delete) for op in ops) else self.revision
        return Outcome(is_done, tuple(self._do(op, at) for op in ops), self.revision)

    def grant(self, ttl_s: int) -> int:
        lease, self._next_lease = self._next_lease, self._next_lease + 1
        self._ends[lease] = self._now() + ttl_s
        return lease

    def revoke(self, lease: int) -> None:
        del self._ends[lease]
        at = self._next()
        for key in [key for key, one in self._keys.items() if one.lease == lease]:
            self._do(Delete(key), at)

    def since(self, revision: int, key: bytes, end: bytes) -> tuple[Event, ...]:
        self._expire()
        wanted = (one.event for one in self._changes if one.revision >= revision)
        return tuple(event for event in wanted if _is_in(event.stored.key, key, end))

    async def more(self) -> None:
        """Returns with the next change or outage, or when a lease may have ended."""
        self._changed.clear()
        next_end_s = min((end - self._now() for end in self._ends.values()), default=None)
        try:
            async with asyncio.timeout(next_end_s):
                await self._changed.wait()
        except TimeoutError:
            self._expire()

    def _now(self) -> float:
        return asyncio.get_running_loop().time() + self._clock_ahead_s

    def _next(self) -> int:
        self.revision += 1
        return self.revision

    def _holds(self, compare: Compare) -> bool:
        stored = self._keys.get(compare.key)
        if compare == wire.never_written(compare.key):
            return stored is None
        return stored is not None and compare == wire.unchanged(compare.key, stored.mod_revision)

    def _do(self, op: object, at: int) -> Answer:
        match op:
            case Put(key, value, lease):
                self._note(Stored(key, value, at, lease), is_deletion=False)
                return None
            case Delete(key):
                before = self._keys.get(key)
                if before is not None:
                    self._note(Stored(key, b"", at), is_deletion=True)
                return Found(() if before is None else (before,), at)
            case _:
                raise TypeError(op)

    def _note(self, stored: Stored, *, is_deletion: bool) -> None:
        if is_deletion:
            del self._keys[stored.key]
        else:
            self._keys[stored.key] = stored
        self._changes.append(_Change(self.revision, Event(stored, is_deletion, None)))
        self._changed.set()

    def _expire(self) -> None:
        for lease in [lease for lease, end in self._ends.items() if end <= self._now()]:
            self.revoke(lease)

    def _in(self, key: bytes, end: bytes) -> Iterator[Stored]:
        return (stored for name, stored in sorted(self._keys.items()) if _is_in(name, key, end))


def _is_in(name: bytes, key: bytes, end: bytes) -> bool:
    return key <= name < end if end else name == key


class ModelClient:
    """:class:`flannel.etcd_leases.Etcd`."""

    def __init__(self, model: EtcdModel) -> None:
        self._model = model

    async def range(self, of: Range) -> Found:
        await self._reach()
        return self._model.range(of)

    async def write(self, txn: Txn) -> Outcome:
        await self._reach()
        return self._model.write(txn)

    async def grant(self, ttl_s: int) -> int:
        await self._reach()
        return self._model.grant(ttl_s)

    async def revoke(self, lease: int) -> None:
        await self._reach()
        self._model.revoke(lease)

    async def watch(self, key: bytes, end: bytes, *, start: int, wants_before: bool) -> AsyncGenerator[Heard, None]:
        await self._reach()
        model = self._model
        if start <= model.compacted:
            yield Heard(model.revision, False, True, model.compacted, "compacted", ())
            return
        yield Heard(model.revision, True, False, 0, "", ())
        while True:
            if model.is_away:
                await asyncio.sleep(PING_S)
                raise Unavailable("etcd is silent")
            events = model.since(start, key, end)
            start = model.revision + 1
            if events:
                yield Heard(model.revision, False, False, 0, "", events)
            else:
                await model.more()

    async def close(self) -> None:
        pass

    async def _reach(self) -> None:
        if self._model.is_away:
            await asyncio.sleep(PATIENCE_S)
            raise Unavailable("etcd does not answer")
        await asyncio.sleep(0)
