"""A replica of the controllers, with one life at a time and its own way to the datastore."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from random import Random

from controllers.collector import Collector
from datastore.memory import Memory, MemoryStore
from tests.models.faulty_store import Faults, FaultyStore, StoreLine
from tests.sim.life import SLOW_CHANCE, SLOWEST_S, Life
from tests.sim.node import CONFLICT_CHANCE, LOST_ANSWER_CHANCE

PERIOD_S = 300.0


class SimControllers:
    """``store_line`` is cut when the datastore is away for this replica."""

    def __init__(
        self, number: int, *, seed: int, memory: Memory, wall_ns: Callable[[], int], fail: Callable[[str], None]
    ) -> None:
        self.name = f"controllers{number}"
        self.store_line = StoreLine()
        self.life: Life | None = None
        self.collector: Collector | None = None
        self._seed, self._memory, self._wall_ns, self._fail = seed, memory, wall_ns, fail
        self._lives = 0
        self._past_and_present: list[Life] = []

    def start(self) -> None:
        if self.life is not None:
            return
        self._lives += 1
        life = Life(self.name, Random(f"{self._seed} {self.name} {self._lives}"), on_failure=self._note_failure)
        life.on_end.append(self._forget)
        self._past_and_present = [each for each in self._past_and_present if each.is_running] + [life]
        self.life = life
        self.collector = Collector(
            FaultyStore(MemoryStore(self._memory), self._faults(life)),
            f"{self.name}_{self._lives}",
            random=life.random.random,
            wall_ns=self._wall_ns,
            period_s=PERIOD_S,
        )
        life.start(self.collector.run())

    def kill(self) -> None:
        if self.life is not None:
            self.life.kill()

    async def buried(self) -> None:
        """Return when nothing of any life runs any more."""
        for life in self._past_and_present:
            await life.buried()

    def _faults(self, life: Life) -> Faults:
        return Faults(
            life.random,
            conflict_chance=CONFLICT_CHANCE,
            lost_answer_chance=LOST_ANSWER_CHANCE,
            slow_chance=SLOW_CHANCE,
            slowest_s=SLOWEST_S,
            line=self.store_line,
            on_call=life.pass_by,
        )

    def _forget(self) -> None:
        self.life = self.collector = None

    def _note_failure(self, life: Life, error: BaseException) -> None:
        self._fail(f"{life.name} ended by itself: {''.join(traceback.format_exception(error))}")
