"""host-gw: ``10.244.1.0/24 via 172.22.1.176 dev eth0``. No tunnel: the peer itself is the gateway.

So it must be on a common link. One that is not cannot be reached in this way, and is named with what helps; the others
work, and it is looked at again whenever links, addresses or routes change.

Source: flannel pkg/backend/hostgw; the documents' tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from felix.fib.model import Desired, Network, Route, RouteKey, Why
from felix.ground import Ground
from flannel.backends.backend import Backend, Me, Refused, Uplink, sort_out
from flannel.backends.vxlan import way_on_link
from flannel.lease import Lease
from flannel.netconf import NetConf

TYPE = "host-gw"
REMEDY = "put it on a common link, or use backend vxlan (with DirectRouting, only such nodes go through the tunnel)"


@dataclass(frozen=True, slots=True)
class OffLink(Why):
    """Of a subnet that is not reached, because the node ``peer`` cannot be a gateway."""

    peer: str


def desire(me: Me, peers: Sequence[Lease], ground: Ground) -> Desired:
    found = sort_out(me, peers, TYPE)
    routes: dict[RouteKey, tuple[Route, Why]] = {}
    pending: dict[Network, Why] = dict(found.pending)
    for target in found.targets:
        way = way_on_link(target.node, ground)
        if way is None:
            why = f"node {target.name} is not on a link of this node, so it cannot be a gateway: {REMEDY}"
            pending[target.subnet] = OffLink(why, target.name)
        else:
            route = way.to(target.subnet)
            routes[route.key] = (route, target.why(TYPE))
    return Desired(routes, pending)


def configure(config: NetConf, uplink: Uplink) -> Backend:
    """Raises Refused behind a NAT."""
    if uplink.public != uplink.address or uplink.public_v6 != uplink.address_v6:
        raise Refused(
            "your PublicIP differs from interface IP, meaning that probably you're on a NAT, which is not supported by "
            "host-gw backend"
        )
    return Backend(lease_type=TYPE, mtu_bytes=uplink.mtu_bytes, desire=desire)
