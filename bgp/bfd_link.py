"""The speaker's line to the process that watches neighbours: whom to watch goes out, what becomes of them comes in.

While the two are apart nothing is known and nothing changes: neighbours are lost by their hold time then, as without
BFD. After every connection the whole set is said anew, unless it is not known yet: a speaker that has just started must
not stop what its predecessor had watched.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from bgp.bfd.watch import (
    LONGEST_LINE_BYTES,
    VERSION,
    Hello,
    Malformed,
    Message,
    SessionStatus,
    Watch,
    Watches,
    from_line,
    to_line,
)
from datastore.cancellation import end_if_cancelled

log = logging.getLogger(__name__)

RETRY_S = 0.25
"""Between two tries to connect to a socket that is not there or that nobody listens on."""


class BfdLink:
    """``hear`` gets every session's state, whenever it changes and after each connection."""

    def __init__(self, hear: Callable[[SessionStatus], None], path: Path) -> None:
        self.why_down = "not tried yet"
        self._hear, self._path = hear, path
        self._wanted: frozenset[Watch] | None = None
        self._changed = asyncio.Event()

    def watch(self, wanted: frozenset[Watch]) -> None:
        """From now on exactly these."""
        if wanted != self._wanted:
            self._wanted = wanted
            self._changed.set()

    async def run(self) -> None:
        while True:
            try:
                await self._talk()
                why = "it closed the connection"
            except (OSError, Malformed, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
                why = f"it does not answer at {self._path}: {error}"
            end_if_cancelled()
            if why != self.why_down:
                log.warning("bfd.away why=%s", why)
            self.why_down = why
            await asyncio.sleep(RETRY_S)  # the one thing to wait for is that somebody listens, and nothing tells that

    async def _talk(self) -> None:
        reader, writer = await asyncio.open_unix_connection(str(self._path), limit=LONGEST_LINE_BYTES)
        try:
            writer.write(to_line(Hello()))
            _check(from_line(await reader.readuntil(b"\n")))
            log.info("bfd.connected")
            self.why_down = ""
            async with asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(self._send(writer), name="bfd watch")
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
            message = from_line(line)
            if isinstance(message, SessionStatus):
                self._hear(message)

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        self._changed.set()
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._wanted is not None:
                writer.write(to_line(Watches(self._wanted)))
                await writer.drain()


def _check(message: Message) -> None:
    if not isinstance(message, Hello) or message.version != VERSION:
        raise Malformed(f"its hello is {message}, this speaker has version {VERSION}")
