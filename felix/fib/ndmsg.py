"""Neighbours and forwarding entries of tunnels, to and from the bytes of rtnetlink. Pure.

By hand like routes, and for the same reason: a peer costs two of them, and a switch of a large cluster's pool writes
them by the thousand. Source: Linux uapi/linux/neighbour.h, net/core/neighbour.c, drivers/net/vxlan.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from struct import Struct

from felix.fib import rtmsg
from felix.fib.rtmsg import FAMILY, Flag, Malformed, MessageType
from felix.fib.tunnel import Address, Entry, EntryOp, Forwarding, Neighbour, SetEntry


class Attribute(IntEnum):
    DST = 1
    MAC = 2
    DEVICE = 8


BRIDGE_FAMILY = 7
FAMILIES = (FAMILY[4], FAMILY[6], BRIDGE_FAMILY)
_PERMANENT = 0x80
_SELF = 0x02
_MAC_BYTES = 6

_HEADER = Struct("=IHHII")
_NEIGHBOUR = Struct("=BxxxiHBB")  # family, index, state, flags, type


def encode(op: EntryOp, sequence: int, indexes: Mapping[str, int]) -> bytes:
    """One request. Raises KeyError for a device that ``indexes`` does not have."""
    if isinstance(op, SetEntry):
        kind, flags = MessageType.NEW_NEIGHBOUR, Flag.REQUEST | Flag.CREATE | Flag.REPLACE
    else:
        kind, flags = MessageType.DELETE_NEIGHBOUR, Flag.REQUEST
    entry = op.entry
    address, family, own_flags = (
        (entry.node, BRIDGE_FAMILY, _SELF)
        if isinstance(entry, Forwarding)
        else (entry.address, FAMILY[entry.address.version], 0)
    )
    body = (
        _NEIGHBOUR.pack(family, indexes[entry.device], _PERMANENT, own_flags, 0)
        + rtmsg.encode_attribute(Attribute.DST, address.packed)
        + rtmsg.encode_attribute(Attribute.MAC, bytes.fromhex(entry.mac.replace(":", "")))
    )
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, sequence, 0) + body


def encode_dump(family: int, index: int, sequence: int) -> bytes:
    """Asks for the entries of one device."""
    body = _NEIGHBOUR.pack(family, 0, 0, 0, 0) + rtmsg.encode_attribute(Attribute.DEVICE, index.to_bytes(4, "little"))
    kind, flags = MessageType.GET_NEIGHBOUR, Flag.REQUEST | Flag.DUMP
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, sequence, 0) + body


def decode(body: bytes, names: Mapping[int, str]) -> tuple[Entry, bool] | None:
    """The entry, and whether it is permanent. None for what has no address and for devices that ``names`` lacks.

    A neighbour that is being forgotten comes without a MAC, as "". Raises Malformed.
    """
    if len(body) < _NEIGHBOUR.size:
        raise Malformed(f"a neighbour of {len(body)} bytes")
    family, index, state, _, _ = _NEIGHBOUR.unpack_from(body)
    found = rtmsg.attributes(body, _NEIGHBOUR.size)
    device, packed, mac = names.get(index), found.get(Attribute.DST), _mac(found.get(Attribute.MAC, b""))
    if device is None or packed is None or len(packed) not in (4, 16):
        return None
    address: Address = rtmsg.address(packed)
    entry = Forwarding(device, mac, address) if family == BRIDGE_FAMILY else Neighbour(device, address, mac)
    return entry, bool(state & _PERMANENT)


def _mac(packed: bytes) -> str:
    return packed.hex(":") if len(packed) == _MAC_BYTES else ""
