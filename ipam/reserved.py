"""The addresses that are never given out unasked: all IPReservations together. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from datastore.resources import IPReservation

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address


class Reserved:
    """A set of networks that may overlap."""

    def __init__(self, cidrs: Iterable[Network] = ()) -> None:
        self._cidrs = tuple(cidrs)

    @classmethod
    def of(cls, reservations: Iterable[IPReservation]) -> Reserved:
        return cls(cidr for reservation in reservations for cidr in reservation.cidrs)

    def has(self, address: Address) -> bool:
        return any(address in cidr for cidr in self._cidrs)

    def covers(self, network: Network) -> bool:
        """All of ``network`` lies in one reservation."""
        return any(_holds(cidr, network) for cidr in self._cidrs)

    def touches(self, network: Network) -> bool:
        return any(cidr.version == network.version and cidr.overlaps(network) for cidr in self._cidrs)

    def count(self, network: Network, besides: Iterable[Network] = ()) -> int:
        """How many addresses of ``network`` lie in a reservation or in one of ``besides``; each counts once."""
        at, last = _bounds(network)
        counted = 0
        for low, high in sorted(_bounds(cidr) for cidr in (*self._cidrs, *besides) if cidr.version == network.version):
            low, high = max(low, at), min(high, last)
            if low <= high:
                counted += high - low + 1
                at = high + 1
        return counted


def _bounds(network: Network) -> tuple[int, int]:
    return int(network.network_address), int(network.broadcast_address)


def _holds(outer: Network, inner: Network) -> bool:
    if isinstance(outer, IPv4Network):
        return isinstance(inner, IPv4Network) and inner.subnet_of(outer)
    return isinstance(inner, IPv6Network) and inner.subnet_of(outer)
