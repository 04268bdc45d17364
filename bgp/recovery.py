"""After our own start: which neighbours have yet to say what they know, and when the wait is over.

Until then the routes that the last process left in the kernel are kept, whatever was learned meanwhile. A neighbour
has said all when it sent End-of-RIB. The wait ends when all of them have, or with the restart time: one that never
comes up, or that does not know End-of-RIB, holds nothing back for longer. It begins anew for nobody: a neighbour that
is added later is an ordinary one.

What the neighbours are told waits for less: not for those that know no graceful restart, nor for those that have
restarted too and wait for us. Their routes in the kernel may stay all the same until they have come.

Source: RFC 4724, 4.1.
"""

from __future__ import annotations

from collections.abc import Iterable

RESTART_TIME_S = 120.0


class Recovery:
    """``deadline`` is None until the neighbours are known: the wait cannot end before, however long that takes."""

    def __init__(self, restart_time_s: float = RESTART_TIME_S) -> None:
        self.deadline: float | None = None
        self._restart_time_s = restart_time_s
        self._heard: set[str] = set()
        self._excused: set[str] = set()
        self._expected: frozenset[str] = frozenset()
        self._is_over = False

    @property
    def is_over(self) -> bool:
        """Once it is it stays so."""
        return self._is_over

    @property
    def may_select(self) -> bool:
        """Whether what was learned may be passed on."""
        return self._is_over or (self.deadline is not None and self._expected <= self._heard | self._excused)

    @property
    def waits_for(self) -> tuple[str, ...]:
        return () if self._is_over else tuple(sorted(self._expected - self._heard))

    def expect(self, names: Iterable[str], now: float) -> None:
        """The neighbours, as the datastore in sync says."""
        self._expected = frozenset(names)
        if self.deadline is None:
            self.deadline = now + self._restart_time_s
        self._settle()

    def hear(self, name: str) -> None:
        """End-of-RIB came from it."""
        self._heard.add(name)
        self._settle()

    def excuse(self, name: str) -> None:
        """It is up, and its End-of-RIB is not to be waited for."""
        self._excused.add(name)

    def rename(self, name: str, now: str) -> None:
        """What it said it has said."""
        for known in (self._heard, self._excused):
            if name in known:
                known.add(now)

    def expire(self) -> None:
        """The deadline has passed."""
        self._is_over = True

    def _settle(self) -> None:
        self._is_over = self._is_over or (self.deadline is not None and self._expected <= self._heard)
