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
from bgp.mesh import Neighbour
from bgp.message import Attributes, Learned
from bgp.ownership import Ownership
from bgp.passing import Winner
from bgp.prefixes import Prefixes

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

Reaches = Callable[[Address], bool]

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
    paths: dict[Network, Attributes] = field(default_factory=dict)
    refused: dict[Network, Refusal] = field(default_factory=dict)
    altered: dict[Network, Attributes] = field(default_factory=dict)
    stale: dict[Network, float] = field(default_factory=dict)
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
        self._accepted_from: dict[Network, tuple[str, ...]] = {}
        self._best: dict[Network, LearnedRoute] = {}
        self._touched: set[Network] = set()
        self.winners: dict[Network, Winner] = {}
        self._won_anew: set[Network] = set()
        self._ways: dict[Network, Address] = {}
        self._kept_out = Prefixes()

    # Sessions.

    def meet(self, neighbour: Neighbour, router_id: IPv4Address) -> None:
        """A session with it is up. Its stale routes, if there are any, stay."""
        table = self._tables.setdefault(neighbour.name, AdjRibIn(neighbour))
        table.neighbour, table.router_id, table.left_out = neighbour, router_id, 0
        self._touched.update(table.paths)

    def mark(self, name: str, *, until: float = FOREVER, version: int = 0) -> None:
        """Everything that it announced is to be announced again, at the latest at ``until``, in the loop's time.

        ``version`` 0 stands for both families, here and below.
        """
        if name in self._tables:
            table = self._tables[name]
            marked = (dst for dst in table.paths if version in (0, dst.version))
            table.stale |= {dst: min(until, table.stale.get(dst, FOREVER)) for dst in marked}

    def sweep(self, name: str, *, now: float = FOREVER, version: int = 0) -> int:
        """Remove what is still marked and whose time has come by ``now``; how many that were."""
        if name not in self._tables:
            return 0
        table = self._tables[name]
        swept = [dst for dst, until in table.stale.items() if until <= now and version in (0, dst.version)]
        for dst in swept:
            self._withdraw(table, dst)
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
        for dst in [dst for dst in table.paths if version in (0, dst.version)]:
            self._withdraw(table, dst)
        table.left_out = 0

    def forget(self, name: str) -> None:
        """It is no longer a neighbour."""
        self.drop(name)
        self._tables.pop(name, None)

    # Routes.

    def learn(self, name: str, learned: Learned) -> None:
        """One UPDATE of a neighbour that was met."""
        table = self._tables[name]
        for dst in learned.withdrawn:
            self._withdraw(table, dst)
        attributes = learned.attributes
        if attributes is None:
            return
        for dst in learned.announced:
            if len(table.paths) >= self._most_routes and dst not in table.paths:
                table.left_out += 1
                continue
            table.paths[dst] = attributes
            if table.stale:
                table.stale.pop(dst, None)
            if table.refused:
                table.refused.pop(dst, None)
            self._judge(table, dst, attributes)
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
            for dst in table.paths:
                names = self._accepted_from.get(dst, ())
                if name in names:
                    self._accepted_from[dst] = tuple(neighbour.name if each == name else each for each in names)
        self._touched.update(table.paths)
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
            self._touched.update(self._accepted_from)

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
        """Where the best path is another, or there is none any more, since this was last asked."""
        changed = frozenset(self._won_anew)
        self._won_anew.clear()
        return changed

    def routes(self) -> tuple[LearnedRoute, ...]:
        """Every best route, as of the last :meth:`changes`."""
        return tuple(self._best.values())

    def paths(self) -> Iterable[tuple[Network, list[Candidate]]]:
        """Every accepted path of each destination, best first."""
        for dst, names in self._accepted_from.items():
            candidates = [self._candidate(name, dst) for name in names]
            best = equally_good(candidates)
            yield dst, best + [each for each in candidates if each not in best]

    def received(self, name: str) -> Iterable[tuple[Network, Attributes, Refusal | None, bool]]:
        """Every route of a neighbour as it was announced, why it is refused, and whether it is stale."""
        table = self._tables.get(name)
        if table is not None:
            for dst, attributes in table.paths.items():
                yield dst, attributes, table.refused.get(dst), dst in table.stale

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
        for dst, attributes in table.paths.items():
            if not only_hosts or dst.prefixlen == dst.max_prefixlen:
                self._judge(table, dst, attributes)

    def _judge(self, table: AdjRibIn, dst: Network, attributes: Attributes) -> None:
        refused = refusal(dst, attributes, neighbour=table.neighbour, own=self._own, ownership=self._ownership)
        if refused is None and (table.neighbour.filters or table.altered):
            refused = self._filter(table, dst, attributes)
        if refused is None and attributes.next_hop is not None:
            refused = self._refuse_next_hop(table.neighbour, attributes.next_hop)
        if refused is None:
            if table.refused:
                table.refused.pop(dst, None)
            self._admit(table.neighbour.name, dst)
            return
        if table.refused.get(dst) is not refused:
            table.refused[dst] = refused
            table.refusals[refused.value] += 1
        self._expel(table.neighbour.name, dst)

    def _refuse_next_hop(self, neighbour: Neighbour, next_hop: Address) -> Refusal | None:
        if neighbour.needs_near_next_hops and self._is_near(neighbour.address) and not self._is_near(next_hop):
            return Refusal.NEXT_HOP
        return None if self._is_reachable(next_hop) else Refusal.UNREACHABLE

    def _filter(self, table: AdjRibIn, dst: Network, attributes: Attributes) -> Refusal | None:
        circumstances = Circumstances(table.neighbour.is_internal, is_learned=True)
        verdict, altered = screen(dst, attributes, table.neighbour.filters, circumstances, is_import=True)
        if altered != table.altered.pop(dst, attributes):
            self._touched.add(dst)
        if altered != attributes:
            table.altered[dst] = altered
        return Refusal.FILTER if verdict is Verdict.REJECT else None

    def _withdraw(self, table: AdjRibIn, dst: Network) -> None:
        if table.paths.pop(dst, None) is not None:
            table.refused.pop(dst, None)
            table.stale.pop(dst, None)
            table.altered.pop(dst, None)
            self._expel(table.neighbour.name, dst)

    def _admit(self, name: str, dst: Network) -> None:
        names = self._accepted_from.get(dst, ())
        if name not in names:
            self._accepted_from[dst] = (*names, name)
            self._touched.add(dst)

    def _expel(self, name: str, dst: Network) -> None:
        names = self._accepted_from.get(dst, ())
        if name not in names:
            return
        left = tuple(each for each in names if each != name)
        if left:
            self._accepted_from[dst] = left
        else:
            del self._accepted_from[dst]
        self._touched.add(dst)

    def _choose(self, dst: Network) -> LearnedRoute | None:
        names = self._accepted_from.get(dst)
        if names is None or dst in self._ways:
            self._win(dst, None)
            return LearnedRoute(dst, (self._ways[dst],), STATIC) if dst in self._ways else None
        candidates = [self._candidate(name, dst) for name in names]
        best = equally_good(candidates) if len(candidates) > 1 else candidates
        self._win(dst, best[0])
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
        table = self._tables[best.peer]
        now = Winner(table.neighbour, table.router_id, best.attributes)
        if now != before:
            self.winners[dst] = now
            self._won_anew.add(dst)

    def _candidate(self, name: str, dst: Network) -> Candidate:
        table = self._tables[name]
        neighbour = table.neighbour
        attributes = table.altered.get(dst) or table.paths[dst]
        return Candidate(name, attributes, neighbour.is_internal, table.router_id, neighbour.address)
