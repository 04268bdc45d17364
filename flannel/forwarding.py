"""What the udp backend does with one packet: whose it is, one hop less to live, and what is answered for one that ends.

Each of the two programs on a packet's way takes one from its TTL, as the original's do. For a packet that nobody has,
or that has lived too long, the sender is told by ICMP from this node's own address, except for what must never be
answered: errors, later fragments, headers with options.

Pure. Source: flannel pkg/backend/udp (proxy_amd64.c); RFC 792, 1122 (3.2.2), 1624.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network

SMALLEST_BYTES = 20
UNREACHABLE, TIME_EXCEEDED = (3, 0), (11, 0)
_ICMP, _ECHO_REQUEST, _PLAIN_HEADER = 1, 8, 0x45
_TTL_OF_ANSWERS = 8
_IP = struct.Struct("!BBHHHBBH4s4s")
_ICMP_HEAD = struct.Struct("!BBHI")


class Peers:
    """Which node has an address: longest prefix first. Nodes are addresses as text, as sockets take them."""

    def __init__(self, table: Mapping[IPv4Network, IPv4Address]) -> None:
        levels: dict[int, dict[int, str]] = {}
        for subnet, node in table.items():
            shift = 32 - subnet.prefixlen
            levels.setdefault(shift, {})[int(subnet.network_address) >> shift] = str(node)
        self._levels = sorted(levels.items())

    def node_of(self, packet: bytes | bytearray) -> str | None:
        """Of the packet's destination."""
        destination = int.from_bytes(packet[16:20], "big")
        for shift, nodes in self._levels:
            node = nodes.get(destination >> shift)
            if node is not None:
                return node
        return None


def is_packet(packet: bytes | bytearray) -> bool:
    return len(packet) >= SMALLEST_BYTES and packet[0] >> 4 == 4


def take_hop(packet: bytearray) -> bool:
    """One less to live, and the checksum with it. False for one that has none left, which stays as it is."""
    if packet[8] <= 1:
        return False
    packet[8] -= 1
    checksum = (packet[10] << 8 | packet[11]) + 0x0100
    checksum = (checksum & 0xFFFF) + (checksum >> 16)
    packet[10], packet[11] = checksum >> 8, checksum & 0xFF
    return True


def answer(packet: bytes | bytearray, own: IPv4Address, kind: tuple[int, int]) -> bytes | None:
    """The ICMP error for ``packet``; None where there must be none."""
    is_fragment = (packet[6] & 0x1F) << 8 | packet[7]
    is_error = packet[9] == _ICMP and packet[20:21] != bytes((_ECHO_REQUEST,))
    if packet[0] != _PLAIN_HEADER or is_fragment or is_error:
        return None
    body = _ICMP_HEAD.pack(*kind, 0, 0) + packet[: SMALLEST_BYTES + 8]
    body = body[:2] + checksum(body).to_bytes(2, "big") + body[4:]
    head = _IP.pack(_PLAIN_HEADER, 0, 20 + len(body), 0, 0, _TTL_OF_ANSWERS, _ICMP, 0, own.packed, packet[12:16])
    return head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + body


def checksum(data: bytes) -> int:
    """The internet's: RFC 1071."""
    whole = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(whole) // 2}H", whole))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
