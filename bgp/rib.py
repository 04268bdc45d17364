"""The routing tables of the speaker: what each neighbour told us, what of it is believed, and the best of that.

Adj-RIB-In holds every route of every neighbour, refused ones too, with the verdict of :mod:`bgp.accept`. Loc-RIB holds
the best of the accepted ones (:mod:`bgp.best`). It is a function of the Adj-RIBs-In and of the current Ownership and of
nothing else: whatever order things came in, the result is the same. What changed since it was last asked is worked out
for the destinations that were touched, which a property test holds against computing everything anew.

Stale routes (RFC 4724 as the receiving speaker): when a session is lost its routes may be kept, marked with the time up
to which; each is either announced again or swept, at End-of-RIB or when its time has come. One that is still marked
when the session is lost once more keeps its time. There the RFC deletes it at once, to bound how long it can stay; its
own time bounds it too, and a speaker that is killed twice in a row loses no route. Route refresh (RFC 7313) marks and
sweeps in the same way, without a time.

One neighbour can fill ``MOST_ROUTES`` places; what it announces beyond is left out and counted, and a refresh is asked
for once there is room again. The session stays: a neighbour that leaks too much still has its own blocks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from bgp.accept import Own, Refusal, refusal
from bgp.best import MOST_NEXT_HOPS, Candidate, equally_good, next_hops
from bgp.filters import Circumstances, Verdict, screen
from bgp.learned import Delta, LearnedRoute
from bgp.message import Attributes, Learned, Numbered, Place, dst_of
from bgp.neighbour import Neighbour
from bgp.ownership import Ownership
from bgp.passing import Winner
from bgp.prefixes import Prefixes

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

Reaches = Callable[[Address], bool]
Source = tuple[str, Place]
"""A neighbour's name, and where its path stands among those that it announced."""

MOST_ROUTES = 100_000
FOREVER = float("inf")
STATIC = "static1"
"""Whose routes those are that the configuration gives, in BIRD's word."""
_UNKNOWN = IPv4Address(0)


@dataclass(slots=True)
class AdjRibIn:
    """The routes of one neighbour. ``router_id`` is the neighbour's, from its last OPEN.

    ``altered``: accepted ones as a filter left them, where it changed something.
    """

    neighbour: Neighbour
    router_id: IPv4Address = _UNKNOWN
    paths: dict[Place, Attributes] = field(default_factory=dict)
    refused: dict[Place, Refusal] = field(default_factory=dict)
    altered: dict[Place, Attributes] = field(default_factory=dict)
    stale: dict[Place, float] = field(default_factory=dict)
    left_out: int = 0
    refusals: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Tally:
    """How one neighbour's routes fare now. ``refusals`` counts verdicts by reason since the start."""

    received: int = 0
    accepted: int = 0
    stale: int = 0
    left_out: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    refusals: Mapping[str, int] = field(default_factory=dict)


class Rib:
    """``most_next_hops``: paths as good as the best are used together, up to so many."""

    def __init__(
        self,
        router_id: IPv4Address = _UNKNOWN,
        most_routes: int = MOST_ROUTES,
        most_next_hops: int = MOST_NEXT_HOPS,
    ) -> None:
        self._own = Own(router_id)
        self._most_next_hops = most_next_hops
        self._is_reachable: Reaches = lambda _: True
        self._is_near: Reaches = lambda _: False
        self._most_routes = most_routes
        self._ownership = Ownership()
        self._tables: dict[str, AdjRibIn] = {}
        self._accepted: dict[Network, tuple[Source, ...]] = {}
        self._best: dict[Network, LearnedRoute] = {}
        self._touched: set[Network] = set()
        self.winners: dict[Network, Winner] = {}
        self.others: dict[Network, tuple[Winner, ...]] = {}
        self._keeps_others = False
        self._won_anew: set[Network] = set()
        self._ways: dict[Network, Address] = {}
        self._kept_out = Prefixes()

    # Sessions.

    def meet(self, neighbour: Neighbour, router_id: IPv4Address) -> None:
        """A session with it is up. Its stale routes, if there are any, stay."""
        table = self._tables.setdefault(neighbour.name, AdjRibIn(neighbour))
        table.neighbour, table.router_id, table.left_out = neighbour, router_id, 0
        self._touched.update(map(dst_of, table.paths))

    def mark(self, name: str, *, until: float = FOREVER, version: int = 0) -> None:
        """Everything that it announced is to be announced again, at the latest at ``until``, in the loop's time.

        ``version`` 0 stands for both families, here and below.
        """
        if name in self._tables:
            table = self._tables[name]
            marked = (place for place in table.paths if version in (0, dst_of(place).version))
            table.stale |= {place: min(until, table.stale.get(place, FOREVER)) for place in marked}

    def sweep(self, name: str, *, now: float = FOREVER, version: int = 0) -> int:
        """Remove what is still marked and whose time has come by ``now``; how many that were."""
        if name not in self._tables:
            return 0
        table = self._tables[name]
        due = [place for place, until in table.stale.items() if until <= now]
        swept = [place for place in due if version in (0, dst_of(place).version)]
        for place in swept:
            self._withdraw(table, place)
        return len(swept)

    def next_sweep(self, name: str) -> float:
        """When the time of a marked route comes next."""
        table = self._tables.get(name)
        return min(table.stale.values(), default=FOREVER) if table is not None else FOREVER

    def drop(self, name: str, *, version: int = 0) -> None:
        """Its routes go, all of them, at once."""
        if name not in self._tables:
            return
        table = self._tables[name]
        for place in [place for place in table.paths if version in (0, dst_of(place).version)]:
            self._withdraw(table, place)
        table.left_out = 0

    def forget(self, name: str) -> None:
        """It is no longer a neighbour."""
        self.drop(name)
        self._tables.pop(name, None)

    # Routes.

    def learn(self, name: str, learned: Learned) -> None:
        """One UPDATE of a neighbour that was met."""
        table = self._tables[name]
        for place in learned.withdrawn:
            self._withdraw(table, place)
        attributes = learned.attributes
        if attributes is None:
            return
        for place in learned.announced:
            if len(table.paths) >= self._most_routes and place not in table.paths:
                table.left_out += 1
                continue
            table.paths[place] = attributes
            if table.stale:
                table.stale.pop(place, None)
            if table.refused:
                table.refused.pop(place, None)
            dst = dst_of(place)
            self._judge(table, place, dst, attributes)
            self._touched.add(dst)

    def judge_by(self, ownership: Ownership) -> None:
        """The datastore says something new: every verdict that it can change is reached again."""
        only_hosts = ownership.differs_in_allocations_only(self._ownership)
        self._ownership = ownership
        for table in self._tables.values():
            self._judge_all(table, only_hosts=only_hosts)

    def reach_by(self, is_reachable: Reaches, *, is_near: Reaches) -> None:
        """Which next hops can be reached now; a route by another is not used (RFC 4271, 9.1.2.1). ``is_near``: without
        another router.
        """
        self._is_reachable, self._is_near = is_reachable, is_near
        for table in self._tables.values():
            self._judge_all(table)

    def be(self, own: Own) -> None:
        """This speaker is another now: what is a loop has to be found out again."""
        if own != self._own:
            self._own = own
            for table in self._tables.values():
                self._judge_all(table)

    def describe(self, name: str, neighbour: Neighbour) -> None:
        """The neighbour ``name`` is described anew, and perhaps named anew: the same routes are judged again."""
        table = self._tables.pop(name, None)
        if table is None:
            return
        self._tables[neighbour.name] = table
        table.neighbour = neighbour
        if neighbour.name != name:
            for dst in map(dst_of, table.paths):
                sources = self._accepted.get(dst, ())
                self._accepted[dst] = tuple((neighbour.name, at) if by == name else (by, at) for by, at in sources)
        self._touched.update(map(dst_of, table.paths))
        self._judge_all(table)

    def lead(self, ways: Mapping[Network, Address]) -> None:
        """Routes that nobody announced: these destinations are reached by these gateways."""
        self._touched.update(dst for dst in {*ways, *self._ways} if ways.get(dst) != self._ways.get(dst))
        self._ways = dict(ways)

    def keep_out(self, networks: Iterable[Network]) -> None:
        """What lies inside these is chosen and passed on like any other, and never written into the kernel."""
        kept_out = Prefixes(networks)
        if kept_out != self._kept_out:
            self._kept_out = kept_out
            self._touched.update(self._accepted)

    def keep_others(self, keeps: bool) -> None:
        """Whether somebody is to be told of every accepted path, and not of the best ones alone."""
        if keeps != self._keeps_others:
            self._keeps_others = keeps
            self._touched.update(self._accepted)

    def has_room_again(self, name: str) -> bool:
        """Whether routes were left out that would now have a place. Asking clears it: refresh once."""
        table = self._tables.get(name)
        if table is None or not table.left_out or len(table.paths) > self._most_routes * 9 // 10:
            return False
        table.left_out = 0
        return True

    # Results.

    def changes(self) -> Delta:
        """What became of the best routes since this was last asked."""
        best: list[LearnedRoute] = []
        gone: list[Network] = []
        for dst in self._touched:
            now, before = self._choose(dst), self._best.get(dst)
            if now is None:
                if before is not None:
                    del self._best[dst]
                    gone.append(dst)
            elif now != before:
                self._best[dst] = now
                best.append(now)
        self._touched.clear()
        return Delta(tuple(best), tuple(gone))

    def won_anew(self) -> frozenset[Network]:
        """Where the best path is another, or there is none any more, since this was last asked; where the others are
        kept, where one of them is another, too.
        """
        changed = frozenset(self._won_anew)
        self._won_anew.clear()
        return changed

    def routes(self) -> tuple[LearnedRoute, ...]:
        """Every best route, as of the last :meth:`changes`."""
        return tuple(self._best.values())

    def paths(self) -> Iterable[tuple[Network, list[Candidate]]]:
        """Every accepted path of each destination, best first."""
        for dst, sources in self._accepted.items():
            candidates = [self._candidate(name, place) for name, place in sources]
            best = equally_good(candidates)
            yield dst, best + [each for each in candidates if each not in best]

    def received(self, name: str) -> Iterable[tuple[Place, Attributes, Refusal | None, bool]]:
        """Every route of a neighbour as it was announced, why it is refused, and whether it is stale."""
        table = self._tables.get(name)
        if table is not None:
            for place, attributes in table.paths.items():
                yield place, attributes, table.refused.get(place), place in table.stale

    def tally(self, name: str) -> Tally:
        table = self._tables.get(name)
        if table is None:
            return Tally()
        return Tally(
            received=len(table.paths),
            accepted=len(table.paths) - len(table.refused),
            stale=len(table.stale),
            left_out=table.left_out,
            refused=Counter(refused.value for refused in table.refused.values()),
            refusals=dict(table.refusals),
        )

    # The one place where a route comes in or goes out.

    def _judge_all(self, table: AdjRibIn, *, only_hosts: bool = False) -> None:
        for place, attributes in table.paths.items():
            dst = dst_of(place)
            if not only_hosts or dst.prefixlen == dst.max_prefixlen:
                self._judge(table, place, dst, attributes)

    def _judge(self, table: AdjRibIn, place: Place, dst: Network, attributes: Attributes) -> None:
        refused = refusal(dst, attributes, neighbour=table.neighbour, own=self._own, ownership=self._ownership)
        if refused is None and (table.neighbour.filters or table.altered):
            refused = self._filter(table, place, attributes)
        if refused is None and attributes.next_hop is not None:
            refused = self._refuse_next_hop(table.neighbour, attributes.next_hop)
        if refused is None:
            if table.refused:
                table.refused.pop(place, None)
            self._admit(table.neighbour.name, place, dst)
            return
        if table.refused.get(place) is not refused:
            table.refused[place] = refused
            table.refusals[refused.value] += 1
        self._expel(table.neighbour.name, place, dst)

    def _refuse_next_hop(self, neighbour: Neighbour, next_hop: Address) -> Refusal | None:
        if neighbour.needs_near_next_hops and self._is_near(neighbour.address) and not self._is_near(next_hop):
            return Refusal.NEXT_HOP
        return None if self._is_reachable(next_hop) else Refusal.UNREACHABLE

    def _filter(self, table: AdjRibIn, place: Place, attributes: Attributes) -> Refusal | None:
        dst = dst_of(place)
        circumstances = Circumstances(table.neighbour.is_internal, is_learned=True)
        verdict, altered = screen(dst, attributes, table.neighbour.filters, circumstances, is_import=True)
        if altered != table.altered.pop(place, attributes):
            self._touched.add(dst)
        if altered != attributes:
            table.altered[place] = altered
        return Refusal.FILTER if verdict is Verdict.REJECT else None

    def _withdraw(self, table: AdjRibIn, place: Place) -> None:
        if table.paths.pop(place, None) is not None:
            table.refused.pop(place, None)
            table.stale.pop(place, None)
            table.altered.pop(place, None)
            self._expel(table.neighbour.name, place, dst_of(place))

    def _admit(self, name: str, place: Place, dst: Network) -> None:
        source = (name, place)
        sources = self._accepted.get(dst, ())
        if source not in sources:
            self._accepted[dst] = (*sources, source)
            self._touched.add(dst)

    def _expel(self, name: str, place: Place, dst: Network) -> None:
        source = (name, place)
        sources = self._accepted.get(dst, ())
        if source not in sources:
            return
        left = tuple(each for each in sources if each != source)
        if left:
            self._accepted[dst] = left
        else:
            del self._accepted[dst]
        self._touched.add(dst)

    def _choose(self, dst: Network) -> LearnedRoute | None:
        sources = self._accepted.get(dst)
        if sources is None or dst in self._ways:
            self._win(dst, None)
            if self.others:
                self._keep_beside(dst, ())
            return LearnedRoute(dst, (self._ways[dst],), STATIC) if dst in self._ways else None
        candidates = [self._candidate(name, place) for name, place in sources]
        best = equally_good(candidates) if len(candidates) > 1 else candidates
        self._win(dst, best[0])
        if self._keeps_others or self.others:
            self._keep_beside(dst, [each for each in candidates if each is not best[0]] if self._keeps_others else ())
        if self._kept_out.networks and self._kept_out.around(dst) is not None:
            return None
        return LearnedRoute(dst, next_hops(best, self._most_next_hops), best[0].peer)

    def _win(self, dst: Network, best: Candidate | None) -> None:
        before = self.winners.get(dst)
        if best is None:
            if before is not None:
                del self.winners[dst]
                self._won_anew.add(dst)
            return
        now = self._winner(best)
        if now != before:
            self.winners[dst] = now
            self._won_anew.add(dst)

    def _keep_beside(self, dst: Network, candidates: Iterable[Candidate]) -> None:
        now = tuple(map(self._winner, candidates))
        if now != self.others.get(dst, ()):
            self._won_anew.add(dst)
            self.others[dst] = now
        if not now:
            self.others.pop(dst, None)

    def _winner(self, candidate: Candidate) -> Winner:
        table = self._tables[candidate.peer]
        return Winner(table.neighbour, table.router_id, candidate.attributes, candidate.path_id)

    def _candidate(self, name: str, place: Place) -> Candidate:
        table = self._tables[name]
        neighbour = table.neighbour
        attributes = table.altered.get(place) or table.paths[place]
        path_id = place.path_id if isinstance(place, Numbered) else 0
        return Candidate(name, attributes, neighbour.is_internal, table.router_id, neighbour.address, path_id)
