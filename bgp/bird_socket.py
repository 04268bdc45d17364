"""The control socket that looks like BIRD 1's: a line in, a reply out, on any number of connections.

What is said stands in :mod:`bgp.status`, the socket's own life in :mod:`bgp.unix_server`; this only carries it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

from bgp import unix_server, way_out
from bgp.status import BANNER, SpeakerStatus, WayOut, answer
from bgp.transport import Address

log = logging.getLogger(__name__)

LONGEST_COMMAND_BYTES = 1024
_KERNEL_TABLE = Path("/proc/net/route")


def kernels_way_out() -> WayOut:
    """As the kernel's table is now."""
    table = way_out.read_table(_KERNEL_TABLE.read_text())

    def find(address: Address) -> tuple[str, Address | None] | None:
        return way_out.find(address, table) if isinstance(address, IPv4Address) else None

    return find


def nowhere(_: Address) -> None:
    return None


def serving(path: Path, status: Callable[[], SpeakerStatus]) -> AbstractAsyncContextManager[None]:
    """Answer on the socket at ``path`` until the block ends. Raises OSError when it cannot be made."""
    talk = partial(_talk, status)
    return unix_server.serving(path, talk, mode=0o660, longest_line_bytes=LONGEST_COMMAND_BYTES)


async def _talk(
    status: Callable[[], SpeakerStatus], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    writer.write(BANNER.encode())
    while line := await reader.readline():
        find = kernels_way_out() if b"route" in line else nowhere
        writer.write(answer(line.decode("utf-8", "replace"), status(), find).encode())
        await writer.drain()
