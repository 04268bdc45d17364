"""All sessions of this process: whose a packet is, whose time has come. No sockets, no clock.

A packet belongs to the session whose discriminator it carries, and has to come from that session's neighbour; one that
carries none yet belongs to the session with its sender (RFC 5880, 6.8.6). A packet that was not sent by a direct
neighbour, which its TTL says, is nobody's (RFC 5881, 5).

A packet moves two deadlines and mostly later, so the queue of deadlines is not touched by it: an entry whose time comes
too early is put back. What happens a thousand times a second makes no garbage that lives.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol

from bgp.bfd.packet import Discarded, State, decode, encode
from bgp.bfd.session import NEVER, Change, Memory, Session, Timing
from bgp.bfd.watch import SessionStatus, Watch

Address = IPv4Address | IPv6Address

_TTL = 255


class Line(Protocol):
    """The way to one neighbour."""

    def send(self, data: bytes) -> str:
        """Why it could not be sent, or ""."""
        ...

    def close(self) -> None: ...


class Outside(Protocol):
    def open(self, watch: Watch) -> Line: ...

    def discriminator(self) -> int:
        """From 1 to 2**32 - 1, another each time."""
        ...

    def chance(self) -> float:
        """From 0 up to 1."""
        ...


@dataclass(slots=True, eq=False)
class Watched:
    """A session and what belongs to it. ``armed_at``: when the queue of deadlines comes to it."""

    watch: Watch
    session: Session
    line: Line
    source: str
    armed_at: float = NEVER
    trouble: str = ""

    def status(self) -> SessionStatus:
        session = self.session
        return SessionStatus(
            peer=self.watch.peer,
            state=session.state,
            has_failed=session.has_failed,
            is_independent=session.is_remote_independent,
            why="" if session.state is State.UP else self._why(),
            interval_ms=round(session.interval_s * 1000),
            detection_time_ms=round(session.detection_time_s * 1000),
        )

    def _why(self) -> str:
        if self.trouble:
            return self.trouble
        if self.session.remote_state is State.ADMIN_DOWN:
            return "the neighbour is administratively down"
        return "" if self.session.remote_discriminator else "nothing is heard"


class Sessions:
    """``on_change`` hears of every change of a state, after it, and with None of a change of what is wrong."""

    def __init__(self, timing: Timing, outside: Outside, on_change: Callable[[Watched, Change | None], None]) -> None:
        self.counters: Counter[str] = Counter()
        self._wished = self._timing = timing
        self._outside = outside
        self._on_change = on_change
        self._by_peer: dict[Address, Watched] = {}
        self._by_discriminator: dict[int, Watched] = {}
        self._by_source: dict[str, Watched] = {}
        self._queue: list[tuple[float, int, Watched]] = []
        self._pushed = 0

    # From whom they are wanted.

    def watch(self, wanted: Iterable[Watch], now: float, *, memories: Mapping[Watch, Memory] | None = None) -> None:
        """Exactly these from now on. One that is no longer wanted says so to its neighbour first."""
        by_peer = {each.peer: each for each in wanted}
        timing = self._wished.shared_by(len(by_peer))
        if timing != self._timing:
            self._timing = timing
            for watched in list(self._by_peer.values()):
                watched.session.retime(timing, now)
                self._serve(watched, now)
        for peer, watched in list(self._by_peer.items()):
            if by_peer.get(peer) != watched.watch:
                self._shut(watched, now)
            elif watched.session.state is State.ADMIN_DOWN:
                self._remove(watched)
        for watch in by_peer.values():
            if watch.peer in self._by_peer and self._by_peer[watch.peer].watch != watch:
                self._remove(self._by_peer[watch.peer])
            if watch.peer not in self._by_peer:
                self._add(watch, (memories or {}).get(watch), now)

    def shut_all(self, now: float) -> None:
        for watched in list(self._by_peer.values()):
            self._shut(watched, now)

    def statuses(self) -> tuple[SessionStatus, ...]:
        """Of those that are wanted."""
        return tuple(each.status() for each in self._wanted())

    def memories(self) -> dict[Watch, Memory | None]:
        return {each.watch: each.session.memory() for each in self._wanted()}

    def __len__(self) -> int:
        return len(self._by_peer)

    # From the wire and the clock.

    def receive(self, data: bytes, *, source: str, ttl: int, now: float) -> None:
        """``source``: the sender's address as the kernel writes it."""
        if ttl != _TTL:
            self.counters["discarded: ttl"] += 1
            return
        try:
            packet = decode(data)
        except Discarded as error:
            self.counters[f"discarded: {error}"] += 1
            return
        watched = self._by_discriminator.get(packet.yours) if packet.yours else self._by_source.get(source)
        if watched is None or watched.source != source:
            self.counters["discarded: no session"] += 1
            return
        self._say(watched, watched.session.receive(packet, now))
        self._serve(watched, now)

    def run(self, now: float) -> None:
        """Whatever is due."""
        while self._queue and self._queue[0][0] <= now:
            when, _, watched = heapq.heappop(self._queue)
            if when == watched.armed_at:
                watched.armed_at = NEVER
                self._say(watched, watched.session.expire(now))
                self._serve(watched, now)

    def deadline(self) -> float:
        """When to :meth:`run`, or NEVER."""
        return self._queue[0][0] if self._queue else NEVER

    # Its own.

    def _wanted(self) -> list[Watched]:
        return [each for each in self._by_peer.values() if each.session.state is not State.ADMIN_DOWN]

    def _add(self, watch: Watch, memory: Memory | None, now: float) -> None:
        if memory is None:
            session = Session(self._timing, self._free_discriminator(), now)
        else:
            session = Session.resumed(self._timing, memory, now)
        watched = Watched(watch, session, self._outside.open(watch), str(watch.peer))
        self._by_peer[watch.peer] = self._by_source[watched.source] = watched
        self._by_discriminator[session.discriminator] = watched
        self._serve(watched, now)

    def _free_discriminator(self) -> int:
        """A resumed session may have any."""
        while (found := self._outside.discriminator()) in self._by_discriminator:
            continue
        return found

    def _shut(self, watched: Watched, now: float) -> None:
        self._say(watched, watched.session.shut(now))
        self._serve(watched, now)

    def _remove(self, watched: Watched) -> None:
        watched.armed_at = NEVER
        watched.line.close()
        del self._by_peer[watched.watch.peer]
        del self._by_source[watched.source]
        del self._by_discriminator[watched.session.discriminator]

    def _serve(self, watched: Watched, now: float) -> None:
        session = watched.session
        for packet in session.transmit(now, self._outside.chance()):
            self._send(watched, encode(packet))
        if session.is_over(now):
            self._remove(watched)
            return
        deadline = session.deadline(now)
        if deadline < watched.armed_at:
            watched.armed_at = deadline
            self._pushed += 1
            heapq.heappush(self._queue, (deadline, self._pushed, watched))

    def _send(self, watched: Watched, data: bytes) -> None:
        before, watched.trouble = watched.trouble, watched.line.send(data)
        self.counters["unsent" if watched.trouble else "sent"] += 1
        if watched.trouble != before:
            self._on_change(watched, None)

    def _say(self, watched: Watched, change: Change | None) -> None:
        if change is not None:
            self._on_change(watched, change)
