"""The messages that we exchange with etcd, as bytes: those fields of them that we use.

Pure, and written by hand because the protocol buffers' runtime takes longer to import than a command to run: a dozen
messages of integers and bytes need no compiler. Unknown fields are passed over.

Source: etcd api/etcdserverpb/rpc.proto, api/mvccpb/kv.proto, api/authpb; protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

RANGE = "/etcdserverpb.KV/Range"
TXN = "/etcdserverpb.KV/Txn"
WATCH = "/etcdserverpb.Watch/Watch"
AUTHENTICATE = "/etcdserverpb.Auth/Authenticate"
GRANT = "/etcdserverpb.Lease/LeaseGrant"
REVOKE = "/etcdserverpb.Lease/LeaseRevoke"
TIME_TO_LIVE = "/etcdserverpb.Lease/LeaseTimeToLive"

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MASK = (1 << 64) - 1

# Fields by their numbers, where more than one function needs them.
_OP_RANGE, _OP_PUT, _OP_DELETE, _OP_TXN = 1, 2, 3, 4
_EVENT_DELETE = 1
_VERSION, _MOD_REVISION = 0, 2
_COMPARED_AS = {_VERSION: 4, _MOD_REVISION: 6}


class Malformed(Exception):
    """The server's answer is not what etcd sends."""


class Stored(NamedTuple):
    """One key as it is, or was, stored. Of a deletion only ``key`` and ``mod_revision`` are there.

    ``lease``: with which it ends; 0 for one that stays.
    """

    key: bytes
    value: bytes
    mod_revision: int
    lease: int = 0


class Found(NamedTuple):
    """``revision`` is the store's at the time of reading."""

    stored: tuple[Stored, ...]
    revision: int


class Compare(NamedTuple):
    """``what`` of ``key`` is ``value``."""

    key: bytes
    what: int
    value: int


def never_written(key: bytes) -> Compare:
    return Compare(key, _VERSION, 0)


def unchanged(key: bytes, mod_revision: int) -> Compare:
    return Compare(key, _MOD_REVISION, mod_revision)


class Range(NamedTuple):
    """All keys from ``key`` to before ``end``; that one key where ``end`` is empty. ``revision`` 0 means now."""

    key: bytes
    end: bytes = b""
    revision: int = 0
    limit: int = 0
    keys_only: bool = False


class Put(NamedTuple):
    key: bytes
    value: bytes
    lease: int = 0


class Delete(NamedTuple):
    """What was there is answered."""

    key: bytes


class Txn(NamedTuple):
    """If all compares hold ``then`` is done, otherwise ``otherwise``."""

    compares: tuple[Compare, ...]
    then: tuple[Op, ...]
    otherwise: tuple[Op, ...] = ()


Op = Range | Put | Delete | Txn


class Outcome(NamedTuple):
    """Of a transaction: an answer for each op that was done, at revision ``revision``."""

    is_done: bool
    answers: tuple[Answer, ...]
    revision: int


Answer = Found | Outcome | None
"""A deletion's is Found, what it removed; a Put's is None."""


class Event(NamedTuple):
    stored: Stored
    is_deletion: bool
    before: Stored | None


class Heard(NamedTuple):
    """One message of a watch. ``compacted`` is the revision from which changes are still kept, where ours are not."""

    revision: int
    is_created: bool
    is_canceled: bool
    compacted: int
    why_canceled: str
    events: tuple[Event, ...]


# --- requests -----------------------------------------------------------------------------------------------------


def range_request(of: Range) -> bytes:
    return (
        _bytes(1, of.key)
        + _bytes(2, of.end)
        + _number(3, of.limit)
        + _number(4, of.revision)
        + _number(8, int(of.keys_only))
    )


def txn_request(txn: Txn) -> bytes:
    return b"".join(
        (
            *(_message(1, _compare(compare)) for compare in txn.compares),
            *(_message(2, _op(op)) for op in txn.then),
            *(_message(3, _op(op)) for op in txn.otherwise),
        )
    )


def watch_request(key: bytes, end: bytes, *, start: int, wants_before: bool) -> bytes:
    """From revision ``start`` on. Progress is told when nothing else is, about every ten minutes."""
    create = _bytes(1, key) + _bytes(2, end) + _number(3, start) + _number(4, 1) + _number(6, int(wants_before))
    return _message(1, create)


def authenticate_request(user: str, password: str) -> bytes:
    return _bytes(1, user.encode()) + _bytes(2, password.encode())


def grant_request(ttl_s: int) -> bytes:
    return _number(1, ttl_s)


def lease_request(lease: int) -> bytes:
    """To revoke it, and to ask how long it has to live."""
    return _number(1, lease)


def _compare(compare: Compare) -> bytes:
    return (
        _number(2, compare.what)
        + _bytes(3, compare.key)
        + _varint(_COMPARED_AS[compare.what] << 3)
        + _varint(compare.value)
    )


def _op(op: Op) -> bytes:
    match op:
        case Range():
            return _message(_OP_RANGE, range_request(op))
        case Put():
            return _message(_OP_PUT, _bytes(1, op.key) + _bytes(2, op.value) + _number(3, op.lease))
        case Delete():
            return _message(_OP_DELETE, _bytes(1, op.key) + _number(3, 1))
        case Txn():
            return _message(_OP_TXN, txn_request(op))


# --- answers ------------------------------------------------------------------------------------------------------


def range_answer(data: bytes) -> Found:
    """Raises Malformed, as all of these do."""
    return _found(data, stored_in=2)


def txn_answer(data: bytes) -> Outcome:
    is_done, answers, revision = False, [], 0
    for field, value in _fields(data):
        if field == 1:
            revision = _header_revision(_as_bytes(value))
        elif field == 2:
            is_done = bool(value)
        elif field == 3:
            answers.append(_answer(_as_bytes(value)))
    return Outcome(is_done, tuple(answers), revision)


def watch_answer(data: bytes) -> Heard:
    numbers = {3: 0, 4: 0, 5: 0}
    revision, why, events = 0, "", []
    for field, value in _fields(data):
        if field == 1:
            revision = _header_revision(_as_bytes(value))
        elif field in numbers:
            numbers[field] = _as_signed(value)
        elif field == 6:
            why = _as_bytes(value).decode(errors="replace")
        elif field == 11:
            events.append(_event(_as_bytes(value)))
    return Heard(revision, bool(numbers[3]), bool(numbers[4]), numbers[5], why, tuple(events))


def authenticate_answer(data: bytes) -> str:
    """The token."""
    return next((_as_bytes(value).decode() for field, value in _fields(data) if field == 2), "")


def grant_answer(data: bytes) -> int:
    """The lease."""
    return _signed_field(data, 2)


def time_to_live_answer(data: bytes) -> int:
    """Seconds; below zero for a lease that is not there."""
    return _signed_field(data, 3)


def revoke_answer(data: bytes) -> None:
    """Says nothing."""


def _signed_field(data: bytes, number: int) -> int:
    return next((_as_signed(value) for field, value in _fields(data) if field == number), 0)


def _answer(data: bytes) -> Answer:
    for field, value in _fields(data):
        if field == _OP_RANGE:
            return _found(_as_bytes(value), stored_in=2)
        if field == _OP_DELETE:
            return _found(_as_bytes(value), stored_in=3)
        if field == _OP_TXN:
            return txn_answer(_as_bytes(value))
    return None


def _found(data: bytes, *, stored_in: int) -> Found:
    stored, revision = [], 0
    for field, value in _fields(data):
        if field == 1:
            revision = _header_revision(_as_bytes(value))
        elif field == stored_in:
            stored.append(_stored(_as_bytes(value)))
    return Found(tuple(stored), revision)


def _stored(data: bytes) -> Stored:
    key, value, mod_revision, lease = b"", b"", 0, 0
    for field, found in _fields(data):
        if field == 1:
            key = _as_bytes(found)
        elif field == 3:
            mod_revision = _as_signed(found)
        elif field == 5:
            value = _as_bytes(found)
        elif field == 6:
            lease = _as_signed(found)
    return Stored(key, value, mod_revision, lease)


def _event(data: bytes) -> Event:
    kind, stored, before = 0, None, None
    for field, value in _fields(data):
        if field == 1:
            kind = _as_signed(value)
        elif field == 2:
            stored = _stored(_as_bytes(value))
        elif field == 3:
            before = _stored(_as_bytes(value))
    if stored is None:
        raise Malformed("an event without its key")
    return Event(stored, kind == _EVENT_DELETE, before)


def _header_revision(data: bytes) -> int:
    return next((_as_signed(value) for field, value in _fields(data) if field == 3), 0)


# --- the encoding -------------------------------------------------------------------------------------------------


def _varint(value: int) -> bytes:
    value &= _MASK
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3 | _VARINT) + _varint(value) if value else b""


def _bytes(field: int, value: bytes) -> bytes:
    return _message(field, value) if value else b""


def _message(field: int, value: bytes) -> bytes:
    """Also an empty one: that it is there says something."""
    return _varint(field << 3 | _BYTES) + _varint(len(value)) + value


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    at, end = 0, len(data)
    try:
        while at < end:
            tag, at = _read_varint(data, at)
            if tag & 7 == _VARINT:
                number, at = _read_varint(data, at)
                yield tag >> 3, number
                continue
            size, at = _size(data, at, tag & 7)
            if at + size > end:
                raise Malformed("a field that goes on behind its message")
            yield tag >> 3, data[at : at + size]
            at += size
    except IndexError:
        raise Malformed("a message that ends in the middle of a number") from None


def _size(data: bytes, at: int, wire: int) -> tuple[int, int]:
    if wire == _BYTES:
        return _read_varint(data, at)
    if wire in (_FIXED64, _FIXED32):
        return (8 if wire == _FIXED64 else 4), at
    raise Malformed(f"a field of wire type {wire}")


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    byte = data[at]
    at += 1
    if byte < 0x80:
        return byte, at
    value, shift = byte & 0x7F, 7
    while byte >= 0x80:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
    return value, at


def _as_bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise Malformed("a number where a message was expected")
    return value


def _as_signed(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise Malformed("a message where a number was expected")
    return value - (1 << 64) if value >> 63 else value
