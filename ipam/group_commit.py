"""Callers that wait together share their writes: 50 pods at once cost a handful of datastore writes, not 100.

One task serves everybody. While it writes for some, others gather; they are the next round. A caller that went away
while its address was being written gives it back. Only for one event loop; between processes the store decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar

from datastore.store import Unavailable
from ipam.allocator import Assigned, Outcome, Request

LARGEST_ROUND = 256
"""Requests served by one round; keeps the longest wait, and the largest write, bounded."""


class Assigner(Protocol):
    async def assign(self, requests: Sequence[Request]) -> Sequence[Outcome]: ...


class HandleReleaser(Protocol):
    async def release_handles(self, wanted: Sequence[str], *, are_settled: bool = False) -> int: ...


Q = TypeVar("Q")
A = TypeVar("A")


class _Waiting(Generic[Q, A]):
    def __init__(self, question: Q) -> None:
        self.question = question
        self.answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()

    def succeed(self, answer: A) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class GroupCommit:
    """``assign`` and ``release`` wait for the round that serves them; ``run`` serves rounds until it is cancelled.

    Requests for the same handle must not wait together with its release: who owns the handle keeps that order.
    """

    def __init__(self, assigner: Assigner, releaser: HandleReleaser) -> None:
        self._assigner, self._releaser = assigner, releaser
        self._assigns: list[_Waiting[Request, Assigned]] = []
        self._releases: list[_Waiting[str, None]] = []
        self._called = asyncio.Event()
        self._has_ended = False

    async def assign(self, request: Request) -> Assigned:
        """Raises NoAddress, NoPool, Contention, Unavailable."""
        waiting: _Waiting[Request, Assigned] = _Waiting(request)
        self._assigns.append(waiting)
        self._call()
        return await waiting.answer

    async def release(self, handle: str) -> None:
        """Give back what ``handle`` holds; nothing to give back is no error. Raises Contention, Unavailable."""
        waiting: _Waiting[str, None] = _Waiting(handle)
        self._releases.append(waiting)
        self._call()
        await waiting.answer

    def _call(self) -> None:
        """Wake the task that serves. Once it has ended, nobody may wait for it."""
        self._called.set()
        if self._has_ended:
            _fail((*self._assigns, *self._releases), _ENDING)

    async def run(self) -> None:
        try:
            while True:
                await self._called.wait()
                self._called.clear()
                while self._assigns or self._releases:
                    await self._release_round()  # first: what it frees may serve the others
                    await self._assign_round()
        finally:
            self._has_ended = True
            self._call()

    async def _release_round(self) -> None:
        round_, self._releases = self._releases[:LARGEST_ROUND], self._releases[LARGEST_ROUND:]
        if not round_:
            return
        with _told_of_failure(round_):
            await self._releaser.release_handles([each.question for each in round_], are_settled=True)
            for each in round_:
                each.succeed(None)

    async def _assign_round(self) -> None:
        round_ = self._next_round()
        if not round_:
            return
        with _told_of_failure(round_):
            outcomes = await self._assigner.assign([each.question for each in round_])
            for each, outcome in zip(round_, outcomes, strict=True):
                if isinstance(outcome, Assigned):
                    self._hand_over(each, outcome)
                else:
                    each.fail(outcome)

    def _next_round(self) -> list[_Waiting[Request, Assigned]]:
        """Callers that still wait, each holder and family once; the others stay for the round after."""
        chosen: dict[tuple[str, int], _Waiting[Request, Assigned]] = {}
        later = []
        for each in self._assigns:
            key = (each.question.holder.handle, each.question.wish.version)
            if each.answer.done():
                continue
            if len(chosen) < LARGEST_ROUND and key not in chosen:
                chosen[key] = each
            else:
                later.append(each)
        self._assigns = later
        return list(chosen.values())

    def _hand_over(self, waiting: _Waiting[Request, Assigned], assigned: Assigned) -> None:
        """A caller that has gone does not know of its new address, so nobody would ever give it back."""
        if waiting.answer.cancelled() and assigned.is_new:
            self._releases.append(_Waiting(waiting.question.holder.handle))
        waiting.succeed(assigned)


_ENDING = Unavailable("felix is ending; ask again when it is back")


@contextmanager
def _told_of_failure(waiting: Sequence[_Waiting[Q, A]]) -> Iterator[None]:
    """A failure is for the callers, every one of them; an end of the task is its own affair too."""
    try:
        yield
    except Exception as error:  # noqa: BLE001
        _fail(waiting, error)
    except BaseException:
        _fail(waiting, _ENDING)
        raise


def _fail(waiting: Iterable[_Waiting[Any, Any]], error: Exception) -> None:
    for each in waiting:
        each.fail(error)
