"""The speaker's line to the process that watches neighbours: whom to watch goes out, what becomes of them comes in.

While the two are apart nothing is known and nothing changes: neighbours are lost by their hold time then, as without
BFD. After every connection the whole set is said anew, unless it is not known yet: a speaker that has just started must
not stop what its predecessor had watched.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from bgp.bfd.watch import (
    LONGEST_LINE_BYTES,
    VERSION,
    Hello,
    Message,
    SessionStatus,
    Watch,
    Watches,
    from_line,
    to_line,
)
from bgp.json_lines import Malformed
from bgp.kept_line import KeptLine, Talk

log = logging.getLogger(__name__)


class BfdLink:
    """``hear`` gets every session's state, whenever it changes and after each connection."""

    def __init__(self, hear: Callable[[SessionStatus], None], path: Path) -> None:
        self.why_down = "not tried yet"
        self._hear, self._path = hear, path
        self._wanted: frozenset[Watch] | None = None
        self._line = KeptLine(
            Talk("it", str(path), self._open, to_line(Hello()), from_line, _check, self._take, self._on_state)
        )

    def watch(self, wanted: frozenset[Watch]) -> None:
        """From now on exactly these."""
        if wanted != self._wanted:
            self._wanted = wanted
            self._line.say(to_line(Watches(wanted)))

    async def run(self) -> None:
        """Until cancelled."""
        await self._line.run()

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(str(self._path), limit=LONGEST_LINE_BYTES)

    def _on_state(self, why: str) -> None:
        if not why:
            log.info("bfd.connected")
        elif why != self.why_down:
            log.warning("bfd.away why=%s", why)
        self.why_down = why

    def _take(self, message: Message) -> None:
        if isinstance(message, SessionStatus):
            self._hear(message)


def _check(message: Message) -> None:
    if not isinstance(message, Hello) or message.version != VERSION:
        raise Malformed(f"its hello is {message}, this speaker has version {VERSION}")
