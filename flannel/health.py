"""``/healthz`` and ``/readyz`` over HTTP, in the original's words. Ready: subnet.env is written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus

LONGEST_REQUEST_BYTES = 4096
PATIENCE_S = 5.0


async def serve(is_ready: Callable[[], bool], host: str, port: int) -> None:
    """Until cancelled. Raises OSError when the address cannot be had."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                request = await reader.readuntil(b"\r\n")
                writer.write(_response(request.decode(errors="replace").split()[1:2], is_ready()))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # who asks so slowly, or leaves, is not answered
        finally:
            writer.close()

    server = await asyncio.start_server(answer, host, port, limit=LONGEST_REQUEST_BYTES)
    async with server:
        await server.serve_forever()


def _response(path: list[str], is_ready: bool) -> bytes:
    if path == ["/healthz"]:
        return _text(HTTPStatus.OK, "flanneld is running")
    if path == ["/readyz"] and is_ready:
        return _text(HTTPStatus.OK, "flanneld is ready")
    if path == ["/readyz"]:
        return _text(HTTPStatus.SERVICE_UNAVAILABLE, "flanneld is not ready yet")
    return _text(HTTPStatus.NOT_FOUND, "404 page not found\n")


def _text(status: HTTPStatus, body: str) -> bytes:
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()
