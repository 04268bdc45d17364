"""How long something took, each time: counted by size. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

LIMITS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""From a pass that changes one route to an ADD that waits for the datastore until it gives up."""


class Durations:
    """Since the start; they only grow."""

    def __init__(self, limits_s: Sequence[float] = LIMITS_S) -> None:
        self._limits_s = limits_s
        self._counts = [0] * (len(limits_s) + 1)
        self.total_s = 0.0

    def add(self, seconds: float) -> None:
        self._counts[bisect_left(self._limits_s, seconds)] += 1
        self.total_s += seconds

    @property
    def count(self) -> int:
        return sum(self._counts)

    def cumulated(self) -> Iterator[tuple[float, int]]:
        """How many took up to each limit; the last limit is infinite."""
        count = 0
        for limit_s, here in zip((*self._limits_s, float("inf")), self._counts, strict=True):
            count += here
            yield limit_s, count
