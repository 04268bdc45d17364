"""Where a next hop is found: recursively, through the routes that are not ours.

The kernel takes a gateway only if it is on link. A next hop that is not (a node in another subnet) is reached as the
kernel would reach it: through the most specific route to it, by that route's own gateway. So the route that is written
says ``via`` the router, not the node, as BIRD's do. One step is enough, because that route's gateway is on link itself.

Source: BIRD's recursive next hops (nest/rt-table.c).
"""

from __future__ import annotations

from felix.encap.way import NoWay
from felix.fib.mirror import Surroundings
from felix.fib.model import Address, Hop, Protocol, Route, RouteType
from felix.prefixes import PrefixTable


class Ground:
    """Made once for some surroundings. ``connected``: the networks of the node's own links, and their routes."""

    def __init__(self, surroundings: Surroundings) -> None:
        self.connected = {route.dst: route for route in surroundings.routes if _is_connected(route)}
        self._own = {one.address: one.device for one in surroundings.addresses}
        self._table = PrefixTable((route.dst, route) for route in sorted(surroundings.routes, key=_best_last))

    def find(self, next_hop: Address) -> tuple[Hop, ...] | NoWay:
        """The ways to it, several if the route to it has several."""
        if next_hop in self._own:
            return NoWay(f"next hop {next_hop} is this node's own address")
        route = self._table.best_at(next_hop)
        if route is None:
            return NoWay(f"no route to next hop {next_hop}")
        if route.type is not RouteType.UNICAST:
            return NoWay(f"next hop {next_hop} is cut off by {route}")
        return tuple([Hop(hop.device, hop.via or next_hop, hop.onlink, hop.weight) for hop in route.hops])


def _is_connected(route: Route) -> bool:
    return route.protocol == Protocol.KERNEL and any(hop.via is None for hop in route.hops)


def _best_last(route: Route) -> int:
    """Of routes with the same destination the table keeps the last: the one of the lowest metric."""
    return -route.metric
