"""The line to the speaker: learned routes come in, confirmed destinations go out, as :mod:`bgp.learned` has them.

While the two are apart nothing changes: the last learned routes stay for as long as it takes, and what was confirmed
stays announced by a speaker that lives. After every connection the whole confirmed set is sent anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bgp.learned import (
    LONGEST_LINE_BYTES,
    SOCKET_PATH,
    VERSION,
    Confirmed,
    Hello,
    Malformed,
    Message,
    from_line,
    to_line,
)
from datastore.cancellation import end_if_cancelled
from felix.fib.model import Network

RETRY_S = 0.25
"""Between two tries to connect to a socket that is not there or that nobody listens on."""

log = logging.getLogger("felix.bgp")


class Line(Protocol):
    """Where the speaker is to be had; ``str`` says it to a person."""

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Raises OSError when nobody listens. The reader takes lines of ``LONGEST_LINE_BYTES``."""
        ...


@dataclass(frozen=True, slots=True)
class UnixLine:
    path: Path = Path(SOCKET_PATH)

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(str(self.path), limit=LONGEST_LINE_BYTES)

    def __str__(self) -> str:
        return str(self.path)


class BgpClient:
    """``hear`` gets every message; ``on_state`` hears why the line is down, or "" when it is up. Both are plain."""

    def __init__(self, hear: Callable[[Message], None], on_state: Callable[[str], None], line: Line) -> None:
        self._hear, self._on_state, self._line = hear, on_state, line
        self._confirmed: frozenset[Network] | None = None
        self._changed = asyncio.Event()

    def confirm(self, destinations: frozenset[Network]) -> None:
        """From now on exactly these may be announced."""
        if destinations != self._confirmed:
            self._confirmed = destinations
            self._changed.set()

    async def run(self) -> None:
        while True:
            try:
                await self._talk()
                why = "the speaker closed the connection"
            except (OSError, Malformed, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
                why = f"the speaker does not answer at {self._line}: {error}"
            end_if_cancelled()
            self._on_state(why)
            await asyncio.sleep(RETRY_S)  # the one thing to wait for is that somebody listens, and nothing tells that

    async def _talk(self) -> None:
        reader, writer = await self._line.open()
        try:
            writer.write(to_line(Hello()))
            _check(from_line(await reader.readuntil(b"\n")))
            self._on_state("")
            async with asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(self._send(writer), name="bgp confirm")
                await self._receive(reader)
                sending.cancel()
        except* (OSError, Malformed, asyncio.IncompleteReadError) as group:
            raise group.exceptions[0] from None
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _receive(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            self._hear(from_line(line))

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        self._changed.set()
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._confirmed is not None:
                writer.write(to_line(Confirmed(self._confirmed)))
                await writer.drain()


def _check(message: Message) -> None:
    if not isinstance(message, Hello) or message.version != VERSION:
        raise Malformed(f"the speaker's hello is {message}, this felix speaks version {VERSION}")
