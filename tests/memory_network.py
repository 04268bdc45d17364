"""Links in memory: the model of TCP that speakers run over in tests. Bytes arrive in order after the link's delay.

It knows listeners, refused and unanswered dials, links that are cut and mended, processes that end, hosts that vanish
without a word and come back knowing nothing, peers that do not read, and full queues; it records every byte sent.
"""

from __future__ import annotations

import asyncio
import errno
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from bgp.guard import OPEN, Guard

Address = IPv4Address | IPv6Address
Place = tuple[Address, int]
Accept = Callable[[], asyncio.Protocol]
Tap = Callable[[Address, Address, bytes], None]

DELAY_S = 0.0005


@dataclass
class MemoryNetwork:
    """``tap``, where there is one, gets what is sent in place of ``crossed``. ``off``: hosts without power."""

    listeners: dict[Place, MemoryListening] = field(default_factory=dict)
    cut: set[frozenset[Address]] = field(default_factory=set)
    off: set[Address] = field(default_factory=set)
    pipes: list[Pipe] = field(default_factory=list)
    crossed: list[tuple[Address, Address, bytes]] = field(default_factory=list)
    tap: Tap | None = None
    ports: int = 40000

    def host(self, address: Address) -> MemoryHost:
        return MemoryHost(self, address)

    def cut_link(self, one: Address, other: Address) -> None:
        """From now on nothing arrives, and nobody is told. A new dial waits for an answer that does not come."""
        self.cut.add(frozenset((one, other)))

    def mend_link(self, one: Address, other: Address) -> None:
        """What was sent meanwhile arrives, as TCP sees to it."""
        self.cut.discard(frozenset((one, other)))
        self._release()

    def switch_off(self, address: Address) -> None:
        self.off.add(address)

    def switch_on(self, address: Address) -> None:
        self.off.discard(address)
        self._release()

    def _release(self) -> None:
        for pipe in list(self.pipes):
            if not self.is_cut(pipe.here, pipe.there):
                pipe.release()

    def mend_all(self) -> None:
        for one, other in [tuple(pair) for pair in self.cut]:
            self.mend_link(one, other)

    def is_cut(self, one: Address, other: Address) -> bool:
        return frozenset((one, other)) in self.cut or one in self.off or other in self.off

    def note(self, here: Address, there: Address, data: bytes) -> None:
        if self.tap is not None:
            self.tap(here, there, data)
        else:
            self.crossed.append((here, there, data))


@dataclass(eq=False)
class MemoryListening:
    host: MemoryHost
    accept: Accept
    places: list[Place]
    passwords: dict[Address, str] = field(default_factory=dict)

    def require(self, passwords: Mapping[Address, str]) -> None:
        self.passwords = dict(passwords)

    def close(self) -> None:
        listeners = self.host.network.listeners
        for place in self.places:
            if listeners.get(place) is self:
                del listeners[place]


@dataclass(eq=False)
class MemoryHost:
    """The network as one process of a host sees it: what a speaker is given."""

    network: MemoryNetwork
    address: Address
    listening: list[MemoryListening] = field(default_factory=list)
    pipes: list[Pipe] = field(default_factory=list)

    def close(self) -> None:
        """The process has ended: its connections are closed for it."""
        self._leave(Pipe.close)

    def vanish(self) -> None:
        """The host has lost its power: nobody is told. What a peer sends later is answered with a reset."""
        self._leave(Pipe.vanish)

    def _leave(self, leave: Callable[[Pipe], None]) -> None:
        for listening in self.listening:
            listening.close()
        for pipe in list(self.pipes):
            leave(pipe)

    async def dial(
        self, protocol: asyncio.Protocol, *, local: Address | None, peer: Address, port: int, guard: Guard = OPEN
    ) -> None:
        await asyncio.sleep(2 * DELAY_S)
        if self.network.is_cut(self.address, peer):
            await asyncio.get_running_loop().create_future()
        listening = self.network.listeners.get((peer, port))
        if listening is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "refused")
        if listening.passwords.get(local or self.address, "") != guard.password:
            await asyncio.get_running_loop().create_future()  # a segment with the wrong signature is not answered
        self.network.ports += 1
        mine: Place = (local or self.address, self.network.ports)
        ours, theirs = Pipe(self, mine, (peer, port)), Pipe(listening.host, (peer, port), mine)
        ours.other, theirs.other = theirs, ours
        self.network.pipes += [ours, theirs]
        theirs.open(listening.accept())
        ours.open(protocol)

    async def listen(self, accept: Accept, *, addresses: Sequence[Address], port: int) -> MemoryListening:
        places: list[Place] = [(address, port) for address in addresses or (self.address,)]
        if any(place in self.network.listeners for place in places):
            raise OSError(errno.EADDRINUSE, "Address already in use")
        listening = MemoryListening(self, accept, places)
        self.network.listeners.update(dict.fromkeys(places, listening))
        self.listening.append(listening)
        return listening


class Pipe(asyncio.Transport):
    """One end of a connection. ``is_frozen``: whoever is behind it reads nothing, so its peer's queue fills."""

    other: Pipe

    def __init__(self, host: MemoryHost, here: Place, there: Place) -> None:
        super().__init__({"sockname": (str(here[0]), here[1]), "peername": (str(there[0]), there[1])})
        self.here, self.there = here[0], there[0]
        self.is_frozen = False
        self._host, self._network = host, host.network
        host.pipes.append(self)
        self._loop = asyncio.get_running_loop()
        self._protocol: asyncio.Protocol | None = None
        self._high, self._low = 64 << 10, 16 << 10
        self._unread: list[bytes] = []
        self._held: list[bytes | None] = []
        self._under_way: deque[bytes | None] = deque()
        self._is_paused = False
        self._is_closed = False
        self._has_ended = False
        self._is_forgotten = False

    def open(self, protocol: asyncio.Protocol) -> None:
        self._protocol = protocol
        self._loop.call_soon(protocol.connection_made, self)

    # What a protocol asks of its transport.

    def write(self, data: Any) -> None:
        if self._is_closed or self._has_ended:
            return
        self._network.note(self.here, self.there, bytes(data))
        self.other.post(bytes(data))
        if self.other.is_frozen:
            self.other._unread.append(bytes(data))
            self._settle_pressure()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if not self._has_ended:
            self._has_ended = True
            self.other.post(None)

    def is_closing(self) -> bool:
        return self._is_closed

    def close(self) -> None:
        self.write_eof()
        self._finish(None)

    def abort(self) -> None:
        self.close()

    def vanish(self) -> None:
        """End it without a word to the peer."""
        self._has_ended = self._is_forgotten = True
        self._finish(None)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high, self._low = high or self._high, low or self._low

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol

    # What the link does.

    def post(self, data: bytes | None) -> None:
        """Put it on the way here; None is the end. What was posted first arrives first, also in the same instant."""
        self._under_way.append(data)
        self._loop.call_later(DELAY_S, self._deliver_next)

    def _deliver_next(self) -> None:
        self._deliver(self._under_way.popleft())

    def _deliver(self, data: bytes | None) -> None:
        if data is None:
            self.arrive_end()
        else:
            self.arrive(data)

    def arrive(self, data: bytes) -> None:
        if (self._is_closed and not self._is_forgotten) or self.is_frozen:
            return
        if self._held or self._network.is_cut(self.here, self.there):
            self._held.append(data)
            return
        if self._is_forgotten:
            self.other.reset()
            return
        assert self._protocol is not None
        self._protocol.data_received(data)

    def arrive_end(self) -> None:
        if self._is_closed:
            return
        if self._held or self._network.is_cut(self.here, self.there):
            self._held.append(None)
            return
        assert self._protocol is not None
        self._protocol.eof_received()
        self.close()

    def reset(self) -> None:
        """The peer's host knows nothing of this connection."""
        self._has_ended = True
        self._finish(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"))

    def release(self) -> None:
        held, self._held = self._held, []
        for data in held:
            self._deliver(data)

    def freeze(self) -> None:
        self.is_frozen = True

    def thaw(self) -> None:
        self.is_frozen = False
        unread, self._unread = self._unread, []
        for data in unread:
            self._loop.call_soon(self.arrive, data)
        self.other._settle_pressure()

    def _settle_pressure(self) -> None:
        assert self._protocol is not None
        waiting = sum(map(len, self.other._unread))
        if not self._is_paused and waiting > self._high:
            self._is_paused = True
            self._protocol.pause_writing()
        elif self._is_paused and waiting <= self._low:
            self._is_paused = False
            self._protocol.resume_writing()

    def _finish(self, error: Exception | None) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._host.pipes.remove(self)
            if self.other.is_closing():
                self._network.pipes = [each for each in self._network.pipes if each not in (self, self.other)]
            assert self._protocol is not None
            self._loop.call_soon(self._protocol.connection_lost, error)
