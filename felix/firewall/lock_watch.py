"""Hears that a program let go of the lock of legacy iptables.

Every program opens the lock's file, changes the tables and ends, so a close of the file tells that somebody may have
changed them, sooner and cheaper than reading the tables again and again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from inotify_simple import INotify, flags


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
