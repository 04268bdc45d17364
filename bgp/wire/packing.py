"""What leaves as UPDATEs: a difference between what was told and what is to be, grouped and packed by ExaBGP's RIB."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from typing import Any

from exabgp.bgp.message import Action
from exabgp.bgp.message.open.asn import ASN
from exabgp.bgp.message.update.attribute import MED, ASPath, Attribute, LocalPreference, NextHop, OriginatorID
from exabgp.bgp.message.update.attribute import Attributes as ExaAttributes
from exabgp.bgp.message.update.attribute import Origin as OriginAttribute
from exabgp.bgp.message.update.attribute.aspath import SEQUENCE, SET
from exabgp.bgp.message.update.attribute.clusterlist import ClusterID, ClusterList
from exabgp.bgp.message.update.attribute.community.initial.communities import Communities
from exabgp.bgp.message.update.attribute.community.initial.community import Community
from exabgp.bgp.message.update.attribute.community.large.communities import LargeCommunities
from exabgp.bgp.message.update.attribute.community.large.community import LargeCommunity
from exabgp.bgp.message.update.attribute.generic import GenericAttribute
from exabgp.bgp.message.update.nlri import INET
from exabgp.bgp.message.update.nlri.cidr import CIDR
from exabgp.bgp.message.update.nlri.qualifier import PathInfo
from exabgp.protocol.ip import IP
from exabgp.rib.change import Change
from exabgp.rib.outgoing import OutgoingRIB

from bgp.attributes_check import AGGREGATOR, AS4_AGGREGATOR, AS_TRANS, ATOMIC_AGGREGATE, MULTIPROTOCOL, split
from bgp.export import Announcement
from bgp.message import AsPath, Carried, Numbered, Place, dst_of, members
from bgp.outgoing import Difference
from bgp.wire.ends import Ends
from bgp.wire.families import FAMILIES, HEADER_BYTES

_ROOM_FOR_THE_REST = {4: 23 + 9, 6: 23 + 9 + 16 + 21}
"""In an UPDATE: header and lengths, and one prefix with a path's number, in IPv6 with its next hop."""
_SPARE = frozenset({ATOMIC_AGGREGATE, AGGREGATOR})
"""Attributes that may be discarded (RFC 7606)."""


class Packer:
    """Packs a difference once for all the sessions to which the same bytes go."""

    def __init__(self) -> None:
        self._packed: dict[tuple[object, ...], tuple[Difference, tuple[bytes, ...]]] = {}

    def pack(self, ends: Ends, negotiated: Any, what: Difference, versions: frozenset[int]) -> tuple[bytes, ...]:
        """The UPDATEs that say so, of these families."""
        hops = ends.local_address, ends.other_address
        numbered = numbered_families(negotiated, versions)
        alike = (hops, ends.local_as, ends.is_internal, negotiated.asn4, negotiated.msg_size, versions, numbered)
        known = self._packed.get(alike)
        if known is not None and known[0] == what:
            return known[1]
        packed = tuple(_pack(ends, negotiated, what, versions))
        self._packed[alike] = (what, packed)
        return packed


def _pack(ends: Ends, negotiated: Any, what: Difference, versions: frozenset[int]) -> Iterator[bytes]:
    rib = OutgoingRIB(False, [FAMILIES[version] for version in versions])
    own = {version: str(ends.next_hop(version)) for version in versions}
    packed: dict[tuple[Announcement, int], Any] = {}
    for place in what.withdrawn:
        dst = dst_of(place)
        if dst.version in own:
            rib.del_from_rib(Change(_nlri(place, own[dst.version]), ExaAttributes()))
    for place, announcement in what.announced:
        dst = dst_of(place)
        if dst.version in own:
            hop = str(announcement.next_hop or own[dst.version])
            alike = announcement, dst.version
            if alike not in packed:
                packed[alike] = _fitting(announcement, dst.version, hop, ends, negotiated)
            if packed[alike] is None:
                rib.del_from_rib(Change(_nlri(place, hop), ExaAttributes()))
            else:
                rib.add_to_rib(Change(_nlri(place, hop), packed[alike]), True)
    for update in rib.updates(True):
        yield from map(_multiprotocol_first, update.messages(negotiated))


def _multiprotocol_first(message: Any) -> bytes:
    """RFC 7606, 5.1: whatever is wrong behind it, its reader has found the routes."""
    raw = bytes(message)
    at = HEADER_BYTES + 4 + int.from_bytes(raw[HEADER_BYTES : HEADER_BYTES + 2], "big")
    end = at + int.from_bytes(raw[at - 2 : at], "big")
    wholes = [(code not in MULTIPROTOCOL, whole) for _, code, whole, _ in split(raw[at:end])]
    first_last = sorted(wholes, key=lambda each: each[0])
    return raw[:at] + b"".join(whole for _, whole in first_last) + raw[end:]


def _fitting(announcement: Announcement, version: int, hop: str, ends: Ends, negotiated: Any) -> Any:
    """What can be left out is where a message has no room for all of it; None: it has no room even so (RFC 8654, 4)."""
    room = int(negotiated.msg_size) - _ROOM_FOR_THE_REST[version]
    lean = replace(announcement, carried=tuple(each for each in announcement.carried if each.code not in _SPARE))
    for each in (announcement, lean):
        attributes = _outgoing(each, hop, ends, has_four_octet_as=negotiated.asn4)
        if _size_bytes(each) <= room // 2 or len(attributes.pack(negotiated)) <= room:
            return attributes
    return None


def _size_bytes(announcement: Announcement) -> int:
    """About, and rather too little than half of it."""
    numbers = (*members(announcement.as_path), *announcement.clusters)
    communities = sum(map(len, announcement.communities))
    return sum(len(each.value) + 4 for each in announcement.carried) + 4 * (len(numbers) + communities) + 64


def _nlri(place: Place, next_hop: str) -> Any:
    dst = dst_of(place)
    nlri = INET(*FAMILIES[dst.version], Action.ANNOUNCE)
    if isinstance(place, Numbered):
        nlri.path_info = PathInfo(packed=place.path_id.to_bytes(4, "big"))
    nlri.cidr = CIDR(dst.network_address.packed, dst.prefixlen)
    nlri.nexthop = IP.create(next_hop)
    return nlri


def _outgoing(announcement: Announcement, next_hop: str, ends: Ends, *, has_four_octet_as: bool) -> Any:
    """Without an AS path ExaBGP writes the usual one: empty, or our AS. Towards others it leaves LOCAL_PREF out."""
    attributes = ExaAttributes()
    attributes.add(OriginAttribute(announcement.origin.value))
    if announcement.as_path:
        path = announcement.as_path if ends.is_internal else (ends.local_as, *announcement.as_path)
        attributes.add(ASPath(list(_segments_of(path))))
    if ":" not in next_hop:
        attributes.add(NextHop(next_hop))
    attributes.add(LocalPreference(announcement.local_pref))
    if announcement.med is not None:
        attributes.add(MED(announcement.med))
    if announcement.originator is not None:
        attributes.add(OriginatorID(str(announcement.originator)))
    if announcement.clusters:
        attributes.add(ClusterList([ClusterID(str(each)) for each in announcement.clusters]))
    _add_communities(attributes, announcement)
    for carried in announcement.carried:
        for each in (carried,) if has_four_octet_as else _for_an_old_speaker(carried):
            attributes.add(GenericAttribute(each.code, each.flags, each.value))
    return attributes


def _for_an_old_speaker(carried: Carried) -> Iterator[Carried]:
    """RFC 6793, 4.2.2: the AS of an aggregator that does not fit goes beside it."""
    if carried.code != AGGREGATOR:
        yield carried
        return
    number, address = carried.value[:4], carried.value[4:]
    fits = not any(number[:2])
    yield replace(carried, value=(number[2:] if fits else AS_TRANS.to_bytes(2, "big")) + address)
    if not fits:
        yield Carried(AS4_AGGREGATOR, carried.flags, carried.value)


def _add_communities(attributes: Any, announcement: Announcement) -> None:
    plain = [Community(struct.pack("!HH", *each)) for each in announcement.communities if len(each) == 2]
    large = [LargeCommunity(struct.pack("!LLL", *each)) for each in announcement.communities if len(each) == 3]
    for found, kind in ((plain, Communities), (large, LargeCommunities)):
        if not found:
            continue
        if kind.ID in announcement.partial:
            value = b"".join(each.pack() for each in found)
            attributes.add(GenericAttribute(kind.ID, kind.FLAG | Attribute.Flag.PARTIAL, value))
        else:
            attributes.add(kind(found))


def _segments_of(path: AsPath) -> Any:
    for kind, run in groupby(path, type):
        if kind is int:
            yield SEQUENCE([ASN(number) for number in run])
        else:
            yield from (SET([ASN(number) for number in members((one,))]) for one in run)


def numbered_families(negotiated: Any, versions: frozenset[int]) -> frozenset[int]:
    """The families in which what we send has path numbers."""
    return frozenset(version for version in versions if negotiated.addpath.send(*FAMILIES[version]))
