"""A control socket: a file that belongs to whoever serves it now, and talk on any number of connections.

The file is replaced at the start, since a process that was killed leaves its own behind, and stays at the end, when a
successor may have replaced it already.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""Until the other side has said all. May raise ConnectionError, and ValueError for a line without an end."""


@asynccontextmanager
async def serving(path: Path, talk: Talk, *, mode: int, longest_line_bytes: int) -> AsyncIterator[None]:
    """Until the block ends. Raises OSError when the socket cannot be made."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except (ConnectionError, ValueError):  # gone, or a line without an end
            pass
        finally:
            writer.close()

    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(connected, path, limit=longest_line_bytes)
    path.chmod(mode)
    try:
        yield
    finally:
        server.close()
