"""Our BFD as the process that a node runs, in the test's namespace, and a speaker's place on its socket.

What the process says is kept; a test waits for a line of it and has the time at which that came.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from bgp.bfd.packet import State
from bgp.bfd.watch import SOCKET_NAME, Hello, SessionStatus, Watch, Watches, from_line, to_line

_PROCESS = """
import os, sys, logging
from pathlib import Path
from bgp.bfd import daemon, settings
logging.basicConfig(level="INFO", stream=sys.stderr)
daemon.run(daemon.BfdConfig(settings.read(os.environ), Path(sys.argv[1])))
"""


@dataclass
class Bfd:
    """``heard``: every state that was told, with its time."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    heard: list[tuple[float, SessionStatus]] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None
    _socket: socket.socket | None = None
    _rest: bytes = b""

    def start(self) -> None:
        log = (self.folder / "bfd.log").open("ab")
        command = [sys.executable, "-c", _PROCESS, str(self.folder)]
        self.process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **self.environment})

    def connect(self) -> None:
        deadline = time.monotonic() + 10
        while True:
            self._socket, self._rest = socket.socket(socket.AF_UNIX), b""
            try:
                self._socket.connect(str(self.folder / SOCKET_NAME))
                break
            except OSError:
                self._socket.close()
                assert time.monotonic() < deadline, self.log()
                time.sleep(0.01)
        self._socket.sendall(to_line(Hello()))

    def disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()

    def watch(self, *pairs: tuple[str, str]) -> None:
        """(neighbour, our address)"""
        assert self._socket is not None
        wanted = frozenset(Watch(ip_address(peer), ip_address(local)) for peer, local in pairs)
        self._socket.sendall(to_line(Watches(wanted)))

    def until(self, peer: str, is_so: Callable[[SessionStatus], bool], *, within_s: float = 20.0) -> float:
        """Wait until the last word about a neighbour is so; when that word came, on the monotonic clock."""
        deadline = time.monotonic() + within_s
        while True:
            last = self.last(peer)
            if last is not None and is_so(last[1]):
                return last[0]
            left_s = deadline - time.monotonic()
            assert left_s > 0, f"of {peer}: {last}\n{self.log()}"
            self._read(left_s)

    def until_up(self, peer: str) -> float:
        return self.until(peer, lambda status: status.is_up)

    def changes_of(self, peer: str, *, for_s: float) -> list[SessionStatus]:
        """What is told of it in that time."""
        known, deadline = len(self.heard), time.monotonic() + for_s
        while (left_s := deadline - time.monotonic()) > 0:
            self._read(left_s)
        return [status for _, status in self.heard[known:] if str(status.peer) == peer]

    def last(self, peer: str) -> tuple[float, SessionStatus] | None:
        return next(((at, each) for at, each in reversed(self.heard) if str(each.peer) == peer), None)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=5)

    def log(self) -> str:
        return (self.folder / "bfd.log").read_text()

    def _read(self, patience_s: float) -> None:
        assert self._socket is not None
        self._socket.settimeout(patience_s)
        try:
            data = self._socket.recv(1 << 16)
        except TimeoutError:
            return
        assert data, f"the process closed the connection\n{self.log()}"
        *lines, self._rest = (self._rest + data).split(b"\n")
        for message in map(from_line, lines):
            if isinstance(message, SessionStatus):
                self.heard.append((time.monotonic(), message))


@contextmanager
def bfd_process(folder: Path, **environment: str) -> Iterator[Bfd]:
    bfd = Bfd(folder, environment)
    bfd.start()
    try:
        bfd.connect()
        yield bfd
    finally:
        bfd.disconnect()
        if bfd.process is not None and bfd.process.poll() is None:
            bfd.kill()


def is_down(status: SessionStatus) -> bool:
    return status.state is State.DOWN
