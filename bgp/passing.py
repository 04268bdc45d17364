"""What each neighbour is told: our own routes, and those that we learned and pass on.

Three questions in a row, for one route and one audience:

1. Does BGP let it go there? Nothing learned inside our AS goes on inside it, unless a reflector passes it on from or to
   a client (RFC 4456); nothing goes back to where it came from; the well-known communities are kept (RFC 1997).
2. Does a BGPFilter of the neighbour decide?
3. If none does: nothing goes out of pools that are not to be exported. Our own goes out, and of what was learned only
   what lies in the other pools, or in the services' ranges, and not inside our own blocks: they are
   announced whole. These get the communities that prefixAdvertisements ask for.

Towards other ASes the next hop is this node unless it is to be kept, and no MED goes on; inside it stays unless it is
to be this node. AS_SETs are passed on as they are: RFC 9774 forbids to make new ones, and we make none.

Source: Calico confd (calico_export_to_bgp_peers, buildExportFilter), BIRD 1.6 proto/bgp/attrs.c.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Network

from bgp.export import Announcement
from bgp.filters import POD_DEVICE, Circumstances, Filter, Verdict, screen
from bgp.message import NO_ADVERTISE, NO_EXPORT, NO_EXPORT_SUBCONFED, Attributes, Community
from bgp.neighbour import Neighbour, NextHopMode

Network = IPv4Network | IPv6Network
Marks = tuple[tuple[Network, tuple[Community, ...]], ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """What the datastore says of it. ``closed`` pools are not to be exported, ``services`` are for a reflector to pass
    on, ``marks`` the communities by prefix, ``blocks`` this node's own. ``ranges``: of services that this node
    announces, inside which everything goes on.
    """

    pools: tuple[Network, ...] = ()
    closed: tuple[Network, ...] = ()
    services: tuple[Network, ...] = ()
    marks: Marks = ()
    blocks: tuple[Network, ...] = ()
    ranges: tuple[Network, ...] = ()
    cluster_id: IPv4Address | None = None


CLOSED = Policy()
"""Lets nothing out but our own."""


@dataclass(frozen=True, slots=True)
class Winner:
    """The best path to a destination, or another accepted one, and whom it came from. ``router_id`` is the
    neighbour's, ``path_id`` the number that it gave this one of several.
    """

    neighbour: Neighbour
    router_id: IPv4Address
    attributes: Attributes
    path_id: int = 0


@dataclass(frozen=True, slots=True)
class Audience:
    """What of a neighbour decides what it is told; all of one audience are told the same, but for what they told us.

    ``many_paths``: the families in which it is told of every accepted path.
    """

    versions: tuple[int, ...]
    is_internal: bool
    cluster_id: IPv4Address | None = None
    next_hop_mode: NextHopMode = NextHopMode.AUTO
    filters: tuple[Filter, ...] = ()
    many_paths: frozenset[int] = frozenset()


def audience_of(neighbour: Neighbour, many_paths: frozenset[int] = frozenset()) -> Audience:
    return Audience(
        neighbour.spoken,
        neighbour.is_internal,
        neighbour.cluster_id,
        neighbour.next_hop_mode,
        neighbour.filters,
        many_paths,
    )


def of_our_own(dst: Network, announcement: Announcement, *, to: Audience, policy: Policy) -> Announcement | None:
    """How a route of ours goes there, or None."""
    device = POD_DEVICE if dst.prefixlen == dst.max_prefixlen else ""
    circumstances = Circumstances(to.is_internal, is_learned=False, device=device)
    verdict, told = screen(dst, announcement, to.filters, circumstances, is_import=False)
    if verdict is None:
        return None if _is_inside(dst, policy.closed) else _marked(dst, told, policy.marks)
    return told if verdict is Verdict.ACCEPT else None


def passed_on(dst: Network, winner: Winner, *, to: Audience, policy: Policy) -> Announcement | None:
    """How a learned route goes there, or None."""
    reflects = _reflects(winner, to)
    if not _may_go(winner, to, reflects=reflects):
        return None
    circumstances = Circumstances(to.is_internal, is_learned=True)
    verdict, told = screen(
        dst, _as_told(winner, to, policy, reflects=reflects), to.filters, circumstances, is_import=False
    )
    if verdict is None:
        return _marked(dst, told, policy.marks) if _is_ours_to_tell(dst, policy) else None
    return told if verdict is Verdict.ACCEPT else None


def _reflects(winner: Winner, to: Audience) -> bool:
    """Whether it is to be told inside the AS in which it was learned."""
    return to.is_internal and winner.neighbour.is_internal


def _may_go(winner: Winner, to: Audience, *, reflects: bool) -> bool:
    attributes = winner.attributes
    if NO_ADVERTISE in attributes.communities:
        return False
    if reflects:
        return winner.neighbour.cluster_id is not None or to.cluster_id is not None
    return to.is_internal or not {NO_EXPORT, NO_EXPORT_SUBCONFED} & set(attributes.communities)


def _as_told(winner: Winner, to: Audience, policy: Policy, *, reflects: bool) -> Announcement:
    attributes = winner.attributes
    keeps_next_hop = (
        to.next_hop_mode is not NextHopMode.SELF if to.is_internal else to.next_hop_mode is NextHopMode.KEEP
    )
    told = Announcement(
        local_pref=attributes.local_pref,
        next_hop=attributes.next_hop if keeps_next_hop else None,
        as_path=attributes.as_path,
        origin=attributes.origin,
        communities=attributes.communities,
        carried=attributes.carried,
        partial=attributes.partial,
    )
    if to.is_internal and attributes.med:
        told = replace(told, med=attributes.med)
    if reflects and policy.cluster_id is not None:
        originator = attributes.originator or winner.router_id
        told = replace(told, originator=originator, clusters=(policy.cluster_id, *attributes.clusters))
    return told


def _is_ours_to_tell(dst: Network, policy: Policy) -> bool:
    if _is_inside(dst, policy.closed) or _is_inside(dst, policy.blocks):
        return False
    if _is_inside(dst, policy.ranges) or (policy.cluster_id is not None and _is_inside(dst, policy.services)):
        return True
    return _is_inside(dst, policy.pools)


def _marked(dst: Network, told: Announcement, marks: Marks) -> Announcement:
    added = [each for cidr, communities in marks if _is_inside(dst, (cidr,)) for each in communities]
    missing = tuple(dict.fromkeys(each for each in added if each not in told.communities))
    return replace(told, communities=(*told.communities, *missing)) if missing else told


def _is_inside(dst: Network, networks: Sequence[Network]) -> bool:
    return any(
        dst.version == each.version and dst.prefixlen >= each.prefixlen and dst.network_address in each
        for each in networks
    )


Winners = Mapping[Network, Winner]
Others = Mapping[Network, Sequence[Winner]]
"""The accepted paths beside the best one."""
