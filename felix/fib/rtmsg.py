"""Routes ⇄ rtnetlink bytes: the batched encoder, and the decoder of dumps, events and answers.

Owns the layout of RTM_NEWROUTE, RTM_DELROUTE and NLMSG_ERROR and nothing else: no sockets, and what a message means for
us is decided elsewhere. Devices are names here and indexes in the kernel; the tables between them are handed in.

By hand because of speed: pyroute2 builds 4,000 route messages a second and needs 500 ms to parse a dump of 10,000. A
property test holds every byte of this file against its codec.

Many messages go into one send. None but the last asks for an answer: the kernel handles them in order, answers errors
in any case, and the last one's acknowledgement says that all are done. Errors are matched by sequence number.

Source: linux/netlink.h, linux/rtnetlink.h; net/ipv4/fib_frontend.c, net/ipv6/route.c (6.18).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from struct import Struct
from typing import TypeVar

from felix.fib.model import Address, AddRoute, DeleteRoute, Hop, Network, ReplaceRoute, Route, RouteOp, RouteType

T = TypeVar("T")


class MessageType(IntEnum):
    ERROR = 2
    DONE = 3
    OVERRUN = 4
    NEW_LINK = 16
    DELETE_LINK = 17
    NEW_ADDRESS = 20
    DELETE_ADDRESS = 21
    NEW_ROUTE = 24
    DELETE_ROUTE = 25
    GET_ROUTE = 26
    NEW_NEIGHBOUR = 28
    DELETE_NEIGHBOUR = 29
    GET_NEIGHBOUR = 30
    NEW_SETTINGS = 80


class Flag(IntFlag):
    """Flags of the netlink header; the same bit means different things in a request, a dump and an answer."""

    REQUEST = 0x1
    ACK = 0x4
    DUMP_INTERRUPTED = 0x10
    REPLACE = 0x100
    CAPPED = 0x100
    EXCLUSIVE = 0x200
    ACK_ATTRIBUTES = 0x200
    DUMP = 0x300
    CREATE = 0x400
    APPEND = 0x800


class Attribute(IntEnum):
    DST = 1
    OIF = 4
    GATEWAY = 5
    PRIORITY = 6
    PREFERRED_SOURCE = 7
    METRICS = 8
    MULTIPATH = 9
    TABLE = 15
    VIA = 18


FAMILY = {4: 2, 6: 10}
_VERSION = {2: 4, 10: 6}
_LENGTH_BYTES = {4: 4, 6: 16}
_ONLINK = 0x4
_CLONED = 0x200
_METRIC_MTU = 2
_ANSWER_TEXT = 1
_SETTINGS_INDEX = 1

_HEADER = Struct("=IHHII")  # length, type, flags, sequence, port
_ROUTE_REQUEST = Struct("=IHHIIBBBBBBBBI")  # the header and struct rtmsg in one
_ROUTE = Struct("=BBBBBBBBI")  # family, dst_len, src_len, tos, table, protocol, scope, type, flags
_ATTRIBUTE = Struct("=HH")  # length, type
_NUMBER = Struct("=HHI")  # an attribute that holds one u32
_ADDRESS_V4 = Struct("=HH4s")
_NEXT_HOP = Struct("=HBBi")  # length, flags, weight - 1, index
_U16 = Struct("=H")
_U32 = Struct("=I")
_S32 = Struct("=i")

_REQUEST: Mapping[type[RouteOp], tuple[int, int]] = {
    AddRoute: (MessageType.NEW_ROUTE, Flag.REQUEST | Flag.CREATE | Flag.EXCLUSIVE),
    ReplaceRoute: (MessageType.NEW_ROUTE, Flag.REQUEST | Flag.REPLACE),
    DeleteRoute: (MessageType.DELETE_ROUTE, Flag.REQUEST),
}


class UnknownDevice(KeyError):
    """The route names a device that the table of indexes does not have. For the caller: it is gone, read again."""


def encode(op: RouteOp, sequence: int, indexes: Mapping[str, int], *, wants_answer: bool = False) -> bytes:
    """One request. Raises UnknownDevice."""
    kind, flags = _REQUEST[type(op)]
    if wants_answer:
        flags |= Flag.ACK
    route = op.route
    dst = route.dst
    encoded = _encode_attributes(route, indexes)
    only_hop_is_onlink = len(route.hops) == 1 and route.hops[0].onlink
    return (
        _ROUTE_REQUEST.pack(
            _ROUTE_REQUEST.size + len(encoded),
            kind,
            flags,
            sequence,
            0,
            FAMILY[dst.version],
            dst.prefixlen,
            0,
            route.tos,
            route.table if route.table < 256 else 0,
            route.protocol,
            route.scope,
            route.type,
            _ONLINK if only_hop_is_onlink else 0,
        )
        + encoded
    )


def _encode_attributes(route: Route, indexes: Mapping[str, int]) -> bytes:
    made = _encode_address(Attribute.DST, route.dst.network_address) if route.dst.prefixlen else b""
    if route.metric:
        made += _NUMBER.pack(8, Attribute.PRIORITY, route.metric)
    if route.source is not None:
        made += _encode_address(Attribute.PREFERRED_SOURCE, route.source)
    if route.mtu_bytes:
        made += encode_attribute(Attribute.METRICS, _NUMBER.pack(8, _METRIC_MTU, route.mtu_bytes))
    if route.table >= 256:
        made += _NUMBER.pack(8, Attribute.TABLE, route.table)
    if len(route.hops) == 1:
        hop = route.hops[0]
        made += _encode_gateway(route, hop) + _NUMBER.pack(8, Attribute.OIF, _index(hop, indexes))
    elif route.hops:
        hops = b"".join(_encode_hop(route, hop, indexes) for hop in route.hops)
        made += encode_attribute(Attribute.MULTIPATH, hops)
    return made


def _encode_hop(route: Route, hop: Hop, indexes: Mapping[str, int]) -> bytes:
    gateway = _encode_gateway(route, hop)
    flags = _ONLINK if hop.onlink else 0
    return _NEXT_HOP.pack(_NEXT_HOP.size + len(gateway), flags, hop.weight - 1, _index(hop, indexes)) + gateway


def _encode_gateway(route: Route, hop: Hop) -> bytes:
    if hop.via is None:
        return b""
    if hop.via.version == route.dst.version:
        return _encode_address(Attribute.GATEWAY, hop.via)
    return encode_attribute(Attribute.VIA, _U16.pack(FAMILY[hop.via.version]) + hop.via.packed)


def _index(hop: Hop, indexes: Mapping[str, int]) -> int:
    try:
        return indexes[hop.device]
    except KeyError:
        raise UnknownDevice(hop.device) from None


def _encode_address(kind: Attribute, address: Address) -> bytes:
    if address.version == 4:
        return _ADDRESS_V4.pack(8, kind, address.packed)
    return encode_attribute(kind, address.packed)


def encode_attribute(kind: int, payload: bytes) -> bytes:
    return _ATTRIBUTE.pack(4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


@dataclass(frozen=True, slots=True)
class Batch:
    """Requests for one send. Their sequence numbers run from ``first`` to ``last``; only the last is acknowledged."""

    data: bytes
    first: int
    last: int


def encode_batches(
    ops: Iterable[T],
    first_sequence: int,
    indexes: Mapping[str, int],
    encode_one: Callable[[T, int, Mapping[str, int]], bytes],
    *,
    longest_bytes: int = 1 << 16,
) -> Iterator[Batch]:
    """The ops in order, each with the next sequence number, packed into sends of about ``longest_bytes``.

    ``encode_one`` is :func:`encode`, or what encodes other ops. Raises UnknownDevice when it comes to an op that names
    one; the batches before it are unharmed.
    """
    messages: list[bytes] = []
    size_bytes, first, sequence = 0, first_sequence, first_sequence
    for op in ops:
        messages.append(encode_one(op, sequence, indexes))
        size_bytes += len(messages[-1])
        if size_bytes >= longest_bytes:
            yield _sealed(messages, first, sequence)
            messages, size_bytes, first = [], 0, sequence + 1
        sequence += 1
    if messages:
        yield _sealed(messages, first, sequence - 1)


def _sealed(messages: list[bytes], first: int, last: int) -> Batch:
    length, kind, flags, sequence, port = _HEADER.unpack_from(messages[-1])
    messages[-1] = _HEADER.pack(length, kind, flags | Flag.ACK, sequence, port) + messages[-1][_HEADER.size :]
    return Batch(b"".join(messages), first, last)


def encode_dump(version: int, sequence: int, *, table: int) -> bytes:
    """Asks for every route of one table. Without NETLINK_GET_STRICT_CHK on the socket the kernel sends all tables."""
    flags = Flag.REQUEST | Flag.DUMP
    table_attribute = _NUMBER.pack(8, Attribute.TABLE, table)
    return (
        _ROUTE_REQUEST.pack(
            36, MessageType.GET_ROUTE, flags, sequence, 0, FAMILY[version], 0, 0, 0, min(table, 255), 0, 0, 0, 0
        )
        + table_attribute
    )


@dataclass(frozen=True, slots=True)
class Message:
    """One netlink message. ``port`` is the socket that caused it, so a writer knows the echo of its own writes."""

    kind: int
    flags: int
    sequence: int
    port: int
    body: bytes

    def __bytes__(self) -> bytes:
        length = _HEADER.size + len(self.body)
        return _HEADER.pack(length, self.kind, self.flags, self.sequence, self.port) + self.body


class Malformed(ValueError):
    """Not a netlink message. The kernel sends none such; the caller reads everything again."""


def split(data: bytes) -> Iterator[Message]:
    """The messages of one datagram. Raises Malformed."""
    offset = 0
    while offset < len(data):
        if len(data) - offset < _HEADER.size:
            raise Malformed(f"{len(data) - offset} bytes after the last message")
        length, kind, flags, sequence, port = _HEADER.unpack_from(data, offset)
        if not _HEADER.size <= length <= len(data) - offset:
            raise Malformed(f"a message says that it has {length} of {len(data) - offset} bytes")
        yield Message(kind, flags, sequence, port, data[offset + _HEADER.size : offset + length])
        offset += (length + 3) & ~3


@dataclass(frozen=True, slots=True)
class Answer:
    """What the kernel says to the request ``sequence``: ``code`` 0 is done, else an errno, with its words if any."""

    sequence: int
    code: int
    text: str = ""


def decode_answer(message: Message) -> Answer:
    """An NLMSG_ERROR. Raises Malformed."""
    if len(message.body) < 4 + _HEADER.size:
        raise Malformed("an answer without the header of its request")
    (code,) = _S32.unpack_from(message.body)
    length, _, _, sequence, _ = _HEADER.unpack_from(message.body, 4)
    text = b""
    if message.flags & Flag.ACK_ATTRIBUTES:
        offset = 4 + (_HEADER.size if message.flags & Flag.CAPPED else (length + 3) & ~3)
        text = attributes(message.body, offset).get(_ANSWER_TEXT, b"")
    return Answer(sequence, -code, text.rstrip(b"\0").decode(errors="replace"))


def decode_settings(body: bytes) -> int:
    """The index of the device whose settings (sysctls) an RTM_NEWNETCONF is about; -1 for all, -2 for new ones.

    The kernel tells of forwarding, proxy_arp, proxy_ndp, rp_filter and few others. Raises Malformed.
    """
    index = attributes(body, 4).get(_SETTINGS_INDEX, b"")
    if len(index) != 4:
        raise Malformed("settings of no device")
    return int(_S32.unpack(index)[0])


def decode_route(body: bytes, names: Mapping[int, str]) -> Route | None:
    """The route of an RTM_NEWROUTE or RTM_DELROUTE, or None for what is no route of a table (cache entries, MPLS).

    A device that ``names`` does not have is called ``if<index>``. The metrics other than the MTU are left out.
    Raises Malformed.
    """
    try:
        return _decode_route(body, names)
    except (ValueError, struct.error) as error:
        raise Malformed(f"{error}: {body.hex()}") from None


def _decode_route(body: bytes, names: Mapping[int, str]) -> Route | None:
    family, length, _, tos, table, protocol, scope, type_, flags = _ROUTE.unpack_from(body)
    version = _VERSION.get(family)
    if version is None or flags & _CLONED or type_ not in _ROUTE_TYPES:
        return None
    found = attributes(body, _ROUTE.size)
    kind = _ROUTE_TYPES[type_]
    source = found.get(Attribute.PREFERRED_SOURCE)
    return Route(
        dst=_network(found.get(Attribute.DST, bytes(_LENGTH_BYTES[version])), length),
        hops=_decode_hops(found, flags, names) if kind in _WITH_HOPS else (),
        type=kind,
        protocol=protocol,
        scope=scope,
        metric=_number(found.get(Attribute.PRIORITY), 0),
        table=_number(found.get(Attribute.TABLE), table),
        tos=tos,
        mtu_bytes=_decode_mtu(found.get(Attribute.METRICS)),
        source=None if source is None else address(source),
    )


_ROUTE_TYPES = {kind.value: kind for kind in RouteType}
# IPv6 shows `dev lo` for a blackhole and its like; it says nothing, and IPv4 has none.
_WITH_HOPS = (RouteType.UNICAST, RouteType.LOCAL, RouteType.BROADCAST, RouteType.ANYCAST, RouteType.MULTICAST)


def _decode_hops(found: Mapping[int, bytes], flags: int, names: Mapping[int, str]) -> tuple[Hop, ...]:
    if Attribute.MULTIPATH in found:
        return tuple(_decode_multipath(found[Attribute.MULTIPATH], names))
    if Attribute.OIF not in found:
        return ()
    return (Hop(_name(_number(found[Attribute.OIF], 0), names), _decode_gateway(found), bool(flags & _ONLINK)),)


def _decode_multipath(data: bytes, names: Mapping[int, str]) -> Iterator[Hop]:
    offset = 0
    while offset + _NEXT_HOP.size <= len(data):
        length, flags, weight, index = _NEXT_HOP.unpack_from(data, offset)
        if length < _NEXT_HOP.size:
            raise Malformed(f"a next hop of {length} bytes")
        found = attributes(data[offset : offset + length], _NEXT_HOP.size)
        yield Hop(_name(index, names), _decode_gateway(found), bool(flags & _ONLINK), weight + 1)
        offset += (length + 3) & ~3


def _decode_gateway(found: Mapping[int, bytes]) -> Address | None:
    if Attribute.GATEWAY in found:
        return address(found[Attribute.GATEWAY])
    if Attribute.VIA in found:
        return address(found[Attribute.VIA][2:])
    return None


def _decode_mtu(metrics: bytes | None) -> int:
    return 0 if metrics is None else _number(attributes(metrics, 0).get(_METRIC_MTU), 0)


def attributes(data: bytes, offset: int) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    end = len(data)
    while offset + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4 or offset + length > end:
            raise Malformed(f"an attribute says that it has {length} of {end - offset} bytes")
        found[kind & 0x3FFF] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def _number(data: bytes | None, default: int) -> int:
    return default if data is None else int(_U32.unpack(data)[0])


def _name(index: int, names: Mapping[int, str]) -> str:
    return names.get(index) or f"if{index}"


@lru_cache(maxsize=4096)
def address(packed: bytes) -> Address:
    return IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)


def _network(packed: bytes, length: int) -> Network:
    return IPv4Network((packed, length)) if len(packed) == 4 else IPv6Network((packed, length))
