"""What protects one neighbour's TCP connections on the wire, and how the kernel is told.

- A password: every segment is signed with it (RFC 2385). The kernel needs it on the socket that dials before it does,
  on the listening socket before the neighbour dials, and takes another one on a connection that is up: two neighbours
  that get their new password within the hold time of each other keep their session.
- A distance: every packet of the neighbour arrives with a TTL of at least 256 minus so many hops (RFC 5082).

A neighbour that dials us could say a lot before the kernel is told: so the TTL of its first packet, which the kernel
keeps for us, decides whether it is let in at all.

What we send starts with a TTL of 255 in any case: a neighbour that asks for it need not be known to ask.

Source: Linux include/uapi/linux/tcp.h (struct tcp_md5sig, TCP_SAVED_SYN), ip(7), ipv6(7).
"""

from __future__ import annotations

import errno
import socket
import sys
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

Address = IPv4Address | IPv6Address

_TCP_MD5SIG = 14
_TCP_SAVE_SYN, _TCP_SAVED_SYN = 27, 28
_LARGEST_SYN_BYTES = 256
_TTL_AT = {4: 8, 6: 7}
"""Where it stands in the IP header of a version."""
_KEY_BYTES = 80
_ADDRESS_BYTES = 128
_IP_MINTTL = 21
_IPV6_MINHOPCOUNT = 73
_GREATEST_TTL = 255


@dataclass(frozen=True, slots=True)
class Guard:
    """``ttl_hops`` 0: the distance is not asked for."""

    password: str = field(default="", repr=False)
    ttl_hops: int = 0


OPEN = Guard()


def protect(sock: socket.socket, peer: Address, guard: Guard, *, before: Guard = OPEN) -> None:
    """Of a connection, or of a socket that is going to dial ``peer``. Raises OSError."""
    send_far(sock)
    if guard.password != before.password:
        set_password(sock, peer, guard.password)
    if guard.ttl_hops != before.ttl_hops:
        least = 256 - guard.ttl_hops if guard.ttl_hops else 0
        _refuse_from_afar(sock, least)
        if sock.family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_IP, _IP_MINTTL, least)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MINHOPCOUNT, least)


def keep_first_packets(sock: socket.socket) -> None:
    """Of a listening socket, for the connections that it accepts."""
    sock.setsockopt(socket.IPPROTO_TCP, _TCP_SAVE_SYN, 1)


def _refuse_from_afar(sock: socket.socket, least: int) -> None:
    """Raises PermissionError where the neighbour's first packet has come too far. There is none where we dialled."""
    first = sock.getsockopt(socket.IPPROTO_TCP, _TCP_SAVED_SYN, _LARGEST_SYN_BYTES)
    if first and first[_TTL_AT[first[0] >> 4]] < least:
        raise PermissionError(errno.EPERM, "it came from too far away")


def send_far(sock: socket.socket) -> None:
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, _GREATEST_TTL)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, _GREATEST_TTL)


def set_password(sock: socket.socket, peer: Address, password: str) -> None:
    """On a listening socket it counts for ``peer`` only; "" takes it away. Raises OSError."""
    key = password.encode()
    wanted = bytes(2) + len(key).to_bytes(2, sys.byteorder) + bytes(4) + key.ljust(_KEY_BYTES, b"\0")
    try:
        sock.setsockopt(socket.IPPROTO_TCP, _TCP_MD5SIG, _sockaddr(peer) + wanted)
    except FileNotFoundError:
        if key:
            raise


def _sockaddr(peer: Address) -> bytes:
    """Any port of it. The family is in this machine's order, flow and port are 0 in any."""
    family = socket.AF_INET if peer.version == 4 else socket.AF_INET6
    before = bytes(2) if peer.version == 4 else bytes(6)
    return (family.to_bytes(2, sys.byteorder) + before + peer.packed).ljust(_ADDRESS_BYTES, b"\0")
