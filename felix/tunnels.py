"""The kinds of tunnel, and who needs an address for which. Pure.

Owns what is fixed of each kind (device, family, handle, overhead) and the rules by which a node needs an address for
it; :mod:`felix.tunnel_addresses` takes, publishes and gives back. Whether a packet goes through a tunnel is decided in
:mod:`felix.choose`.

Source: Calico node/pkg/allocateip (handles, attributes, eligible pools), felix/calc/vxlan_resolver (MAC addresses),
felix/dataplane/linux (devices, overheads).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from enum import Enum
from hashlib import sha1
from ipaddress import IPv4Address, IPv6Address

from datastore.resources import EncapMode, IPPool, Node, Use
from datastore.selector import Malformed
from ipam.block import Holder
from ipam.choose import selects_node

Address = IPv4Address | IPv6Address


class Tunnel(Enum):
    """``overhead_bytes`` is what it puts around a packet; ``version`` the family of its packets, inside and outside."""

    #           device             v  overhead  handle      attribute               field of Node
    IPIP = ("tunl0", 4, 20, "ipip", "ipipTunnelAddress", "ipip_tunnel_address")
    VXLAN = ("vxlan.calico", 4, 50, "vxlan", "vxlanTunnelAddress", "vxlan_tunnel_address")
    VXLAN_V6 = ("vxlan-v6.calico", 6, 70, "vxlan-v6", "vxlanV6TunnelAddress", "vxlan_tunnel_address_v6")

    def __init__(self, device: str, version: int, overhead_bytes: int, word: str, attribute: str, field: str) -> None:
        self.device, self.version, self.overhead_bytes = device, version, overhead_bytes
        self.word, self._attribute, self._field = word, attribute, field

    def holder(self, node: str) -> Holder:
        """Who holds this tunnel's address of ``node`` in IPAM."""
        return Holder(f"{self.word}-tunnel-addr-{node}", {"node": node, "type": self._attribute})

    def published(self, node: Node) -> Address | None:
        """The address at which ``node`` says that it receives."""
        address: Address | None = getattr(node, self._field)
        return address

    def publish(self, node: Node, address: Address | None) -> Node:
        """The node that says so of ``address``; that receives nothing, if it is None."""
        changes: dict[str, Address | None] = {self._field: address}
        return replace(node, **changes)  # type: ignore[arg-type]

    def mode(self, pool: IPPool) -> EncapMode:
        """What ``pool`` asks of this kind of tunnel."""
        if pool.cidr.version != self.version:
            return EncapMode.NEVER
        return pool.ipip_mode if self is Tunnel.IPIP else pool.vxlan_mode


def eligible(pools: Iterable[IPPool], me: Node, tunnel: Tunnel) -> tuple[IPPool, ...]:
    """The pools that this node's address for ``tunnel`` may come from, by name; none: it needs no address."""
    return tuple(sorted((pool for pool in pools if _gives(pool, me, tunnel)), key=lambda pool: pool.name))


def needed(pools: Iterable[IPPool], me: Node) -> frozenset[Tunnel]:
    """The tunnels that this node must be able to receive from."""
    known = tuple(pools)
    return frozenset(tunnel for tunnel in Tunnel if eligible(known, me, tunnel))


def _gives(pool: IPPool, me: Node, tunnel: Tunnel) -> bool:
    return (
        tunnel.mode(pool) is not EncapMode.NEVER
        and not pool.disabled
        and not is_deleting(pool)
        and (Use.TUNNEL in pool.allowed_uses or not pool.allowed_uses)
        and _selects(pool, me)
    )


def _selects(pool: IPPool, me: Node) -> bool:
    """A selector that cannot be read selects nobody, and does not stop the other pools."""
    try:
        return selects_node(pool, me.resource.labels)
    except Malformed:
        return False


def is_deleting(pool: IPPool) -> bool:
    """Kubernetes marks an object first and removes it when all its finalizers are done."""
    return bool(pool.resource.metadata.get("deletionTimestamp"))


def keep(held: Iterable[Address], published: Address | None, pools: Iterable[IPPool]) -> Address | None:
    """Of the addresses that are ours, the one to go on with: the published one, if it is of one of ``pools``."""
    cidrs = [pool.cidr for pool in pools]
    usable = [address for address in held if any(address in cidr for cidr in cidrs)]
    return published if published in usable else min(usable, key=int, default=None)


def peers_may_send(nodes: Iterable[Node], me: str, tunnel: Tunnel) -> bool:
    """Whether another node still publishes an address of this kind: it may not have seen that nobody sends that way
    any more, so the device stays up for it.
    """
    return any(tunnel.published(node) is not None for node in nodes if node.name != me)


def vtep_mac(node: Node, tunnel: Tunnel) -> str:
    """The MAC address of a node's VXLAN device: the one that it publishes (a node that came from flannel does), or the
    one that everybody derives from its name.
    """
    said = node.vxlan_mac_v6 if tunnel is Tunnel.VXLAN_V6 else node.vxlan_mac
    return said or derived_mac(node.name, tunnel)


def derived_mac(node: str, tunnel: Tunnel) -> str:
    named = f"{node}-v6" if tunnel is Tunnel.VXLAN_V6 else node
    return (b"f" + sha1(named.encode(), usedforsecurity=False).digest()[:5]).hex(":")


Held = Mapping[Tunnel, Address | None]
"""The address that each tunnel's device must have; None: none. One that is absent is not known yet: leave it be."""
