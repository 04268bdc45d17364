"""IPv6 routes that get another device while their gateway is reached through the old one. Pure.

Linux takes an IPv6 route "via GATEWAY dev DEVICE onlink" only while no other route leads to the gateway through another
device (EINVAL, "Nexthop has invalid gateway or device mismatch"; a default route does not count). The gateway of a
VXLAN route is an address out of the peer's own block, so the very route that is to be replaced is in the way. A
foothold is a route to the gateway alone, through the new device: it is written before, and goes when it is not needed
any more. What is sent to the gateway meanwhile takes the way that it takes afterwards.

IPv4 asks no such thing. Source: Linux net/ipv6/route.c, ip6_route_check_nh_onlink; seen on 6.18.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv6Address, IPv6Network

from felix.fib.model import Actual, Hop, Route, RouteKey, RouteType, Why


def footholds(writes: Iterable[Route], actual: Actual) -> dict[RouteKey, tuple[Route, Why]]:
    """The routes that must be there before ``writes`` can be; also those that are there already."""
    needed = [(route, hop, hop.via) for route, hop in _onlink_v6(writes) if isinstance(hop.via, IPv6Address)]
    if not needed:
        return {}
    known = _by_destination(actual)
    found = {}
    for route, hop, gateway in needed:
        foothold = Route(IPv6Network(gateway), (Hop(hop.device),), protocol=route.protocol, metric=route.metric)
        way = _best(gateway, known, but=foothold.key)
        if way is not None and way.type is RouteType.UNICAST and any(each.device != hop.device for each in way.hops):
            found[foothold.key] = (foothold, Why(f"until {gateway} is not reached by {way.dst} any more"))
    return found


def _onlink_v6(routes: Iterable[Route]) -> Iterator[tuple[Route, Hop]]:
    for route in routes:
        if route.dst.version == 6:
            yield from ((route, hop) for hop in route.hops if hop.onlink and not _is_link_local(hop))


def _is_link_local(hop: Hop) -> bool:
    return hop.via is not None and hop.via.is_link_local


def _by_destination(actual: Actual) -> Mapping[IPv6Network, Route]:
    """Of each destination the route that counts."""
    found: dict[IPv6Network, Route] = {}
    for route in actual.routes.values():
        if isinstance(route.dst, IPv6Network) and route.dst.prefixlen:
            before = found.get(route.dst)
            if before is None or route.metric < before.metric:
                found[route.dst] = route
    return found


def _best(gateway: IPv6Address, known: Mapping[IPv6Network, Route], *, but: RouteKey) -> Route | None:
    for length in range(128, 0, -1):
        route = known.get(IPv6Network((gateway, length), strict=False))
        if route is not None and route.key != but:
            return route
    return None
