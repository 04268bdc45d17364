"""udp: ``10.42.0.0/16 dev flannel0``. Packets for the whole network go to a program of ours, which puts them in UDP.

Here is what the kernel should hold and who is behind which subnet; the program is :mod:`flannel.pump`. The lease of
this backend tells no type, and every lease with an address counts, whatever its type: a peer that has not switched yet
is still reached the old way, by its own, more specific route.

IPv4 only. Source: flannel pkg/backend/udp.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network

from felix.fib.model import Desired, Hop, Protocol, Route, Why
from felix.ground import Ground
from flannel.backends.backend import Backend, Me, Pumped, Refused, Uplink, sort_out
from flannel.lease import Lease
from flannel.marks import TUN_DEVICE
from flannel.netconf import NetConf

TYPE = ""
DEFAULT_PORT = 8285
OVERHEAD_BYTES = 28


def desire(me: Me, peers: Sequence[Lease], ground: Ground) -> Desired:
    if me.networks.v4 is None:
        return Desired()
    network = Route(me.networks.v4, (Hop(TUN_DEVICE),), protocol=Protocol.BOOT)
    why = Why("this network's backend is udp")
    return Desired({network.key: (network, why)}, sort_out(me, peers, TYPE).pending)


def table(peers: Iterable[Lease]) -> dict[IPv4Network, IPv4Address]:
    """Which node each subnet is behind."""
    return {
        lease.subnets.v4: lease.attributes.public_ip
        for lease in peers
        if lease.subnets.v4 is not None and lease.attributes.public_ip is not None
    }


def configure(config: NetConf, uplink: Uplink) -> Backend:
    """Raises BadDocument, which names the option, and Refused."""
    if uplink.address is None or config.network is None:
        raise Refused("the udp backend is IPv4 only: set EnableIPv4 and Network, or use backend vxlan")
    port = config.options.count("Port", DEFAULT_PORT, most=(1 << 16) - 1) or DEFAULT_PORT
    mtu_bytes = uplink.mtu_bytes - OVERHEAD_BYTES
    return Backend(
        lease_type=TYPE,
        mtu_bytes=mtu_bytes,
        desire=desire,
        tunnels={TUN_DEVICE: mtu_bytes},
        pumped=Pumped(uplink.address, port),
    )
