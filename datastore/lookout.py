"""Feeds all watches of one client of the embedded datastore: one read after each ring of the bell serves them all.

A watch asks for its next page and waits. Whatever wakes the lookout (the bell, or a watch that came too late for the
last read), it reads for everyone who waits, in one transaction: other processes' commits are held up once, not once a
watch.

Only for use inside an event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

from datastore.bell import LOOK_EVERY_S, Bell
from datastore.ledger import Page, Question
from datastore.store import StoreError, Unavailable

MARK_AFTER = 1_000
"""Changes of other kinds after which a watch is told how far it has come: its revision must not age."""

Ask = Callable[[Sequence[Question]], Awaitable[Sequence[Page | StoreError]]]


class Listener:
    """One watch. ``question`` says how far it has been read."""

    def __init__(self, question: Question, on_wait: Callable[[], None]) -> None:
        self.question = question
        self._on_wait = on_wait
        self._page: asyncio.Future[Page] | None = None
        self._trouble: BaseException | None = None
        self._told = -MARK_AFTER

    @property
    def is_waiting(self) -> bool:
        return self._page is not None and not self._page.done()

    async def next_page(self) -> Page:
        """What is new, once something is. Raises Compacted, and Unavailable when nobody can tell any more."""
        if self._trouble is not None:
            raise self._trouble
        self._page = asyncio.get_running_loop().create_future()
        self._on_wait()
        return await self._page

    def take(self, answer: Page | StoreError) -> None:
        if self._page is None or self._page.done():
            return
        if isinstance(answer, StoreError):
            self._page.set_exception(answer)
            return
        self.question = self.question._replace(since=answer.upto)
        if answer.changes or int(answer.upto) - self._told >= MARK_AFTER:
            self._told = int(answer.upto)
            self._page.set_result(answer)

    def fail(self, trouble: BaseException) -> None:
        self._trouble = trouble
        if self._page is not None and not self._page.done():
            self._page.set_exception(trouble)


class Lookout:
    """Works from the first watch that begins until the last that ends."""

    def __init__(self, path: str, ask: Ask) -> None:
        self._path = path
        self._ask = ask
        self._listeners: set[Listener] = set()
        self._read_upto = ""
        self._called = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def listening(self, question: Question) -> Iterator[Listener]:
        """No change after ``question.since`` goes unheard."""
        listener = Listener(question, self._look_if_late)
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

    def _look_if_late(self) -> None:
        """Whoever waits was read as far as the last read went, or there is one at once."""
        if any(each.is_waiting and each.question.since != self._read_upto for each in self._listeners):
            self._called.set()

    async def _run(self) -> None:
        bell = Bell(self._path, self._called.set)
        try:
            while True:
                await self._read()
                try:
                    async with asyncio.timeout(LOOK_EVERY_S):
                        await self._called.wait()
                except TimeoutError:
                    bell.listen()
        finally:
            bell.close()

    async def _read(self) -> None:
        self._called.clear()
        waiting = [listener for listener in self._listeners if listener.is_waiting]
        if not waiting:
            return
        answers = await self._ask([listener.question for listener in waiting])
        for listener, answer in zip(waiting, answers, strict=True):
            listener.take(answer)
            if isinstance(answer, Page) and answer.is_last:
                self._read_upto = answer.upto
        self._look_if_late()

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
