"""HTTP as far as probes and scrapes need it: one line is read, one text sent, the connection closed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from ssl import SSLContext
from typing import NamedTuple

LONGEST_REQUEST_BYTES = 4096
PATIENCE_S = 5.0


METRICS = "text/plain; version=0.0.4; charset=utf-8"
"""Of Prometheus' text, and good for any other."""


class Answer(NamedTuple):
    status: HTTPStatus
    text: str
    kind: str = METRICS


NOT_FOUND = Answer(HTTPStatus.NOT_FOUND, "404 page not found\n")
Respond = Callable[[str], Awaitable[Answer]]
"""From a path, without what follows a question mark."""


async def serve(respond: Respond, host: str, port: int, *, tls: SSLContext | None = None) -> None:
    """Until cancelled. A ``host`` of "" is every address. Raises OSError when the address cannot be had."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                request = await reader.readuntil(b"\r\n")
                writer.write(rendered(await respond(path_of(request))))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # who asks so slowly, or leaves, is not answered
        finally:
            writer.close()

    server = await asyncio.start_server(answer, host or None, port, limit=LONGEST_REQUEST_BYTES, ssl=tls)
    async with server:
        await server.serve_forever()


def path_of(request: bytes) -> str:
    words = request.decode(errors="replace").split()
    return words[1].partition("?")[0] if len(words) > 1 else ""


def rendered(answer: Answer) -> bytes:
    status, text, kind = answer
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {kind}\r\n"
    return f"{head}Content-Length: {len(text.encode())}\r\nConnection: close\r\n\r\n{text}".encode()
