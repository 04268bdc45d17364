"""One TCP connection as asyncio sees it, and the doorway through which accepted ones come in.

A stream belongs to one :class:`Receiver` until it is let go; from then on whatever still arrives is thrown away. It is
let go in one of two ways: at once, or after a last message (a NOTIFICATION), when only our half is ended and the rest
waits for the peer, since closing with unread data would reset the connection and the message with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from bgp.guard import OPEN, Guard
from bgp.transport import Address, ends_of, secure

QUEUE_HIGH_BYTES = 256 << 10
QUEUE_LOW_BYTES = 64 << 10
LINGER_S = 1.0


class Receiver(Protocol):
    """Whom a stream reports to."""

    def connected(self, stream: Stream) -> None: ...

    def receive(self, data: bytes) -> None: ...

    def lost(self, error: Exception | None) -> None: ...

    def blocked(self) -> None:
        """The queue is full: write nothing but what ends the connection."""
        ...

    def unblocked(self) -> None: ...


class Stream(asyncio.Protocol):
    def __init__(self, receiver: Receiver) -> None:
        self._receiver: Receiver | None = receiver
        self._transport: asyncio.Transport | None = None
        self._guard = OPEN
        self._is_blocked = False

    def ends(self) -> tuple[Address, Address]:
        """(ours, theirs)."""
        assert self._transport is not None
        return ends_of(self._transport)

    def guard(self, guard: Guard) -> None:
        """Protect it so from now on. Raises OSError."""
        assert self._transport is not None
        before, self._guard = self._guard, guard
        secure(self._transport, guard, before=before)

    def write(self, data: bytes) -> None:
        if self._transport is not None and self._receiver is not None:
            self._transport.write(data)

    def let_go(self, *, after_last_message: bool) -> None:
        transport, self._receiver = self._transport, None
        if transport is None:
            return
        if after_last_message and not self._is_blocked and not transport.is_closing():
            transport.write_eof()
            asyncio.get_running_loop().call_later(LINGER_S, transport.abort)
        else:
            transport.abort()

    # From asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._receiver is None:
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(QUEUE_HIGH_BYTES, QUEUE_LOW_BYTES)
        self._receiver.connected(self)

    def data_received(self, data: bytes) -> None:
        if self._receiver is not None:
            self._receiver.receive(data)

    def connection_lost(self, error: Exception | None) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.lost(error)

    def pause_writing(self) -> None:
        self._is_blocked = True
        if self._receiver is not None:
            self._receiver.blocked()

    def resume_writing(self) -> None:
        self._is_blocked = False
        if self._receiver is not None:
            self._receiver.unblocked()


Welcome = Callable[[Address], Receiver | None]
"""Who talks to a connection from this address; None refuses it."""


class Doorway(asyncio.Protocol):
    """An accepted connection until it is known whose it is; one that is nobody's is closed without a word.

    A NOTIFICATION would do harm: to a peer that keeps our routes over a restart it would end that (RFC 4724, 4).
    """

    def __init__(self, welcome: Welcome) -> None:
        self._welcome = welcome

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        accepted = cast(asyncio.Transport, transport)
        _, theirs = ends_of(transport)
        receiver = self._welcome(theirs)
        if receiver is None:
            accepted.abort()
            return
        stream = Stream(receiver)
        accepted.set_protocol(stream)
        stream.connection_made(transport)
