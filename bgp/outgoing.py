"""The Adj-RIBs-Out: what each neighbour is to be told, and how that differs from what it was told before.

Neighbours of one audience share one table. Of a change only the destinations that it touches are decided again
(:mod:`bgp.passing`), and the result is the same as deciding all of them: a property test holds it against that. A table
notes what changed in it, as far back as somebody still holds what it was told, so that a neighbour's difference costs
what has changed and not what there is. One that does not read is given up in the end, which bounds the notes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from weakref import WeakValueDictionary

from bgp.export import NOTHING, Announcement, Exports
from bgp.mesh import Neighbour
from bgp.passing import Audience, Policy, Winner, Winners, audience_of, of_our_own, passed_on

Network = IPv4Network | IPv6Network

TRIM_AT = 1_000
"""From how many notes on it is looked whether they are still needed."""


@dataclass(frozen=True, slots=True)
class Difference:
    withdrawn: tuple[Network, ...] = ()
    announced: tuple[tuple[Network, Announcement], ...] = ()


class Told(Mapping[Network, Announcement]):
    """What the neighbour ``name`` is to be told: all of the table but what came from it.

    It reads the table as it is now. ``version`` says which of its changes this value was handed out after; what changed
    later will be in the next difference, once more if need be.
    """

    __slots__ = ("__weakref__", "name", "table", "version")

    def __init__(self, table: Table, name: str) -> None:
        self.table, self.name, self.version = table, name, table.version

    def __getitem__(self, dst: Network) -> Announcement:
        if self.table.came_from(dst, self.name):
            raise KeyError(dst)
        return self.table.routes[dst]

    def __iter__(self) -> Iterator[Network]:
        return (dst for dst in self.table.routes if not self.table.came_from(dst, self.name))

    def __len__(self) -> int:
        return len(self.table.routes) - len(self.table.sources.get(self.name, ()))


@dataclass(slots=True, eq=False)
class Table:
    """``sources``: the destinations by the neighbour that they came from.

    ``log`` ends with change number ``version``. Each is a destination and whom its route came from until then; None
    when there was none. ``held``: what was handed out and may still be compared with something later.
    """

    routes: dict[Network, Announcement] = field(default_factory=dict)
    sources: dict[str, set[Network]] = field(default_factory=dict)
    source_of: dict[Network, str] = field(default_factory=dict)
    log: list[tuple[Network, str | None]] = field(default_factory=list)
    version: int = 0
    handed_out: dict[str, Told] = field(default_factory=dict)
    held: WeakValueDictionary[int, Told] = field(default_factory=WeakValueDictionary)
    trim_at: int = TRIM_AT

    def came_from(self, dst: Network, name: str) -> bool:
        return bool(name) and self.source_of.get(dst) == name

    def put(self, dst: Network, told: Announcement | None, source: str) -> bool:
        """Whether that changed anything."""
        if self.routes.get(dst) == told and self.source_of.get(dst, "") == (source if told is not None else ""):
            return False
        self._note(dst)
        if before := self.source_of.pop(dst, ""):
            self.sources[before].discard(dst)
        if told is None:
            self.routes.pop(dst, None)
        else:
            self.routes[dst] = told
            if source:
                self.source_of[dst] = source
                self.sources.setdefault(source, set()).add(dst)
        return True

    def since(self, version: int, name: str) -> dict[Network, bool]:
        """What changed after it, and whether ``name`` may have been told of it."""
        found: dict[Network, bool] = {}
        for dst, source in self.log[len(self.log) - (self.version - version) :]:
            found[dst] = found.get(dst, False) or (source is not None and (not name or source != name))
        return found

    def to(self, name: str) -> Told:
        """Neighbours that nothing came from share one value."""
        name = name if self.sources.get(name) else ""
        if name not in self.handed_out:
            self.handed_out[name] = told = Told(self, name)
            self.held[id(told)] = told
        return self.handed_out[name]

    def _note(self, dst: Network) -> None:
        self.handed_out.clear()
        self.version += 1
        self.log.append((dst, self.source_of.get(dst, "") if dst in self.routes else None))
        if len(self.log) > self.trim_at:
            oldest = min((told.version for told in self.held.values()), default=self.version)
            del self.log[: len(self.log) - (self.version - oldest)]
            self.trim_at = max(TRIM_AT, 2 * len(self.log))


def difference(before: Exports, after: Exports) -> Difference:
    """What turns the one into the other at the neighbour; what it may know or not is said again."""
    if not isinstance(before, Told):
        return _between(before, after, {*before, *after})
    missed = before.table.since(before.version, before.name)
    again = _again(after, missed)
    if isinstance(after, Told) and (after.table, after.name) == (before.table, before.name):
        return again
    plain = _between(before, after, {*before, *after}.difference(missed))
    return Difference(plain.withdrawn + again.withdrawn, plain.announced + again.announced)


def _between(before: Exports, after: Exports, dsts: Iterable[Network]) -> Difference:
    withdrawn, announced = [], []
    for dst in dsts:
        was, now = before.get(dst), after.get(dst)
        if now is None:
            withdrawn.append(dst)
        elif was is not now and was != now:
            announced.append((dst, now))
    return Difference(tuple(withdrawn), tuple(announced))


def _again(after: Exports, dsts: Mapping[Network, bool]) -> Difference:
    """All of them, whatever the neighbour has of it. ``dsts``: whether it may have a route there."""
    told = {dst: after.get(dst) for dst in dsts}
    return Difference(
        tuple(dst for dst, now in told.items() if now is None and dsts[dst]),
        tuple((dst, now) for dst, now in told.items() if now is not None),
    )


class Outgoing:
    def __init__(self) -> None:
        self._own: Exports = NOTHING
        self.policy = Policy()
        self._winners: Winners = {}
        self._tables: dict[Audience, Table] = {}

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
            self._tables[audience] = table = Table()
            for dst in {*self._own, *self._winners}:
                self._decide(table, audience, dst)
        return table.to(neighbour.name)

    def _decide(self, table: Table, audience: Audience, dst: Network) -> bool:
        if dst.version not in audience.versions:
            return False
        own, winner = self._own.get(dst), self._winners.get(dst)
        if own is not None:
            return table.put(dst, of_our_own(dst, own, to=audience, policy=self.policy), "")
        if winner is None:
            return table.put(dst, None, "")
        return table.put(dst, passed_on(dst, winner, to=audience, policy=self.policy), _name_of(winner))


def _name_of(winner: Winner) -> str:
    return winner.neighbour.name
