"""The server side of bgp.sock: learned routes to felix, confirmed destinations from it, in the language of learned.py.

Whoever connects gets a hello, and after its own hello a snapshot and from then on differences. A reader that falls
behind is not queued for: while its pipe is full differences are dropped, and when it reads again it gets a snapshot.
Several may be connected (an old felix and the one that takes over); the set that was confirmed last, by whom ever, is
the one that counts, and it stays when its sender goes.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from bgp.json_lines import Malformed
from bgp.learned import (
    LONGEST_LINE_BYTES,
    VERSION,
    Confirmed,
    Delta,
    Hello,
    InSync,
    LearnedRoute,
    Message,
    Network,
    Snapshot,
    from_line,
    to_line,
)

log = logging.getLogger(__name__)

QUEUE_HIGH_BYTES = 1 << 20
QUEUE_LOW_BYTES = 256 << 10


class FelixLink:
    """``routes`` and ``is_in_sync`` are asked when somebody connects; ``on_confirmed`` gets each set whole."""

    def __init__(
        self,
        *,
        routes: Callable[[], tuple[LearnedRoute, ...]],
        is_in_sync: Callable[[], bool],
        on_confirmed: Callable[[frozenset[Network]], None],
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._routes = routes
        self._is_in_sync = is_in_sync
        self._on_confirmed = on_confirmed
        self._readers: set[_Reader] = set()

    @property
    def connected(self) -> int:
        return len(self._readers)

    @asynccontextmanager
    async def serving(self, path: Path) -> AsyncIterator[None]:
        """Listen at ``path`` until the block ends. Raises OSError when it cannot."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        server = await asyncio.get_running_loop().create_unix_server(self.admit, path)
        path.chmod(0o600)
        try:
            yield
        finally:
            server.close()
            for reader in list(self._readers):
                reader.close()

    def admit(self) -> asyncio.Protocol:
        """Who talks to one that has connected."""
        return _Reader(self)

    def tell(self, message: Delta | InSync) -> None:
        """To everyone who has said hello and keeps up."""
        up_to_date = [reader for reader in self._readers if not reader.is_behind]
        line = to_line(message) if up_to_date else b""
        for reader in up_to_date:
            reader.tell(line)

    # From its readers.

    def greet(self, reader: _Reader) -> None:
        self._readers.add(reader)
        reader.tell(to_line(Snapshot(self._routes())))
        if self._is_in_sync():
            reader.tell(to_line(InSync()))

    def confirm(self, confirmed: Confirmed) -> None:
        self._on_confirmed(confirmed.destinations)

    def part(self, reader: _Reader) -> None:
        self._readers.discard(reader)


class _Reader(asyncio.Protocol):
    """One connected felix."""

    def __init__(self, link: FelixLink) -> None:
        self._link = link
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self.is_behind = False

    def tell(self, line: bytes) -> None:
        if self._transport is not None:
            self._transport.write(line)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(QUEUE_HIGH_BYTES, QUEUE_LOW_BYTES)
        self._transport.write(to_line(Hello()))

    def connection_lost(self, error: Exception | None) -> None:
        self._link.part(self)
        self._transport = None

    def pause_writing(self) -> None:
        self.is_behind = True
        self._link.counters["fell-behind"] += 1

    def resume_writing(self) -> None:
        self.is_behind = False
        self._link.greet(self)

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        try:
            if len(self._rest) > LONGEST_LINE_BYTES:
                raise Malformed("a line without an end")
            for line in lines:
                self._receive(from_line(line))
        except Malformed as error:
            self._link.counters["malformed"] += 1
            log.warning("felix.malformed why=%s", error)
            self.close()

    def _receive(self, message: Message) -> None:
        match message:
            case Hello(version):
                if version != VERSION:
                    raise Malformed(f"version {version}, ours is {VERSION}")
                self._link.greet(self)
            case Confirmed():
                self._link.confirm(message)
            case _:
                raise Malformed(f"{type(message).__name__} is not for us")
