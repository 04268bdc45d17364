"""Which routes are accepted from a neighbour.

From a node of the mesh only what the datastore says of it: a block whose owner has the route's next hop, or a single
address that IPAM gave to that node. From a BGPPeer whatever it announces, a default route too, but nothing inside this
node's own blocks unless IPAM says that the address was borrowed. From both: no looped path, no next hop that cannot be
one, and no destination that is never routed.

A refusal is one word, which is counted and shown. What is refused is kept with its neighbour and judged again when the
datastore says something new, so the order in which BGP and the datastore bring their news does not matter.

Source: RFC 4271 6.3 and 9.1.2, RFC 4456 8, RFC 1812 5.3.7 (martians).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from bgp.message import Attributes, members
from bgp.neighbour import Kind, Neighbour
from bgp.ownership import Ownership

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Refusal(Enum):
    LOOP = "loop"
    FIRST_AS = "first-as"
    NEXT_HOP = "next-hop"
    MARTIAN = "martian"
    DEFAULT_ROUTE = "default-route"
    OWN_BLOCK = "own-block"
    INSIDE_OWN_BLOCK = "inside-own-block"
    NOT_OWNER = "not-owner"
    NOT_HOLDER = "not-holder"
    NOT_A_BLOCK = "not-a-block"
    FILTER = "filter"
    UNREACHABLE = "next-hop-unreachable"


@dataclass(frozen=True, slots=True)
class Own:
    """What this speaker recognises itself by in a route that comes back. ``cluster_id``: as a reflector, or None."""

    router_id: IPv4Address
    cluster_id: IPv4Address | None = None


def refusal(
    dst: Network, attributes: Attributes, *, neighbour: Neighbour, own: Own, ownership: Ownership
) -> Refusal | None:
    """Why this route of ``neighbour`` is not accepted, or None when it is."""
    if _is_looped(attributes, neighbour, own):
        return Refusal.LOOP
    if neighbour.enforces_first_as and attributes.neighbour_as != neighbour.peer_as:
        return Refusal.FIRST_AS
    next_hop = attributes.next_hop
    if next_hop is None or next_hop.version != dst.version or not is_next_hop(next_hop, ownership, neighbour):
        return Refusal.NEXT_HOP
    if is_martian_network(dst):
        return Refusal.MARTIAN
    if dst in ownership.own_blocks:
        return Refusal.OWN_BLOCK
    if neighbour.kind is Kind.MESH:
        return _refusal_of_node(dst, attributes, ownership)
    if ownership.own_blocks.around(dst) is not None:
        return Refusal.INSIDE_OWN_BLOCK if _refusal_of_node(dst, attributes, ownership) else None
    return None


def _is_looped(attributes: Attributes, neighbour: Neighbour, own: Own) -> bool:
    """RFC 4271, 9.1.2 for the AS path, where a neighbour may be allowed some; RFC 4456, 8 for the other two."""
    if sum(number == neighbour.local_as for number in members(attributes.as_path)) > neighbour.allowed_local_as:
        return True
    return attributes.originator == own.router_id or own.cluster_id in attributes.clusters


def _refusal_of_node(dst: Network, attributes: Attributes, ownership: Ownership) -> Refusal | None:
    if not dst.prefixlen:
        return Refusal.DEFAULT_ROUTE
    node = ownership.nodes.get(attributes.next_hop) if attributes.next_hop is not None else None
    owner = ownership.owners.get(dst)
    if owner is not None:
        return None if owner == node else Refusal.NOT_OWNER
    if dst.prefixlen != dst.max_prefixlen:
        return Refusal.NOT_A_BLOCK
    holder = ownership.holder(dst.network_address)
    return None if holder and holder == node else Refusal.NOT_HOLDER


def is_next_hop(address: Address, ownership: Ownership, neighbour: Neighbour) -> bool:
    """Whether packets can be sent to it: it is unicast, and it is not this node."""
    if address in ownership.own_addresses or address in (neighbour.local_address, neighbour.other_address):
        return False
    return int(address) != 0 and not is_martian(address)


def is_martian_network(dst: Network) -> bool:
    """What is larger than 0/8 and begins with it holds routable addresses too: 0.0.0.0/1 is half a default route."""
    if not int(dst.network_address):
        return dst.prefixlen >= (8 if dst.version == 4 else 96)
    return is_martian(dst.network_address)


def is_martian(address: Address) -> bool:
    """0/8, 127/8 and everything from 224/4 on; ::1, link-local and multicast."""
    value = int(address)
    if address.version == 4:
        first = value >> 24
        return first in (0, 127) or first >= 224
    return value == 1 or value >> 118 == 0x3FA or value >> 120 == 0xFF
