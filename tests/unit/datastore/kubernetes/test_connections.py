"""Connections to a server that plays one part after the other, on loopback."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from datastore.kubernetes.connections import Connections


class Side:
    """The server's side of a connection. ``heads``: of the requests, of all connections."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heads: list[bytes]) -> None:
        self._reader, self._writer, self._heads = reader, writer, heads

    async def hear(self) -> None:
        self._heads.append(await self._reader.readuntil(b"\r\n\r\n"))

    async def say(self, text: bytes) -> None:
        self._writer.write(text)
        await self._writer.drain()


Part = Callable[[Side], Coroutine[Any, Any, None]]
HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"


@asynccontextmanager
async def server(*parts: Part) -> AsyncIterator[tuple[Connections, list[bytes]]]:
    """Each connection that is made gets the next part; the requests' heads are kept."""
    left = list(parts)
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):  # the client has gone
            await left.pop(0)(Side(reader, writer, heads))
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    connections = Connections(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/cluster/")
    async with listener:
        yield connections, heads
        connections.close()
    assert not left, "some part was not played"


def answers(*texts: bytes) -> Part:
    async def part(side: Side) -> None:
        for text in texts:
            await side.hear()
            await side.say(text)

    return part


async def ask(connections: Connections, method: str = "GET") -> bytes:
    async with connections.request(method, "/pods?limit=1", tls=None, headers={}) as response:
        return await response.read()


async def test_a_connection_is_used_again_when_its_answer_was_read() -> None:
    async with server(answers(HELLO, CHUNKS, HELLO)) as (connections, heads):
        assert [await ask(connections) for _ in range(3)] == [b"hello"] * 3
    assert heads[0].startswith(b"GET /cluster/pods?limit=1 HTTP/1.1\r\n")


async def test_an_answer_that_is_given_up_takes_its_connection_along() -> None:
    async with server(answers(CHUNKS), answers(HELLO)) as (connections, _):
        async with connections.request("GET", "/pods", tls=None, headers={}) as response:
            assert await response.some() == b"hel"
        assert await ask(connections) == b"hello"


async def test_two_that_are_asked_at_once_go_two_ways() -> None:
    async with server(answers(HELLO), answers(HELLO)) as (connections, _):
        assert [*await asyncio.gather(ask(connections), ask(connections))] == [b"hello"] * 2


async def closes_at_the_second(side: Side) -> None:
    await side.hear()
    await side.say(HELLO)
    await side.hear()


async def test_a_read_that_meets_a_kept_connection_at_its_end_is_asked_again() -> None:
    async with server(closes_at_the_second, answers(HELLO)) as (connections, heads):
        assert [await ask(connections) for _ in range(2)] == [b"hello"] * 2
    assert len(heads) == 3


async def test_a_write_that_meets_a_kept_connection_at_its_end_is_not_done_twice() -> None:
    async with server(closes_at_the_second) as (connections, heads):
        await ask(connections)
        with pytest.raises(ConnectionError):
            await ask(connections, "POST")
    assert len(heads) == 2


async def test_a_connection_that_the_server_means_to_close_is_not_used_again() -> None:
    last = HELLO.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
    async with server(answers(last), answers(HELLO)) as (connections, heads):
        await ask(connections)
        await ask(connections, "POST")
    assert len(heads) == 2


@pytest.mark.parametrize("text", [HELLO, CHUNKS], ids=["length", "chunks"])
async def test_an_answer_may_come_byte_by_byte_after_an_interim_one(text: bytes) -> None:
    async def dribbles(side: Side) -> None:
        await side.hear()
        for byte in b"HTTP/1.1 103 Early Hints\r\n\r\n" + text:
            await side.say(bytes((byte,)))

    async with server(dribbles) as (connections, _):
        assert await ask(connections) == b"hello"


async def test_a_packed_answer_is_unpacked() -> None:
    packed = gzip.compress(b"hello " * 1000)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n".encode()
    async with server(answers(head + packed)) as (connections, _):
        assert await ask(connections) == b"hello " * 1000


@pytest.mark.parametrize(
    "text", [HELLO[:-1], CHUNKS[:-9], b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"HTTP/1.1 200 O", b""], ids=repr
)
async def test_an_answer_that_is_cut_short_or_is_none_is_an_error_of_the_connection(text: bytes) -> None:
    async with server(answers(text)) as (connections, _):
        with pytest.raises(ConnectionError):
            await ask(connections)


async def test_whoever_waits_when_all_is_closed_is_told() -> None:
    asked = asyncio.Event()

    async def silent(side: Side) -> None:
        await side.hear()
        asked.set()
        await side.hear()

    async with server(silent) as (connections, _):
        waiting = asyncio.ensure_future(ask(connections))
        await asked.wait()
        connections.close()
        with pytest.raises(ConnectionError):
            await waiting
