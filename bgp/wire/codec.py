"""The messages of one connection, both ways: framing, the header's rules, and which decoder reads what.

- The header is checked here: types beyond ROUTE-REFRESH reach ExaBGP's private OPERATIONAL or a KeyError, and the
  lengths depend on what was negotiated.
- The AS of the four-octet capability counts whatever the two-octet field says, and 0 is refused (RFC 6793, 7607).
- A peer without the multiprotocol capability speaks IPv4 unicast (RFC 4760, 8).
- Path attributes are judged on their raw bytes first (:mod:`bgp.attributes_check`); what is left is decoded.
- ROUTE-REFRESH subtypes that nobody defined are ignored, a bad length is 7/1 (RFC 7313).

Whatever ExaBGP raises on a peer's bytes becomes a Fault; none of its exceptions leaves this package.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import Any, ClassVar

from exabgp.bgp.message.direction import Direction
from exabgp.bgp.message.keepalive import KeepAlive
from exabgp.bgp.message.notification import Notification, Notify
from exabgp.bgp.message.open import Open
from exabgp.bgp.message.open.asn import ASN
from exabgp.bgp.message.open.capability import Negotiated
from exabgp.bgp.message.open.capability.capability import Capability
from exabgp.bgp.message.open.capability.graceful import Graceful as GracefulCapability
from exabgp.bgp.message.open.capability.refresh import REFRESH
from exabgp.bgp.message.refresh import RouteRefresh
from exabgp.bgp.message.update import Update
from exabgp.bgp.message.update.eor import EOR

from bgp.attributes_check import Facts, Verdict, judge
from bgp.export import NOTHING, Told
from bgp.message import EndOfRib, Fault, Graceful, KeptAlive, Learned, Notified, Opened, Received, Refresh, Refreshing
from bgp.outgoing import difference
from bgp.session import Event
from bgp.wire.ends import Ends
from bgp.wire.families import AFIS, FAMILIES, HEADER_BYTES, VERSIONS
from bgp.wire.opening import SURVIVES_NOTIFICATIONS, capability_words, check_open, forget_nonsense, neighbor_of, open_of
from bgp.wire.packing import Packer, numbered_families
from bgp.wire.reading import Unread, communication, learned

_MARKER = b"\xff" * 16
_OPEN, _UPDATE, _NOTIFICATION, _KEEPALIVE, _REFRESH = 1, 2, 3, 4, 5
_SHORTEST = {_OPEN: 29, _UPDATE: 23, _NOTIFICATION: 21, _KEEPALIVE: 19}
_LONGEST_BYTES = 4096
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
_HARD_RESET = b"\x06\x09"
_COMMUNICATIONS = ((6, 2), (6, 4))


class Codec:
    """The messages of one TCP connection. What is negotiated in it stays in it."""

    def __init__(self, ends: Ends, packer: Packer | None = None) -> None:
        self._ends = ends
        self._packer = packer or Packer()
        self._neighbor = neighbor_of(ends)
        self._open = open_of(ends, self._neighbor)
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
        return b"".join(bytes(EOR(*FAMILIES[version]).message()) for version in sorted(self._versions))

    def refresh(self, what: Refreshing, version: int) -> bytes:
        return bytes(RouteRefresh(*FAMILIES[version], what.value).message())

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
            while not self._is_broken and len(self._buffer) - at >= HEADER_BYTES:
                fault = self._check_header(at)
                if fault is not None:
                    self._is_broken = True
                    yield fault
                    return
                end = at + int.from_bytes(self._buffer[at + 16 : at + 18], "big")
                if end > len(self._buffer):
                    return
                kind = self._buffer[at + 18]
                body = bytes(self._buffer[at + HEADER_BYTES : end])
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
        if not HEADER_BYTES <= length <= longest:
            return Fault(Event.HEADER_ERROR, 1, 2, raw_length, f"length {length}")
        if not _OPEN <= kind <= _REFRESH:
            return Fault(Event.HEADER_ERROR, 1, 3, bytes((kind,)), f"type {kind}")
        if length < _SHORTEST.get(kind, 0) or (kind == _KEEPALIVE and length != HEADER_BYTES):
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
        fault = check_open(body)
        if fault is None:
            received = Open.unpack_message(body)
            self._negotiate(received)
            fault = self._refuse(received)
        yield self._opened(received) if fault is None else fault

    def _negotiate(self, received: Any) -> None:
        theirs = received.capabilities
        if Capability.CODE.ADD_PATH in theirs:
            forget_nonsense(theirs[Capability.CODE.ADD_PATH])
        self._negotiated.received(received)
        if Capability.CODE.FOUR_BYTES_ASN in theirs:
            self._negotiated.peer_as = ASN(theirs[Capability.CODE.FOUR_BYTES_ASN])
        if Capability.CODE.MULTIPROTOCOL not in theirs or not self._ends.has_capabilities:
            self._negotiated.families = [FAMILIES[4]] if 4 in self._ends.spoken else []
        families = frozenset((int(afi), int(safi)) for afi, safi in self._negotiated.families)
        self._versions = frozenset(VERSIONS[family] for family in families if family in VERSIONS)
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
            wanted = (struct.pack("!BBHBB", 1, 4, AFIS[version], 0, 1) for version in self._ends.spoken)
            return Fault(Event.OPEN_ERROR, 2, 7, b"".join(wanted), "no common family")
        return None

    def _opened(self, received: Any) -> Opened:
        graceful = self._graceful(received.capabilities.get(Capability.CODE.GRACEFUL_RESTART))
        return Opened(
            router_id=IPv4Address(str(received.router_id)),
            peer_as=int(self._negotiated.peer_as),
            hold_time_s=int(self._negotiated.holdtime),
            graceful=graceful,
            capabilities=tuple(capability_words(received.capabilities, graceful)),
            can_refresh=bool(self._negotiated.refresh != REFRESH.ABSENT),
            versions=self._versions,
            many_paths=numbered_families(self._negotiated, self._versions),
        )

    def _graceful(self, offered: Any) -> Graceful | None:
        if offered is None:
            return None
        flags = {version: offered.get(FAMILIES[version]) for version in self._versions}
        return Graceful(
            restart_time_s=int(offered.restart_time),
            versions=frozenset(version for version, each in flags.items() if each is not None),
            forwarding=frozenset(version for version, each in flags.items() if each),
            has_restarted=bool(offered.restart_flag & GracefulCapability.RESTART_STATE),
            survives_notifications=bool(offered.restart_flag & SURVIVES_NOTIFICATIONS),
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
        unread = Unread(judgement.carried, judgement.partial) if judgement is not None else Unread()
        if isinstance(update, EOR):
            is_all = judgement is None or len(judgement.kept) >= len(raw)
            yield EndOfRib(VERSIONS[int(update.nlris[0].afi), 1]) if is_all else Learned(faults=faults)
            return
        is_void = judgement is not None and judgement.verdict is Verdict.WITHDRAW
        update.nlris = [nlri for nlri in update.nlris if VERSIONS[int(nlri.afi), 1] in self._versions]
        yield from learned(update, faults, unread, is_void=is_void)

    def _decode_notification(self, body: bytes) -> Iterator[Received]:
        is_hard = body[:2] == _HARD_RESET and len(body) >= 4
        body = body[2:] if is_hard else body
        received = Notification.unpack_message(body)
        text = communication(body[2:]) if (received.code, received.subcode) in _COMMUNICATIONS else ""
        yield Notified(received.code, received.subcode, text, is_hard)

    def _decode_keepalive(self, body: bytes) -> Iterator[Received]:
        KeepAlive.unpack_message(body, Direction.IN, self._negotiated)
        yield KeptAlive()

    def _decode_refresh(self, body: bytes) -> Iterator[Received]:
        is_known = len(body) < 3 or body[2] <= Refreshing.END.value
        if is_known and len(body) != 4:
            whole = _MARKER + struct.pack("!HB", HEADER_BYTES + len(body), _REFRESH) + body
            yield Fault(Event.REFRESH_ERROR, 7, 1, whole, f"length {HEADER_BYTES + len(body)}")
            return
        is_spoken = is_known and (body[2] == 0 or self._brackets_refreshes)
        version = VERSIONS.get((int.from_bytes(body[:2], "big"), body[3]), 0) if is_spoken else 0
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


def _joined(withdrawn: bytes, attributes: bytes, nlri: bytes) -> bytes:
    return b"".join((_counted(withdrawn), _counted(attributes), nlri))


def _counted(field: bytes) -> bytes:
    return struct.pack("!H", len(field)) + field
