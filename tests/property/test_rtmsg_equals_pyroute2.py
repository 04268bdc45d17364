"""Our route codec and pyroute2's agree on every byte, in both directions."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

from hypothesis import given
from pyroute2.netlink.rtnl import rtmsg as theirs

from felix.fib import rtmsg
from felix.fib.model import Address, AddRoute, DeleteRoute, Hop, ReplaceRoute, Route, RouteType
from tests.routes import INDEXES, NAMES, routes

_HEADER_BYTES = 16
_ONLINK = 4


@given(routes())
def test_pyroute2_reads_what_we_write(route: Route) -> None:
    message = theirs.rtmsg(rtmsg.encode(AddRoute(route), 7, INDEXES))
    message.decode()
    assert _from_pyroute2(message) == route
    assert message["header"]["sequence_number"] == 7
    assert message["header"]["type"] == rtmsg.MessageType.NEW_ROUTE


@given(routes())
def test_we_read_what_pyroute2_writes(route: Route) -> None:
    message = _to_pyroute2(route)
    message.encode()
    assert rtmsg.decode_route(bytes(message.data)[_HEADER_BYTES:], NAMES) == route


@given(routes())
def test_we_read_what_we_write(route: Route) -> None:
    for op in (AddRoute(route), ReplaceRoute(route, route), DeleteRoute(route)):
        (message,) = rtmsg.split(rtmsg.encode(op, 1, INDEXES))
        assert rtmsg.decode_route(message.body, NAMES) == route


def _from_pyroute2(message: Any) -> Route:
    dst = message.get_attr("RTA_DST") or ("0.0.0.0" if message["family"] == 2 else "::")
    metrics = message.get_attr("RTA_METRICS")
    source = message.get_attr("RTA_PREFSRC")
    return Route(
        dst=ip_network(f"{dst}/{message['dst_len']}"),
        hops=tuple(_hops_from_pyroute2(message)),
        type=RouteType(message["type"]),
        protocol=message["proto"],
        scope=message["scope"],
        metric=message.get_attr("RTA_PRIORITY") or 0,
        table=message.get_attr("RTA_TABLE") or message["table"],
        tos=message["tos"],
        mtu_bytes=(metrics and metrics.get_attr("RTAX_MTU")) or 0,
        source=ip_address(source) if source else None,
    )


def _hops_from_pyroute2(message: Any) -> list[Hop]:
    if several := message.get_attr("RTA_MULTIPATH"):
        return [Hop(NAMES[nh["oif"]], _via(nh), bool(nh["flags"] & _ONLINK), nh["hops"] + 1) for nh in several]
    if (index := message.get_attr("RTA_OIF")) is None:
        return []
    return [Hop(NAMES[index], _via(message), bool(message["flags"] & _ONLINK))]


def _via(message: Any) -> Address | None:
    if other_family := message.get_attr("RTA_VIA"):
        return ip_address(other_family["addr"])
    gateway = message.get_attr("RTA_GATEWAY")
    return ip_address(gateway) if gateway else None


def _to_pyroute2(route: Route) -> Any:
    message = theirs.rtmsg()
    only = route.hops[0] if len(route.hops) == 1 else None
    message["family"] = 2 if route.dst.version == 4 else 10
    message["dst_len"] = route.dst.prefixlen
    message["tos"] = route.tos
    message["table"] = min(route.table, 255)
    message["proto"] = route.protocol
    message["scope"] = route.scope
    message["type"] = route.type
    message["flags"] = _ONLINK if only and only.onlink else 0
    message["attrs"] = [
        ("RTA_TABLE", route.table),
        ("RTA_DST", str(route.dst.network_address)),
        ("RTA_PRIORITY", route.metric),
        *([("RTA_PREFSRC", str(route.source))] if route.source else []),
        ("RTA_METRICS", {"attrs": [("RTAX_ADVMSS", 1000), ("RTAX_MTU", route.mtu_bytes)]}),
        *([("RTA_OIF", INDEXES[only.device]), *_gateway(route, only)] if only else []),
        *([("RTA_MULTIPATH", [_nexthop(route, hop) for hop in route.hops])] if len(route.hops) > 1 else []),
    ]
    return message


def _gateway(route: Route, hop: Hop) -> list[tuple[str, Any]]:
    if hop.via is None:
        return []
    if hop.via.version == route.dst.version:
        return [("RTA_GATEWAY", str(hop.via))]
    return [("RTA_VIA", {"family": 10, "addr": str(hop.via)})]


def _nexthop(route: Route, hop: Hop) -> dict[str, Any]:
    flags = _ONLINK if hop.onlink else 0
    return {"oif": INDEXES[hop.device], "flags": flags, "hops": hop.weight - 1, "attrs": _gateway(route, hop)}
