"""What happened, for whoever has to find out why an invariant broke: the last events, and the last kernel writes."""

from __future__ import annotations

import asyncio
from collections import deque
from hashlib import sha256


class Violation(AssertionError):
    """An invariant broke. The message has all that is needed to see it happen again."""


class Trail:
    """``planned``: steps in all. ``digest`` is of all that ever happened: two runs of one seed have the same."""

    def __init__(self, seed: int) -> None:
        self.seed, self.step, self.planned = seed, 0, 0
        self._events: deque[str] = deque(maxlen=20)
        self._writes: deque[str] = deque(maxlen=20)
        self._hash = sha256()

    def event(self, what: str) -> None:
        self.step += 1
        self._note(self._events, f"{self.step:5}  {what}")

    def write(self, what: str) -> None:
        self._note(self._writes, what)

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def violation(self, what: str) -> Violation:
        events, writes = "\n".join(self._events), "\n".join(self._writes)
        return Violation(
            f"{what}\nseed {self.seed}, step {self.step}, {_now()} s; again: "
            f"SIM_SEED={self.seed} SIM_STEPS={self.planned} ./test tests/sim -k one_seed\n"
            f"the last events\n{events}\nthe last writes to kernels\n{writes}"
        )

    def _note(self, where: deque[str], what: str) -> None:
        line = f"{_now()} s  {what}"
        where.append(line)
        self._hash.update(line.encode())


def _now() -> str:
    return f"{asyncio.get_running_loop().time():10.4f}"
