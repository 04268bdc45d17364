"""Network namespaces for tests on the real kernel.

They have no name and no file: the kernel takes them away with the last process, socket or file descriptor that is in
one, so a test that dies leaves nothing behind.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TypeVar

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def private_network() -> Iterator[None]:
    """The calling thread, and what it starts, is in an empty network namespace until the block ends. Needs root."""
    with _here() as home:
        _check(_libc.unshare(_CLONE_NEWNET))
        try:
            ip("link set lo up")
            yield
        finally:
            _check(_libc.setns(home.fileno(), _CLONE_NEWNET))


@dataclass(frozen=True)
class Elsewhere:
    """Another namespace, held by an open file."""

    file: IO[str]

    @property
    def path(self) -> str:
        """What ``ip link set DEVICE netns`` takes."""
        return f"/proc/{os.getpid()}/fd/{self.file.fileno()}"

    def ip(self, command: str) -> str:
        return _run("nsenter", f"--net={self.path}", "ip", *command.split())

    def udp_socket(self) -> socket.socket:
        return self.socket(socket.SOCK_DGRAM)

    def socket(self, kind: int, protocol: int = 0) -> socket.socket:
        """An IPv4 socket of ``kind`` that stays in the namespace wherever it is used."""
        return _in_thread(lambda: self._enter_and(lambda: socket.socket(socket.AF_INET, kind, protocol)))

    def _enter_and(self, make: Callable[[], T]) -> T:
        _check(_libc.setns(self.file.fileno(), _CLONE_NEWNET))
        return make()


@contextmanager
def other_network() -> Iterator[Elsewhere]:
    """A second empty namespace; the caller stays where it is."""

    def unshare() -> IO[str]:
        _check(_libc.unshare(_CLONE_NEWNET))
        return _here()

    with _in_thread(unshare) as file:
        elsewhere = Elsewhere(file)
        elsewhere.ip("link set lo up")
        yield elsewhere


def ip(command: str) -> str:
    """What ``ip COMMAND`` prints, without trailing blanks. Raises CalledProcessError with its words in ``stderr``."""
    return _run("ip", *command.split())


def _run(*words: str) -> str:
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())


def _here() -> IO[str]:
    return open("/proc/thread-self/ns/net")


def _in_thread(work: Callable[[], T]) -> T:
    """A namespace is a thread's; a thread of its own takes the change with it when it ends."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(work).result()


def _check(status: int) -> None:
    if status != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
