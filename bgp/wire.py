"""The door to ExaBGP: bytes of BGP in, values out, and back. Nothing else imports it, nothing else makes or reads BGP.

ExaBGP builds and parses every message of every session here: its Neighbor and Capabilities make the OPEN, its
Negotiated agrees with the peer's, its Message, Update, Attributes and NLRI classes decode what arrives, and its
outgoing RIB groups and packs what leaves. One :class:`Codec` holds these for one TCP connection.

Around it stand the corrections that a conformance suite asked for (exabgp 5.0.15):

- The header is checked here: types beyond ROUTE-REFRESH reach its private OPERATIONAL or a KeyError, and the lengths
  depend on what was negotiated.
- The AS of the four-octet capability counts whatever the two-octet field says, and 0 is refused (RFC 6793, 7607).
- A peer without the multiprotocol capability speaks IPv4 unicast (RFC 4760, 8).
- Path attributes are judged on their raw bytes first (:mod:`bgp.attributes_check`); what is left is decoded.
- Host bits of a prefix are masked; of a link-local copy of an IPv6 route only the global one is taken.
- ROUTE-REFRESH subtypes that nobody defined are ignored, a bad length is 7/1 (RFC 7313).
- The restart bit and the forwarding bit are set when they are true, not always.

Whatever ExaBGP raises on a peer's bytes becomes a Fault; none of its exceptions leaves this file.
"""
# ruff: noqa: E402

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, ip_address
from itertools import groupby
from typing import Any, ClassVar

from exabgp.util import dns as exabgp_dns

# Importing its capabilities asks the DNS for the host's name: 5 s and more on a node that has none yet.
exabgp_dns.__dict__["__domain_name"] = "localhost"

from exabgp.bgp.message import Action
from exabgp.bgp.message.direction import Direction
from exabgp.bgp.message.keepalive import KeepAlive
from exabgp.bgp.message.notification import Notification, Notify
from exabgp.bgp.message.open import Open
from exabgp.bgp.message.open.asn import ASN
from exabgp.bgp.message.open.capability import Capabilities, Negotiated
from exabgp.bgp.message.open.capability.addpath import AddPath as AddPathCapability
from exabgp.bgp.message.open.capability.capability import Capability
from exabgp.bgp.message.open.capability.graceful import Graceful as GracefulCapability
from exabgp.bgp.message.open.capability.refresh import REFRESH
from exabgp.bgp.message.open.holdtime import HoldTime
from exabgp.bgp.message.open.routerid import RouterID
from exabgp.bgp.message.open.version import Version
from exabgp.bgp.message.refresh import RouteRefresh
from exabgp.bgp.message.update import Update
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
from exabgp.bgp.message.update.eor import EOR
from exabgp.bgp.message.update.nlri import INET
from exabgp.bgp.message.update.nlri.cidr import CIDR
from exabgp.bgp.message.update.nlri.qualifier import PathInfo
from exabgp.bgp.neighbor import Neighbor
from exabgp.logger import log as exabgp_log
from exabgp.protocol.family import AFI, SAFI
from exabgp.protocol.ip import IP
from exabgp.rib.change import Change
from exabgp.rib.outgoing import OutgoingRIB

from bgp.attributes_check import (
    AGGREGATOR,
    AS4_AGGREGATOR,
    AS_TRANS,
    ATOMIC_AGGREGATE,
    MULTIPROTOCOL,
    Facts,
    Verdict,
    judge,
    split,
)
from bgp.destination import DestinationV4, DestinationV6
from bgp.export import NOTHING, Announcement, Told
from bgp.mesh import AddPath
from bgp.message import (
    DEFAULT_LOCAL_PREF,
    Address,
    AsPath,
    Attributes,
    Carried,
    EndOfRib,
    Fault,
    Graceful,
    KeptAlive,
    Learned,
    Network,
    Notified,
    Numbered,
    Opened,
    Origin,
    Place,
    Received,
    Refresh,
    Refreshing,
    dst_of,
    members,
)
from bgp.outgoing import Difference, difference
from bgp.session import HOLD_TIME_S, Event

log = logging.getLogger(__name__)


def _redirect_exabgps_log() -> None:
    """ExaBGP formats each message for its own log; only what it calls critical is of use, and goes to ours."""

    def ignore(*_: object, **__: object) -> None:
        return None

    def warn(message: Any, *_: object, **__: object) -> None:
        log.warning("exabgp.critical text=%s", message() if callable(message) else message)

    for level in ("debug", "info", "warning", "error"):
        setattr(exabgp_log, level, staticmethod(ignore))
    for level in ("critical", "fatal"):
        setattr(exabgp_log, level, staticmethod(warn))


_redirect_exabgps_log()

_HEADER_BYTES = 19
_MARKER = b"\xff" * 16
_OPEN, _UPDATE, _NOTIFICATION, _KEEPALIVE, _REFRESH = 1, 2, 3, 4, 5
_SHORTEST = {_OPEN: 29, _UPDATE: 23, _NOTIFICATION: 21, _KEEPALIVE: 19}
_LONGEST_BYTES = 4096
_ROOM_FOR_THE_REST = {4: 23 + 9, 6: 23 + 9 + 16 + 21}
"""In an UPDATE: header and lengths, and one prefix with a path's number, in IPv6 with its next hop."""
_SPARE = frozenset({ATOMIC_AGGREGATE, AGGREGATOR})
"""Attributes that may be discarded (RFC 7606)."""

_PEERS_MISTAKES = (
    IndexError,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    RuntimeError,
    AssertionError,
    struct.error,
)
"""What ExaBGP's decoders raise on bytes that they did not foresee, besides their own Notify."""

_FAMILIES = {4: (AFI.ipv4, SAFI.unicast), 6: (AFI.ipv6, SAFI.unicast)}
_AFIS = {4: 1, 6: 2}
_VERSIONS = {(1, 1): 4, (2, 1): 6}
"""IP version by AFI and SAFI: unicast is all that is spoken."""
_SURVIVES_NOTIFICATIONS = 0x04
"""The N bit (RFC 8538) among the four flags of the graceful restart capability."""
_HARD_RESET = b"\x06\x09"
_COMMUNICATIONS = ((6, 2), (6, 4))
_CAPABILITIES = 2
"""The one optional parameter of an OPEN that there is."""


@dataclass(frozen=True, slots=True)
class Ends:
    """The two ends of one session, and what this speaker claims about itself in its OPEN.

    ``versions`` are the families that are offered, none for that of the addresses. The next hop of what is announced is
    ``local_address``, in the other family ``other_address``. ``survives_notifications``: routes are to be kept over
    them (RFC 8538). ``add_path``: several paths a destination, in all families (RFC 7911). ``has_capabilities``: the
    peer knows what they are.
    """

    local_address: Address
    peer_address: Address
    local_as: int
    peer_as: int
    router_id: IPv4Address
    hold_time_s: int = HOLD_TIME_S
    restart_time_s: int = 120
    has_restarted: bool = False
    keeps_forwarding: bool = False
    versions: tuple[int, ...] = ()
    other_address: Address | None = None
    survives_notifications: bool = False
    add_path: AddPath = AddPath.NONE
    has_capabilities: bool = True

    @property
    def is_internal(self) -> bool:
        return self.local_as == self.peer_as

    @property
    def spoken(self) -> tuple[int, ...]:
        return self.versions or (self.local_address.version,)

    def next_hop(self, version: int) -> Address:
        """Our own. Of a family in which we have no address nothing is offered."""
        own = self.local_address if self.local_address.version == version else self.other_address
        assert own is not None, f"IPv{version} is offered, and there is no address for it"
        return own


class Packer:
    """Packs a difference once for all the sessions to which the same bytes go."""

    def __init__(self) -> None:
        self._packed: dict[tuple[object, ...], tuple[Difference, tuple[bytes, ...]]] = {}

    def pack(self, ends: Ends, negotiated: Any, what: Difference, versions: frozenset[int]) -> tuple[bytes, ...]:
        """The UPDATEs that say so, of these families."""
        hops = ends.local_address, ends.other_address
        numbered = _numbered(negotiated, versions)
        alike = (hops, ends.local_as, ends.is_internal, negotiated.asn4, negotiated.msg_size, versions, numbered)
        known = self._packed.get(alike)
        if known is not None and known[0] == what:
            return known[1]
        packed = tuple(_pack(ends, negotiated, what, versions))
        self._packed[alike] = (what, packed)
        return packed


def _pack(ends: Ends, negotiated: Any, what: Difference, versions: frozenset[int]) -> Iterator[bytes]:
    rib = OutgoingRIB(False, [_FAMILIES[version] for version in versions])
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
    at = _HEADER_BYTES + 4 + int.from_bytes(raw[_HEADER_BYTES : _HEADER_BYTES + 2], "big")
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
    nlri = INET(*_FAMILIES[dst.version], Action.ANNOUNCE)
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


class Codec:
    """The messages of one TCP connection. What is negotiated in it stays in it."""

    def __init__(self, ends: Ends, packer: Packer | None = None) -> None:
        self._ends = ends
        self._packer = packer or Packer()
        self._neighbor = _neighbor(ends)
        self._open = _open(ends, self._neighbor)
        self._negotiated = Negotiated(self._neighbor)
        self._negotiated.sent(self._open)
        self._versions: frozenset[int] = frozenset()
        self._facts = Facts(ends.is_internal, False, frozenset())
        self._buffer = bytearray()
        self._is_broken = False

    # What leaves.

    def open(self) -> bytes:
        return bytes(self._open.message(self._negotiated))

    def keepalive(self) -> bytes:
        return bytes(KeepAlive().message())

    def notification(
        self, code: int, subcode: int, data: bytes = b"", *, text: str = "", is_hard: bool = False
    ) -> bytes:
        """``text``: a shutdown communication (RFC 9003), for 6/2 and 6/4 only; cut at the 128 bytes that every reader
        takes. ``is_hard``: the peer is to forget our routes whatever was agreed on (RFC 8538).
        """
        if text:
            words = text.encode()[:128].decode(errors="ignore").encode()
            data = bytes((len(words),)) + words
        if is_hard:
            code, subcode, data = *_HARD_RESET, bytes((code, subcode)) + data
        return bytes(Notify(code, subcode, data[: self._negotiated.msg_size - _SHORTEST[_NOTIFICATION]]).message())

    def updates(self, before: Told, after: Told) -> tuple[bytes, ...]:
        """The UPDATEs that turn what was announced into what is to be. Only once the peer's OPEN was read."""
        return self._packer.pack(self._ends, self._negotiated, difference(before, after), self._versions)

    def refreshed(self, sent: Told, version: int, *, may_bracket: bool = True) -> tuple[bytes, ...]:
        """All of one family once more, between brackets where both sides know them. ``may_bracket``: not before
        End-of-RIB, where the peer waits for that (RFC 7313, 4).
        """
        every = difference(NOTHING, sent)
        again = self._packer.pack(self._ends, self._negotiated, every, self._versions & {version})
        if not self._brackets_refreshes or not may_bracket:
            return again
        return self.refresh(Refreshing.BEGIN, version), *again, self.refresh(Refreshing.END, version)

    def end_of_rib(self) -> bytes:
        """One for each family."""
        return b"".join(bytes(EOR(*_FAMILIES[version]).message()) for version in sorted(self._versions))

    def refresh(self, what: Refreshing, version: int) -> bytes:
        return bytes(RouteRefresh(*_FAMILIES[version], what.value).message())

    @property
    def _brackets_refreshes(self) -> bool:
        """Whether both sides know the BEGIN and END of a refresh (RFC 7313)."""
        return bool(self._negotiated.refresh == REFRESH.ENHANCED)

    # What arrives.

    def read(self, data: bytes) -> Iterator[Received]:
        """The messages that ``data`` completes. After a Fault nothing more is read: the stream has lost its place."""
        self._buffer += data
        at = 0
        try:
            while not self._is_broken and len(self._buffer) - at >= _HEADER_BYTES:
                fault = self._check_header(at)
                if fault is not None:
                    self._is_broken = True
                    yield fault
                    return
                end = at + int.from_bytes(self._buffer[at + 16 : at + 18], "big")
                if end > len(self._buffer):
                    return
                kind = self._buffer[at + 18]
                body = bytes(self._buffer[at + _HEADER_BYTES : end])
                at = end
                for message in self._decode(kind, body):
                    self._is_broken = self._is_broken or isinstance(message, Fault)
                    yield message
        finally:
            del self._buffer[:at]

    def _check_header(self, at: int) -> Fault | None:
        """RFC 4271, 6.1; RFC 8654 for the length; RFC 7313, 5 for a ROUTE-REFRESH."""
        marker, length, kind = struct.unpack_from("!16sHB", self._buffer, at)
        raw_length = length.to_bytes(2, "big")
        if marker != _MARKER:
            return Fault(Event.HEADER_ERROR, 1, 1, b"", "marker")
        longest = _LONGEST_BYTES if kind == _OPEN else self._negotiated.msg_size
        if not _HEADER_BYTES <= length <= longest:
            return Fault(Event.HEADER_ERROR, 1, 2, raw_length, f"length {length}")
        if not _OPEN <= kind <= _REFRESH:
            return Fault(Event.HEADER_ERROR, 1, 3, bytes((kind,)), f"type {kind}")
        if length < _SHORTEST.get(kind, 0) or (kind == _KEEPALIVE and length != _HEADER_BYTES):
            return Fault(Event.HEADER_ERROR, 1, 2, raw_length, f"length {length} of type {kind}")
        return None

    def _decode(self, kind: int, body: bytes) -> Iterator[Received]:
        decode = self._DECODERS[kind]
        try:
            yield from decode(self, body)
        except Notify as notify:
            yield Fault(_ERROR_OF[kind], notify.code, notify.subcode, b"", str(notify))
        except _PEERS_MISTAKES as error:
            code, subcode = _UNDECODABLE[kind]
            yield Fault(_ERROR_OF[kind], code, subcode, b"", f"undecodable: {type(error).__name__}: {error}")

    def _decode_open(self, body: bytes) -> Iterator[Received]:
        fault = _check_open(body)
        if fault is None:
            received = Open.unpack_message(body)
            self._negotiate(received)
            fault = self._refuse(received)
        yield self._opened(received) if fault is None else fault

    def _negotiate(self, received: Any) -> None:
        theirs = received.capabilities
        if Capability.CODE.ADD_PATH in theirs:
            _forget_nonsense(theirs[Capability.CODE.ADD_PATH])
        self._negotiated.received(received)
        if Capability.CODE.FOUR_BYTES_ASN in theirs:
            self._negotiated.peer_as = ASN(theirs[Capability.CODE.FOUR_BYTES_ASN])
        if Capability.CODE.MULTIPROTOCOL not in theirs or not self._ends.has_capabilities:
            self._negotiated.families = [_FAMILIES[4]] if 4 in self._ends.spoken else []
        families = frozenset((int(afi), int(safi)) for afi, safi in self._negotiated.families)
        self._versions = frozenset(_VERSIONS[family] for family in families if family in _VERSIONS)
        self._facts = Facts(self._ends.is_internal, bool(self._negotiated.asn4), families)

    def _refuse(self, received: Any) -> Fault | None:
        """RFC 4271, 6.2."""
        if self._negotiated.peer_as == 0 or self._negotiated.peer_as != self._ends.peer_as:
            return Fault(Event.OPEN_ERROR, 2, 2, b"", f"AS {int(self._negotiated.peer_as)}")
        router_id = IPv4Address(str(received.router_id))
        if self._ends.is_internal and router_id == self._ends.router_id:
            return Fault(Event.OPEN_ERROR, 2, 3, b"", f"router id {router_id} is ours")
        refused = self._negotiated.validate(self._neighbor)
        if refused is not None:
            return Fault(Event.OPEN_ERROR, refused[0], refused[1], b"", refused[2])
        if not self._versions:
            wanted = (struct.pack("!BBHBB", 1, 4, _AFIS[version], 0, 1) for version in self._ends.spoken)
            return Fault(Event.OPEN_ERROR, 2, 7, b"".join(wanted), "no common family")
        return None

    def _opened(self, received: Any) -> Opened:
        graceful = self._graceful(received.capabilities.get(Capability.CODE.GRACEFUL_RESTART))
        return Opened(
            router_id=IPv4Address(str(received.router_id)),
            peer_as=int(self._negotiated.peer_as),
            hold_time_s=int(self._negotiated.holdtime),
            graceful=graceful,
            capabilities=tuple(_capability_words(received.capabilities, graceful)),
            can_refresh=bool(self._negotiated.refresh != REFRESH.ABSENT),
            versions=self._versions,
            many_paths=_numbered(self._negotiated, self._versions),
        )

    def _graceful(self, offered: Any) -> Graceful | None:
        if offered is None:
            return None
        flags = {version: offered.get(_FAMILIES[version]) for version in self._versions}
        return Graceful(
            restart_time_s=int(offered.restart_time),
            versions=frozenset(version for version, each in flags.items() if each is not None),
            forwarding=frozenset(version for version, each in flags.items() if each),
            has_restarted=bool(offered.restart_flag & GracefulCapability.RESTART_STATE),
            survives_notifications=bool(offered.restart_flag & _SURVIVES_NOTIFICATIONS),
        )

    def _decode_update(self, body: bytes) -> Iterator[Received]:
        withdrawn, raw, nlri = Update.split(body)
        judgement = judge(raw, self._facts, has_nlri=bool(nlri)) if raw or nlri else None
        if judgement is None:
            update = Update.unpack_message(body, Direction.IN, self._negotiated)
        elif judgement.verdict is Verdict.RESET:
            yield Fault(Event.UPDATE_ERROR, 3, judgement.subcode, judgement.data, "; ".join(judgement.faults))
            return
        else:
            rest = _joined(withdrawn, judgement.kept, nlri)
            update = Update.unpack_message(rest, Direction.IN, self._negotiated)
        faults = judgement.faults if judgement is not None else ()
        unread = _Unread(judgement.carried, judgement.partial) if judgement is not None else _Unread()
        if isinstance(update, EOR):
            is_all = judgement is None or len(judgement.kept) >= len(raw)
            yield EndOfRib(_VERSIONS[int(update.nlris[0].afi), 1]) if is_all else Learned(faults=faults)
            return
        is_void = judgement is not None and judgement.verdict is Verdict.WITHDRAW
        update.nlris = [nlri for nlri in update.nlris if _VERSIONS[int(nlri.afi), 1] in self._versions]
        yield from _learned(update, faults, unread, is_void=is_void)

    def _decode_notification(self, body: bytes) -> Iterator[Received]:
        is_hard = body[:2] == _HARD_RESET and len(body) >= 4
        body = body[2:] if is_hard else body
        received = Notification.unpack_message(body)
        text = _communication(body[2:]) if (received.code, received.subcode) in _COMMUNICATIONS else ""
        yield Notified(received.code, received.subcode, text, is_hard)

    def _decode_keepalive(self, body: bytes) -> Iterator[Received]:
        KeepAlive.unpack_message(body, Direction.IN, self._negotiated)
        yield KeptAlive()

    def _decode_refresh(self, body: bytes) -> Iterator[Received]:
        is_known = len(body) < 3 or body[2] <= Refreshing.END.value
        if is_known and len(body) != 4:
            whole = _MARKER + struct.pack("!HB", _HEADER_BYTES + len(body), _REFRESH) + body
            yield Fault(Event.REFRESH_ERROR, 7, 1, whole, f"length {_HEADER_BYTES + len(body)}")
            return
        is_spoken = is_known and (body[2] == 0 or self._brackets_refreshes)
        version = _VERSIONS.get((int.from_bytes(body[:2], "big"), body[3]), 0) if is_spoken else 0
        if version not in self._versions:
            yield Refresh(None)
            return
        received = RouteRefresh.unpack_message(body)
        yield Refresh(Refreshing(int(received.reserved)), version)

    _DECODERS: ClassVar[dict[int, Any]] = {
        _OPEN: _decode_open,
        _UPDATE: _decode_update,
        _NOTIFICATION: _decode_notification,
        _KEEPALIVE: _decode_keepalive,
        _REFRESH: _decode_refresh,
    }


_ERROR_OF = {
    _OPEN: Event.OPEN_ERROR,
    _UPDATE: Event.UPDATE_ERROR,
    _NOTIFICATION: Event.NOTIFICATION,
    _KEEPALIVE: Event.HEADER_ERROR,
    _REFRESH: Event.REFRESH_ERROR,
}
_UNDECODABLE = {_OPEN: (2, 0), _UPDATE: (3, 1), _NOTIFICATION: (1, 0), _KEEPALIVE: (1, 0), _REFRESH: (7, 1)}


def _neighbor(ends: Ends) -> Any:
    neighbor = Neighbor()
    neighbor["peer-address"] = IP.create(str(ends.peer_address))
    neighbor["local-address"] = IP.create(str(ends.local_address))
    neighbor["local-as"] = ASN(ends.local_as)
    neighbor["peer-as"] = ASN(ends.peer_as)
    neighbor["router-id"] = RouterID(str(ends.router_id))
    neighbor["hold-time"] = HoldTime(ends.hold_time_s)
    neighbor["adj-rib-in"] = False
    neighbor["adj-rib-out"] = False
    neighbor["capability"]["graceful-restart"] = ends.restart_time_s
    neighbor["capability"]["route-refresh"] = True
    for version in ends.spoken:
        neighbor.add_family(_FAMILIES[version])
    return neighbor


def _open(ends: Ends, neighbor: Any) -> Any:
    if not ends.has_capabilities:
        return _open_with(ends, Capabilities())
    capabilities = Capabilities().new(neighbor, ends.has_restarted, ASN(ends.local_as))
    forwarding = GracefulCapability.FORWARDING_STATE if ends.keeps_forwarding else 0
    flags = GracefulCapability.RESTART_STATE if ends.has_restarted else 0
    if ends.restart_time_s:
        flags |= _SURVIVES_NOTIFICATIONS if ends.survives_notifications else 0
        capabilities[Capability.CODE.GRACEFUL_RESTART] = GracefulCapability().set(
            flags, ends.restart_time_s, [(*_FAMILIES[version], forwarding) for version in ends.spoken]
        )
    if ends.add_path:
        families = [_FAMILIES[version] for version in ends.spoken]
        capabilities[Capability.CODE.ADD_PATH] = AddPathCapability(families, int(ends.add_path))
    return _open_with(ends, capabilities)


def _open_with(ends: Ends, capabilities: Any) -> Any:
    return Open(Version(4), ASN(ends.local_as), HoldTime(ends.hold_time_s), RouterID(str(ends.router_id)), capabilities)


def _check_open(body: bytes) -> Fault | None:
    """What ExaBGP accepts or answers with text: the version, and parameters that are not as long as they say."""
    if body[0] != 4:
        return Fault(Event.OPEN_ERROR, 2, 1, b"\x00\x04", f"version {body[0]}")
    parameters, at, size = body[9], 10, 1
    if parameters == 255 and len(body) >= 13 and body[10] == 255:  # RFC 9072
        parameters, at, size = int.from_bytes(body[11:13], "big"), 13, 2
    if at + parameters != len(body):
        return Fault(Event.OPEN_ERROR, 2, 0, b"", f"parameter length {parameters}")
    while at < len(body):
        if body[at] != _CAPABILITIES:
            return Fault(Event.OPEN_ERROR, 2, 4, b"", f"parameter {body[at]}")
        at += 1 + size + int.from_bytes(body[at + 1 : at + 1 + size], "big")
    return None


def _capability_words(theirs: Any, graceful: Graceful | None) -> Iterator[str]:
    if Capability.CODE.ROUTE_REFRESH in theirs:
        yield "refresh"
    if Capability.CODE.ENHANCED_ROUTE_REFRESH in theirs:
        yield "enhanced-refresh"
    if graceful is not None:
        yield "restart-able" if graceful.is_able else "restart-aware"
    if Capability.CODE.FOUR_BYTES_ASN in theirs:
        yield "AS4"
    directions = set(theirs.get(Capability.CODE.ADD_PATH, {}).values())
    if directions & {AddPath.RECEIVE, AddPath.BOTH}:
        yield "add-path-rx"
    if directions & {AddPath.SEND, AddPath.BOTH}:
        yield "add-path-tx"
    if Capability.CODE.EXTENDED_MESSAGE in theirs:
        yield "ext-messages"


def _forget_nonsense(offered: Any) -> None:
    """RFC 7911, 4: a family with another value than these counts as not named."""
    for family in [family for family, value in offered.items() if not AddPath.RECEIVE <= value <= AddPath.BOTH]:
        del offered[family]


def _numbered(negotiated: Any, versions: frozenset[int]) -> frozenset[int]:
    """The families in which what we send has path numbers."""
    return frozenset(version for version in versions if negotiated.addpath.send(*_FAMILIES[version]))


def _joined(withdrawn: bytes, attributes: bytes, nlri: bytes) -> bytes:
    return b"".join((_counted(withdrawn), _counted(attributes), nlri))


def _counted(field: bytes) -> bytes:
    return struct.pack("!H", len(field)) + field


@dataclass(frozen=True, slots=True)
class _Unread:
    """What ExaBGP is not shown of the attributes of an UPDATE."""

    carried: tuple[Carried, ...] = ()
    partial: frozenset[int] = frozenset()


def _learned(update: Any, faults: tuple[str, ...], unread: _Unread, *, is_void: bool) -> Iterator[Learned]:
    """One value per next hop; withdrawals go first. ``is_void``: its routes count as withdrawn (RFC 7606)."""
    withdrawn: list[Place] = []
    by_next_hop: dict[Any, list[Any]] = {}
    for nlri in update.nlris:
        if nlri.action == Action.WITHDRAW:
            withdrawn.append(_place(nlri))
        else:
            by_next_hop.setdefault(nlri.nexthop.ton() if nlri.nexthop.afi else b"", []).append(nlri)
    if is_void or Attribute.CODE.INTERNAL_TREAT_AS_WITHDRAW in update.attributes:
        withdrawn += [_place(nlri) for nlris in by_next_hop.values() for nlri in nlris]
        by_next_hop = {}
    if withdrawn or faults or not by_next_hop:
        yield Learned(withdrawn=tuple(withdrawn), faults=faults)
    for packed, nlris in _without_link_local(by_next_hop).items():
        attributes = _incoming(update.attributes, ip_address(packed) if packed else None, unread)
        yield Learned(announced=tuple(map(_place, nlris)), attributes=attributes)


def _without_link_local(by_next_hop: dict[Any, list[Any]]) -> dict[Any, list[Any]]:
    """An IPv6 next hop of 32 bytes is a global and a link-local address; ExaBGP makes a route of each."""
    if len(by_next_hop) < 2:
        return by_next_hop
    return {packed: nlris for packed, nlris in by_next_hop.items() if packed[:2] != b"\xfe\x80"}


def _place(nlri: Any) -> Place:
    network = _network(nlri)
    if nlri.path_info is PathInfo.NOPATH:
        return network
    return Numbered(network, int.from_bytes(nlri.path_info.pack(), "big"))


def _network(nlri: Any) -> Network:
    """RFC 4271, 4.3: the bits behind the prefix have no meaning."""
    packed, length = nlri.cidr.ton(), nlri.cidr.mask
    spare = len(packed) * 8 - length
    value = int.from_bytes(packed, "big") >> spare << spare
    return DestinationV4((value, length)) if len(packed) == 4 else DestinationV6((value, length))


def _incoming(attributes: Any, next_hop: Address | None, unread: _Unread) -> Attributes:
    code = Attribute.CODE
    path = attributes.get(code.AS_PATH)
    segments = path.aspath if path is not None else ()
    origin, med, preference = attributes.get(code.ORIGIN), attributes.get(code.MED), attributes.get(code.LOCAL_PREF)
    originator, clusters = attributes.get(code.ORIGINATOR_ID), attributes.get(code.CLUSTER_LIST)
    return Attributes(
        next_hop=next_hop,
        local_pref=preference.localpref if preference is not None else DEFAULT_LOCAL_PREF,
        as_path=tuple(_path_of(segments)),
        origin=Origin(origin.origin) if origin is not None else Origin.INCOMPLETE,
        med=med.med if med is not None else 0,
        originator=IPv4Address(originator.ton()) if originator is not None else None,
        clusters=tuple(IPv4Address(each.ton()) for each in clusters.clusters) if clusters is not None else (),
        communities=tuple(_communities(attributes)),
        carried=unread.carried,
        partial=unread.partial,
    )


def _path_of(segments: Any) -> Iterator[int | tuple[int, ...]]:
    for segment in segments:
        numbers = (int(number) for number in segment)
        yield from (tuple(numbers),) if segment.ID == SET.ID else numbers


def _segments_of(path: AsPath) -> Any:
    for kind, run in groupby(path, type):
        if kind is int:
            yield SEQUENCE([ASN(number) for number in run])
        else:
            yield from (SET([ASN(number) for number in members((one,))]) for one in run)


def _communities(attributes: Any) -> Iterator[tuple[int, ...]]:
    for each in attributes.get(Attribute.CODE.COMMUNITY) or ():
        yield struct.unpack("!HH", each.pack())
    for each in attributes.get(Attribute.CODE.LARGE_COMMUNITY) or ():
        yield struct.unpack("!LLL", each.pack())


def _communication(data: bytes) -> str:
    """What a shutdown says (RFC 9003). It is a stranger's text: what is no letter is shown as such and not obeyed."""
    words = data[1 : 1 + data[0]].decode("utf-8", "replace") if data else ""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in words)
