"""The device and gateway to a next hop, read from the kernel's own table for the status: routes themselves are felix's.

Source: /proc/net/route (hexadecimal words in the machine's byte order, a line a route).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

_UP, _GATEWAY = 0x1, 0x2


@dataclass(frozen=True, slots=True)
class KernelRoute:
    dst: IPv4Network
    device: str
    gateway: IPv4Address | None = None
    metric: int = 0


def read_table(text: str) -> tuple[KernelRoute, ...]:
    """The unicast routes of /proc/net/route, the longest prefix first and of those the lowest metric."""
    found = [route for line in text.splitlines()[1:] if (route := _read_line(line.split())) is not None]
    return tuple(sorted(found, key=lambda route: (-route.dst.prefixlen, route.metric)))


def find(address: IPv4Address, table: Iterable[KernelRoute]) -> tuple[str, IPv4Address | None] | None:
    """(device, gateway) of the first route to ``address``, or None."""
    for route in table:
        if address in route.dst:
            return route.device, route.gateway
    return None


def _read_line(words: list[str]) -> KernelRoute | None:
    if len(words) < 8 or not int(words[3], 16) & _UP or words[0] == "*":
        return None
    has_gateway = int(words[3], 16) & _GATEWAY
    dst = IPv4Network((int(_address(words[1])), int(_address(words[7])).bit_count()))
    return KernelRoute(dst, words[0], _address(words[2]) if has_gateway else None, int(words[6]))


def _address(word: str) -> IPv4Address:
    return IPv4Address(int(word, 16).to_bytes(4, sys.byteorder))
