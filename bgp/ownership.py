"""Who owns which block and who holds which address, as the datastore says: what received routes are judged by.

One frozen value, made whole from the tables. Routes are judged by next hop and not by session: one is right when its
next hop is an address of the node that has the destination, whoever told us, so that route reflectors work.

Source: BlockAffinity (confirmed only), IPAMBlock (the node in an allocation's attributes), Node (its BGP addresses).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from bgp.export import own_blocks
from bgp.prefixes import Prefixes
from datastore.resources import BlockAffinity, IPAMBlock, Node

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NODE_ATTRIBUTE = "node"


@dataclass(frozen=True, slots=True)
class Ownership:
    """``nodes`` by BGP address, ``owners`` by block; ``own_blocks`` and ``own_addresses`` are this node's."""

    nodes: Mapping[Address, str] = field(default_factory=dict)
    owners: Mapping[Network, str] = field(default_factory=dict)
    allocations: Mapping[Network, IPAMBlock] = field(default_factory=dict)
    allocated: Prefixes = field(default_factory=Prefixes)
    own_blocks: Prefixes = field(default_factory=Prefixes)
    own_addresses: frozenset[Address] = frozenset()

    def differs_in_allocations_only(self, other: Ownership) -> bool:
        """Whether at most the verdicts on single addresses can differ. Pods come and go, blocks hardly do."""
        return (self.nodes, self.owners, self.own_blocks, self.own_addresses) == (
            other.nodes,
            other.owners,
            other.own_blocks,
            other.own_addresses,
        )

    def holder(self, address: Address) -> str:
        """The node that IPAM gave this address to, or ""."""
        cidr = self.allocated.around(address)
        if cidr is None:
            return ""
        block = self.allocations[cidr]
        slot = int(address) - int(cidr.network_address)
        index = block.slots[slot] if slot < len(block.slots) else None
        if index is None or not 0 <= index < len(block.attributes):
            return ""
        return block.attributes[index].owner.get(_NODE_ATTRIBUTE, "")


def ownership(
    *, node: str, nodes: Iterable[Node], affinities: Iterable[BlockAffinity], blocks: Iterable[IPAMBlock]
) -> Ownership:
    """``node`` is this node's name."""
    affinities = tuple(affinities)
    by_address: dict[Address, str] = {
        interface.ip: each.name for each in nodes for interface in (each.ipv4, each.ipv6) if interface is not None
    }
    allocations = {block.cidr: block for block in blocks if not block.is_deleted}
    return Ownership(
        nodes=by_address,
        owners={each.cidr: each.node for each in affinities if each.is_confirmed and each.type == "host"},
        allocations=allocations,
        allocated=Prefixes(allocations),
        own_blocks=Prefixes(own_blocks(node, affinities)),
        own_addresses=frozenset(address for address, name in by_address.items() if name == node),
    )
