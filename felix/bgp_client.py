"""The line to the speaker: learned routes come in, confirmed destinations go out, as :mod:`bgp.learned` has them.

While the two are apart nothing changes: the last learned routes stay for as long as it takes, and what was confirmed
stays announced by a speaker that lives. After every connection the whole confirmed set is sent anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bgp.json_lines import Malformed
from bgp.kept_line import KeptLine, Talk
from bgp.learned import (
    LONGEST_LINE_BYTES,
    SOCKET_PATH,
    VERSION,
    Confirmed,
    Hello,
    Message,
    from_line,
    to_line,
)
from felix.fib.model import Network


class Line(Protocol):
    """Where the speaker is to be had; ``str`` says it to a person."""

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Raises OSError when nobody listens. The reader takes lines of ``LONGEST_LINE_BYTES``."""
        ...


@dataclass(frozen=True, slots=True)
class UnixLine:
    path: Path = Path(SOCKET_PATH)

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(str(self.path), limit=LONGEST_LINE_BYTES)

    def __str__(self) -> str:
        return str(self.path)


class BgpClient:
    """``hear`` gets every message; ``on_state`` hears why the line is down, or "" when it is up. Both are plain."""

    def __init__(self, hear: Callable[[Message], None], on_state: Callable[[str], None], line: Line) -> None:
        self._confirmed: frozenset[Network] | None = None
        self._line = KeptLine(
            Talk("the speaker", str(line), line.open, to_line(Hello()), from_line, _check, hear, on_state)
        )

    def confirm(self, destinations: frozenset[Network]) -> None:
        """From now on exactly these may be announced."""
        if destinations != self._confirmed:
            self._confirmed = destinations
            self._line.say(to_line(Confirmed(destinations)))

    async def run(self) -> None:
        """Until cancelled."""
        await self._line.run()


def _check(message: Message) -> None:
    if not isinstance(message, Hello) or message.version != VERSION:
        raise Malformed(f"the speaker's hello is {message}, this felix speaks version {VERSION}")
