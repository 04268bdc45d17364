"""Keeps the lease, or waits for it. One replica leads; a second is there so that somebody does.

Nothing would be lost if two led for a moment: every release carries the handle and the sequence that were seen, every
other write the revision. The lease spares the datastore the work twice, and users two answers to one question.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NoReturn

from controllers import lease
from datastore.resource import Resource
from datastore.store import Conflict, Exists, Missing, Store, StoreError

log = logging.getLogger("controllers.leader")


class Leader:
    """``me`` names this replica, and no other one. ``on_change`` hears when it begins or ends to lead."""

    def __init__(
        self, store: Store, me: str, *, wall_ns: Callable[[], int], on_change: Callable[[], None] = lambda: None
    ) -> None:
        self._store, self.me, self._wall_ns, self._on_change = store, me, wall_ns, on_change
        self._seen: lease.Seen | None = None
        self._until = float("-inf")
        self._led = False

    @property
    def leads(self) -> bool:
        """For now: ask again before each write."""
        return _now() < self._until

    async def run(self) -> NoReturn:
        """Until cancelled; then the lease stands until it runs out, or :meth:`resign` is called."""
        while True:
            try:
                await self._try()
            except (Conflict, Exists, Missing):
                self._until = float("-inf")  # somebody else wrote it
            except StoreError as error:
                log.warning("lease.unavailable why=%r", str(error))
            self._tell()
            await asyncio.sleep(lease.RENEWAL_S)

    async def resign(self) -> None:
        """Let another one lead at once. Raises StoreError."""
        if self.leads:
            self._until = float("-inf")
            record = await self._store.get(lease.KEY)
            if lease.holder_of(record) == self.me:
                await self._store.update(lease.let_go(record))

    async def _try(self) -> None:
        asked_at = _now()
        record = await self._read()
        self._seen = lease.seen(self._seen, record, now=_now())
        if not lease.may_take(self.me, record, self._seen, now=_now()):
            self._until = float("-inf")
            return
        wanted = lease.taken(self.me, record, wall=datetime.fromtimestamp(self._wall_ns() / 1e9, UTC))
        await (self._store.update(wanted) if record is not None else self._store.create(wanted))
        self._until = asked_at + lease.DURATION_S - lease.MARGIN_S

    async def _read(self) -> Resource | None:
        try:
            return await self._store.get(lease.KEY)
        except Missing:
            return None

    def _tell(self) -> None:
        if self.leads != self._led:
            self._led = self.leads
            log.info("lease.%s holder=%s", "taken" if self._led else "lost", self.me)
            self._on_change()


def _now() -> float:
    return asyncio.get_running_loop().time()
