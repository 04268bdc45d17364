"""BFD's sockets: one a family on which all packets come in, one a session from which its packets leave (RFC 5881).

What leaves has a TTL of 255 and is not routed, so that only a direct neighbour can get it; what comes in is handed on
with the TTL that it arrived with, which proves that a direct neighbour sent it. Each session sends from a port of its
own, of those that RFC 5881 has for it. Packets leave with the precedence of network control (DSCP CS6).

Source: RFC 5881, 4 and 5; Linux ip(7), ipv6(7).
"""

from __future__ import annotations

import os
import random
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from errno import EADDRINUSE, EAFNOSUPPORT, ENETUNREACH
from ipaddress import IPv4Address, IPv6Address

from bgp.bfd.watch import Watch

Address = IPv4Address | IPv6Address

PORT = 3784
FIRST_SOURCE_PORT, LAST_SOURCE_PORT = 49152, 65535
_TTL = 255
_IP_RECVTTL = 12
_NETWORK_CONTROL = 0xC0
_LONGEST_PACKET_BYTES = 64
_RECEIVE_BUFFER_BYTES = 1 << 20
_MOST_AT_ONCE = 512
_ANCILLARY_BYTES = socket.CMSG_SPACE(4)
_HAS_TTL = {(socket.IPPROTO_IP, socket.IP_TTL), (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT)}

Received = tuple[bytes, str, int]
"""A packet, its sender's address as the kernel writes it, and its TTL."""


def listen(version: int) -> socket.socket | None:
    """On all addresses of a family; None where this machine has not got the family. Raises OSError."""
    try:
        sock = socket.socket(_family(version), socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    except OSError as error:
        if error.errno == EAFNOSUPPORT:
            return None
        raise
    try:
        if version == 4:
            sock.setsockopt(socket.IPPROTO_IP, _IP_RECVTTL, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        sock.bind(("::" if version == 6 else "", PORT))
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"UDP port {PORT}: {os.strerror(error.errno or 0)}") from None
    return sock


def read(sock: socket.socket) -> Iterator[Received]:
    """What has come, but not so much that timers would have to wait for it."""
    for _ in range(_MOST_AT_ONCE):
        try:
            data, ancillary, _, sender = sock.recvmsg(_LONGEST_PACKET_BYTES, _ANCILLARY_BYTES)
        except BlockingIOError:
            return
        yield data, sender[0], _ttl(ancillary)


def _ttl(ancillary: list[tuple[int, int, bytes]]) -> int:
    """0 where the kernel does not say."""
    for level, kind, value in ancillary:
        if (level, kind) in _HAS_TTL:
            return int.from_bytes(value[:4], sys.byteorder)
    return 0


class UdpLine:
    """The socket of one session, made when there is something to send and the addresses are there."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._socket: socket.socket | None = None

    def send(self, data: bytes) -> str:
        """Why it could not be sent, or was not taken, in words; else ""."""
        try:
            if self._socket is None:
                self._socket = _open(self._watch)
            self._socket.send(data)
        except ConnectionRefusedError:
            return self._send_after_refusal(data)
        except OSError as error:
            return _words_of(error)
        return ""

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send_after_refusal(self, data: bytes) -> str:
        """An earlier packet found nobody at its port; saying so was all that the kernel did."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.send(data)
        return "nobody speaks BFD there"


def _words_of(error: OSError) -> str:
    if error.errno == ENETUNREACH:
        return "not on a network of this node; multihop BFD (RFC 5883) is not offered"
    return os.strerror(error.errno or 0)


def _open(watch: Watch) -> socket.socket:
    version = watch.peer.version
    sock = socket.socket(_family(version), socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_DONTROUTE, 1)
        if version == 4:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, _TTL)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, _NETWORK_CONTROL)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, _TTL)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, _NETWORK_CONTROL)
        _bind(sock, str(watch.local or ("0.0.0.0" if version == 4 else "::")))
        sock.connect((str(watch.peer), PORT))
    except OSError:
        sock.close()
        raise
    return sock


def _bind(sock: socket.socket, address: str) -> None:
    """To a port that is free, from a random one on. Raises OSError."""
    ports = LAST_SOURCE_PORT - FIRST_SOURCE_PORT + 1
    first = random.randrange(ports)
    for step in range(ports):
        try:
            sock.bind((address, FIRST_SOURCE_PORT + (first + step) % ports))
            return
        except OSError as error:
            if error.errno != EADDRINUSE:
                raise
    raise OSError(EADDRINUSE, os.strerror(EADDRINUSE))


def _family(version: int) -> socket.AddressFamily:
    return socket.AF_INET if version == 4 else socket.AF_INET6
