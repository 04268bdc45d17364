"""What the kernel holds and what we want it to hold, as values.

One frozen class a kind of kernel object, each with ``key`` (what the kernel itself takes as its identity: a second
object with the same key cannot exist) and ``str`` (the form that iproute2 prints, which the tests compare).
Names of devices, not indexes: an index dies with its device, a wish does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

MAIN_TABLE = 254


class Protocol(IntEnum):
    """Who installed a route (rtm_protocol); the name is iproute2's. Others are plain numbers."""

    KERNEL = 2
    BOOT = 3
    STATIC = 4
    BIRD = 12
    CALICO = 80


class Scope(IntEnum):
    GLOBAL = 0
    LINK = 253
    HOST = 254


class RouteType(IntEnum):
    UNICAST = 1
    LOCAL = 2
    BROADCAST = 3
    ANYCAST = 4
    MULTICAST = 5
    BLACKHOLE = 6
    UNREACHABLE = 7
    PROHIBIT = 8
    THROW = 9


@dataclass(frozen=True, slots=True)
class Hop:
    """One way out: through ``device``, to the gateway ``via`` if there is one. ``onlink``: do not ask whether it is."""

    device: str
    via: Address | None = None
    onlink: bool = False


@dataclass(frozen=True, slots=True)
class RouteKey:
    """What makes a route the same route to the kernel: a write with this key replaces, another metric adds a second."""

    dst: Network
    metric: int = 0
    table: int = MAIN_TABLE
    tos: int = 0


@dataclass(frozen=True, slots=True)
class Route:
    """``hops`` is empty for a blackhole and its like, has one entry for most routes and several for ECMP.

    ``mtu_bytes`` 0 means none is set on the route.
    """

    dst: Network
    hops: tuple[Hop, ...] = ()
    type: RouteType = RouteType.UNICAST
    protocol: int = Protocol.BIRD
    scope: int = Scope.GLOBAL
    metric: int = 0
    table: int = MAIN_TABLE
    tos: int = 0
    mtu_bytes: int = 0
    source: Address | None = None

    @property
    def key(self) -> RouteKey:
        return RouteKey(self.dst, self.metric, self.table, self.tos)

    def __str__(self) -> str:
        """As ``ip route`` prints it, without a trailing blank."""
        return " ".join(_route_words(self))


_PROTOCOL_NAMES = {2: "kernel", 4: "static", 12: "bird", 16: "dhcp", 186: "bgp"}
_SCOPE_NAMES = {253: "link", 254: "host", 255: "nowhere"}


def _route_words(route: Route) -> list[str]:
    words = [] if route.type is RouteType.UNICAST else [route.type.name.lower()]
    words.append(_destination(route.dst))
    if route.tos:
        words += ["tos", f"{route.tos:#x}"]
    if len(route.hops) == 1:
        words += _hop_words(route.hops[0])
    if route.table != MAIN_TABLE:
        words += ["table", str(route.table)]
    if route.protocol != Protocol.BOOT:
        words += ["proto", _PROTOCOL_NAMES.get(route.protocol, str(route.protocol))]
    if route.scope in _SCOPE_NAMES:
        words += ["scope", _SCOPE_NAMES[route.scope]]
    if route.source is not None:
        words += ["src", str(route.source)]
    if route.metric:
        words += ["metric", str(route.metric)]
    if len(route.hops) == 1 and route.hops[0].onlink:
        words.append("onlink")
    if route.mtu_bytes:
        words += ["mtu", str(route.mtu_bytes)]
    if len(route.hops) > 1:
        for hop in route.hops:
            words += ["nexthop", *_hop_words(hop), "weight", "1", *(["onlink"] if hop.onlink else [])]
    return words


def _hop_words(hop: Hop) -> list[str]:
    return [*(["via", str(hop.via)] if hop.via is not None else []), "dev", hop.device]


def _destination(dst: Network) -> str:
    if dst.prefixlen == 0:
        return "default"
    return str(dst.network_address) if dst.prefixlen == dst.max_prefixlen else str(dst)


@dataclass(frozen=True, slots=True)
class Link:
    """A network device as the kernel shows it. ``kind`` is veth, vxlan, ipip ... or "" for hardware."""

    name: str
    index: int
    kind: str = ""
    mac: str = ""
    mtu_bytes: int = 1500
    is_up: bool = False
    has_carrier: bool = False


@dataclass(frozen=True, slots=True)
class InterfaceAddress:
    """An address on a device: ``ip addr``."""

    device: str
    address: Address
    prefix_length: int
    scope: int = Scope.GLOBAL


@dataclass(frozen=True, slots=True)
class Actual:
    """What the kernel held at one moment: one dump."""

    links: Mapping[str, Link] = field(default_factory=dict)
    addresses: frozenset[InterfaceAddress] = frozenset()
    routes: Mapping[RouteKey, Route] = field(default_factory=dict)
    sysctls: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Why:
    """The reason for a wanted object, in words that name its source: ``pool:default-ipv4-ippool/direct node:node2``."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Desired:
    """Everything that the kernel should hold of ours, and why. Made whole by one pure function, never edited.

    ``devices_up``: devices of ours that must be up (cali*, tunnels); no other device is raised or lowered.
    ``sysctls``: path below /proc/sys, with slashes, to its value.
    """

    routes: Mapping[RouteKey, tuple[Route, Why]] = field(default_factory=dict)
    devices_up: Mapping[str, Why] = field(default_factory=dict)
    sysctls: Mapping[str, tuple[str, Why]] = field(default_factory=dict)
