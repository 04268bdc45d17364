"""Keeps somebody informed of one kind: list, then watch, and list again only when the changes since are lost.

Owns what happens when a watch or the whole store is lost: nothing is said to the sink, the watch is taken up where it
stood as soon as that is possible, and where it is not (Compacted) one list brings everything up to date. So an outage
never looks like a deletion, and after it a kind is listed once at most.

``sink`` is told the state, not the story: several changes of one object that come together are one, the last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import NoReturn

from datastore.cancellation import end_if_cancelled
from datastore.resource import Key, Resource
from datastore.store import Change, Compacted, Gone, Put, Rejected, Store, StoreError, Unavailable, Unread

LARGEST_BATCH = 500
"""Changes; a snapshot is as large as the kind."""
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 10.0


@dataclass(frozen=True, slots=True)
class Batch:
    """A snapshot is complete: what is neither in ``puts`` nor ``unreadable`` is gone. Otherwise these are the objects
    that changed. What cannot be read is there, and its state is not known.
    """

    kind: str
    is_snapshot: bool
    puts: tuple[Resource, ...]
    gones: tuple[Key, ...] = ()
    unreadable: Mapping[Key, Rejected] = field(default_factory=dict)


Sink = Callable[[Batch], object]
"""A plain function; what it returns is not looked at."""
OnTrouble = Callable[[str, StoreError | None], None]


def _tell_nobody(kind: str, error: StoreError | None) -> None:
    pass


async def follow(
    store: Store,
    kind: str,
    sink: Sink,
    *,
    random: Callable[[], float],
    node: str = "",
    on_trouble: OnTrouble = _tell_nobody,
) -> NoReturn:
    """Runs until it is cancelled. What the store raises is waited out; what ``sink`` raises ends it, in a group.

    Args:
        random: gives numbers from 0 up to 1, which spread retries so that nodes do not come all at once.
        node: only what belongs to that node.
        on_trouble: told the error when the store cannot be followed, and None when it can again.
    """
    follower = _Follower(store, kind, sink, node, on_trouble)
    while True:
        try:
            await follower.list_and_watch()
        except* Compacted as lost:
            follower.start_anew(lost)
        except* StoreError as lost:
            follower.miss(lost)
        end_if_cancelled()
        await asyncio.sleep(_pause_s(follower.failures, random()))


def _pause_s(failures: int, chance: float) -> float:
    """Between half and the whole of a time that doubles with each failure."""
    if failures == 0:
        return 0.0
    whole = min(FIRST_PAUSE_S * 2.0 ** min(failures - 1, 30), LONGEST_PAUSE_S)
    return whole * (1 + chance) / 2


class _Follower:
    """``failures``: in a row, since a watch last stood. ``_has_stood``: one did, since there was reason to list."""

    def __init__(self, store: Store, kind: str, sink: Sink, node: str, on_trouble: OnTrouble) -> None:
        self.failures = 0
        self._store = store
        self._kind = kind
        self._sink = sink
        self._node = node
        self._on_trouble = on_trouble
        self._since = ""
        self._has_stood = False

    async def list_and_watch(self) -> NoReturn:
        """Raises a StoreError, or a group of them."""
        if not self._since:
            listing = await self._store.list(self._kind, node=self._node)
            self._sink(Batch(self._kind, True, listing.items, unreadable=listing.unreadable))
            self._since = listing.revision
        queue: asyncio.Queue[Change] = asyncio.Queue(LARGEST_BATCH)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._receive(queue), name=f"watch {self._kind}")
            while True:
                self._deliver(await _all_ready(queue))

    def start_anew(self, lost: ExceptionGroup[Compacted]) -> None:
        if not self._has_stood:
            self.miss(lost)  # changes are forgotten faster than they can be listed: not again without a pause
        self._since, self._has_stood = "", False

    def miss(self, lost: ExceptionGroup[StoreError]) -> None:
        if self.failures == 0:
            self._on_trouble(self._kind, _cause(lost))
        self.failures += 1

    async def _receive(self, queue: asyncio.Queue[Change]) -> NoReturn:
        async with aclosing(self._store.watch(self._kind, since=self._since, node=self._node)) as changes:
            async for change in changes:
                await queue.put(change)
        raise Unavailable(f"the watch of {self._kind} ended")

    def _deliver(self, changes: Sequence[Change]) -> None:
        if self.failures:
            self._on_trouble(self._kind, None)
        self.failures, self._has_stood = 0, True
        batch = _batch(self._kind, changes)
        if batch.puts or batch.gones or batch.unreadable:
            self._sink(batch)
        self._since = _revision(changes[-1])


def _cause(lost: ExceptionGroup[StoreError]) -> StoreError:
    first = lost.exceptions[0]
    return first if isinstance(first, StoreError) else _cause(first)


async def _all_ready(queue: asyncio.Queue[Change]) -> Sequence[Change]:
    """What can be had without waiting, after the first: no more than the queue holds."""
    ready = [await queue.get()]
    while not queue.empty():
        ready.append(queue.get_nowait())
    return ready


def _batch(kind: str, changes: Sequence[Change]) -> Batch:
    last: dict[Key, Change] = {}
    for change in changes:
        match change:
            case Put(resource):
                last.pop(resource.key, None)
                last[resource.key] = change
            case Gone(key) | Unread(key):
                last.pop(key, None)
                last[key] = change
    return Batch(
        kind,
        False,
        tuple(change.resource for change in last.values() if isinstance(change, Put)),
        tuple(key for key, change in last.items() if isinstance(change, Gone)),
        {key: change.why for key, change in last.items() if isinstance(change, Unread)},
    )


def _revision(change: Change) -> str:
    return change.resource.revision if isinstance(change, Put) else change.revision
