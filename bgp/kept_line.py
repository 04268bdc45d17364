"""A line to another process of this node that is kept: dialled again whenever it is lost, and after each connection
told anew the whole of what is wanted.

Owns the connection's life. What is said on it is its owner's: a hello each way, then messages, a line each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from datastore.cancellation import end_if_cancelled

M = TypeVar("M")

RETRY_S = 0.25
"""Between two tries to connect to a socket that is not there or that nobody listens on."""

Open = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
"""Raises OSError when nobody listens."""


class _Unreadable(Exception):
    pass


@dataclass(frozen=True, slots=True)
class Talk(Generic[M]):
    """``read`` and ``check`` (of the other side's hello) raise ValueError; ``hear`` gets every other message.
    ``on_state`` hears why the line is down, or "" when it is up; ``who`` and ``where`` are words for that.
    """

    who: str
    where: str
    open: Open
    hello: bytes
    read: Callable[[bytes], M]
    check: Callable[[M], None]
    hear: Callable[[M], None]
    on_state: Callable[[str], None]


async def _next(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readline()
    except ValueError as error:
        raise _Unreadable(f"a line that is too long: {error}") from None


class KeptLine(Generic[M]):
    def __init__(self, talk: Talk[M]) -> None:
        self._talk = talk
        self._wanted: bytes | None = None
        self._changed = asyncio.Event()

    def say(self, line: bytes) -> None:
        """From now on this is what the other side should know."""
        self._wanted = line
        self._changed.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._connection()
                why = f"{self._talk.who} closed the connection"
            except (OSError, _Unreadable, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
                why = f"{self._talk.who} does not answer at {self._talk.where}: {error}"
            end_if_cancelled()
            self._talk.on_state(why)
            await asyncio.sleep(RETRY_S)  # the one thing to wait for is that somebody listens, and nothing tells that

    async def _connection(self) -> None:
        reader, writer = await self._talk.open()
        try:
            writer.write(self._talk.hello)
            self._greet(await reader.readuntil(b"\n"))
            self._talk.on_state("")
            async with asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(self._send(writer), name=f"say to {self._talk.who}")
                await self._receive(reader)
                sending.cancel()
        except* (OSError, _Unreadable, asyncio.IncompleteReadError) as group:
            raise group.exceptions[0] from None
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _receive(self, reader: asyncio.StreamReader) -> None:
        while line := await _next(reader):
            self._talk.hear(self._read(line))

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        self._changed.set()
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._wanted is not None:
                writer.write(self._wanted)
                await writer.drain()

    def _greet(self, line: bytes) -> None:
        hello = self._read(line)
        try:
            self._talk.check(hello)
        except ValueError as error:
            raise _Unreadable(str(error)) from None

    def _read(self, line: bytes) -> M:
        try:
            return self._talk.read(line)
        except ValueError as error:
            raise _Unreadable(str(error)) from None
