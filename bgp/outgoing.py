"""The Adj-RIBs-Out: what each neighbour is to be told now, whole, as a value that stays the same while nothing changes.

Neighbours of one audience share one table. Of a change only the destinations that it touches are decided again
(:mod:`bgp.passing`), and the result is the same as deciding all of them: a property test holds it against that.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from types import MappingProxyType

from bgp.export import NOTHING, Announcement, Exports
from bgp.mesh import Neighbour
from bgp.passing import Audience, Policy, Winner, Winners, audience_of, of_our_own, passed_on

Network = IPv4Network | IPv6Network


@dataclass(slots=True)
class _Table:
    """``sources``: which neighbour a learned route came from. ``shared`` and ``apart`` are what was handed out."""

    routes: dict[Network, Announcement] = field(default_factory=dict)
    sources: dict[str, set[Network]] = field(default_factory=dict)
    source_of: dict[Network, str] = field(default_factory=dict)
    shared: Exports | None = None
    apart: dict[str, Exports] = field(default_factory=dict)

    def put(self, dst: Network, told: Announcement | None, source: str) -> bool:
        """Whether that changed anything."""
        before = self.source_of.pop(dst, "")
        if before:
            self.sources[before].discard(dst)
        known = self.routes.get(dst)
        if told is None:
            self.routes.pop(dst, None)
        else:
            self.routes[dst] = told
            if source:
                self.source_of[dst] = source
                self.sources.setdefault(source, set()).add(dst)
        has_changed = known != told or (told is not None and before != source)
        if has_changed:
            self.shared = None
            self.apart.clear()
        return has_changed

    def to(self, name: str) -> Exports:
        theirs = self.sources.get(name)
        if not theirs:
            if self.shared is None:
                self.shared = MappingProxyType(dict(self.routes))
            return self.shared
        if name not in self.apart:
            self.apart[name] = {dst: told for dst, told in self.routes.items() if dst not in theirs}
        return self.apart[name]


class Outgoing:
    def __init__(self) -> None:
        self._own: Exports = NOTHING
        self.policy = Policy()
        self._winners: Winners = {}
        self._tables: dict[Audience, _Table] = {}

    def announce(self, own: Exports, policy: Policy) -> bool:
        """Our own routes and the policy, as they are now. Whether that may change what somebody is told."""
        if own == self._own and policy == self.policy:
            return False
        self._own, self.policy = own, policy
        self._tables.clear()
        return True

    def learn(self, winners: Winners, changed: Iterable[Network]) -> bool:
        """The best paths have changed at these destinations. Whether somebody is to be told something new."""
        self._winners = winners
        changed = tuple(changed)
        has_changed = False
        for audience, table in self._tables.items():
            for dst in changed:
                has_changed = self._decide(table, audience, dst) or has_changed
        return has_changed

    def serve(self, neighbours: Iterable[Neighbour]) -> None:
        """Tables for others are dropped."""
        audiences = {audience_of(each) for each in neighbours}
        self._tables = {audience: table for audience, table in self._tables.items() if audience in audiences}

    def to(self, neighbour: Neighbour) -> Exports:
        """The same object while it is the same."""
        audience = audience_of(neighbour)
        table = self._tables.get(audience)
        if table is None:
            self._tables[audience] = table = _Table()
            for dst in {*self._own, *self._winners}:
                self._decide(table, audience, dst)
        return table.to(neighbour.name)

    def _decide(self, table: _Table, audience: Audience, dst: Network) -> bool:
        if dst.version != audience.version:
            return False
        own, winner = self._own.get(dst), self._winners.get(dst)
        if own is not None:
            return table.put(dst, of_our_own(dst, own, to=audience, policy=self.policy), "")
        if winner is None:
            return table.put(dst, None, "")
        return table.put(dst, passed_on(dst, winner, to=audience, policy=self.policy), _name_of(winner))


def _name_of(winner: Winner) -> str:
    return winner.neighbour.name
