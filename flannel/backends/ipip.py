"""ipip: ``10.244.1.0/24 via 192.168.50.11 dev flannel.ipip onlink``. The gateway is the outer destination.

Source: flannel pkg/backend/ipip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from felix.encap import vxlan
from felix.encap.way import Way
from felix.fib.model import Desired, Protocol, Route, RouteKey, Why
from felix.fib.tunnel import Ipip, TunnelDevice
from felix.ground import Ground
from flannel.backends.backend import Backend, Me, Refused, Target, Uplink, sort_out
from flannel.backends.vxlan import way_on_link
from flannel.lease import Lease, Subnets
from flannel.marks import IPIP_DEVICE
from flannel.netconf import NetConf

TYPE = "ipip"
OVERHEAD_BYTES = 20


@dataclass(frozen=True, slots=True)
class Ways:
    ipip: Ipip
    mtu_bytes: int
    is_direct: bool

    def desire(self, me: Me, peers: Sequence[Lease], ground: Ground) -> Desired:
        found = sort_out(replace(me, networks=Subnets(me.networks.v4)), peers, TYPE)
        routes: dict[RouteKey, tuple[Route, Why]] = {}
        for target in found.targets:
            way, how = self._way(target, ground)
            route = way.to(target.subnet)
            routes[route.key] = (route, target.why(how))
        address = None if me.subnets.v4 is None else me.subnets.v4.network_address
        tunnel = TunnelDevice(IPIP_DEVICE, self.mtu_bytes, address, ipip=self.ipip)
        return Desired(routes, found.pending, tunnels={tunnel.name: (tunnel, Why("this network's backend is ipip"))})

    def _way(self, target: Target, ground: Ground) -> tuple[Way, str]:
        direct = way_on_link(target.node, ground) if self.is_direct else None
        if direct is not None:
            hops = tuple(replace(hop, onlink=True) for hop in direct.hops)
            return Way(hops, protocol=Protocol.BOOT), "direct"
        return vxlan.way_over(IPIP_DEVICE, target.node), TYPE


def configure(config: NetConf, uplink: Uplink) -> Backend:
    """Raises BadDocument, which names the option, and Refused."""
    if uplink.address is None:
        why = f"the ipip backend is IPv4 only, and {uplink.device} has no IPv4 address"
        raise Refused(f"{why}: name another device with --iface")
    mtu_bytes = uplink.mtu_bytes - OVERHEAD_BYTES
    ways = Ways(Ipip(uplink.address), mtu_bytes, config.options.flag("DirectRouting", False))
    return Backend(lease_type=TYPE, mtu_bytes=mtu_bytes, desire=ways.desire, tunnels={IPIP_DEVICE: mtu_bytes})
