"""The control socket that looks like BIRD 1's: a line in, a reply out, on any number of connections.

What is said stands in :mod:`bgp.status`; this only carries it. The socket's file is replaced at the start, since a
process that was killed leaves its own behind, and stays at the end, when a successor may have replaced it already.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from pathlib import Path

from bgp import way_out
from bgp.status import BANNER, SpeakerStatus, answer
from bgp.transport import Address

log = logging.getLogger(__name__)

LONGEST_COMMAND_BYTES = 1024
_KERNEL_TABLE = Path("/proc/net/route")


@asynccontextmanager
async def serving(path: Path, status: Callable[[], SpeakerStatus]) -> AsyncIterator[None]:
    """Answer on the socket at ``path`` until the block ends. Raises OSError when it cannot be made."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _talk(reader, writer, status)
        except (ConnectionError, ValueError):  # gone, or a line without an end
            pass
        finally:
            writer.close()

    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(talk, path, limit=LONGEST_COMMAND_BYTES)
    path.chmod(0o660)
    try:
        yield
    finally:
        server.close()


async def _talk(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, status: Callable[[], SpeakerStatus]
) -> None:
    writer.write(BANNER.encode())
    while line := await reader.readline():
        table = way_out.read_table(_KERNEL_TABLE.read_text()) if b"route" in line else ()

        def find(address: Address, table: tuple[way_out.KernelRoute, ...] = table) -> tuple[str, Address | None] | None:
            return way_out.find(address, table) if isinstance(address, IPv4Address) else None

        writer.write(answer(line.decode("utf-8", "replace"), status(), find).encode())
        await writer.drain()
