"""HTTP/1.1 with one server over connections that are kept: h11 says what bytes mean, asyncio moves them.

A connection carries one request at a time. It is used again only when its answer was read to the end; whatever is
given up half-way takes its connection along. What is asked, and what an answer means, is the caller's. Whatever goes
wrong below HTTP is an OSError: ssl.SSLError, socket.gaierror, ConnectionError, TimeoutError.

Source: RFC 9112; Go's net/http, whose servers close what was idle for 90 s.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import zlib
from asyncio.sslproto import SSLProtocol
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from urllib.parse import urlsplit

import h11

CONNECT_PATIENCE_S = 8.0
KEPT_S = 60.0
"""How long an idle connection is kept: less than servers do, so that hardly any is closed as it is used again."""
_NEXT_ADDRESS_S = 0.25
_READ_BYTES = 1 << 16
_LONGEST_HEAD_BYTES = 1 << 16
_GZIP = 16 + zlib.MAX_WBITS
_KEEPALIVE = {
    socket.TCP_KEEPIDLE: 10,
    socket.TCP_KEEPINTVL: 5,
    socket.TCP_KEEPCNT: 3,
    socket.TCP_USER_TIMEOUT: 25_000,  # milliseconds, for what was sent and not acknowledged
}

# asyncio sets this aside, and touches all of it, for each connection of the process. Its own 256 KiB are 3 MiB for the
# watches of a node; a TLS record has 16 KiB at most.
SSLProtocol.max_size = _READ_BYTES


class Connections:
    """With a URL's server, made when they are needed. ``server_name``: what its certificate says if not its host."""

    def __init__(self, server: str, *, server_name: str = "") -> None:
        url = urlsplit(server)
        self._host, self._netloc, self._prefix = url.hostname or "", url.netloc.rpartition("@")[2], url.path.rstrip("/")
        self._port = url.port or (443 if url.scheme == "https" else 80)
        self._server_name = server_name or self._host
        self._used: set[_Connection] = set()
        self._idle: list[_Connection] = []
        self._tidying: asyncio.TimerHandle | None = None
        self._is_closed = False

    @asynccontextmanager
    async def request(
        self, method: str, target: str, *, tls: ssl.SSLContext | None, headers: Mapping[str, str], body: bytes = b""
    ) -> AsyncIterator[Response]:
        """The answer's head has come; what is not read of the rest when the block ends is not wanted. Raises OSError.

        ``target`` is quoted already. Without ``tls`` in the clear.
        """
        length = {"Content-Length": str(len(body))} if body or method in ("POST", "PUT", "PATCH") else {}
        fields = {"Host": self._netloc, **headers, **length}
        request = h11.Request(method=method, target=self._prefix + target, headers=list(fields.items()))
        connection, head = await self._ask(request, body, tls)
        try:
            yield Response(connection, head)
        finally:
            self._give_back(connection)

    def close(self) -> None:
        """Whoever waits for an answer gets an OSError."""
        self._is_closed = True
        for connection in (*self._idle, *self._used):
            connection.drop()
        self._idle.clear()
        if self._tidying is not None:
            self._tidying.cancel()
            self._tidying = None

    async def _ask(
        self, request: h11.Request, body: bytes, tls: ssl.SSLContext | None
    ) -> tuple[_Connection, h11.Response]:
        """Asked again if a kept connection turns out to be closed, where that can do nothing twice."""
        while True:
            kept = self._take_kept(tls)
            connection = kept or await self._connect(tls)
            self._used.add(connection)
            try:
                return connection, await connection.ask(request, body)
            except BaseException as error:
                self._give_back(connection)
                is_stale = kept is not None and not connection.has_heard and isinstance(error, OSError)
                if not is_stale or request.method != b"GET":
                    raise

    async def _connect(self, tls: ssl.SSLContext | None) -> _Connection:
        async with asyncio.timeout(CONNECT_PATIENCE_S):
            reader, writer = await asyncio.open_connection(
                self._host,
                self._port,
                ssl=tls,
                server_hostname=self._server_name if tls else None,
                happy_eyeballs_delay=_NEXT_ADDRESS_S,
            )
        made: socket.socket = writer.get_extra_info("socket")
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE.items():
            made.setsockopt(socket.IPPROTO_TCP, option, value)
        return _Connection(reader, writer, tls)

    def _take_kept(self, tls: ssl.SSLContext | None) -> _Connection | None:
        """None where there is none that was made with these credentials and still stands."""
        while self._idle:
            connection = self._idle.pop()
            if connection.stands and connection.tls is tls:
                return connection
            connection.drop()
        return None

    def _give_back(self, connection: _Connection) -> None:
        self._used.discard(connection)
        if self._is_closed or not connection.renew():
            connection.drop()
            return
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        self._idle.append(connection)
        if self._tidying is None:
            self._tidying = loop.call_later(KEPT_S, self._tidy)

    def _tidy(self) -> None:
        """The oldest stand first."""
        loop = asyncio.get_running_loop()
        while self._idle and self._idle[0].idle_since + KEPT_S <= loop.time():
            self._idle.pop(0).drop()
        self._tidying = loop.call_at(self._idle[0].idle_since + KEPT_S, self._tidy) if self._idle else None


class Response:
    """What a server answers."""

    def __init__(self, connection: _Connection, head: h11.Response) -> None:
        self.status = head.status_code
        self._connection = connection
        self._fields = dict(head.headers)
        self._is_over = False

    def field(self, name: str) -> str:
        """Of its head; "" where there is none of that name."""
        return self._fields.get(name.lower().encode(), b"").decode("latin-1")

    async def read(self) -> bytes:
        """The whole body, unpacked."""
        parts = [part async for part in self._parts()]
        if self.field("Content-Encoding") != "gzip":
            return b"".join(parts)
        unpacking = zlib.decompressobj(_GZIP)
        with _readable():
            return b"".join(unpacking.decompress(part) for part in parts) + unpacking.flush()

    async def some(self) -> bytes:
        """The next of the body, as it was sent, and b"" at its end. One that is given up loses nothing."""
        while not self._is_over:
            event = await self._connection.next_event()
            if isinstance(event, h11.Data):
                return bytes(event.data)
            self._is_over = isinstance(event, h11.EndOfMessage)
        return b""

    async def _parts(self) -> AsyncIterator[bytes]:
        while part := await self.some():
            yield part


class _Connection:
    """``tls``: what it was made with. ``has_heard``: whether anything of the answer to what was asked last has come."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tls: ssl.SSLContext | None) -> None:
        self.tls = tls
        self.has_heard = False
        self.idle_since = 0.0
        self._reader, self._writer = reader, writer
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LONGEST_HEAD_BYTES)

    @property
    def stands(self) -> bool:
        """As far as it has been heard."""
        return not (self._reader.at_eof() or self._reader.exception() or self._writer.is_closing())

    async def ask(self, request: h11.Request, body: bytes) -> h11.Response:
        self.has_heard = False
        data = [h11.Data(data=body)] if body else []
        self._writer.write(b"".join(self._http.send(event) or b"" for event in (request, *data, h11.EndOfMessage())))
        await self._writer.drain()
        while not isinstance(event := await self.next_event(), h11.Response):
            pass  # 1xx: the answer is still to come
        return event

    async def next_event(self) -> object:
        """One that is given up loses nothing."""
        with _readable():
            while (event := self._http.next_event()) is h11.NEED_DATA:
                data = await self._reader.read(_READ_BYTES)
                self.has_heard = self.has_heard or bool(data)
                self._http.receive_data(data)
        return event

    def renew(self) -> bool:
        """Whether it can be asked again."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return self.stands

    def drop(self) -> None:
        self._writer.transport.abort()


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except (h11.RemoteProtocolError, zlib.error) as error:
        raise ConnectionError(f"the answer cannot be read: {error}") from None
