"""What felix did to the kernel, as log lines: one a change, each with its reason. Pure.

route.add dst=10.244.104.0/26 via=192.168.50.11 dev=ens33 proto=bird why='pool default-ipv4-ippool, node node2'
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from felix.fib.model import (
    PROTOCOL_NAMES,
    AddAddress,
    AddRoute,
    DeleteAddress,
    DeleteRoute,
    Op,
    RaiseLink,
    ReplaceRoute,
    Route,
    RouteType,
    WriteSysctl,
)
from felix.fib.status import Applied
from felix.fib.tunnel import ChangeTunnel, DeleteEntry, MakeTunnel, RemoveTunnel, SetEntry

MOST_LINES = 50
"""Of one write. A start that finds an empty table writes thousands of routes, and nobody reads thousands of lines."""


def lines(applied: Sequence[Applied]) -> Iterator[str]:
    """Refusals first, all that fit; then a count for what does not."""
    ordered = sorted(applied, key=lambda each: each.refusal is None)
    yield from (_line(each) for each in ordered[:MOST_LINES])
    rest = Counter(_event(each.op) for each in ordered[MOST_LINES:])
    if rest:
        yield "and " + ", ".join(f"{count} more of {event}" for event, count in sorted(rest.items()))


def _line(applied: Applied) -> str:
    words = [_event(applied.op), *_fields(applied.op)]
    words.append(f"why={str(applied.why)!r}" if applied.why is not None else "why='wanted by nobody any more'")
    if applied.refusal is not None:
        words.append(f"refused={str(applied.refusal)!r}")
    return " ".join(words)


_TUNNEL_EVENTS = {
    MakeTunnel: "tunnel.make",
    ChangeTunnel: "tunnel.change",
    RemoveTunnel: "tunnel.remove",
    AddAddress: "address.add",
    DeleteAddress: "address.delete",
    SetEntry: "entry.set",
    DeleteEntry: "entry.delete",
}


def _event(op: Op) -> str:
    match op:
        case AddRoute():
            return "route.add"
        case ReplaceRoute():
            return "route.replace"
        case DeleteRoute():
            return "route.delete"
        case RaiseLink():
            return "link.up"
        case WriteSysctl():
            return "sysctl.write"
        case _:
            return _TUNNEL_EVENTS[type(op)]


def _fields(op: Op) -> Iterator[str]:
    match op:
        case AddRoute(route) | ReplaceRoute(route) | DeleteRoute(route):
            yield from _route_fields(route)
        case RaiseLink(device):
            yield f"dev={device}"
        case WriteSysctl(path, value):
            yield f"path={path} value={value}"
        case AddAddress(address) | DeleteAddress(address):
            yield f"address={address.address} dev={address.device}"
        case SetEntry(entry) | DeleteEntry(entry):
            yield str(entry)
        case _:
            yield str(op)


def _route_fields(route: Route) -> Iterator[str]:
    yield f"dst={route.dst}"
    if route.type is not RouteType.UNICAST:
        yield f"type={route.type.name.lower()}"
    for hop in route.hops:
        yield from (f"via={hop.via}", f"dev={hop.device}") if hop.via is not None else (f"dev={hop.device}",)
    yield f"proto={PROTOCOL_NAMES.get(route.protocol, route.protocol)}"
