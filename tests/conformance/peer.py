"""A peer of the router that says exactly what a test wants it to say, and reads what comes back, message by message."""

from __future__ import annotations

import itertools
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

from tests.conformance.router import ADDRESS, AS, INSIDE, PATIENCE_S, Router, wait_until
from tests.unit.bgp.bgp_bytes import IPV4_UNICAST, KEEPALIVE, attribute, capability, nlri, open_message, update
from tests.unit.bgp.bgp_bytes import path as path_of

IPV6_UNICAST = capability(1, struct.pack("!HBB", 2, 0, 1))
REFRESH, ENHANCED_REFRESH, EXTENDED = capability(2), capability(70), capability(6)
KINDS = ("?", "OPEN", "UPDATE", "NOTIFICATION", "KEEPALIVE", "ROUTE-REFRESH")
_fences = itertools.count()


def as_of(address: str) -> int:
    return AS if address in INSIDE else 65000 + int(address.rpartition(".")[2])


def four_octet(number: int) -> bytes:
    return capability(65, struct.pack("!L", number))


class Peer:
    """Connected from ``address``, as whom the router knows it."""

    def __init__(self, router: Router, address: str, sock: socket.socket) -> None:
        self.router, self.address, self.sock = router, address, sock
        self.is_internal = as_of(address) == AS
        self._buffer = b""

    # Saying.

    def say(self, *data: bytes) -> None:
        self.sock.sendall(b"".join(data))

    def opening(self, *capabilities: bytes, hold: int = 90, four: bool = True) -> bytes:
        number = as_of(self.address)
        own = IPV4_UNICAST + (four_octet(number) if four else b"")
        return open_message(my_as=number, router_id=self.address, hold=hold, parameters=own + b"".join(capabilities))

    def establish(self, *capabilities: bytes, hold: int = 90, four: bool = True) -> Peer:
        """And read until it has said End-of-RIB."""
        self.say(self.opening(*capabilities, hold=hold, four=four))
        assert self.next_kind() == "OPEN"
        assert self.next_kind() == "KEEPALIVE"
        self.say(KEEPALIVE)
        self.read_until_end_of_rib()
        return self

    def attributes(self, *path: int, next_hop: str = "", more: bytes = b"", size: int = 4) -> bytes:
        """What a well-behaved peer of this kind sends, and ``more``."""
        numbers = path or (() if self.is_internal else (as_of(self.address),))
        as_path = path_of(*numbers, size=size) if numbers else attribute(2, b"")
        hop = attribute(3, ip_address(next_hop or self.address).packed)
        preference = attribute(5, struct.pack("!L", 100)) if self.is_internal else b""
        return attribute(1, b"\0") + as_path + hop + preference + more

    def announce(self, *prefixes: str, more: bytes = b"") -> None:
        self.say(update(self.attributes(more=more), nlri(*prefixes)))
        self.settle()

    def settle(self) -> None:
        """Return when everything that was said has been dealt with: routes are read in the order they come."""
        number = next(_fences)
        fence = f"100.{64 + (number >> 16 & 63)}.{number >> 8 & 255}.{number & 255}/32"
        self.say(update(self.attributes(), nlri(fence)))
        wait_until(lambda: self.router.received(self.address, fence))

    # Hearing.

    def next(self) -> tuple[str, bytes] | None:
        """Kind and body; None at the end of the stream."""
        while len(self._buffer) < 19 or len(self._buffer) < int.from_bytes(self._buffer[16:18], "big"):
            try:
                data = self.sock.recv(65536)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self._buffer += data
        length = int.from_bytes(self._buffer[16:18], "big")
        kind, body = KINDS[self._buffer[18]], self._buffer[19:length]
        self._buffer = self._buffer[length:]
        return kind, body

    def next_kind(self) -> str:
        found = self.next()
        return found[0] if found is not None else "end"

    def read_until_end_of_rib(self) -> list[tuple[str, bytes]]:
        heard: list[tuple[str, bytes]] = []
        while (found := self.next()) is not None:
            if found == ("UPDATE", bytes(4)):
                return heard
            heard.append(found)
        raise AssertionError(f"the stream ended: {heard}")

    def ending(self) -> str:
        """``3/1 DATA`` of the NOTIFICATION that ends it, ``end`` when there is none."""
        while (found := self.next()) is not None:
            kind, body = found
            if kind == "NOTIFICATION":
                return f"{body[0]}/{body[1]} {body[2:].hex()}".strip()
        return "end"

    def hears(self, needle: bytes) -> bytes:
        """The body of the UPDATE in which that stands."""
        while (found := self.next()) is not None:
            if found[0] == "UPDATE" and needle in found[1]:
                return found[1]
        raise AssertionError("the stream ended")

    def close(self) -> None:
        self.sock.close()


@contextmanager
def connected(router: Router, address: str) -> Iterator[Peer]:
    wait_until(lambda: router.state(address) == "Active")
    sock = router.elsewhere.socket(socket.SOCK_STREAM)
    sock.settimeout(PATIENCE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.bind((address, 0))
    sock.connect((ADDRESS, 179))
    peer = Peer(router, address, sock)
    try:
        yield peer
    finally:
        peer.close()


@contextmanager
def established(
    router: Router, address: str, *capabilities: bytes, hold: int = 90, four: bool = True
) -> Iterator[Peer]:
    with connected(router, address) as peer:
        yield peer.establish(*capabilities, hold=hold, four=four)
