"""Way: how packets get to a peer, whatever the destination behind it. What every file of this folder answers."""

from __future__ import annotations

from dataclasses import dataclass

from felix.fib.model import IPV6_METRIC, Hop, Network, Protocol, Route


@dataclass(frozen=True, slots=True)
class Way:
    """Routes to destinations behind one peer differ in nothing but the destination."""

    hops: tuple[Hop, ...]
    mtu_bytes: int = 0
    protocol: int = Protocol.BIRD

    def to(self, dst: Network) -> Route:
        metric = 0 if dst.version == 4 else IPV6_METRIC
        return Route(dst, self.hops, protocol=self.protocol, metric=metric, mtu_bytes=self.mtu_bytes)


@dataclass(frozen=True, slots=True)
class NoWay:
    why: str
