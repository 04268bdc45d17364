"""What a speaker that runs alone learned → what the main table should hold. Pure.

Each best route goes through the ground that its next hops are found on (:mod:`felix.ground`); one that is not found yet
waits with the reason, and what the kernel holds for it stays. A destination that this machine is connected to, or that
it originates itself, is never taken from others.
"""

from __future__ import annotations

from collections.abc import Collection

from bgp.learned import Delta, LearnedRoute
from felix.encap import direct
from felix.encap.way import NoWay, Way
from felix.fib.mirror import Surroundings
from felix.fib.model import Address, Desired, Network, Route, RouteKey, Why
from felix.ground import Ground


class MainTable:
    def __init__(self) -> None:
        self._learned: dict[Network, LearnedRoute] = {}
        self._ground = Ground(Surroundings())
        self._ways: dict[tuple[Address, ...], Way | NoWay] = {}
        self._near: dict[Address, bool] = {}
        self._placed: dict[Network, tuple[Route, Why] | Why] = {}

    def see(self, surroundings: Surroundings) -> None:
        """Next hops may be found elsewhere now."""
        self._ground, self._ways, self._near = Ground(surroundings), {}, {}
        self._placed = {dst: self._place(route) for dst, route in self._learned.items()}

    def reaches(self, next_hop: Address) -> bool:
        return not isinstance(self._way((next_hop,)), NoWay)

    def is_near(self, address: Address) -> bool:
        """Whether it is on a network that this machine is connected to."""
        if address not in self._near:
            networks = (dst for dst in self._ground.connected if dst.version == address.version)
            self._near[address] = any(address in dst for dst in networks)
        return self._near[address]

    def take(self, delta: Delta) -> None:
        for dst in delta.gone:
            self._learned.pop(dst, None)
            self._placed.pop(dst, None)
        for route in delta.best:
            self._learned[route.dst] = route
            self._placed[route.dst] = self._place(route)

    def desired(self, originated: Collection[Network]) -> Desired:
        routes: dict[RouteKey, tuple[Route, Why]] = {}
        pending: dict[Network, Why] = {}
        for dst, placed in self._placed.items():
            if dst in originated:
                continue
            if isinstance(placed, Why):
                pending[dst] = placed
            else:
                routes[placed[0].key] = placed
        return Desired(routes, pending)

    def _place(self, learned: LearnedRoute) -> tuple[Route, Why] | Why:
        if (connected := self._ground.connected.get(learned.dst)) is not None:
            return Why(f"this machine is connected to it: {connected}")
        way = self._way(learned.next_hops)
        origin = f"bgp {learned.peer}"
        return Why(f"{origin}: {way.why}") if isinstance(way, NoWay) else (way.to(learned.dst), Why(origin))

    def _way(self, next_hops: tuple[Address, ...]) -> Way | NoWay:
        way = self._ways.get(next_hops)
        if way is None:
            way = self._ways[next_hops] = direct.way_to(next_hops, self._ground)
        return way
