"""Answers who asks this node for its status by a CalicoNodeStatus: at once, and then every updatePeriodSeconds.

A period of 0 is one answer for each edit of the question. Only what has changed is written, as Calico does it; one task
writes, an object at a time. Where the datastore cannot be written the question stays open and is tried again; what it
says of an object that has gone meanwhile is nobody's business any more.

Source: Calico node/pkg/status/reporter.go.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NoReturn

from bgp import node_status
from datastore.follow import Batch, follow
from datastore.resource import Resource
from datastore.store import Conflict, Missing, Store, StoreError

log = logging.getLogger(__name__)

KIND = "CalicoNodeStatus"
TRY_AGAIN_S = 5.0

Tell = Callable[[Collection[str], Mapping[str, Any]], dict[str, Any]]
"""The status of these classes, given what stood there before."""


@dataclass(frozen=True, slots=True)
class Question:
    classes: tuple[str, ...]
    period_s: int


class NodeReports:
    """``counters``: answers written, and those that could not be."""

    def __init__(self, store: Store, node: str, tell: Tell, *, wall: Callable[[], datetime]) -> None:
        self.counters: Counter[str] = Counter()
        self._store, self._node, self._tell, self._wall = store, node, tell, wall
        self._loop = asyncio.get_running_loop()
        self._asked: dict[str, Resource] = {}
        self._due: set[str] = set()
        self._is_due = asyncio.Event()
        self._timers: dict[str, asyncio.TimerHandle] = {}

    async def run(self, *, chance: Callable[[], float]) -> None:
        """Until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                following = follow(self._store, KIND, self._take, random=chance, node=self._node)
                tasks.create_task(following, name=f"follow {KIND}")
                tasks.create_task(self._answer_all(), name="answer")
        finally:
            for timer in self._timers.values():
                timer.cancel()

    def _take(self, batch: Batch) -> None:
        named = {each.name for each in batch.puts}
        for name in [key.name for key in batch.gones] + [
            name for name in self._asked if batch.is_snapshot and name not in named
        ]:
            self._forget(name)
        for resource in batch.puts:
            before = self._asked.get(resource.name)
            self._asked[resource.name] = resource
            if question_of(resource) is not None and (before is None or before.spec != resource.spec):
                self._be_due(resource.name)

    def _forget(self, name: str) -> None:
        self._asked.pop(name, None)
        if name in self._timers:
            self._timers.pop(name).cancel()

    def _be_due(self, name: str) -> None:
        self._due.add(name)
        self._is_due.set()

    async def _answer_all(self) -> NoReturn:
        while True:
            await self._is_due.wait()
            self._is_due.clear()
            while self._due:
                await self._answer(self._due.pop())

    async def _answer(self, name: str) -> None:
        resource = self._asked.get(name)
        question = question_of(resource) if resource is not None else None
        if resource is None or question is None:
            return
        wait_s = float(question.period_s)
        try:
            await self._write(resource, question)
        except Missing:
            return
        except StoreError as error:
            self.counters["unwritten"] += 1
            log.warning("status.unwritten name=%s why=%s", name, error)
            wait_s = min(wait_s or TRY_AGAIN_S, TRY_AGAIN_S)
        if name in self._timers:
            self._timers.pop(name).cancel()
        if wait_s and name in self._asked:
            self._timers[name] = self._loop.call_later(wait_s, self._be_due, name)

    async def _write(self, resource: Resource, question: Question) -> None:
        """A rival that wrote first is read once; what it asks is answered when the watch brings it.

        Raises StoreError.
        """
        before = resource.status or {}
        now = self._tell(question.classes, before)
        if now == before:
            return
        wanted = replace(resource, status=node_status.at(self._wall(), now))
        try:
            written = await self._store.update(wanted)
        except Conflict:
            current = await self._store.get(resource.key)
            written = await self._store.update(replace(current, status=wanted.status))
        self.counters["written"] += 1
        if resource.name in self._asked:
            self._asked[resource.name] = replace(written, spec=self._asked[resource.name].spec)


def question_of(resource: Resource) -> Question | None:
    """None for one that asks nothing, as Calico reads it: without a period."""
    period_s, classes = resource.spec.get("updatePeriodSeconds"), resource.spec.get("classes")
    if not isinstance(period_s, int) or not isinstance(classes, list | tuple):
        return None
    return Question(tuple(map(str, classes)), period_s)
