"""The only door to the API server, and to the files that say how to reach it: requests in, JSON or StoreErrors out.

Speaks HTTP/1.1 (:mod:`datastore.kubernetes.connections`). Tokens and certificates are read again when their files
change. What the server asks us to wait for (429, Retry-After) is waited for, within the request's patience; everything
else that fails is the caller's to repeat.

A connection through which nothing passes any more is noticed by the kernel: it asks the other end after 10 s of
silence, every 5 s, and gives up after 25 s. That costs no request. What answers there and yet passes nothing on is
noticed by :mod:`datastore.kubernetes.pulse`, or else when the server does not end a watch in its time.
Source: Kubernetes API concepts (watch, chunked lists), client-go rest and transport.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import tempfile
from base64 import b64encode
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from datastore.kubernetes import trouble
from datastore.kubernetes.connections import Connections, Response
from datastore.kubernetes.kubeconfig import Access
from datastore.kubernetes.trouble import Asked
from datastore.store import Rejected, Unavailable

Json = dict[str, Any]
Query = Mapping[str, str]

REQUEST_PATIENCE_S = 10.0
WATCH_S = 600.0
"""After which a server ends a watch, give or take a tenth, so that they are not all taken up again at once."""
LONGEST_SILENCE_S = 1.1 * WATCH_S + 30.0
_FIRST_PAUSE_S = 0.1
_CLOSED = "this client of the datastore was closed"


class Client:
    """Connections are made on the first request. ``requests`` counts what was asked, by verb."""

    def __init__(
        self, access: Access, *, random: Callable[[], float], longest_silence_s: float = LONGEST_SILENCE_S
    ) -> None:
        self.requests: Counter[str] = Counter()
        self._access = access
        self._random = random
        self._longest_silence_s = longest_silence_s
        self._credentials = _Credentials(access)
        self._connections = Connections(access.server, server_name=access.server_name)
        self._streams: set[Stream] = set()
        self._is_closed = False

    async def ask(
        self,
        method: str,
        path: str,
        asked: Asked,
        *,
        query: Query | None = None,
        body: Json | None = None,
        is_strategic: bool = False,
    ) -> Json:
        """The answer's JSON. A PATCH is a merge patch, unless it ``is_strategic``.

        Raises the StoreError that the answer, or the lack of one, stands for.
        """
        deadline = asyncio.get_running_loop().time() + REQUEST_PATIENCE_S
        patch = "strategic-merge-patch+" if is_strategic else "merge-patch+"
        tries = 0
        while True:
            code, retry_after, text = await self._once(method, path, asked, query, body, patch)
            if code < 300:
                return _parsed(text)
            tries += 1
            pause_s = self._pause_s(code, retry_after, method, tries)
            if pause_s is None or asyncio.get_running_loop().time() + pause_s > deadline:
                raise trouble.of_answer(code, text, asked)
            await asyncio.sleep(pause_s)

    @asynccontextmanager
    async def watch(self, path: str, asked: Asked, *, query: Query) -> AsyncIterator[Stream]:
        """The server has accepted the watch; closed when the block ends. Raises StoreErrors."""
        limited = {**query, "timeoutSeconds": str(int(WATCH_S * (0.9 + 0.2 * self._random())))}
        async with AsyncExitStack() as stack:
            stack.enter_context(self._told(asked))
            async with asyncio.timeout(REQUEST_PATIENCE_S):
                content = await self._accepted(path, asked, limited, stack)
            stream = Stream(content, self._longest_silence_s)
            self._streams.add(stream)
            stack.callback(self._streams.discard, stream)
            yield stream

    async def _accepted(self, path: str, asked: Asked, query: Query, stack: AsyncExitStack) -> Response:
        """What the server sends once it has accepted; ``stack`` keeps the connection."""
        tries = 0
        while True:
            async with AsyncExitStack() as attempt:
                request = self._request("GET", path, asked, query, headers=self._credentials.headers())
                response = await attempt.enter_async_context(request)
                if response.status == 200:
                    stack.push_async_exit(attempt.pop_all())
                    return response
                text, retry_after = await _text(response), response.field("Retry-After")
            tries += 1
            pause_s = self._pause_s(response.status, retry_after, "GET", tries)
            if pause_s is None:
                raise trouble.of_answer(response.status, text, asked)
            await asyncio.sleep(pause_s)

    def doubt(self, why: str) -> None:
        """Nothing may come any more on any connection: whoever watches is told so, and asks anew."""
        for stream in self._streams:
            stream.end(why)

    async def close(self) -> None:
        self._is_closed = True
        self.doubt(_CLOSED)
        self._connections.close()
        await asyncio.sleep(0)  # in which the loop closes their sockets, so that one that ends now leaves none open

    async def _once(
        self, method: str, path: str, asked: Asked, query: Query | None, body: Json | None, patch: str
    ) -> tuple[int, str, str]:
        headers = {**self._credentials.headers(), "Accept-Encoding": "gzip"}
        if body is not None:
            headers["Content-Type"] = f"application/{patch if method == 'PATCH' else ''}json"
        sent = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
        with self._told(asked):
            async with (
                asyncio.timeout(REQUEST_PATIENCE_S),
                self._request(method, path, asked, query, headers=headers, body=sent) as response,
            ):
                return response.status, response.field("Retry-After"), await _text(response)

    def _request(
        self,
        method: str,
        path: str,
        asked: Asked,
        query: Query | None,
        *,
        headers: Mapping[str, str],
        body: bytes = b"",
    ) -> AbstractAsyncContextManager[Response]:
        if self._is_closed:
            raise Unavailable(_CLOSED)
        self.requests[asked.verb] += 1
        target = f"{path}?{urlencode(query)}" if query else path
        return self._connections.request(method, target, tls=self._credentials.tls(), headers=headers, body=body)

    def _pause_s(self, code: int, retry_after: str, method: str, tries: int) -> float | None:
        """How long to wait before the same request again; None where that would not help, or might do it twice."""
        if code == 401 and tries == 1 and self._credentials.have_changed():
            return 0.0
        may_repeat = code == 429 or (code in (500, 503, 504) and method == "GET" and retry_after)
        if not may_repeat:
            return None
        given_s = float(retry_after) if retry_after.isdigit() else 0.0
        return max(given_s, _FIRST_PAUSE_S * 2.0**tries * (1 + self._random()) / 2)

    @contextmanager
    def _told(self, asked: Asked) -> Iterator[None]:
        """What goes wrong below HTTP, as a StoreError."""
        try:
            yield
        except OSError as error:
            if self._is_closed:
                raise Unavailable(_CLOSED) from None
            raise Unavailable(self._explained(error, asked)) from None

    def _explained(self, error: Exception, asked: Asked) -> str:
        where, how = self._access.server, self._access.how
        if isinstance(error, ssl.SSLCertVerificationError):
            ca = self._access.ca_file or f"the CA of {how}"
            why = f"{ca} does not vouch for its certificate ({error.verify_message})"
            return f"the API server at {where} is not trusted: {why}; give the CA of this cluster"
        if isinstance(error, socket.gaierror):
            return f"the API server's name in {where} (from {how}) cannot be resolved: {error.strerror}"
        if isinstance(error, ssl.SSLError):
            return f"the API server at {where} (from {how}) and this client find no way to speak TLS: {error}"
        if isinstance(error, ConnectionRefusedError):
            return f"nobody listens at {where} (from {how}): see whether the API server runs, and whether it is there"
        if isinstance(error, TimeoutError):
            return f"the API server at {where} did not answer {asked.verb} {asked.resource} in time"
        return f"the connection to the API server at {where} is lost: {error or type(error).__name__}"


class Stream:
    """The events of a watch. A read that is given up loses nothing."""

    def __init__(self, response: Response, longest_silence_s: float) -> None:
        self._response = response
        self._longest_silence_s = longest_silence_s
        self._rest = b""
        self._reading: asyncio.Timeout | None = None
        self._over = ""

    async def read(self, *, patience_s: float | None = None) -> list[Json] | None:
        """The events that have come, at least one; none when ``patience_s`` are over, None when the server ended it.

        Raises Unavailable after too long a silence, and when its client is closed.
        """
        if self._over:
            raise Unavailable(self._over)
        try:
            async with asyncio.timeout(self._longest_silence_s if patience_s is None else patience_s) as self._reading:
                return await self._next()
        except TimeoutError:
            if self._over:
                raise Unavailable(self._over) from None
            if patience_s is None:
                silence = f"a watch has heard nothing for {self._longest_silence_s:.0f} s"
                raise Unavailable(f"{silence}: its connection is taken for dead") from None
            return []
        finally:
            self._reading = None

    def end(self, why: str) -> None:
        """Whoever reads, or will, is told that it is over."""
        self._over = why
        if self._reading is not None and not self._reading.expired():
            self._reading.reschedule(asyncio.get_running_loop().time())

    async def _next(self) -> list[Json] | None:
        while True:
            chunk = await self._response.some()
            if not chunk:
                return None
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            if events := [json.loads(line) for line in lines if line.strip()]:
                return events


class _Credentials:
    """The token and the TLS context, made anew when a file that they come from has changed."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._token, self._token_seen = access.token, _Seen()
        self._tls: ssl.SSLContext | None = None
        self._tls_seen = _Seen()
        self._was_read = False

    def headers(self) -> dict[str, str]:
        self.have_changed()
        headers = {"Accept": "application/json", "User-Agent": "tortie"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        elif self._access.user:
            words = f"{self._access.user}:{self._access.password}"
            headers["Authorization"] = f"Basic {b64encode(words.encode()).decode()}"
        return headers

    def have_changed(self) -> bool:
        """Whether the token is another one than before. A file that is being replaced leaves the last one in use.

        Raises Unavailable where there is none to use yet.
        """
        path = self._access.token_file
        if not path or not self._token_seen.has_changed([path]):
            return False
        before = self._token
        try:
            self._token = Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            if not before:
                raise Unavailable(f"the token {path} cannot be read: {error.strerror}") from None
        return before != self._token

    def tls(self) -> ssl.SSLContext | None:
        """None in the clear. Raises Rejected where a certificate cannot be used."""
        if self._access.server.startswith("http:"):
            return None
        files = [path for path in (self._access.ca_file, self._access.cert_file, self._access.key_file) if path]
        if self._tls_seen.has_changed(files) or not self._was_read:
            self._tls = _tls_of(self._access)
            self._was_read = True
        return self._tls


class _Seen:
    """Which files were there when they were last looked at."""

    def __init__(self) -> None:
        self._marks: object = None

    def has_changed(self, paths: list[str]) -> bool:
        marks = []
        for path in paths:
            with suppress(OSError):
                found = Path(path).stat()
                marks.append((path, found.st_mtime_ns, found.st_ino, found.st_size))
        changed, self._marks = marks != self._marks, marks
        return changed


def _tls_of(access: Access) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=access.ca_file or None, cadata=access.ca_text or None)
    except (OSError, ssl.SSLError) as error:
        raise Rejected(access.ca_file or access.how, f"is no CA that can be read: {error}") from None
    if access.is_insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        _load_certificate(context, access)
    except (OSError, ssl.SSLError) as error:
        raise Rejected(access.cert_file or access.how, f"holds no usable client certificate: {error}") from None
    return context


def _load_certificate(context: ssl.SSLContext, access: Access) -> None:
    """OpenSSL takes files only; texts stand in ones that nobody else can read, and only for that moment."""
    if not (access.cert_file or access.cert_text):
        return
    with tempfile.TemporaryDirectory() as folder:
        cert = access.cert_file or _write(Path(folder, "cert"), access.cert_text)
        key = access.key_file or (_write(Path(folder, "key"), access.key_text) if access.key_text else None)
        context.load_cert_chain(cert, key)


def _write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def _parsed(text: str) -> Json:
    try:
        found: Json = json.loads(text)
    except ValueError:
        raise Unavailable(f"the API server answered what is no JSON: {text[:100]!r}") from None
    return found


async def _text(response: Response) -> str:
    return (await response.read()).decode("utf-8", "replace")
