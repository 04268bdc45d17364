"""Pods whose full packets no longer fit: born under a backend that carried larger ones, such as host-gw before vxlan.

A pod keeps the MTU that it was born with. Its device is a port of the bridge that has an address of this node's
subnet, and that is all that is known of it here. Such pods go on working: the kernel tells them of a smaller path MTU,
and where somebody filters that, TCP connections through the tunnels are opened with segments that fit.

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from felix.fib.mirror import Surroundings
from felix.fib.model import Link
from flannel.backends.backend import Backend
from flannel.lease import Subnets

_TCP_IN_IPV4_BYTES = 40


@dataclass(frozen=True, slots=True)
class LargePod:
    device: str
    mtu_bytes: int
    offered_bytes: int

    def __str__(self) -> str:
        what = f"the pod behind {self.device} has MTU {self.mtu_bytes}, the network carries {self.offered_bytes}"
        return f"{what}: its TCP connections are clamped; a new pod in its place has the right one"


def large_pods(around: Surroundings, own: Subnets, offered_bytes: int) -> tuple[LargePod, ...]:
    """Of this node, by device."""
    bridges = {link.index for link in _bridges(around, own)}
    found = [
        LargePod(link.name, link.mtu_bytes, offered_bytes)
        for link in around.links.values()
        if link.master in bridges and link.mtu_bytes > offered_bytes
    ]
    return tuple(sorted(found, key=lambda pod: pod.device))


def _bridges(around: Surroundings, own: Subnets) -> Sequence[Link]:
    subnets = [subnet for subnet in (own.v4, own.v6) if subnet is not None]
    devices = {one.device for one in around.addresses if any(one.address in subnet for subnet in subnets)}
    return [link for name, link in around.links.items() if name in devices and link.kind == "bridge"]


def segments(backend: Backend, large: Sequence[LargePod]) -> Mapping[str, int]:
    """By tunnel device, the largest segment of TCP over IPv4 that fits, in bytes; none where all pods' packets fit."""
    if not large:
        return {}
    return {device: mtu_bytes - _TCP_IN_IPV4_BYTES for device, mtu_bytes in backend.tunnels.items()}
