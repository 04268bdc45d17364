"""Addresses and networks as Go reads them: no zones, no netmasks, no address without its prefix unless it is said."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_PREFIX = re.compile(r"/(0|[1-9]\d{0,2})\Z", re.ASCII)


def read_address(text: str) -> Address:
    """Raises ValueError."""
    address = ip_address(text)
    if isinstance(address, IPv6Address) and (address.scope_id is not None or address.ipv4_mapped):
        raise ValueError(f"{text!r} has a zone, or is an IPv4 address in disguise")
    return address


def read_cidr(text: str) -> tuple[Address, Network]:
    """The address as it stands there, and its network. Raises ValueError."""
    if not _PREFIX.search(text):
        raise ValueError(f"{text!r} has no prefix length")
    address = read_address(text.partition("/")[0])
    return address, ip_network(text, strict=False)


def read_cidr_or_address(text: str) -> tuple[Address, Network]:
    """An address alone is the network of itself. Raises ValueError."""
    if "/" in text:
        return read_cidr(text)
    address = read_address(text)
    return address, ip_network(address)
