"""``/liveness`` and ``/readiness`` over HTTP, as upstream's probes ask for them: 200 or 503, with the table as text.

And ``/why/ADDRESS``: which route carries packets there and for what reason, for ``calico-node -why``; ``/notes``: what
a person should know, a line each, for ``calicoctl node status``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from http import HTTPStatus
from ipaddress import IPv4Address, IPv6Address, ip_address

from felix.health import Health

LONGEST_REQUEST_BYTES = 4096
PATIENCE_S = 5.0


Why = Callable[[IPv4Address | IPv6Address], str]


async def serve(health: Health, why: Why, notes: Callable[[], Sequence[str]], host: str, port: int) -> None:
    """Until cancelled. Raises OSError when the address cannot be had."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                request = await reader.readuntil(b"\r\n")
                writer.write(_response(health, why, notes, request))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # who asks so slowly, or leaves, is not answered
        finally:
            writer.close()

    server = await asyncio.start_server(answer, host, port, limit=LONGEST_REQUEST_BYTES)
    async with server:
        await server.serve_forever()


def _response(health: Health, why: Why, notes: Callable[[], Sequence[str]], request: bytes) -> bytes:
    words = request.decode(errors="replace").split()
    path = words[1].partition("?")[0] if len(words) > 1 else ""
    match path:
        case "/liveness":
            return _text(HTTPStatus.OK, health.table())
        case "/readiness":
            return _text(HTTPStatus.OK if health.is_ready else HTTPStatus.SERVICE_UNAVAILABLE, health.table())
        case "/notes":
            return _text(HTTPStatus.OK, "".join(f"{line}\n" for line in notes()))
        case _ if path.startswith("/why/"):
            return _why(why, path.removeprefix("/why/"))
        case _:
            return _text(HTTPStatus.NOT_FOUND, "404 page not found\n")


def _why(why: Why, text: str) -> bytes:
    try:
        address = ip_address(text)
    except ValueError as error:
        return _text(HTTPStatus.BAD_REQUEST, f"{error}\n")
    return _text(HTTPStatus.OK, why(address))


def _text(status: HTTPStatus, body: str) -> bytes:
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n"
    return f"{head}Content-Length: {len(body.encode())}\r\nConnection: close\r\n\r\n{body}".encode()
