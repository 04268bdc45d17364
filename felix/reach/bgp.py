"""What BGP neighbours announce, as the speaker tells it, across the speaker's restarts.

Who may announce what is decided there, not here. A snapshot replaces, but what it does not name stays until the speaker
says that it is in sync: one that has just started knows little and will know more. While the two are apart the last set
stays for as long as it takes. So losing the speaker, and finding it again, deletes nothing that is still announced
(invariant 8).
"""

from __future__ import annotations

from collections.abc import Mapping

from bgp.learned import Delta, InSync, LearnedRoute, Message, Snapshot
from felix.fib.model import Network
from felix.reach.reach import Reach, Source


class Announced:
    """``is_in_sync``: the speaker was in sync at least once, so what is not here is not announced."""

    def __init__(self) -> None:
        self.is_in_sync = False
        self._reaches: dict[Network, Reach] = {}
        self._unconfirmed: set[Network] = set()

    @property
    def reaches(self) -> Mapping[Network, Reach]:
        return self._reaches

    def hear(self, message: Message) -> None:
        """Snapshots, deltas and in_sync; what else is said on that line is not about routes."""
        match message:
            case Snapshot(routes):
                self._unconfirmed = set(self._reaches)
                self._take(routes)
            case Delta(best, gone):
                self._take(best)
                self._drop(gone)
            case InSync():
                self._drop(tuple(self._unconfirmed))
                self.is_in_sync = True

    def _take(self, routes: tuple[LearnedRoute, ...]) -> None:
        for route in routes:
            self._reaches[route.dst] = Reach(route.dst, route.next_hops, Source.BGP, route.peer)
            self._unconfirmed.discard(route.dst)

    def _drop(self, gone: tuple[Network, ...]) -> None:
        for dst in gone:
            self._reaches.pop(dst, None)
            self._unconfirmed.discard(dst)
