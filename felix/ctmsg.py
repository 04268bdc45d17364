"""Connections that the kernel tracks, to and from the bytes of its netlink. Pure.

A connection has two tuples: how its first packet looked, and how answers to it look, which differ by more than the
direction where an address was translated. An address takes part in a connection where either tuple has it. One is
deleted by its own tuple and identity, so never another that took its place.

The kernel knows a filter by address, since 5.8; it walks the whole table all the same, once for each of the four places
where an address may stand, so everything is asked for once.
Source: Linux uapi/linux/netfilter/nfnetlink_conntrack.h, net/netfilter/nf_conntrack_netlink.c.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from struct import Struct

from felix.fib import rtmsg
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


_ADDRESSES = 1
"""Of a tuple's attributes."""
_NESTED = 0x8000
_HEADER = Struct("=IHHII")
_FAMILY = Struct("=BBH")  # family, version, resource


def encode_dump(version: int, sequence: int) -> bytes:
    """Asks for all connections of one version of IP."""
    body = _FAMILY.pack(FAMILY[version], 0, 0)
    return _HEADER.pack(_HEADER.size + len(body), Message.GET, Flag.REQUEST | Flag.DUMP, sequence, 0) + body


def encode_delete(body: bytes, sequence: int) -> bytes:
    """Deletes the connection that a dump told of with ``body``, and no other. Raises Malformed."""
    found = attributes(body, _FAMILY.size)
    if Attribute.ORIGINAL not in found:
        raise rtmsg.Malformed("a connection without its first packet")
    named = {
        Attribute.ORIGINAL | _NESTED: found[Attribute.ORIGINAL],
        Attribute.IDENTITY: found.get(Attribute.IDENTITY),
        Attribute.ZONE: found.get(Attribute.ZONE),
    }
    said = b"".join(encode_attribute(at, value) for at, value in named.items() if value is not None)
    whole = body[: _FAMILY.size] + said
    return _HEADER.pack(_HEADER.size + len(whole), Message.DELETE, Flag.REQUEST | Flag.ACK, sequence, 0) + whole


def members(body: bytes) -> frozenset[Address]:
    """The addresses that take part in a connection. Raises Malformed."""
    return frozenset(map(rtmsg.address, _packed(body)))


def _packed(body: bytes) -> Iterator[bytes]:
    found = attributes(body, _FAMILY.size)
    for which in (Attribute.ORIGINAL, Attribute.REPLY):
        addresses = attributes(found.get(which, b""), 0).get(_ADDRESSES, b"")
        yield from (packed for packed in attributes(addresses, 0).values() if len(packed) in (4, 16))
