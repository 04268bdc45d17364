"""Two BFD sessions on a virtual clock, with a link between them that can lose, hold back and cut.

Every packet goes through the codec, and each that was sent is kept with its time: tests read the link as a capture.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

from bgp.bfd.packet import Control, State, decode, encode
from bgp.bfd.session import Change, Session, Timing

DELAY_S = 0.0005


@dataclass
class End:
    name: str
    session: Session
    changes: list[tuple[float, Change]] = field(default_factory=list)
    sent: list[tuple[float, Control]] = field(default_factory=list)
    is_cut: bool = False
    """Nothing that this end sends arrives."""

    @property
    def state(self) -> State:
        return self.session.state

    def story(self) -> list[str]:
        """``0.0 Down Init heard``"""
        return [f"{at:.1f} {each.before.word} {each.after.word} {each.cause.value}" for at, each in self.changes]

    def times(self, *, since: float = 0.0) -> list[float]:
        return [at for at, _ in self.sent if at >= since]

    def gaps(self, *, since: float) -> list[float]:
        times = self.times(since=since)
        return [after - before for before, after in pairwise(times)]


class Link:
    """``loses`` is asked for each packet."""

    def __init__(
        self,
        mine: Timing | None = None,
        theirs: Timing | None = None,
        *,
        seed: int = 1,
        loses: Callable[[], bool] = lambda: False,
    ) -> None:
        self.now = 100.0
        self.start = self.now
        self.random = random.Random(seed)
        self.loses = loses
        self.a = End("a", Session(mine or Timing(), 11, self.now))
        self.b = End("b", Session(theirs or Timing(), 22, self.now))
        self._flying: list[tuple[float, int, str, bytes]] = []
        self._count = 0

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while (at := self._next()) <= until:
            self.now = max(self.now, at)
            while self._flying and self._flying[0][0] <= self.now:
                _, _, name, data = heapq.heappop(self._flying)
                self.deliver(self.a if name == "a" else self.b, data)
            for end in (self.a, self.b):
                self._note(end, end.session.expire(self.now))
                self.serve(end)
        self.now = until

    def run_until_up(self, *, within_s: float = 10.0) -> None:
        until = self.now + within_s
        while {self.a.state, self.b.state} != {State.UP}:
            assert self.now < until, "the sessions do not come up"
            self.run(0.01)

    def deliver(self, end: End, data: bytes) -> None:
        self._note(end, end.session.receive(decode(data), self.now))
        self.serve(end)

    def serve(self, end: End) -> None:
        for packet in end.session.transmit(self.now, self.random.random()):
            end.sent.append((self.now - self.start, packet))
            if not end.is_cut and not self.loses():
                self._count += 1
                other = "b" if end is self.a else "a"
                heapq.heappush(self._flying, (self.now + DELAY_S, self._count, other, encode(packet)))

    def note_shut(self, end: End) -> None:
        self._note(end, end.session.shut(self.now))
        self.serve(end)

    @property
    def elapsed(self) -> float:
        return self.now - self.start

    def _next(self) -> float:
        flying = self._flying[0][0] if self._flying else float("inf")
        living = [end.session for end in (self.a, self.b) if not end.session.is_over(self.now)]
        return min(flying, *(session.deadline(self.now) for session in living))

    def _note(self, end: End, change: Change | None) -> None:
        if change is not None:
            end.changes.append((self.elapsed, change))
