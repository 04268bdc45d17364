"""One life of one process: from its start to SIGTERM, or to kill -9 at any await.

Python cannot make a task vanish: one that is cancelled still runs its ``finally``. So whatever a process does to the
world goes through doors that ask its life first, and once that is over they are shut: what still runs reaches nobody.
Its connections are closed for it at the same moment, as the kernel does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, TypeVar

from tests.models.faulty_store import Crash

T = TypeVar("T")

SLOW_CHANCE = 0.02
SLOWEST_S = 0.05


class Life:
    """``on_failure`` hears of an exception that ended the process. ``on_end`` closes what it had open."""

    def __init__(self, name: str, random: Random, *, on_failure: Callable[[Life, BaseException], None]) -> None:
        self.name, self.random = name, random
        self.is_over = False
        self.on_end: list[Callable[[], None]] = []
        self._on_failure = on_failure
        self._ended = asyncio.Event()
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._passages_left = -1

    # What it consists of.

    def start(self, part: Coroutine[Any, Any, Any]) -> None:
        """A part of the process: if it fails, the process has failed."""
        self._spawn(part).add_done_callback(self._judge)

    async def answer(self, request: Coroutine[Any, Any, T]) -> T:
        """What a client of the process gets. Raises ConnectionResetError when the process ends before."""
        if self.is_over:
            request.close()
            raise ConnectionRefusedError(self.name)
        task = self._spawn(request)
        ended = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait((task, ended), return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
        if self.is_over or task.cancelled():
            raise ConnectionResetError(self.name)
        return task.result()

    @property
    def is_running(self) -> bool:
        """Also when it is over: what was cancelled needs some turns of the loop to leave."""
        return bool(self._tasks)

    # Its doors.

    def pass_by(self) -> None:
        """A door, on the way in or out. Raises Crash when the life is over, or is to be over here."""
        if self._passages_left == 0:
            self.kill()
        self._passages_left -= 1
        if self.is_over:
            raise Crash

    async def linger(self) -> None:
        """A door behind which something takes its time."""
        self.pass_by()
        for _ in range(self.random.randint(0, 2)):
            await asyncio.sleep(0)
        if self.random.random() < SLOW_CHANCE:
            await asyncio.sleep(self.random.random() * SLOWEST_S)
        self.pass_by()

    # Its end.

    def doom(self, passages: int) -> None:
        """It will be killed at a door, after so many others."""
        self._passages_left = passages

    def kill(self) -> None:
        """kill -9: nothing that it would do on its way out is done."""
        if not self.is_over:
            self._end()
            for task in self._tasks:
                task.cancel()

    async def stop(self) -> None:
        """SIGTERM: it leaves in order, and then it is over."""
        for task in list(self._tasks):
            task.cancel()
        while self._tasks:
            await asyncio.wait(list(self._tasks))
            await asyncio.sleep(0)
        if not self.is_over:
            self._end()

    async def buried(self) -> None:
        """Return when nothing of it runs any more."""
        while self._tasks:
            await asyncio.wait(list(self._tasks))
            await asyncio.sleep(0)

    def _end(self) -> None:
        self.is_over = True
        self._ended.set()
        for close in self.on_end:
            close()

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.ensure_future(work)
        self._tasks[task] = None
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        del self._tasks[task]
        if not task.cancelled():
            task.exception()  # looked at: who asked for it hears of it

    def _judge(self, task: asyncio.Task[Any]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not self.is_over:
            self.kill()
            self._on_failure(self, error)
