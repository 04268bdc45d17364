"""Network namespaces for tests on the real kernel.

They have no name and no file: the kernel takes them away with the last process, socket or file descriptor that is in
one, so a test that dies leaves nothing behind.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def private_network() -> Iterator[None]:
    """The calling thread, and what it starts, is in an empty network namespace until the block ends. Needs root."""
    with open("/proc/thread-self/ns/net") as home:
        _check(_libc.unshare(_CLONE_NEWNET))
        try:
            ip("link set lo up")
            yield
        finally:
            _check(_libc.setns(home.fileno(), _CLONE_NEWNET))


def _check(status: int) -> None:
    if status != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def ip(command: str) -> str:
    """What ``ip COMMAND`` prints, without trailing blanks. Raises CalledProcessError with its words in ``stderr``."""
    done = subprocess.run(["ip", *command.split()], check=True, capture_output=True, text=True)
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())
