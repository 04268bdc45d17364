"""How packets to a destination are sent: decided here, by its pool, this node and the peer, and nowhere else.

    pool                          who tells where it is       how it is sent
    none (an external route)      BGP                         direct
    no encapsulation              BGP                         direct
    ipipMode                      BGP                         ipip, or direct (below)
    vxlanMode                     IPAM's blocks               vxlan, or direct (below)

CrossSubnet is direct for a peer in this node's own subnet. Disabled pools count: they give out no addresses, but have
some.

Source: Calico felix/calc/l3_route_resolver (poolTypeForPool), confd's kernel filter; the documents for the forms.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from datastore.resources import EncapMode, IPPool, Node
from felix.fib.model import Address
from felix.reach.reach import Source


class Encap(Enum):
    DIRECT = "direct"
    IPIP = "ipip"
    VXLAN = "vxlan"


@dataclass(frozen=True, slots=True)
class Choice:
    """``rule`` says it in words, for Why: ``pool default-ipv4-ippool, ipipMode CrossSubnet, same subnet``."""

    encap: Encap
    rule: str


def source_for(pool: IPPool | None) -> Source:
    return Source.BLOCKS if pool is not None and pool.vxlan_mode is not EncapMode.NEVER else Source.BGP


def choose(pool: IPPool | None, me: Node | None, peer: Address) -> Choice:
    """``me`` None (this node is not known yet) is in nobody's subnet."""
    if pool is None:
        return Choice(Encap.DIRECT, "outside the pools")
    encap, mode = _asked(pool)
    if encap is Encap.DIRECT:
        return Choice(encap, f"pool {pool.name}")
    rule = f"pool {pool.name}, {encap.value}Mode {mode.value}"
    if mode is EncapMode.CROSS_SUBNET and is_same_subnet(me, peer):
        return Choice(Encap.DIRECT, f"{rule}, same subnet")
    return Choice(encap, rule)


def _asked(pool: IPPool) -> tuple[Encap, EncapMode]:
    if pool.vxlan_mode is not EncapMode.NEVER:
        return Encap.VXLAN, pool.vxlan_mode
    if pool.ipip_mode is not EncapMode.NEVER:
        return Encap.IPIP, pool.ipip_mode
    return Encap.DIRECT, EncapMode.NEVER


def is_same_subnet(me: Node | None, peer: Address) -> bool:
    interface = None if me is None else me.ipv4 if peer.version == 4 else me.ipv6
    return interface is not None and peer in interface.network
