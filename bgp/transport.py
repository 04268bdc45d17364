"""How connections come about: a seam of two calls, TCP on one side of it and links in memory on the other.

A connection itself is asyncio's pair of transport and protocol, which both sides implement. Nagle's algorithm is off on
them (asyncio's default), since an UPDATE is not to wait for the ACK of the one before.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Protocol

from bgp.guard import OPEN, Guard, keep_first_packets, protect, send_far, set_password

Address = IPv4Address | IPv6Address

BACKLOG = 512


class Listening(Protocol):
    def require(self, passwords: Mapping[Address, str]) -> None:
        """From now on these neighbours have to sign, and no others. Raises OSError."""
        ...

    def close(self) -> None: ...


class Network(Protocol):
    async def dial(
        self, protocol: asyncio.Protocol, *, local: Address | None, peer: Address, port: int, guard: Guard = OPEN
    ) -> None:
        """Connect; ``protocol`` then owns the connection. ``local`` None: the kernel chooses. Raises OSError."""
        ...

    async def listen(
        self, accept: Callable[[], asyncio.Protocol], *, addresses: Sequence[Address], port: int
    ) -> Listening:
        """A protocol from ``accept`` gets each connection. No addresses means all of both families. Raises OSError."""
        ...


class TcpNetwork:
    async def dial(
        self, protocol: asyncio.Protocol, *, local: Address | None, peer: Address, port: int, guard: Guard = OPEN
    ) -> None:
        loop = asyncio.get_running_loop()
        sock = socket.socket(_family(peer), socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            protect(sock, peer, guard)
            if local is not None:
                sock.bind((str(local), 0))
            await loop.sock_connect(sock, (str(peer), port))
            await loop.create_connection(lambda: protocol, sock=sock)
        except BaseException:
            sock.close()
            raise

    async def listen(
        self, accept: Callable[[], asyncio.Protocol], *, addresses: Sequence[Address], port: int
    ) -> Listening:
        hosts = [str(address) for address in addresses] or None
        server = await asyncio.get_running_loop().create_server(accept, hosts, port, backlog=BACKLOG)
        return TcpListening(server)


class TcpListening:
    def __init__(self, server: asyncio.Server) -> None:
        self._server = server
        self._passwords: dict[Address, str] = {}
        for sock in server.sockets:
            keep_first_packets(sock)
            send_far(sock)  # the first answer to a neighbour that asks for the distance leaves by this socket

    def require(self, passwords: Mapping[Address, str]) -> None:
        """A password that the kernel refuses stops none of the others."""
        errors: list[OSError] = []
        for peer in {**self._passwords, **passwords}:
            wanted = passwords.get(peer, "")
            if wanted == self._passwords.get(peer, ""):
                continue
            try:
                self._set(peer, wanted)
                self._passwords[peer] = wanted
            except OSError as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def _set(self, peer: Address, password: str) -> None:
        for sock in self._server.sockets:
            if sock.family == _family(peer):
                set_password(sock, peer, password)

    def close(self) -> None:
        self._server.close()


def secure(transport: asyncio.BaseTransport, guard: Guard, *, before: Guard = OPEN) -> None:
    """Of a connection that is there: what a dial has before it. Raises OSError. Links in memory have no socket."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        _, peer = ends_of(transport)
        protect(sock, peer, guard, before=before)


def _family(address: Address) -> socket.AddressFamily:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def ends_of(transport: asyncio.BaseTransport) -> tuple[Address, Address]:
    """(ours, theirs). An IPv4 address that an IPv6 socket shows in its own form is taken for what it is."""
    return _plain(transport.get_extra_info("sockname")[0]), _plain(transport.get_extra_info("peername")[0])


def _plain(text: str) -> Address:
    address = ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
