"""bgp.sock as felix sees it, over a real Unix socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path

from bgp.felix_link import QUEUE_HIGH_BYTES, FelixLink
from bgp.learned import (
    LONGEST_LINE_BYTES,
    Confirmed,
    Delta,
    Hello,
    InSync,
    LearnedRoute,
    Message,
    Network,
    Snapshot,
    from_line,
    to_line,
)
from felix.bgp_client import BgpClient, UnixLine

ROUTE = LearnedRoute(ip_network("10.244.2.0/26"), (ip_address("10.0.0.2"),), "Mesh_10_0_0_2")
OTHER = LearnedRoute(ip_network("10.244.3.0/26"), (ip_address("10.0.0.3"),), "Mesh_10_0_0_3")


class Speaker:
    """As much of one as the link asks."""

    def __init__(self) -> None:
        self.routes: tuple[LearnedRoute, ...] = (ROUTE,)
        self.is_in_sync = False
        self.confirmed: asyncio.Queue[frozenset[Network]] = asyncio.Queue()
        self.link = FelixLink(
            routes=lambda: self.routes, is_in_sync=lambda: self.is_in_sync, on_confirmed=self.confirmed.put_nowait
        )


class Felix:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def hear(self) -> Message:
        return from_line(await asyncio.wait_for(self.reader.readline(), 5))

    def say(self, message: Message) -> None:
        self.writer.write(to_line(message))

    async def is_dropped(self) -> bool:
        return await asyncio.wait_for(self.reader.read(), 5) == b""


@asynccontextmanager
async def connected(path: Path, *, greeting: Message | None = Hello()) -> AsyncIterator[Felix]:  # noqa: B008
    felix = Felix(*await asyncio.open_unix_connection(path, limit=LONGEST_LINE_BYTES))
    try:
        assert await felix.hear() == Hello()
        if greeting is not None:
            felix.say(greeting)
        yield felix
    finally:
        felix.writer.close()


async def test_felix_gets_a_snapshot_and_then_differences(tmp_path: Path) -> None:
    speaker, path = Speaker(), tmp_path / "bgp.sock"
    async with speaker.link.serving(path), connected(path) as felix:
        assert await felix.hear() == Snapshot((ROUTE,))
        speaker.link.tell(Delta((OTHER,), (ROUTE.dst,)))
        assert await felix.hear() == Delta((OTHER,), (ROUTE.dst,))
        speaker.link.tell(InSync())
        assert await felix.hear() == InSync()


async def test_in_sync_follows_the_snapshot_when_it_was_told_before(tmp_path: Path) -> None:
    speaker, path = Speaker(), tmp_path / "bgp.sock"
    speaker.is_in_sync = True
    async with speaker.link.serving(path), connected(path) as felix:
        assert await felix.hear() == Snapshot((ROUTE,))
        assert await felix.hear() == InSync()


async def test_confirmed_destinations_come_whole_and_the_last_set_counts(tmp_path: Path) -> None:
    speaker, path = Speaker(), tmp_path / "bgp.sock"
    first, second = frozenset({ROUTE.dst}), frozenset({OTHER.dst})
    async with speaker.link.serving(path), connected(path) as old, connected(path) as new:
        old.say(Confirmed(first))
        assert await asyncio.wait_for(speaker.confirmed.get(), 5) == first
        new.say(Confirmed(second))
        assert await asyncio.wait_for(speaker.confirmed.get(), 5) == second


async def test_a_felix_of_another_version_is_refused(tmp_path: Path) -> None:
    speaker, path = Speaker(), tmp_path / "bgp.sock"
    async with speaker.link.serving(path), connected(path, greeting=Hello(99)) as felix:
        assert await felix.is_dropped()
    assert speaker.link.counters["malformed"] == 1


async def test_what_is_not_the_language_ends_that_connection_only(tmp_path: Path) -> None:
    speaker, path = Speaker(), tmp_path / "bgp.sock"
    async with speaker.link.serving(path), connected(path) as good:
        assert await good.hear() == Snapshot((ROUTE,))
        for bad in (b"{\n", b"null\n", to_line(InSync()), b'{"type": "confirmed", "destinations": ["x"]}\n'):
            async with connected(path, greeting=None) as felix:
                felix.writer.write(bad)
                assert await felix.is_dropped()
        speaker.link.tell(Delta((OTHER,)))
        assert await good.hear() == Delta((OTHER,))
    assert speaker.link.counters["malformed"] == 4
    assert speaker.confirmed.empty()


async def test_a_slow_reader_gets_a_new_snapshot_instead_of_a_backlog(tmp_path: Path) -> None:
    speaker, path = Speaker(), tmp_path / "bgp.sock"
    padding = tuple(LearnedRoute(ip_network(f"10.{n // 256}.{n % 256}.0/24"), ROUTE.next_hops) for n in range(2000))
    told = 0
    async with speaker.link.serving(path), connected(path) as felix:
        assert await felix.hear() == Snapshot((ROUTE,))
        felix.writer.transport.pause_reading()  # type: ignore[attr-defined]
        while not speaker.link.counters["fell-behind"]:
            speaker.link.tell(Delta(padding))
            told += 1
            await asyncio.sleep(0)
        for _ in range(1000):
            speaker.link.tell(Delta(padding))
        speaker.routes = (OTHER,)
        felix.writer.transport.resume_reading()  # type: ignore[attr-defined]
        heard = 0
        while not isinstance(message := await felix.hear(), Snapshot):
            heard += 1
        assert heard <= told
        assert message == Snapshot((OTHER,))
    assert told * len(to_line(Delta(padding))) < 4 * QUEUE_HIGH_BYTES


async def test_a_socket_that_a_killed_process_left_is_replaced(tmp_path: Path) -> None:
    speaker, path = Speaker(), tmp_path / "bgp.sock"
    path.write_text("left behind")
    async with speaker.link.serving(path), connected(path) as felix:
        assert await felix.hear() == Snapshot((ROUTE,))
        assert path.stat().st_mode & 0o777 == 0o600


async def test_felixs_own_client_understands_it(tmp_path: Path) -> None:
    speaker, path = Speaker(), tmp_path / "bgp.sock"
    heard: asyncio.Queue[Message] = asyncio.Queue()
    states: asyncio.Queue[str] = asyncio.Queue()
    client = BgpClient(heard.put_nowait, states.put_nowait, UnixLine(path))
    client.confirm(frozenset({ROUTE.dst}))
    async with speaker.link.serving(path):
        task = asyncio.create_task(client.run())
        assert await asyncio.wait_for(states.get(), 5) == ""
        assert await asyncio.wait_for(heard.get(), 5) == Snapshot((ROUTE,))
        assert await asyncio.wait_for(speaker.confirmed.get(), 5) == {ROUTE.dst}
        speaker.link.tell(InSync())
        assert await asyncio.wait_for(heard.get(), 5) == InSync()
        client.confirm(frozenset())
        assert await asyncio.wait_for(speaker.confirmed.get(), 5) == frozenset()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
