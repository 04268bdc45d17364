"""``/metrics``, ``/liveness`` and ``/readiness`` over HTTP: one line in, one text out, the connection closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus

LONGEST_REQUEST_BYTES = 4096
PATIENCE_S = 5.0


async def serve(port: int, *, metrics: Callable[[], str], missing: Callable[[], str]) -> None:
    """Until cancelled. ``missing`` says why not ready, "" when ready. Raises OSError when the port cannot be had."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                request = await reader.readuntil(b"\r\n")
                writer.write(_response(request.decode(errors="replace").split(), metrics, missing))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # who asks so slowly, or leaves, is not answered
        finally:
            writer.close()

    server = await asyncio.start_server(answer, port=port, limit=LONGEST_REQUEST_BYTES)
    async with server:
        await server.serve_forever()


def _response(words: list[str], metrics: Callable[[], str], missing: Callable[[], str]) -> bytes:
    match words[1].partition("?")[0] if len(words) > 1 else "":
        case "/metrics":
            return _text(HTTPStatus.OK, metrics())
        case "/liveness":
            return _text(HTTPStatus.OK, "")
        case "/readiness":
            why = missing()
            return _text(HTTPStatus.SERVICE_UNAVAILABLE if why else HTTPStatus.OK, f"{why}\n" if why else "")
        case _:
            return _text(HTTPStatus.NOT_FOUND, "404 page not found\n")


def _text(status: HTTPStatus, body: str) -> bytes:
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
    return f"{head}Content-Length: {len(body.encode())}\r\nConnection: close\r\n\r\n{body}".encode()
