"""Raw rtnetlink sockets: one that listens, and one that writes and lists in bulk. Bytes only, no pyroute2.

The kernel handles what is sent before ``send`` returns, so answers are there to be read at once, and by then the echo
of every change is on the listener's queue: reading blocks for no longer than the kernel needs to copy.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

from felix.fib import rtmsg
from felix.fib.rtmsg import Answer, Batch, Flag, MessageType

T = TypeVar("T")

_NETLINK_CAPPED_ACK = 10
_NETLINK_EXTENDED_ACK = 11
_NETLINK_STRICT_CHECK = 12
_SOL_NETLINK = 270
_SO_RECEIVE_BUFFER_FORCE = 33

# Links; neighbours; IPv4 addresses and routes; IPv6 addresses and routes; settings of both.
_GROUPS = 1 << 0 | 1 << 2 | 1 << 4 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 23 | 1 << 24
_LISTENER_BUFFER_BYTES = 16 << 20
_WRITER_BUFFER_BYTES = 4 << 20
_MOST_UNREAD_BYTES = 32 << 20
_DATAGRAM_BYTES = 1 << 16
_LIST_BYTES = 1 << 20
_LIST_ATTEMPTS = 3
_PATIENCE_S = 5.0  # the kernel answers at once; this only keeps a broken one from holding the loop


class Listener:
    """What the kernel tells of its changes, in its order.

    ENOBUFS, or more unread than ``_MOST_UNREAD_BYTES``, loses everything unread.
    """

    def __init__(self) -> None:
        self._socket = _open(_GROUPS, _LISTENER_BUFFER_BYTES)
        self._socket.setblocking(False)
        self._unread: list[bytes] = []
        self._unread_bytes = 0
        self._has_lost = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def listen(self, wake: Callable[[], None]) -> None:
        def on_readable() -> None:
            self._drain()
            wake()

        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, on_readable)

    def take(self) -> Sequence[bytes] | None:
        """The datagrams since the last call; None when some were lost, and then none is given."""
        self._drain()
        unread, self._unread, self._unread_bytes = self._unread, [], 0
        if self._has_lost:
            self._has_lost = False
            return None
        return unread

    def _drain(self) -> None:
        """Move what waits in the socket into our own queue, so that the loop is woken once for it and not for ever."""
        with suppress(BlockingIOError):
            while True:
                self._receive()

    def _receive(self) -> None:
        try:
            datagram = self._socket.recv(_DATAGRAM_BYTES)
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            self._has_lost = True
            return
        self._unread.append(datagram)
        self._unread_bytes += len(datagram)
        if self._unread_bytes > _MOST_UNREAD_BYTES:
            self._unread, self._unread_bytes, self._has_lost = [], 0, True

    def close(self) -> None:
        if self._loop is not None:
            self._loop.remove_reader(self._socket)
        self._socket.close()


class RequestSocket:
    """Raises OSError and rtmsg.Malformed; after either the next request is as good as the first."""

    def __init__(self) -> None:
        self._socket = _open(0, _WRITER_BUFFER_BYTES)
        self._socket.settimeout(_PATIENCE_S)
        self._next_sequence = 1
        self.port: int = self._socket.getsockname()[0]

    def take_sequences(self, count: int) -> int:
        """The first of ``count`` numbers that no request of the last four billion had."""
        if self._next_sequence + count > 0xFFFFFFFF:
            self._next_sequence = 1
        first = self._next_sequence
        self._next_sequence += count
        return first

    async def write(
        self,
        ops: Sequence[T],
        first_sequence: int,
        indexes: Mapping[str, int],
        encode_one: Callable[[T, int, Mapping[str, int]], bytes],
    ) -> list[Answer]:
        """The refusals. Every device of the ops is in ``indexes``."""
        refusals: list[Answer] = []
        for batch in rtmsg.encode_batches(ops, first_sequence, indexes, encode_one):
            refusals += self._send(batch)
            await asyncio.sleep(0)  # others have their turn between thousands of ops
        return refusals

    def _send(self, batch: Batch) -> list[Answer]:
        self._socket.send(batch.data)
        refusals: list[Answer] = []
        while True:
            for message in rtmsg.split(self._socket.recv(_LIST_BYTES)):
                if message.kind != MessageType.ERROR or not batch.first <= message.sequence <= batch.last:
                    continue
                answer = rtmsg.decode_answer(message)
                if answer.code:
                    refusals.append(answer)
                if answer.sequence == batch.last:
                    return refusals

    async def read(self, encode_dump: Callable[[int], bytes]) -> list[bytes]:
        """The bodies of what the kernel lists; ``encode_dump`` makes the request with a sequence number.

        A list that changes interrupt is asked for again a few times. After that it may lack some, whose writes are then
        refused, so that they are found.
        """
        for _ in range(_LIST_ATTEMPTS):
            bodies, is_whole = await self._read_once(encode_dump)
            if is_whole:
                break
        return bodies

    async def _read_once(self, encode_dump: Callable[[int], bytes]) -> tuple[list[bytes], bool]:
        sequence = self.take_sequences(1)
        self._socket.send(encode_dump(sequence))
        bodies: list[bytes] = []
        is_whole = True
        while True:
            for message in rtmsg.split(self._socket.recv(_LIST_BYTES)):
                if message.sequence != sequence:
                    continue
                is_whole &= not message.flags & Flag.DUMP_INTERRUPTED
                if message.kind == MessageType.DONE:
                    return bodies, is_whole
                if message.kind == MessageType.ERROR:
                    raise OSError(rtmsg.decode_answer(message).code, "the kernel refuses to list what it holds")
                bodies.append(message.body)
            await asyncio.sleep(0)

    def close(self) -> None:
        self._socket.close()


def _open(groups: int, buffer_bytes: int) -> socket.socket:
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    with suppress(PermissionError):
        opened.setsockopt(socket.SOL_SOCKET, _SO_RECEIVE_BUFFER_FORCE, buffer_bytes)
    for option in (_NETLINK_CAPPED_ACK, _NETLINK_EXTENDED_ACK, _NETLINK_STRICT_CHECK):
        with suppress(OSError):  # before 4.20: whole requests in answers, every table in lists; both are understood
            opened.setsockopt(_SOL_NETLINK, option, 1)
    opened.bind((0, groups))
    return opened
