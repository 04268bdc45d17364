"""What the kernel holds and what we want it to hold, as values.

One frozen class a kind of kernel object, each with ``key`` (what the kernel itself takes as its identity: a second
object with the same key cannot exist) and ``str`` (the form that iproute2 prints, which the tests compare).
Names of devices, not indexes: an index dies with its device, a wish does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from enum import IntEnum
from errno import errorcode
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import cast

from felix.fib.tunnel import Entry, Ipip, TunnelDevice, TunnelOp, Vxlan

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

MAIN_TABLE = 254

IPV6_METRIC = 1024
"""What the kernel makes of a route of IPv6 without one."""


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
    """One way out: through ``device``, to the gateway ``via`` if there is one. ``onlink``: do not ask whether it is.

    ``weight`` counts only among several hops, 1 to 256.
    """

    device: str
    via: Address | None = None
    onlink: bool = False
    weight: int = 1


@dataclass(frozen=True, slots=True)
class RouteKey:
    """What makes a route the same route to the kernel: a write with this key replaces, another metric adds a second."""

    dst: Network
    metric: int = 0
    table: int = MAIN_TABLE
    tos: int = 0
    _hash: int = field(init=False, repr=False, compare=False)  # a network's takes longer than all look-ups together

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.dst, self.metric, self.table, self.tos)))

    def __hash__(self) -> int:
        return self._hash


@dataclass(frozen=True, slots=True)
class Route:
    """``hops`` is empty for a blackhole and its like, has one entry for most routes and several for ECMP.

    ``mtu_bytes`` 0 means none is set on the route. IPv6: the kernel reads metric 0 as 1024 and knows no scope, so
    wanted routes say 1024 and GLOBAL.
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
    _key: RouteKey | None = field(init=False, repr=False, compare=False, default=None)

    @property
    def key(self) -> RouteKey:
        if self._key is None:
            object.__setattr__(self, "_key", RouteKey(self.dst, self.metric, self.table, self.tos))
        return cast(RouteKey, self._key)

    def __str__(self) -> str:
        """As ``ip route`` prints it, without a trailing blank."""
        return " ".join(_route_words(self))


PROTOCOL_NAMES = {
    1: "redirect",
    2: "kernel",
    3: "boot",
    4: "static",
    9: "ra",
    11: "zebra",
    12: "bird",
    16: "dhcp",
    18: "keepalived",
    186: "bgp",
}

_SCOPE_NAMES = {253: "link", 254: "host", 255: "nowhere"}


def _route_words(route: Route) -> list[str]:
    words = [] if route.type is RouteType.UNICAST else [route.type.name.lower()]
    words.append(_destination(route.dst))
    if route.tos:
        words += ["tos", f"{route.tos:#04x}"]
    if len(route.hops) == 1:
        words += _hop_words(route, route.hops[0])
    if not route.hops and route.dst.version == 6:
        words += ["dev", "lo"]
    if route.table != MAIN_TABLE:
        words += ["table", str(route.table)]
    if route.protocol != Protocol.BOOT:
        words += ["proto", PROTOCOL_NAMES.get(route.protocol, str(route.protocol))]
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
    if route.dst.version == 6:
        words += ["pref", "medium"]
    if len(route.hops) > 1:
        for hop in route.hops:
            words += ["nexthop", *_hop_words(route, hop), "weight", str(hop.weight)]
            words += ["onlink"] if hop.onlink else []
    return words


def _hop_words(route: Route, hop: Hop) -> list[str]:
    if hop.via is None:
        return ["dev", hop.device]
    foreign_family = [] if hop.via.version == route.dst.version else ["inet6"]
    return ["via", *foreign_family, str(hop.via), "dev", hop.device]


def _destination(dst: Network) -> str:
    if dst.prefixlen == 0:
        return "default"
    return str(dst.network_address) if dst.prefixlen == dst.max_prefixlen else str(dst)


def show(routes: Iterable[Route]) -> str:
    """The routes as ``ip route`` lists them: by address, the more specific first, then by metric. One line each."""
    return "".join(f"{route}\n" for route in sorted(routes, key=_listing_order))


def _listing_order(route: Route) -> tuple[int, int, int, int]:
    return route.dst.version, int(route.dst.network_address), -route.dst.prefixlen, route.metric


@dataclass(frozen=True, slots=True)
class Link:
    """A network device as the kernel shows it. ``kind`` is veth, vxlan, ipip ... or "" for hardware; ``vxlan`` is what
    a device of that kind was made with, ``ipip`` likewise. ``master``: the index of the bridge that it is a port of.
    """

    name: str
    index: int
    kind: str = ""
    mac: str = ""
    mtu_bytes: int = 1500
    is_up: bool = False
    has_carrier: bool = False
    vxlan: Vxlan | None = None
    ipip: Ipip | None = None
    master: int = 0


@dataclass(frozen=True, slots=True)
class InterfaceAddress:
    """An address on a device: ``ip addr``."""

    device: str
    address: Address
    prefix_length: int
    scope: int = Scope.GLOBAL

    def __str__(self) -> str:
        return f"{self.address}/{self.prefix_length} dev {self.device}"


@dataclass(frozen=True, slots=True)
class Actual:
    """What the kernel held at one moment: one dump of the main table and what goes with it.

    IPv4 lets ``ip route append`` put further routes behind one of the same key. ``routes`` has the one that counts, the
    first; ``shadowed`` the rest, in the kernel's order. ``entries``: the permanent ones of VXLAN devices of ours.
    """

    links: Mapping[str, Link] = field(default_factory=dict)
    addresses: Set[InterfaceAddress] = frozenset()
    routes: Mapping[RouteKey, Route] = field(default_factory=dict)
    shadowed: Mapping[RouteKey, tuple[Route, ...]] = field(default_factory=dict)
    sysctls: Mapping[str, str] = field(default_factory=dict)
    entries: Set[Entry] = frozenset()


@dataclass(frozen=True, slots=True)
class Why:
    """The reason for a wanted object, in words that name its source: ``pool:default-ipv4-ippool/direct node:node2``."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Desired:
    """Everything that the kernel should hold of ours, and why. Made whole by one pure function, never edited.

    ``devices_up``: pods' devices, which must be up; no device but these and tunnels is raised or lowered.
    ``tunnels``: by name, whole with address and entries.
    ``sysctls``: path below /proc/sys, with slashes, to its value. ``lenient``: devices that must not be strict about
    the way back (rp_filter); one that does not look at it at all stays so. ``pending``: destinations that somebody has,
    but that we cannot send to now, and why not. What the kernel still holds for them stays.
    """

    routes: Mapping[RouteKey, tuple[Route, Why]] = field(default_factory=dict)
    pending: Mapping[Network, Why] = field(default_factory=dict)
    devices_up: Mapping[str, Why] = field(default_factory=dict)
    sysctls: Mapping[str, tuple[str, Why]] = field(default_factory=dict)
    lenient: Mapping[str, Why] = field(default_factory=dict)
    tunnels: Mapping[str, tuple[TunnelDevice, Why]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AddRoute:
    """Refused with EEXIST when anything, whoever wrote it, has the route's key."""

    route: Route

    def __str__(self) -> str:
        return f"route add {self.route}"


@dataclass(frozen=True, slots=True)
class ReplaceRoute:
    """In place of ``over``, which has the same key. Refused with ENOENT when nothing has that key any more."""

    route: Route
    over: Route

    def __str__(self) -> str:
        return f"route replace {self.route}"


@dataclass(frozen=True, slots=True)
class DeleteRoute:
    """Removes exactly this route, no other of the same key. Refused with ESRCH when it is gone."""

    route: Route

    def __str__(self) -> str:
        return f"route del {self.route}"


@dataclass(frozen=True, slots=True)
class RaiseLink:
    device: str

    def __str__(self) -> str:
        return f"link set {self.device} up"


@dataclass(frozen=True, slots=True)
class WriteSysctl:
    """``path`` is below /proc/sys, with slashes."""

    path: str
    value: str

    def __str__(self) -> str:
        return f"sysctl {self.path}={self.value}"


@dataclass(frozen=True, slots=True)
class AddAddress:
    """Refused with EEXIST when the device has it."""

    address: InterfaceAddress

    def __str__(self) -> str:
        return f"addr add {self.address}"


@dataclass(frozen=True, slots=True)
class DeleteAddress:
    address: InterfaceAddress

    def __str__(self) -> str:
        return f"addr del {self.address}"


RouteOp = AddRoute | ReplaceRoute | DeleteRoute
AddressOp = AddAddress | DeleteAddress
Op = RouteOp | RaiseLink | WriteSysctl | AddressOp | TunnelOp


@dataclass(frozen=True, slots=True)
class Refusal:
    """The kernel's answer to an op that it did not do: an errno and its own words, where it has any."""

    code: int
    text: str = ""

    def __str__(self) -> str:
        name = errorcode.get(self.code, str(self.code))
        return f"{name} ({self.text})" if self.text else name
