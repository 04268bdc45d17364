"""Connections that the kernel tracks, to and from the bytes of its netlink. Pure.

A connection has two tuples: how its first packet looked, and how answers to it look, which differ by more than the
direction where an address was translated. An address takes part in a connection where either tuple has it.

The kernel is asked for those that match, by a filter that it knows since 5.8; an older one answers with everything, so
what comes is looked at here too. One is deleted by its own tuple and identity, so never another that took its place.
Source: Linux uapi/linux/netfilter/nfnetlink_conntrack.h, net/netfilter/nf_conntrack_netlink.c.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from ipaddress import IPv4Address, IPv6Address
from struct import Struct, pack

from felix.fib.rtmsg import FAMILY, Flag, attributes, encode_attribute

Address = IPv4Address | IPv6Address


class Message(IntEnum):
    """Those of the subsystem conntrack, which is number 1."""

    GET = 0x101
    DELETE = 0x102


class Attribute(IntEnum):
    ORIGINAL = 1
    REPLY = 2
    IDENTITY = 12
    ZONE = 18
    FILTER = 25


class _OfTuple(IntEnum):
    ADDRESSES = 1


class _OfAddresses(IntEnum):
    SOURCE_V4 = 1
    DESTINATION_V4 = 2
    SOURCE_V6 = 3
    DESTINATION_V6 = 4


class _Filtered(IntFlag):
    SOURCE = 1
    DESTINATION = 2


_NESTED = 0x8000
_ZERO = b"\0\0\0\0"
_HEADER = Struct("=IHHII")
_FAMILY = Struct("=BBH")  # family, version, resource
Side = tuple[Attribute, _Filtered]
SIDES: tuple[Side, ...] = tuple((tuple_, end) for tuple_ in (Attribute.ORIGINAL, Attribute.REPLY) for end in _Filtered)
"""Where an address may stand."""


def encode_dump(address: Address, side: Side, sequence: int) -> bytes:
    """Asks for the connections that have ``address`` on that side."""
    tuple_, end = side
    wanted = _nested(tuple_, _nested(_OfTuple.ADDRESSES, encode_attribute(_place(address, end), address.packed)))
    flags = (end, 0) if tuple_ is Attribute.ORIGINAL else (0, end)
    chosen = b"".join(encode_attribute(at, pack("=I", flag)) for at, flag in enumerate(flags, 1))
    body = _FAMILY.pack(FAMILY[address.version], 0, 0) + wanted + _nested(Attribute.FILTER, chosen)
    return _HEADER.pack(_HEADER.size + len(body), Message.GET, Flag.REQUEST | Flag.DUMP, sequence, 0) + body


def encode_delete(body: bytes, sequence: int) -> bytes:
    """Deletes the connection that a dump told of with ``body``, and no other."""
    found = attributes(body, _FAMILY.size)
    named = {
        Attribute.ORIGINAL | _NESTED: found[Attribute.ORIGINAL],
        Attribute.IDENTITY: found.get(Attribute.IDENTITY),
        Attribute.ZONE: found.get(Attribute.ZONE),
    }
    said = b"".join(encode_attribute(at, value) for at, value in named.items() if value is not None)
    whole = body[: _FAMILY.size] + said
    return _HEADER.pack(_HEADER.size + len(whole), Message.DELETE, Flag.REQUEST | Flag.ACK, sequence, 0) + whole


def concerns(body: bytes, address: Address) -> bool:
    """Whether the connection has ``address`` on any side."""
    found = attributes(body, _FAMILY.size)
    tuples = (found.get(Attribute.ORIGINAL, b""), found.get(Attribute.REPLY, b""))
    return any(
        address.packed in attributes(attributes(each, 0).get(_OfTuple.ADDRESSES, b""), 0).values() for each in tuples
    )


def _place(address: Address, end: _Filtered) -> _OfAddresses:
    if address.version == 4:
        return _OfAddresses.SOURCE_V4 if end is _Filtered.SOURCE else _OfAddresses.DESTINATION_V4
    return _OfAddresses.SOURCE_V6 if end is _Filtered.SOURCE else _OfAddresses.DESTINATION_V6


def _nested(kind: int, body: bytes) -> bytes:
    return encode_attribute(kind | _NESTED, body)
