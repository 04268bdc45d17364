"""How packets to a destination are sent: decided here, by its pool, this node and the peer, and nowhere else.

    pool                          who tells where it is       how it is sent
    none (an external route)      BGP                         direct
    no encapsulation              BGP                         direct
    ipipMode                      BGP                         ipip, or direct (below)
    vxlanMode                     IPAM's blocks               vxlan, or direct (below)

CrossSubnet is direct for a peer in this node's own subnet. Where one of the two cannot (the peer publishes no tunnel
address, this node's device is not up) another tunnel that both can use stands in, or else direct: a node publishes when
it can receive, so while a pool changes its mode each peer is sent what it takes at that moment, and between subnets,
where direct leads nowhere, the old tunnel serves until the new one does. Disabled pools count: they give out no
addresses, but have some.

Source: Calico felix/calc/l3_route_resolver (poolTypeForPool), confd's kernel filter; the documents for the forms.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from enum import Enum

from datastore.resources import EncapMode, IPPool, Node
from felix.fib.model import Address
from felix.reach.reach import Source
from felix.tunnels import Tunnel


class Encap(Enum):
    DIRECT = "direct"
    IPIP = "ipip"
    VXLAN = "vxlan"


_TUNNELS = {
    (Encap.IPIP, 4): Tunnel.IPIP,
    (Encap.VXLAN, 4): Tunnel.VXLAN,
    (Encap.VXLAN, 6): Tunnel.VXLAN_V6,
}


@dataclass(frozen=True, slots=True)
class Choice:
    """``rule`` says it in words, for Why: ``pool default-ipv4-ippool, ipipMode CrossSubnet, same subnet``. ``tunnel``
    None is direct.
    """

    tunnel: Tunnel | None
    rule: str


@dataclass(frozen=True, slots=True)
class Peer:
    """Who has the destination: the next hop, and the node that has that address, if one has."""

    address: Address
    node: Node | None = None


def source_for(pool: IPPool | None) -> Source:
    return Source.BLOCKS if pool is not None and pool.vxlan_mode is not EncapMode.NEVER else Source.BGP


def choose(pool: IPPool | None, me: Node | None, peer: Peer, up: Set[Tunnel]) -> Choice:
    """``me`` None (this node is not known yet) is in nobody's subnet. ``up``: the tunnels whose device here is up."""
    if pool is None:
        return Choice(None, "outside the pools")
    encap, mode = _asked(pool)
    tunnel = _TUNNELS.get((encap, peer.address.version))
    if tunnel is None:
        return Choice(None, f"pool {pool.name}")
    rule = f"pool {pool.name}, {encap.value}Mode {mode.value}"
    if mode is EncapMode.CROSS_SUBNET and is_same_subnet(me, peer.address):
        return Choice(None, f"{rule}, same subnet")
    why_not = _cannot(tunnel, peer, up)
    if not why_not:
        return Choice(tunnel, rule)
    stand_in = next((other for other in Tunnel if not _cannot(other, peer, up)), None)
    return Choice(stand_in, f"{rule}, but {stand_in.device if stand_in else 'direct'} for now: {why_not}")


def _asked(pool: IPPool) -> tuple[Encap, EncapMode]:
    if pool.vxlan_mode is not EncapMode.NEVER:
        return Encap.VXLAN, pool.vxlan_mode
    if pool.ipip_mode is not EncapMode.NEVER:
        return Encap.IPIP, pool.ipip_mode
    return Encap.DIRECT, EncapMode.NEVER


def _cannot(tunnel: Tunnel, peer: Peer, up: Set[Tunnel]) -> str:
    """Why this tunnel cannot carry packets to ``peer`` now, or ""."""
    if tunnel.version != peer.address.version:
        return f"{tunnel.device} carries no IPv{peer.address.version}"
    if peer.node is None:
        return f"{peer.address} is no node's address"
    if tunnel.published(peer.node) is None:
        return f"{peer.node.name} publishes no {tunnel.word} tunnel address"
    return "" if tunnel in up else f"{tunnel.device} is not up here"


def is_same_subnet(me: Node | None, peer: Address) -> bool:
    interface = None if me is None else me.ipv4 if peer.version == 4 else me.ipv6
    return interface is not None and peer in interface.network
