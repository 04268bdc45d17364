"""The embedded datastore: no server, one file, any number of processes of one machine. ``DATASTORE_TYPE=sqlite``.

The asynchronous face of :mod:`datastore.ledger`. Without an executor a call is made where it stands and its coroutine
never suspends: a command that has no event loop drives it with :mod:`datastore.plain`, and asyncio, which takes longer
to import than most commands to run, is never loaded. With an executor (of one thread, for daemons) neither a commit nor
a lock holds up the event loop.

Only ``watch`` waits, and only in an event loop: :mod:`datastore.lookout` wakes it.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from datastore.ledger import CHANGES_KEPT, Ledger, Question
from datastore.resource import Key, Resource
from datastore.sqlite_file import PATIENCE_S
from datastore.store import Change, Create, Delete, Listing, Mark, StoreError, Update, Write

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from datastore.lookout import Lookout

P = ParamSpec("P")
T = TypeVar("T")


class SqliteStore:
    """One client. The file is opened, and made if it is not there, by the first call."""

    def __init__(
        self,
        path: str,
        *,
        executor: Executor | None = None,
        changes_kept: int = CHANGES_KEPT,
        patience_s: float = PATIENCE_S,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._executor = executor
        self._ledger = Ledger(path, changes_kept=changes_kept, patience_s=patience_s, wall_clock=wall_clock)
        self._lookout: Lookout | None = None

    async def get(self, key: Key) -> Resource:
        return await self._call(self._ledger.get, key)

    async def list(self, kind: str, *, namespace: str = "", node: str = "") -> Listing:
        return await self._call(self._ledger.listing, kind, namespace=namespace, node=node)

    async def create(self, resource: Resource) -> Resource:
        return await self._write(Create(resource))

    async def update(self, resource: Resource) -> Resource:
        return await self._write(Update(resource))

    async def delete(self, key: Key, *, revision: str = "", uid: str = "") -> Resource:
        return await self._write(Delete(key, revision, uid))

    async def write_many(self, writes: Sequence[Write]) -> Sequence[Resource | StoreError]:
        """One transaction and so, here, all of it or nothing."""
        return await self._call(self._ledger.write, writes)

    async def watch(self, kind: str, *, since: str, node: str = "") -> AsyncGenerator[Change, None]:
        with self._listeners().listening(Question(kind, since, node)) as listener:
            while True:
                page = await listener.next_page()
                for change in page.changes or (Mark(page.upto),):
                    yield change

    async def close(self) -> None:
        if self._lookout is not None:
            self._lookout.close()
        await self._call(self._ledger.close)

    async def _write(self, write: Write) -> Resource:
        (result,) = await self._call(self._ledger.write, (write,))
        if isinstance(result, StoreError):
            raise result
        return result

    async def _call(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._executor is None:
            return work(*args, **kwargs)
        from asyncio import get_running_loop

        return await get_running_loop().run_in_executor(self._executor, lambda: work(*args, **kwargs))

    def _listeners(self) -> Lookout:
        if self._lookout is None:
            from datastore.lookout import Lookout

            self._lookout = Lookout(self._path, lambda questions: self._call(self._ledger.changes, questions))
        return self._lookout
