"""What flannel's kernel objects look like: part of how :mod:`felix.fib` tells them from others'.

Devices tell by their names. A route inside the flannel network is ours when it goes through one of them, or when its
gateway is a node that holds a lease: host-gw's routes have nothing else to be known by, proto boot is what a person's
have as well. What host-gw writes is journaled besides, so that it is known when its lease is gone.

Pure. Source: flannel pkg/backend (vxlan, hostgw, ipip, udp), its routes as ip route shows them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from felix.fib.model import IPV6_METRIC, MAIN_TABLE, Address, Protocol, Route, RouteType

TUN_DEVICE = "flannel0"
IPIP_DEVICE = "flannel.ipip"
_TUNNEL = re.compile(r"flannel(-v6)?\.\d+|flannel\.ipip")


def vxlan_device(vni: int, version: int) -> str:
    return f"flannel.{vni}" if version == 4 else f"flannel-v6.{vni}"


@dataclass(frozen=True, slots=True)
class FlannelMarks:
    """:class:`felix.fib.marks.Marks`. ``holders``: addresses of the nodes that hold leases."""

    holders: frozenset[Address] = frozenset()

    def is_pod_device(self, name: str) -> bool:
        """Pods hang on a bridge, which is not ours."""
        return False

    def is_tunnel(self, name: str) -> bool:
        return name.startswith("flannel") and _TUNNEL.fullmatch(name) is not None

    def is_made(self, name: str) -> bool:
        return self.is_tunnel(name)

    @property
    def is_alone(self) -> bool:
        """Several daemons, each with a network and a VNI of its own, may share a machine."""
        return False

    def has_our_form(self, route: Route) -> bool:
        is_main = route.table == MAIN_TABLE and route.tos == 0 and route.protocol == Protocol.BOOT
        if not is_main or route.metric != (0 if route.dst.version == 4 else IPV6_METRIC):
            return False
        if route.type is RouteType.BLACKHOLE:
            return True
        if route.type is not RouteType.UNICAST or len(route.hops) != 1:
            return False
        return route.hops[0].via is not None or self.is_plain(route)

    def is_plain(self, route: Route) -> bool:
        return any(hop.device == TUN_DEVICE or self.is_tunnel(hop.device) for hop in route.hops)

    def is_adopted(self, route: Route) -> bool:
        return not self.is_plain(route) and any(hop.via in self.holders for hop in route.hops)


FLANNEL = FlannelMarks()
