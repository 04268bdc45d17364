"""What this node announces: blocks that are surely its own and whose blackhole is in the FIB, and borrowed addresses.

The rule that keeps it correct is an intersection. The datastore says which blocks are this node's (a confirmed
affinity; pending and pendingDeletion are not), felix says which destinations its FIB holds, and only what both say goes
out: a neighbour must never send us packets for a block that we would then send out again by the default route. A pod
whose address lies in a block that goes out is reached by the block; any other is announced by itself: one whose address
was borrowed from another node's block, and one whose block's blackhole is still missing. To whom, and that a pool may
forbid it, is decided in :mod:`bgp.passing`.

The LOCAL_PREF is upstream's: the inverted metric of the kernel's route, so that all of a cluster's speakers agree.

Source: Calico confd (calico_aggr, calico_export_to_bgp_peers).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from types import MappingProxyType
from typing import Any

from bgp.message import AsPath, Carried, Community, Origin
from datastore.resources import BlockAffinity, IPPool

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

NORMAL_PRIORITY = 1024
GREATEST_METRIC = 2**31 - 1
"""The kernel's greatest metric as upstream sees it: a metric and its LOCAL_PREF add up to it."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """What goes out with a destination. The defaults are those of a route of our own.

    ``next_hop`` None is the address that this speaker has in the session. ``as_path`` is without our own AS: towards
    others it comes in front. ``med`` None leaves it out. ``partial``: the attributes, by code, with the Partial
    bit.
    """

    local_pref: int = GREATEST_METRIC - NORMAL_PRIORITY
    next_hop: Address | None = None
    as_path: AsPath = ()
    origin: Origin = Origin.IGP
    med: int | None = None
    originator: IPv4Address | None = None
    clusters: tuple[IPv4Address, ...] = ()
    communities: tuple[Community, ...] = ()
    carried: tuple[Carried, ...] = ()
    partial: frozenset[int] = frozenset()


Exports = Mapping[Network, Announcement]
"""What is announced to every neighbour. Treated as immutable, and compared by identity where that is enough."""

Told = Mapping[Any, Announcement]
"""What one neighbour is announced, by Place: what has destinations alone is one too, and a Mapping's type is strict."""

NOTHING: Mapping[Any, Announcement] = MappingProxyType({})


def exports(
    *,
    node: str,
    affinities: Iterable[BlockAffinity],
    pools: Iterable[IPPool],
    confirmed: frozenset[Network],
    priority: int = NORMAL_PRIORITY,
    priority_v6: int = NORMAL_PRIORITY,
) -> Exports:
    """``confirmed`` are the destinations that felix found in the FIB. Invariant 9."""
    own = own_blocks(node, affinities)
    pools = tuple(pools)
    announcements = {4: Announcement(GREATEST_METRIC - priority), 6: Announcement(GREATEST_METRIC - priority_v6)}
    return {
        dst: announcements[dst.version]
        for dst in sorted(confirmed, key=lambda dst: (dst.version, dst))
        if _is_announced(dst, own & confirmed, pools)
    }


def own_blocks(node: str, affinities: Iterable[BlockAffinity]) -> frozenset[Network]:
    return frozenset(each.cidr for each in affinities if each.is_confirmed and (each.type, each.node) == ("host", node))


def _is_announced(dst: Network, blocks: frozenset[Network], pools: tuple[IPPool, ...]) -> bool:
    if dst in blocks:
        return True
    is_in_pool = any(_contains(pool.cidr, dst) for pool in pools)
    return _is_host(dst) and is_in_pool and not any(_contains(block, dst) for block in blocks)


def _is_host(dst: Network) -> bool:
    return dst.prefixlen == dst.max_prefixlen


def _contains(outer: Network, inner: Network) -> bool:
    return outer.version == inner.version and outer.prefixlen <= inner.prefixlen and inner.network_address in outer
