"""What :mod:`flannel.uplink` decides on, read from this machine.

Of an IPv4 device with several addresses the kernel says which is the first. Of IPv6 /proc tells which are temporary or
given up; netlink's dump, as :mod:`felix.fib` keeps it, has neither.
"""

from __future__ import annotations

import fcntl
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from felix.fib.model import Actual, Address, Route, Scope
from flannel.uplink import Machine

_IF_INET6 = Path("/proc/net/if_inet6")
_SIOCGIFADDR = 0x8915
_TEMPORARY, _DEPRECATED, _PERMANENT = 0x01, 0x20, 0x80
_HOST_SCOPE_V6 = 0x10
_ANY_PORT = 80


def read(actual: Actual, destinations: Sequence[str]) -> Machine:
    """``destinations``: whose source is asked for."""
    sources = {one: source for one in destinations if (source := _source_towards(one)) is not None}
    addresses: dict[str, list[Address]] = {device: [*_v4(device, actual), *_v6(device)] for device in actual.links}
    return Machine(actual.links, addresses, _defaults(actual), sources)


def _v4(device: str, actual: Actual) -> list[IPv4Address]:
    """Global before link-local, the kernel's first before others."""
    first = _first_of(device)
    found = [one for one in actual.addresses if one.device == device and one.scope < Scope.HOST]
    ranked = sorted(
        (one.scope, one.address != first, int(one.address), one.address)
        for one in found
        if isinstance(one.address, IPv4Address)
    )
    return [address for *_, address in ranked]


def _first_of(device: str) -> Address | None:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as door, suppress(OSError):
        answer = fcntl.ioctl(door, _SIOCGIFADDR, struct.pack("256s", device.encode()[:15]))
        return IPv4Address(answer[20:24])
    return None


def _v6(device: str) -> list[IPv6Address]:
    """Global before link-local, permanent before dynamic, lasting before temporary; none that is given up."""
    return [address for *_, address in sorted(_ranked_v6(device))]


def _ranked_v6(device: str) -> Iterator[tuple[bool, bool, bool, int, IPv6Address]]:
    try:
        lines = _IF_INET6.read_text().splitlines()
    except OSError:
        return
    for place, line in enumerate(lines):
        packed, _, _, scope, flags, name = line.split()
        kind = int(flags, 16)
        if name == device and not kind & _DEPRECATED and int(scope, 16) != _HOST_SCOPE_V6:
            address = IPv6Address(bytes.fromhex(packed))
            yield address.is_link_local, not kind & _PERMANENT, bool(kind & _TEMPORARY), place, address


def _defaults(actual: Actual) -> dict[int, str]:
    found = sorted((route for route in actual.routes.values() if route.dst.prefixlen == 0 and route.hops), key=_metric)
    return {route.dst.version: route.hops[0].device for route in reversed(found)}


def _metric(route: Route) -> int:
    return route.metric


def _source_towards(destination: str) -> Address | None:
    """Connecting a UDP socket sends nothing: the kernel only looks for the route."""
    family = socket.AF_INET6 if ":" in destination else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_DGRAM)) as asked, suppress(OSError):
        asked.connect((destination, _ANY_PORT))
        return ip_address(asked.getsockname()[0].partition("%")[0])
    return None
