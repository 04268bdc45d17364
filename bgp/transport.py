"""How connections come about: a seam of two calls, TCP on one side of it and links in memory on the other.

A connection itself is asyncio's pair of transport and protocol, which both sides implement. Nagle's algorithm is off on
them (asyncio's default), since an UPDATE is not to wait for the ACK of the one before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Protocol

Address = IPv4Address | IPv6Address

BACKLOG = 512


class Listening(Protocol):
    def close(self) -> None: ...


class Network(Protocol):
    async def dial(self, protocol: asyncio.Protocol, *, local: Address | None, peer: Address, port: int) -> None:
        """Connect; ``protocol`` then owns the connection. ``local`` None: the kernel chooses. Raises OSError."""
        ...

    async def listen(
        self, accept: Callable[[], asyncio.Protocol], *, addresses: Sequence[Address], port: int
    ) -> Listening:
        """A protocol from ``accept`` gets each connection. No addresses means all of both families. Raises OSError."""
        ...


class TcpNetwork:
    async def dial(self, protocol: asyncio.Protocol, *, local: Address | None, peer: Address, port: int) -> None:
        await asyncio.get_running_loop().create_connection(
            lambda: protocol, str(peer), port, local_addr=(str(local), 0) if local is not None else None
        )

    async def listen(
        self, accept: Callable[[], asyncio.Protocol], *, addresses: Sequence[Address], port: int
    ) -> Listening:
        hosts = [str(address) for address in addresses] or None
        return await asyncio.get_running_loop().create_server(accept, hosts, port, backlog=BACKLOG)


def ends_of(transport: asyncio.BaseTransport) -> tuple[Address, Address]:
    """(ours, theirs). An IPv4 address that an IPv6 socket shows in its own form is taken for what it is."""
    return _plain(transport.get_extra_info("sockname")[0]), _plain(transport.get_extra_info("peername")[0])


def _plain(text: str) -> Address:
    address = ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
