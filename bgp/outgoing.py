"""The Adj-RIBs-Out: what each neighbour is to be told, and how that differs from what it was told before.

Neighbours of one audience share one table. Of a change only the destinations that it touches are decided again
(:mod:`bgp.passing`), and the result is the same as deciding all of them: a property test holds it against that. A table
notes what changed in it, as far back as somebody still holds what it was told, so that a neighbour's difference costs
what has changed and not what there is. One that does not read is given up in the end, which bounds the notes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network
from itertools import count
from types import MappingProxyType
from weakref import WeakValueDictionary

from bgp.export import NOTHING, Announcement, Exports, Told
from bgp.message import Numbered, Place
from bgp.neighbour import Neighbour
from bgp.passing import Audience, Others, Policy, Winner, Winners, audience_of, of_our_own, passed_on

Network = IPv4Network | IPv6Network

TRIM_AT = 1_000
"""From how many notes on it is looked whether they are still needed."""


NO_OTHERS: Others = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Difference:
    withdrawn: tuple[Place, ...] = ()
    announced: tuple[tuple[Place, Announcement], ...] = ()


class TableFor(Mapping[Place, Announcement]):
    """What the neighbour ``name`` is to be told: all of the table but what came from it.

    It reads the table as it is now. ``version`` says which of its changes this value was handed out after; what changed
    later will be in the next difference, once more if need be.
    """

    __slots__ = ("__weakref__", "name", "table", "version")

    def __init__(self, table: Table, name: str) -> None:
        self.table, self.name, self.version = table, name, table.version

    def __getitem__(self, place: Place) -> Announcement:
        if self.table.came_from(place, self.name):
            raise KeyError(place)
        return self.table.routes[place]

    def __iter__(self) -> Iterator[Place]:
        return (place for place in self.table.routes if not self.table.came_from(place, self.name))

    def __len__(self) -> int:
        return len(self.table.routes) - len(self.table.sources.get(self.name, ()))


@dataclass(slots=True, eq=False)
class Table:
    """``sources``: the places by the neighbour that their routes came from. ``numbers``: of the paths to a destination,
    where there are several.

    ``log`` ends with change number ``version``. Each is a place and whom its route came from until then; None
    when there was none. ``held``: what was handed out and may still be compared with something later.
    """

    routes: dict[Place, Announcement] = field(default_factory=dict)
    sources: dict[str, set[Place]] = field(default_factory=dict)
    source_of: dict[Place, str] = field(default_factory=dict)
    numbers: dict[Network, tuple[int, ...]] = field(default_factory=dict)
    log: list[tuple[Place, str | None]] = field(default_factory=list)
    version: int = 0
    handed_out: dict[str, TableFor] = field(default_factory=dict)
    held: WeakValueDictionary[int, TableFor] = field(default_factory=WeakValueDictionary)
    trim_at: int = TRIM_AT

    def came_from(self, place: Place, name: str) -> bool:
        return bool(name) and self.source_of.get(place) == name

    def put(self, place: Place, told: Announcement | None, source: str) -> bool:
        """Whether that changed anything."""
        if self.routes.get(place) == told and self.source_of.get(place, "") == (source if told is not None else ""):
            return False
        self._note(place)
        if before := self.source_of.pop(place, ""):
            self.sources[before].discard(place)
        if told is None:
            self.routes.pop(place, None)
        else:
            self.routes[place] = told
            if source:
                self.source_of[place] = source
                self.sources.setdefault(source, set()).add(place)
        return True

    def put_all(self, dst: Network, told: Mapping[int, tuple[Announcement, str]]) -> bool:
        """Every path to a destination, by its number, with its source; those that are not among them go."""
        has_changed = False
        for number in {*self.numbers.get(dst, ()), *told}:
            announcement, source = told.get(number, (None, ""))
            has_changed = self.put(Numbered(dst, number), announcement, source) or has_changed
        self.numbers[dst] = tuple(told)
        if not told:
            del self.numbers[dst]
        return has_changed

    def since(self, version: int, name: str) -> dict[Place, bool]:
        """What changed after it, and whether ``name`` may have been told of it."""
        found: dict[Place, bool] = {}
        for place, source in self.log[len(self.log) - (self.version - version) :]:
            found[place] = found.get(place, False) or (source is not None and (not name or source != name))
        return found

    def to(self, name: str) -> TableFor:
        """Neighbours that nothing came from share one value."""
        name = name if self.sources.get(name) else ""
        if name not in self.handed_out:
            self.handed_out[name] = told = TableFor(self, name)
            self.held[id(told)] = told
        return self.handed_out[name]

    def _note(self, place: Place) -> None:
        self.handed_out.clear()
        self.version += 1
        self.log.append((place, self.source_of.get(place, "") if place in self.routes else None))
        if len(self.log) > self.trim_at:
            oldest = min((told.version for told in self.held.values()), default=self.version)
            del self.log[: len(self.log) - (self.version - oldest)]
            self.trim_at = max(TRIM_AT, 2 * len(self.log))


def difference(before: Told, after: Told) -> Difference:
    """What turns the one into the other at the neighbour; what it may know or not is said again."""
    if not isinstance(before, TableFor):
        return _between(before, after, {*before, *after})
    missed = before.table.since(before.version, before.name)
    again = _again(after, missed)
    if isinstance(after, TableFor) and (after.table, after.name) == (before.table, before.name):
        return again
    plain = _between(before, after, {*before, *after}.difference(missed))
    return Difference(plain.withdrawn + again.withdrawn, plain.announced + again.announced)


def _between(before: Told, after: Told, places: Iterable[Place]) -> Difference:
    withdrawn, announced = [], []
    for place in places:
        was, now = before.get(place), after.get(place)
        if now is None:
            withdrawn.append(place)
        elif was is not now and was != now:
            announced.append((place, now))
    return Difference(tuple(withdrawn), tuple(announced))


def _again(after: Told, places: Mapping[Place, bool]) -> Difference:
    """All of them, whatever the neighbour has of it. ``places``: whether it may have a route there."""
    told = {place: after.get(place) for place in places}
    return Difference(
        tuple(place for place, now in told.items() if now is None and places[place]),
        tuple((place, now) for place, now in told.items() if now is not None),
    )


class Outgoing:
    def __init__(self) -> None:
        self._own: Exports = NOTHING
        self.policy = Policy()
        self._winners: Winners = {}
        self._others: Others = {}
        self._numbers: dict[Network, dict[PathSource, int]] = {}
        self._tables: dict[Audience, Table] = {}

    def announce(self, own: Exports, policy: Policy) -> bool:
        """Our own routes and the policy, as they are now. Whether that may change what somebody is told."""
        if own == self._own and policy == self.policy:
            return False
        self._own, self.policy = own, policy
        self._tables.clear()
        return True

    def learn(self, winners: Winners, changed: Iterable[Network], others: Others = NO_OTHERS) -> bool:
        """The best paths, or others, have changed at these destinations. Whether somebody is to hear something new."""
        self._winners, self._others = winners, others
        changed = tuple(changed)
        has_changed = False
        for audience, table in self._tables.items():
            for dst in changed:
                has_changed = self._decide(table, audience, dst) or has_changed
        return has_changed

    def serve(self, neighbours: Iterable[Neighbour]) -> None:
        """Tables for others are dropped."""
        audiences = {audience_of(each) for each in neighbours}
        self._tables = {
            audience: table
            for audience, table in self._tables.items()
            if replace(audience, many_paths=frozenset()) in audiences
        }

    def to(self, neighbour: Neighbour, many_paths: frozenset[int] = frozenset()) -> Told:
        """The same object while it is the same. ``many_paths``: the families in which it takes several of each."""
        audience = audience_of(neighbour, many_paths)
        table = self._tables.get(audience)
        if table is None:
            self._tables[audience] = table = Table()
            for dst in {*self._own, *self._winners}:
                self._decide(table, audience, dst)
        return table.to(neighbour.name)

    def _decide(self, table: Table, audience: Audience, dst: Network) -> bool:
        if dst.version not in audience.versions:
            return False
        if dst.version in audience.many_paths:
            return table.put_all(dst, dict(self._every_path(audience, dst)))
        own, winner = self._own.get(dst), self._winners.get(dst)
        if own is not None:
            return table.put(dst, of_our_own(dst, own, to=audience, policy=self.policy), "")
        if winner is None:
            return table.put(dst, None, "")
        return table.put(dst, passed_on(dst, winner, to=audience, policy=self.policy), _name_of(winner))

    def _every_path(self, audience: Audience, dst: Network) -> Iterator[tuple[int, tuple[Announcement, str]]]:
        """Each by its number."""
        own, best = self._own.get(dst), self._winners.get(dst)
        if own is not None:
            found = of_our_own(dst, own, to=audience, policy=self.policy)
            yield from [(self._number(dst, [_OWN])[_OWN], (found, ""))] if found is not None else ()
            return
        winners = {_source_of(each): each for each in (best, *self._others.get(dst, ())) if each is not None}
        numbers = self._number(dst, winners)
        for source, winner in winners.items():
            told = passed_on(dst, winner, to=audience, policy=self.policy)
            if told is not None:
                yield numbers[source], (told, _name_of(winner))

    def _number(self, dst: Network, sources: Collection[PathSource]) -> Mapping[PathSource, int]:
        """A path keeps its number as long as it is there (RFC 7911, 3); all audiences are told the same one."""
        before = self._numbers.pop(dst, {})
        kept = {source: before[source] for source in sources if source in before}
        free = (number for number in count(1) if number not in kept.values())
        now = {source: kept.get(source) or next(free) for source in sources}
        if now:
            self._numbers[dst] = now
        return now


PathSource = tuple[str, int]
"""Who announced a path, by its name, and by which number of theirs."""
_OWN: PathSource = ("", 0)


def _name_of(winner: Winner) -> str:
    return winner.neighbour.name


def _source_of(winner: Winner) -> PathSource:
    return winner.neighbour.name, winner.path_id
