"""What a person should know although felix works: pods with too large an MTU, an edit that won over calico.yaml.

Each is told once, in the log and as an event of the object, and shown by ``calicoctl node status`` and the health
server's ``/notes`` for as long as it holds. An event that cannot be told now is told later; it holds up nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from ipaddress import ip_network

from datastore.events import Event
from datastore.resource import Key
from datastore.resources import IPPool
from datastore.store import StoreError, Unavailable
from felix.startup import edits
from felix.startup.environment import BadEnvironment, Environ

log = logging.getLogger("felix.notes")

PAUSE_S = 10.0
MOST_WAITING = 200

_ANY_ULA = ip_network("fd00::/48")
Announce = Callable[[Event], Awaitable[None]]


def asked_of(environ: Environ) -> Iterator[edits.Asked]:
    """What the environment says of the first pools."""
    for version in (4, 6):
        with suppress(BadEnvironment):  # start-up says so, and ends
            asked = edits.asked(environ, version, ula=_ANY_ULA)
            if asked.given:
                yield asked


def overruled(pools: Iterable[IPPool], asked: Iterable[edits.Asked]) -> Iterator[Event]:
    """What is asked for while the pools are otherwise: it counts when a pool is made, and later only where nobody has
    edited it.
    """
    known = list(pools)
    for each in asked:
        if each.pool is not None:
            about = Key("IPPool", each.pool.name)
            yield from (Event(about, "EditWins", line) for line in edits.plan(each, known).overruled)


class Notes:
    """Run :meth:`run`. ``announce`` raises StoreError."""

    def __init__(self, announce: Announce) -> None:
        self._announce = announce
        self._by_source: Mapping[str, tuple[Event, ...]] = {}
        self._waiting: deque[Event] = deque(maxlen=MOST_WAITING)
        self._is_waiting = asyncio.Event()

    def report(self, source: str, events: Iterable[Event]) -> None:
        """These hold now, of all that ``source`` tells; those of before hold no more."""
        found = tuple(events)
        known = self._by_source.get(source, ())
        if found == known:
            return
        self._by_source = {**self._by_source, source: found}
        for event in found:
            if event not in known:
                log.warning("note.%s about=%s/%s %s", event.reason, event.about.kind, event.about.name, event.text)
                self._waiting.append(event)
                self._is_waiting.set()

    def lines(self) -> list[str]:
        """For a person."""
        return [event.text for events in self._by_source.values() for event in events]

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._is_waiting.wait()
            while self._waiting:
                await self._tell(self._waiting[0])
            self._is_waiting.clear()

    async def _tell(self, event: Event) -> None:
        try:
            await self._announce(event)
        except Unavailable:
            await asyncio.sleep(PAUSE_S)
            return
        except StoreError as error:
            log.warning("note.untold reason=%s why=%r", event.reason, str(error))
        if self._waiting and self._waiting[0] is event:
            self._waiting.popleft()
