"""The speaker's line to BFD: what is said after each connection, and what happens while there is none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from bgp.bfd.packet import State
from bgp.bfd.watch import Hello, Message, SessionStatus, Watch, Watches, from_line, to_line
from bgp.bfd_link import BfdLink

ONE, TWO = frozenset({Watch(ip_address("10.0.0.2"))}), frozenset({Watch(ip_address("10.0.0.3"))})
STATUS = SessionStatus(ip_address("10.0.0.2"), State.UP)


@dataclass
class ModelBfd:
    path: Path
    heard: list[Message] = field(default_factory=list)
    hello: Hello = field(default_factory=Hello)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        self.path.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._talk, self.path)
        try:
            yield
        finally:
            server.close()
            for writer in self.writers:
                writer.close()
            self.writers.clear()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        writer.write(to_line(self.hello) + to_line(STATUS))
        while line := await reader.readline():
            self.heard.append(from_line(line))


@asynccontextmanager
async def running(link: BfdLink) -> AsyncIterator[None]:
    task = asyncio.create_task(link.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        await asyncio.sleep(0.005)


async def test_the_set_is_said_and_said_anew_when_it_changes(tmp_path: Path) -> None:
    bfd, told = ModelBfd(tmp_path / "s"), list[SessionStatus]()
    link = BfdLink(told.append, bfd.path)
    async with bfd.serving(), running(link):
        link.watch(ONE)
        await until(lambda: bfd.heard == [Hello(), Watches(ONE)])
        link.watch(ONE)
        link.watch(TWO)
        await until(lambda: bfd.heard == [Hello(), Watches(ONE), Watches(TWO)])
        assert told == [STATUS]
        assert link.why_down == ""


async def test_a_speaker_that_does_not_know_its_neighbours_yet_says_no_set(tmp_path: Path) -> None:
    bfd, told = ModelBfd(tmp_path / "s"), list[SessionStatus]()
    async with bfd.serving(), running(BfdLink(told.append, bfd.path)):
        await until(lambda: told == [STATUS])
        assert bfd.heard == [Hello()]


async def test_it_comes_back_by_itself_and_says_the_whole_set_again(tmp_path: Path) -> None:
    bfd = ModelBfd(tmp_path / "s")
    link = BfdLink(lambda status: None, bfd.path)
    link.watch(ONE)
    async with running(link):
        await until(lambda: "does not answer" in link.why_down)
        async with bfd.serving():
            await until(lambda: bfd.heard == [Hello(), Watches(ONE)])
        await until(lambda: link.why_down)
        async with bfd.serving():
            await until(lambda: bfd.heard == [Hello(), Watches(ONE)] * 2)


async def test_one_of_another_version_is_not_listened_to(tmp_path: Path) -> None:
    bfd, told = ModelBfd(tmp_path / "s", hello=Hello(9)), list[SessionStatus]()
    link = BfdLink(told.append, bfd.path)
    async with bfd.serving(), running(link):
        await until(lambda: "this speaker has version 1" in link.why_down)
        assert told == []
