"""Keeps ownership and journal in step: what counts as ours is journaled first, and forgotten when nothing needs it."""

from __future__ import annotations

from collections.abc import Iterable

from felix.fib.journal import Claims, Journal, JournalUnavailable
from felix.fib.marks import Marks
from felix.fib.model import Network, RouteKey
from felix.fib.owner import Ownership


class Claimant:
    """``errors`` counts how often the journal could not be written."""

    def __init__(self, journal: Journal, marks: Marks) -> None:
        self.errors = 0
        self.ownership = Ownership(marks=marks)
        self._journal = journal
        self._pools: frozenset[Network] | None = None

    def claim_pools(self, pools: frozenset[Network], marks: Marks) -> bool:
        """They count as ours from now on, and the journal remembers them for when they are no longer there.

        A journal that cannot be written costs that memory and nothing else. Returns whether the ownership changed.
        """
        if pools == self._pools:
            return self._own(pools, marks) if marks != self.ownership.marks else False
        self._pools = pools
        try:
            self._journal.record(Claims(pools=pools))
        except JournalUnavailable:
            self.errors += 1
            self._pools = None  # tried again at the next occasion
        return self._own(pools, marks)

    def claim_routes(self, keys: frozenset[RouteKey]) -> None:
        """Raises JournalUnavailable: then they may not be written, nobody could tell later that they are ours."""
        try:
            self._journal.record(Claims(routes=keys))
        except JournalUnavailable:
            self.errors += 1
            raise
        self._own(self.ownership.networks)

    def disclaim(self, *, pools: frozenset[Network], needed: Iterable[RouteKey]) -> None:
        """Forget all but the pools that there are and what the ``needed`` routes lie in or are."""
        keys = frozenset(needed)
        claims = self._journal.claims
        former = [pool for pool in claims.pools - pools if not any(_is_inside(key.dst, pool) for key in keys)]
        stale = Claims(frozenset(former), claims.routes - keys)
        try:
            if stale:
                self._journal.forget(stale)
                self._own(pools)
        except JournalUnavailable:
            self.errors += 1

    def _own(self, pools: frozenset[Network], marks: Marks | None = None) -> bool:
        claims = Claims(pools=pools) | self._journal.claims
        before = self.ownership
        self.ownership = Ownership(claims.pools, claims.routes, marks or before.marks)
        return self.ownership != before


def _is_inside(dst: Network, pool: Network) -> bool:
    return dst.version == pool.version and dst.prefixlen >= pool.prefixlen and dst.overlaps(pool)
