"""Longest-prefix lookup over a fixed set of networks: which of them contains an address or a network.

A cluster has a handful of block sizes, so one dictionary look-up per length that occurs is all it takes.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Prefixes:
    """An immutable set of networks of both families."""

    __slots__ = ("_lengths", "networks")

    def __init__(self, networks: Iterable[Network] = ()) -> None:
        self.networks = frozenset(networks)
        self._lengths = {
            version: sorted({each.prefixlen for each in self.networks if each.version == version}, reverse=True)
            for version in (4, 6)
        }

    def around(self, dst: Address | Network) -> Network | None:
        """The longest member that contains ``dst`` or equals it, or None."""
        lengths = self._lengths[dst.version]
        if not lengths:
            return None
        if isinstance(dst, IPv4Address | IPv6Address):
            value, longest = int(dst), int(dst.max_prefixlen)
        else:
            value, longest = int(dst.network_address), dst.prefixlen
        make = IPv4Network if dst.version == 4 else IPv6Network
        for length in lengths:
            spare = dst.max_prefixlen - length
            if length <= longest and (found := make((value >> spare << spare, length))) in self.networks:
                return found
        return None

    def __contains__(self, dst: Network) -> bool:
        return dst in self.networks

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Prefixes) and self.networks == other.networks

    def __hash__(self) -> int:
        return hash(self.networks)
