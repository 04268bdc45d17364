"""A client of etcd's gRPC interface: one connection for all requests and watches, and another server when it fails.

The only door to grpclib. It knows requests and answers (:mod:`datastore.etcd_wire`), servers, users and patience, and
nothing of what is stored. What it raises are the errors of :mod:`datastore.store`.

- A request is made of one server after the other until one takes it. What was sent is sent again only if it reads: a
  write that got no answer raises Unanswered.
- A connection that goes silent is noticed by HTTP/2 pings while anything waits for it, and given up.
- Whoever loses the connection changes the server; the others find that done.

Source: etcd client/v3; github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from grpclib.client import Channel, Stream
from grpclib.config import Configuration
from grpclib.const import Cardinality, Status
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError
from grpclib.protocol import H2Protocol

from datastore import etcd_trouble as trouble
from datastore import etcd_wire as wire
from datastore.etcd_settings import Endpoint, EtcdSettings, tls_context
from datastore.etcd_trouble import Unanswered
from datastore.store import StoreError, Unavailable

A = TypeVar("A")

PATIENCE_S = 4.0
"""For an answer. A pod's ADD gives up after 4.5 s; an etcd that takes 2 s is slow, not gone."""

CONNECT_PATIENCE_S = 1.5
"""For a connection, where there is another server to try."""

_FIRST_SHARE = 0.6
"""Of the time for reading, what the first server gets, where there is another."""

LISTING_PATIENCE_S = 30.0
"""For many objects."""

PING_AFTER_S = 10.0
PING_PATIENCE_S = 10.0
"""A connection that is silent is given up after these two; etcd takes pings no closer than 5 s."""

_CLOSE_PATIENCE_S = 1.0
_CONFIGURATION = Configuration(
    _keepalive_time=PING_AFTER_S,
    _keepalive_timeout=PING_PATIENCE_S,
    _keepalive_permit_without_calls=False,
    _http2_max_pings_without_data=0,
    _http2_min_sent_ping_interval_without_data=PING_AFTER_S / 2,
)
_OF_THIS_SERVER = (
    Status.UNAVAILABLE,
    Status.DEADLINE_EXCEEDED,
    Status.UNKNOWN,
    Status.INTERNAL,
    Status.UNIMPLEMENTED,
)
"""Another one may do better, and what was asked for may still be done; all else every server would say."""

_LOST = (StreamTerminatedError, ProtocolError, OSError, EOFError)

logger = logging.getLogger(__name__)


class EtcdClient:
    """``requests`` counts what was asked of a server, watches included."""

    def __init__(self, settings: EtcdSettings, *, patience_s: float = PATIENCE_S) -> None:
        self.requests = 0
        self._settings = settings
        self._patience_s = patience_s
        self._at = 0
        self._line: _Line | None = None
        self._token = ""
        self._authenticating = asyncio.Lock()
        self._is_closed = False

    async def range(self, of: wire.Range) -> wire.Found:
        """Raises Unavailable, Forbidden."""
        patience_s = LISTING_PATIENCE_S if of.end else self._patience_s
        return await self._ask(wire.RANGE, wire.range_request(of), wire.range_answer, patience_s, is_read=True)

    async def read(self, *ranges: wire.Range) -> tuple[wire.Found, ...]:
        """Several ranges at one revision."""
        txn = wire.Txn((), ranges)
        outcome = await self._ask(wire.TXN, wire.txn_request(txn), wire.txn_answer, self._patience_s, is_read=True)
        return tuple(answer for answer in outcome.answers if isinstance(answer, wire.Found))

    async def write(self, txn: wire.Txn) -> wire.Outcome:
        """Raises Unanswered where it may have been done, Unavailable where it was not; Forbidden, Rejected."""
        return await self._ask(wire.TXN, wire.txn_request(txn), wire.txn_answer, self._patience_s, is_read=False)

    async def grant(self, ttl_s: int) -> int:
        """A lease for keys that end with it. Raises as :meth:`write`; one that nobody uses ends by itself."""
        return await self._ask(wire.GRANT, wire.grant_request(ttl_s), wire.grant_answer, self._patience_s, is_read=True)

    async def time_to_live_s(self, lease: int) -> int:
        """Below zero for one that is not there. Raises Unavailable, Forbidden."""
        request, read = wire.lease_request(lease), wire.time_to_live_answer
        return await self._ask(wire.TIME_TO_LIVE, request, read, self._patience_s, is_read=True)

    async def revoke(self, lease: int) -> None:
        """Its keys go with it. Raises as :meth:`write`."""
        request, read = wire.lease_request(lease), wire.revoke_answer
        await self._ask(wire.REVOKE, request, read, self._patience_s, is_read=False)

    async def watch(
        self, key: bytes, end: bytes, *, start: int, wants_before: bool
    ) -> AsyncGenerator[wire.Heard, None]:
        """What etcd tells, until it fails. The first message says that the watch stands.

        A watch from before the oldest revision that is kept ends with a message that says so.
        """
        request = wire.watch_request(key, end, start=start, wants_before=wants_before)
        async with self._call(wire.WATCH, Cardinality.STREAM_STREAM, self._patience_s) as call:
            await call.send(request)
            while True:
                heard = await call.receive(wire.watch_answer)
                if heard.is_canceled and not heard.compacted:
                    raise GRPCError(Status.CANCELLED, heard.why_canceled)
                call.wait_on()
                yield heard

    async def close(self) -> None:
        self._is_closed = True
        if self._line is not None:
            self._line.close()

    # --- one request ----------------------------------------------------------------------------------------------

    async def _ask(
        self, path: str, request: bytes, read: Callable[[bytes], A], patience_s: float, *, is_read: bool
    ) -> A:
        """Tries the servers one after the other; the last one's error counts, and the others' with it."""
        deadline = asyncio.get_running_loop().time() + patience_s
        failures: list[StoreError] = []
        while True:
            left_s = deadline - asyncio.get_running_loop().time()
            is_last = len(failures) + 1 >= len(self._settings.endpoints)
            share_s = left_s * _FIRST_SHARE if is_read and not is_last else left_s
            try:
                async with self._call(path, Cardinality.UNARY_UNARY, share_s, is_last=is_last) as call:
                    await call.send(request)
                    return await call.receive(read)
            except _StaleToken:
                self._token = ""  # the request was refused before it was looked at
                failures.append(Unavailable("etcd does not take the token that it gave"))
                if len(failures) > len(self._settings.endpoints):
                    raise failures[-1] from None
            except Unavailable as error:
                failures.append(error)
                may_repeat = is_read or not isinstance(error, Unanswered)
                is_late = asyncio.get_running_loop().time() >= deadline
                if self._is_closed or is_last or is_late or not may_repeat:
                    raise _together(failures) from None

    @asynccontextmanager
    async def _call(
        self, path: str, cardinality: Cardinality, patience_s: float, *, is_last: bool = True
    ) -> AsyncGenerator[_Call, None]:
        """A call that has begun. Raises what became of it, in our words."""
        self.requests += 1
        line = self._connected_to()
        connect_s = patience_s if is_last else min(patience_s, CONNECT_PATIENCE_S)
        metadata = await self._who_we_are(line, patience_s)
        call = _Call(line, path, cardinality, metadata, connect_s, patience_s)
        try:
            async with call.stream:
                await call.begin()
                yield call
        except GRPCError as error:
            raise self._refused(line, error) from None
        except TimeoutError as error:
            raise self._given_up(line, call, error) from None
        except _LOST as error:
            raise self._lost(line, call, error) from None
        except wire.Malformed as error:
            raise self._given_up(line, call, error) from None

    def _connected_to(self) -> _Line:
        if self._is_closed:
            raise Unavailable("this client of the datastore was closed")
        if self._line is None:
            self._line = _Line(self._settings.endpoints[self._at], self._settings)
        return self._line

    def _leave(self, line: _Line) -> None:
        """For the next server, unless somebody has done so already."""
        line.close()
        if self._line is line:
            self._line = None
            self._at = (self._at + 1) % len(self._settings.endpoints)

    async def _who_we_are(self, line: _Line, patience_s: float) -> Mapping[str, str]:
        if not self._settings.user:
            return {}
        async with self._authenticating:
            if not self._token:
                self._token = await self._authenticate(line, patience_s)
        return {"token": self._token} if self._token != _NO_TOKEN else {}

    async def _authenticate(self, line: _Line, patience_s: float) -> str:
        request = wire.authenticate_request(self._settings.user, self._settings.password)
        call = _Call(line, wire.AUTHENTICATE, Cardinality.UNARY_UNARY, {}, patience_s, patience_s)
        try:
            async with call.stream:
                await call.begin()
                await call.send(request)
                return await call.receive(wire.authenticate_answer)
        except GRPCError as error:
            if trouble.word_of(error.message or "") == trouble.AUTH_IS_OFF:
                return _NO_TOKEN
            raise self._refused(line, error) from None
        except TimeoutError as error:
            raise _unsent(self._given_up(line, call, error)) from None
        except _LOST as error:
            raise _unsent(self._lost(line, call, error)) from None

    # --- what became of it ----------------------------------------------------------------------------------------

    def _refused(self, line: _Line, error: GRPCError) -> StoreError:
        line.has_answered = True
        message = error.message or ""
        if self._settings.user and trouble.word_of(message) in trouble.OLD_TOKEN:
            return _StaleToken("etcd does not take the token that it gave")
        found = trouble.explained(str(line.endpoint), message, status=error.status.name, user=self._settings.user)
        if not isinstance(found, Unavailable) or error.status not in _OF_THIS_SERVER:
            return found
        self._leave(line)
        return Unanswered(found.what)

    def _given_up(self, line: _Line, call: _Call, error: Exception) -> Unavailable:
        self._leave(line)
        server = str(line.endpoint)
        if isinstance(error, wire.Malformed):
            return Unanswered(f"{server} answers as etcd never does ({error}): correct ETCD_ENDPOINTS")
        if not call.is_sent:
            return Unavailable(trouble.unreachable(server, TimeoutError(), within_s=call.connect_s))
        return Unanswered(trouble.silent(server, within_s=call.patience_s))

    def _lost(self, line: _Line, call: _Call, error: Exception) -> Unavailable:
        self._leave(line)
        if self._is_closed:
            return Unavailable("this client of the datastore was closed")
        server, endpoint = str(line.endpoint), line.endpoint
        if not call.is_sent and isinstance(error, OSError):
            return Unavailable(trouble.unreachable(server, error, within_s=call.connect_s))
        what = trouble.cut_off(server, is_tls=endpoint.is_tls, has_answered=line.has_answered)
        return Unanswered(what) if call.is_sent else Unavailable(what)


_NO_TOKEN = "-"
"""In the place of a token where authentication is off."""


class _StaleToken(Unavailable):
    pass


def _unsent(error: Unavailable) -> Unavailable:
    """Nobody got in: what was to be asked was not."""
    return Unavailable(error.what)


def _together(failures: list[StoreError]) -> StoreError:
    last = failures[-1]
    if len(failures) == 1 or not isinstance(last, Unavailable):
        return last
    return type(last)("; ".join(dict.fromkeys(map(str, failures))))


class _Line:
    """One connection to one server. It comes about with the first call."""

    def __init__(self, endpoint: Endpoint, settings: EtcdSettings) -> None:
        self.endpoint = endpoint
        self.has_answered = False
        context = tls_context(settings.credentials) if endpoint.is_tls else None
        self.channel = _Channel(endpoint.host, endpoint.port, codec=_Bytes(), ssl=context, config=_CONFIGURATION)

    def close(self) -> None:
        self.channel.close()


class _Call:
    """``is_sent``: the server may know of it."""

    def __init__(
        self,
        line: _Line,
        path: str,
        cardinality: Cardinality,
        metadata: Mapping[str, str],
        connect_s: float,
        patience_s: float,
    ) -> None:
        self.is_sent = False
        self.connect_s = connect_s
        self.patience_s = patience_s
        self._line = line
        self._waits_on = False
        if cardinality is Cardinality.STREAM_STREAM:
            metadata = {**metadata, "hasleader": "true"}  # a member that is cut off from the others ends its watches
        self.stream: Stream[bytes, bytes] = line.channel.request(path, cardinality, bytes, bytes, metadata=metadata)

    async def begin(self) -> None:
        async with asyncio.timeout(self.connect_s):
            await self.stream.send_request()

    async def send(self, request: bytes) -> None:
        self.is_sent = True
        async with asyncio.timeout(self.patience_s):
            await self.stream.send_message(request)

    def wait_on(self) -> None:
        """From now on an answer may take as long as it likes: pings say whether anybody is there."""
        self._waits_on = True

    async def receive(self, read: Callable[[bytes], A]) -> A:
        async with asyncio.timeout(None if self._waits_on else self.patience_s):
            message = await self.stream.recv_message()
        if message is None:
            await self.stream.recv_trailing_metadata()
            raise EOFError
        self._line.has_answered = True
        return read(message)


class _Bytes(CodecBase):
    """Messages are bytes already."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        assert isinstance(message, bytes)
        return message

    def decode(self, data: bytes, message_type: Any) -> bytes:
        return data


class _Channel(Channel):
    async def _create_connection(self) -> H2Protocol:
        """As grpclib's, but a connection that is given up does not wait half a minute for the other side's goodbye."""
        _, protocol = await asyncio.get_running_loop().create_connection(
            self._protocol_factory,
            self._host,
            self._port,
            ssl=self._ssl,
            ssl_shutdown_timeout=_CLOSE_PATIENCE_S if self._ssl else None,
        )
        return protocol
