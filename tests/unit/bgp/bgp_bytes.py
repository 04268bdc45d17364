"""BGP messages written by hand, for what a decoder must be shown and no encoder would make."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv4Network

MARKER = b"\xff" * 16


def message(kind: int, body: bytes, *, length: int | None = None, marker: bytes = MARKER) -> bytes:
    return marker + struct.pack("!HB", len(body) + 19 if length is None else length, kind) + body


def attribute(code: int, value: bytes, *, flags: int = 0x40, length: int | None = None) -> bytes:
    return bytes((flags, code, len(value) if length is None else length)) + value


def capability(code: int, value: bytes = b"") -> bytes:
    return bytes((2, len(value) + 2, code, len(value))) + value


FOUR_OCTET = capability(65, struct.pack("!L", 64512))
IPV4_UNICAST = capability(1, struct.pack("!HBB", 1, 0, 1))


def open_message(
    *,
    version: int = 4,
    my_as: int = 64512,
    hold: int = 240,
    router_id: str = "10.0.0.2",
    parameters: bytes = IPV4_UNICAST + FOUR_OCTET,
    parameters_length: int | None = None,
) -> bytes:
    length = len(parameters) if parameters_length is None else parameters_length
    body = struct.pack("!BHH4sB", version, my_as, hold, IPv4Address(router_id).packed, length) + parameters
    return message(1, body)


def nlri(*networks: str) -> bytes:
    packed = b""
    for text in networks:
        network = IPv4Network(text)
        packed += bytes((network.prefixlen,)) + network.network_address.packed[: (network.prefixlen + 7) // 8]
    return packed


KEEPALIVE = message(4, b"")

ORIGIN = attribute(1, b"\x00")
EMPTY_PATH = attribute(2, b"")
NEXT_HOP = attribute(3, IPv4Address("10.0.0.2").packed)
LOCAL_PREF = attribute(5, struct.pack("!L", 100))
USUAL = ORIGIN + EMPTY_PATH + NEXT_HOP + LOCAL_PREF


def path(*numbers: int, size: int = 4, kind: int = 2) -> bytes:
    packed = b"".join(number.to_bytes(size, "big") for number in numbers)
    return attribute(2, bytes((kind, len(numbers))) + packed)


def update(attributes: bytes = b"", announced: bytes = b"", withdrawn: bytes = b"") -> bytes:
    return message(2, update_body(attributes, announced, withdrawn))


def update_body(attributes: bytes = b"", announced: bytes = b"", withdrawn: bytes = b"") -> bytes:
    return struct.pack("!H", len(withdrawn)) + withdrawn + struct.pack("!H", len(attributes)) + attributes + announced
