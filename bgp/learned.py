"""What felix and bgp tell each other, as values and as JSON lines over /var/run/calico/bgp.sock (bgp listens).

bgp → felix: ``hello``, then one ``snapshot`` (every learned route), then ``delta``s; ``in_sync`` once End-of-RIB came
from every neighbour or the restart timer ran out. Only an ``in_sync`` after the latest snapshot lets felix remove what
it does not find there; while the two are apart felix keeps the last set for as long as it takes.
felix → bgp: ``hello``, then ``confirmed``: each time the whole set of destinations that are in this node's FIB and may
be announced (invariant 9: a block's blackhole is in the FIB before its announcement leaves).

Both sides refuse a ``hello`` of another version. Lines are UTF-8, one JSON object each, at most 16 MiB.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from bgp.json_lines import Language

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

VERSION = 1
SOCKET_PATH = "/var/run/calico/bgp.sock"
LONGEST_LINE_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class LearnedRoute:
    """A destination and how neighbours say it is reached: the equal best paths' next hops, lowest address first.

    ``peer`` names the neighbour of the best path as status prints it, for the route's Why.
    """

    dst: Network
    next_hops: tuple[Address, ...]
    peer: str = ""


@dataclass(frozen=True, slots=True)
class Hello:
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class Snapshot:
    routes: tuple[LearnedRoute, ...]


@dataclass(frozen=True, slots=True)
class Delta:
    """``best`` replaces what was known of its destinations; ``gone`` are no longer reached."""

    best: tuple[LearnedRoute, ...] = ()
    gone: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True)
class InSync:
    pass


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Destinations that this node's FIB holds: the blackholes of its own blocks, and its borrowed pods' /32s."""

    destinations: frozenset[Network]


Message = Hello | Snapshot | Delta | InSync | Confirmed


def _to_json(message: Message) -> dict[str, Any]:
    match message:
        case Hello(version):
            return {"type": "hello", "version": version}
        case Snapshot(routes):
            return {"type": "snapshot", "routes": [_route_to_json(route) for route in routes]}
        case Delta(best, gone):
            return {"type": "delta", "best": [_route_to_json(r) for r in best], "gone": [str(dst) for dst in gone]}
        case InSync():
            return {"type": "in_sync"}
        case Confirmed(destinations):
            return {"type": "confirmed", "destinations": sorted(str(dst) for dst in destinations)}


def _from_json(raw: Any) -> Message:
    match raw["type"]:
        case "hello":
            return Hello(int(raw["version"]))
        case "snapshot":
            return Snapshot(tuple(_route_from_json(route) for route in raw["routes"]))
        case "delta":
            return Delta(
                tuple(_route_from_json(route) for route in raw["best"]),
                tuple(ip_network(dst) for dst in raw["gone"]),
            )
        case "in_sync":
            return InSync()
        case "confirmed":
            return Confirmed(frozenset(ip_network(dst) for dst in raw["destinations"]))
        case other:
            raise ValueError(f"unknown message type {other!r}")


def _route_to_json(route: LearnedRoute) -> list[Any]:
    return [str(route.dst), [str(hop) for hop in route.next_hops], route.peer]


def _route_from_json(raw: list[Any]) -> LearnedRoute:
    dst, next_hops, peer = raw
    return LearnedRoute(ip_network(dst), tuple(ip_address(hop) for hop in next_hops), str(peer))


_LANGUAGE: Language[Message] = Language(_to_json, _from_json)
to_line, from_line = _LANGUAGE.to_line, _LANGUAGE.from_line
