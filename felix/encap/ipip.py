"""IP in IP: ``10.244.104.0/26 via 192.168.50.11 dev tunl0 proto bird onlink``.

One device for all peers: the gateway of the inner route is the outer destination. Source: the documents' tables.
"""

from __future__ import annotations

from collections.abc import Sequence

from felix.encap.way import Way
from felix.fib.model import Address, Hop
from felix.fib.tunnel import TunnelDevice
from felix.tunnels import Tunnel


def way_to(next_hops: Sequence[Address]) -> Way:
    return Way(tuple(Hop(Tunnel.IPIP.device, next_hop, onlink=True) for next_hop in next_hops))


def device(address: Address | None, mtu_bytes: int) -> TunnelDevice:
    return TunnelDevice(Tunnel.IPIP.device, mtu_bytes, address)
