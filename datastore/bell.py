"""Who learns of a change to the embedded datastore's file, in any process, and when.

After a commit the writer sets the file's times; inotify tells every process that listens to the file (one inotify
instance each, however many watches). Where inotify is silent (lost, or none to be had) a look once a second finds the
same (:mod:`datastore.lookout`): a ring is a hint, the ledger the truth.

Only for use inside an event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from inotify_simple import INotify, flags

LOOK_EVERY_S = 1.0

logger = logging.getLogger(__name__)


class Bell:
    """``on_ring`` is called after each commit of any process."""

    def __init__(self, path: str, on_ring: Callable[[], None]) -> None:
        self._path = path
        self._on_ring = on_ring
        self._inotify = _inotify()
        if self._inotify is not None:
            self.listen()
            asyncio.get_running_loop().add_reader(self._inotify.fileno(), self._hear)

    def listen(self) -> None:
        """To the file that is at the path now. The same one again costs nothing; a new one may have replaced it."""
        if self._inotify is not None:
            with suppress(OSError):  # it is gone, or out of reach: the ledger will say so
                self._inotify.add_watch(self._path, flags.ATTRIB)

    def close(self) -> None:
        if self._inotify is not None:
            asyncio.get_running_loop().remove_reader(self._inotify.fileno())
            self._inotify.close()

    def _hear(self) -> None:
        assert self._inotify is not None
        self._inotify.read(timeout=0)
        self._on_ring()


def _inotify() -> INotify | None:
    try:
        return INotify()
    except OSError as error:
        logger.warning("datastore.no_inotify why=%s: changes by others are seen up to a second late", error)
        return None
