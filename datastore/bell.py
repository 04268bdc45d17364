"""Who learns of a change to the embedded datastore's file, in any process, and when.

After a commit the writer sets the file's times; inotify tells every process that watches the file (one inotify instance
each, however many watches). The process then asks the ledger once which kinds changed, and wakes the watches of those.
Where inotify is silent (lost, or none to be had) a look once a second finds the same: a ring is a hint, the ledger
the truth.

Only for use inside an event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from inotify_simple import INotify, flags

from datastore.ledger import News
from datastore.store import Unavailable

LOOK_EVERY_S = 1.0
CALL_ALL_AFTER = 1_000
"""Changes after which every watch is called, whatever its kind: the revision that it can go on from must not age."""

logger = logging.getLogger(__name__)


class Bell:
    """Heard after each commit of any process."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._rung = asyncio.Event()
        self._inotify = _inotify()
        if self._inotify is not None:
            self._listen()
            asyncio.get_running_loop().add_reader(self._inotify.fileno(), self._hear)

    async def wait(self) -> None:
        """Until it rings, and at most LOOK_EVERY_S."""
        try:
            async with asyncio.timeout(LOOK_EVERY_S):
                await self._rung.wait()
        except TimeoutError:
            self._listen()
        self._rung.clear()

    def close(self) -> None:
        if self._inotify is not None:
            asyncio.get_running_loop().remove_reader(self._inotify.fileno())
            self._inotify.close()

    def _listen(self) -> None:
        """To the file that is at the path now. The same one again costs nothing; a new one may have replaced it."""
        if self._inotify is not None:
            with suppress(OSError):  # it is gone, or out of reach: the ledger will say so
                self._inotify.add_watch(self._path, flags.ATTRIB)

    def _hear(self) -> None:
        assert self._inotify is not None
        self._inotify.read(timeout=0)
        self._rung.set()


def _inotify() -> INotify | None:
    try:
        return INotify()
    except OSError as error:
        logger.warning("datastore.no_inotify why=%s: changes by others are seen up to a second late", error)
        return None


class Listener:
    """The ear of one watch."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._trouble: BaseException | None = None
        self._called = asyncio.Event()

    async def wait(self) -> None:
        """Until there may be changes. Raises what made listening impossible."""
        await self._called.wait()
        self._called.clear()
        if self._trouble is not None:
            raise self._trouble

    def call(self) -> None:
        self._called.set()

    def fail(self, trouble: BaseException) -> None:
        self._trouble = trouble
        self._called.set()


class Lookout:
    """Listens for all watches of one client, from the first that begins until the last that ends.

    ``look`` asks the ledger for what is new after a revision.
    """

    def __init__(self, path: str, look: Callable[[int], Awaitable[News]]) -> None:
        self._path = path
        self._look = look
        self._listeners: set[Listener] = set()
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def listening(self, kind: str) -> Iterator[Listener]:
        """From here on, no change of ``kind`` goes unheard."""
        listener = Listener(kind)
        self._listeners.add(listener)
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="datastore lookout")
            self._task.add_done_callback(self._ended)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)
            if not self._listeners:
                self._stop()

    def close(self) -> None:
        for listener in self._listeners:
            listener.fail(Unavailable(f"this client of the datastore {self._path} was closed"))
        self._stop()

    async def _run(self) -> None:
        bell = Bell(self._path)
        try:
            all_called_at = seen = (await self._look(0)).upto
            self._call(self._listeners)  # what changed before the bell was there to be heard
            while True:
                await bell.wait()
                news = await self._look(seen)
                was_put_back = news.upto < seen
                seen = news.upto
                if was_put_back or seen - all_called_at >= CALL_ALL_AFTER:
                    all_called_at = seen
                    self._call(self._listeners)
                else:
                    self._call(listener for listener in self._listeners if listener.kind in news.kinds)
        finally:
            bell.close()

    def _call(self, listeners: Iterable[Listener]) -> None:
        for listener in listeners:
            listener.call()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task is self._task:
            self._task = None
        trouble = None if task.cancelled() else task.exception()
        if trouble is not None:
            for listener in self._listeners:
                listener.fail(trouble)

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
