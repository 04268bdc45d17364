"""The unix socket at which speakers say whom to watch: connections, lines, and no more of either than memory allows.

Everything is non-blocking and driven by the process's one loop. Who does not read what it is told is dropped, and gets
everything anew when it comes back.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from bgp.bfd.watch import (
    LONGEST_LINE_BYTES,
    VERSION,
    Hello,
    Message,
    SessionStatus,
    Watches,
    from_line,
    to_line,
)
from bgp.json_lines import Malformed

_MOST = 16
_AT_ONCE_BYTES = 1 << 16


def open_at(path: Path) -> socket.socket:
    """Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    sock.bind(str(path))
    path.chmod(0o600)
    sock.listen(_MOST)
    return sock


class Listener:
    """One connected speaker. ``is_over``: its connection is of no more use."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._socket.setblocking(False)
        self._incoming = b""
        self._outgoing = b""
        self.has_greeted = False
        self.is_over = False
        self.tell(Hello())

    def fileno(self) -> int:
        return self._socket.fileno()

    def tell(self, message: Message) -> None:
        self._outgoing += to_line(message)
        self.flush()

    def flush(self) -> None:
        try:
            self._outgoing = self._outgoing[self._socket.send(self._outgoing) :] if self._outgoing else b""
        except BlockingIOError:
            self.is_over = self.is_over or len(self._outgoing) > LONGEST_LINE_BYTES
        except OSError:
            self.is_over = True

    def read(self) -> tuple[Message, ...]:
        """All that has come. Raises Malformed."""
        lines: list[bytes] = []
        while data := self._receive():
            *whole, self._incoming = (self._incoming + data).split(b"\n")
            lines += whole
            if len(self._incoming) > LONGEST_LINE_BYTES:
                raise Malformed("a line without an end")
        return tuple(from_line(line) for line in lines)

    def close(self) -> None:
        self._socket.close()

    def _receive(self) -> bytes:
        """Empty when there is nothing more now, or ever."""
        try:
            data = self._socket.recv(_AT_ONCE_BYTES)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        self.is_over = self.is_over or not data
        return data


class Listeners:
    """``statuses`` is asked when one has said hello; ``on_watches`` gets each set whole."""

    def __init__(
        self, *, statuses: Callable[[], Iterable[SessionStatus]], on_watches: Callable[[Watches], None]
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._statuses = statuses
        self._on_watches = on_watches
        self._connected: dict[int, Listener] = {}

    def admit(self, listening: socket.socket) -> Listener | None:
        """The next that knocks; None when nobody does, or too many are there."""
        try:
            sock, _ = listening.accept()
        except OSError:
            return None
        if len(self._connected) >= _MOST:
            self.counters["too many"] += 1
            sock.close()
            return None
        listener = self._connected[sock.fileno()] = Listener(sock)
        return listener

    def find(self, descriptor: int) -> Listener | None:
        return self._connected.get(descriptor)

    def hear(self, listener: Listener) -> str:
        """What is wrong with what it said, or ""."""
        try:
            for message in listener.read():
                self._take(listener, message)
        except Malformed as error:
            self.counters["malformed"] += 1
            listener.is_over = True
            return str(error)
        return ""

    def tell(self, status: SessionStatus) -> None:
        for listener in self._connected.values():
            if listener.has_greeted:
                listener.tell(status)

    def each(self) -> tuple[Listener, ...]:
        return tuple(self._connected.values())

    def part(self, listener: Listener) -> None:
        del self._connected[listener.fileno()]
        listener.close()

    def _take(self, listener: Listener, message: Message) -> None:
        match message:
            case Hello(version):
                if version != VERSION:
                    raise Malformed(f"version {version}, ours is {VERSION}")
                listener.has_greeted = True
                for status in self._statuses():
                    listener.tell(status)
            case Watches():
                self._on_watches(message)
            case _:
                raise Malformed(f"{type(message).__name__} is not for us")
