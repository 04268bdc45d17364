"""``GET /metrics`` over HTTP, for Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus

LONGEST_REQUEST_BYTES = 4096
PATIENCE_S = 5.0


async def serve(metrics: Callable[[], str], port: int, host: str | None = None) -> None:
    """Until cancelled; on all addresses where ``host`` is None. Raises OSError when the port cannot be had."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                words = (await reader.readuntil(b"\r\n")).split()
                writer.write(_response(metrics, words[1] if len(words) > 1 else b""))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # who asks so slowly, or leaves, is not answered
        finally:
            writer.close()

    server = await asyncio.start_server(answer, host, port, limit=LONGEST_REQUEST_BYTES)
    async with server:
        await server.serve_forever()


def _response(metrics: Callable[[], str], path: bytes) -> bytes:
    is_there = path.partition(b"?")[0] == b"/metrics"
    status, body = (HTTPStatus.OK, metrics()) if is_there else (HTTPStatus.NOT_FOUND, "404 page not found\n")
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
    return f"{head}Content-Length: {len(body.encode())}\r\nConnection: close\r\n\r\n{body}".encode()
