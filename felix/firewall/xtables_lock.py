"""The lock that all programs take which change legacy iptables, and how to hear that one of them let it go.

iptables waits for the lock with ``-w`` or gives up at once; python-iptables does not know it. Every program opens the
file, changes the tables and ends, so a close of the file tells that somebody may have changed them, sooner and
cheaper than reading the tables again and again.
Source: iptables 1.8, xshared.c (xtables_lock).
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from inotify_simple import INotify, flags

from felix.firewall.model import FirewallUnavailable

DEFAULT = Path("/run/xtables.lock")


def lock_path(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("XTABLES_LOCKFILE", "") or DEFAULT)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Waits for as long as it takes, and blocks: for a process of its own. Raises FirewallUnavailable."""
    try:
        file = os.open(path, os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise FirewallUnavailable(f"{path}: {error.strerror}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def holder(path: Path) -> str:
    """Who holds the lock now, for a person; "" if nobody, or nobody that can be seen."""
    with suppress(OSError, IndexError, StopIteration):
        inode = f":{path.stat().st_ino}"
        lines = (line.split() for line in Path("/proc/locks").read_text().splitlines())
        owner = next(words[4] for words in lines if words[1] == "FLOCK" and words[5].endswith(inode))
        return f"process {owner} ({Path('/proc', owner, 'comm').read_text().strip()})"
    return ""


class LockWatch:
    """Calls ``wake`` when a program closes the lock file."""

    def __init__(self, path: Path, wake: Callable[[], None], add_reader: Callable[[int, Callable[[], None]], None]):
        """Raises OSError where the file can be neither found nor made."""
        path.touch(mode=0o600, exist_ok=True)
        self._wake = wake
        self._inotify = INotify(nonblocking=True)
        self._inotify.add_watch(path, flags.CLOSE_WRITE | flags.CLOSE_NOWRITE)
        add_reader(self._inotify.fileno(), self._hear)

    def _hear(self) -> None:
        if self._inotify.read(timeout=0):
            self._wake()

    def fileno(self) -> int:
        return int(self._inotify.fileno())

    def close(self) -> None:
        self._inotify.close()
