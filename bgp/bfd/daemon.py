"""BFD as a process: sockets, timers and the speakers' line in one loop that does nothing else.

    speaker ⇄ Listeners ─watches─▶ Sessions ⇄ UDP 3784 ⇄ neighbours
                 ▲───────states──────┘

It is no asyncio loop: all that it waits for are descriptors and one deadline, and a process without asyncio starts
sooner and is smaller. What has come in is read before anything expires, so a process that was kept from running for a
while does not take its own absence for the neighbours'.

A speaker that goes away changes nothing. SIGTERM tells every neighbour that this is somebody's wish (AdminDown), so
that none takes it for a failure. A process that is killed leaves a note (:mod:`bgp.bfd.remembered`); if the next one is
there within the detection time no neighbour notices.
"""

from __future__ import annotations

import gc
import logging
import random
import select
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from bgp.bfd import listeners, priority, remembered, wire
from bgp.bfd.listeners import Listener, Listeners
from bgp.bfd.session import NEVER, Change, Timing
from bgp.bfd.sessions import Line, Sessions, Watched
from bgp.bfd.watch import SOCKET_NAME, Watch, Watches

log = logging.getLogger(__name__)

FAREWELL_S = 1.0
"""How long the end of the process waits for neighbours to hear of it."""
_LONGEST_WAIT_S = 3600.0


@dataclass(frozen=True, slots=True)
class BfdConfig:
    timing: Timing = field(default_factory=Timing)
    run_folder: Path = Path("/var/run/calico")


class _Machine:
    """What sessions need of the outside."""

    def __init__(self) -> None:
        self._last_discriminator = random.getrandbits(32)

    def open(self, watch: Watch) -> Line:
        return wire.UdpLine(watch)

    def discriminator(self) -> int:
        self._last_discriminator = self._last_discriminator % 0xFFFFFFFF + 1
        return self._last_discriminator

    def chance(self) -> float:
        return random.random()


class _HasDescriptor(Protocol):
    def fileno(self) -> int: ...


class Daemon:
    """Raises OSError where a socket cannot be made."""

    def __init__(self, config: BfdConfig) -> None:
        self._memory_path = config.run_folder / remembered.FILE_NAME
        self._is_unsaved = False
        self._ends_at = NEVER
        self.sessions = Sessions(config.timing, _Machine(), self._tell)
        self.listeners = Listeners(statuses=self.sessions.statuses, on_watches=self._watch)
        self._poll = select.epoll()
        self._handlers: dict[int, Callable[[], None]] = {}
        for version in (4, 6):
            receiving = wire.listen(version)
            if receiving is not None:
                self._add(receiving, partial(self._receive, receiving))
        listening = listeners.open_at(config.run_folder / SOCKET_NAME)
        self._add(listening, lambda: self._admit(listening))
        self._end_by_signal()

    def run(self) -> None:
        """Until :meth:`end` was called and the neighbours have been told."""
        self._resume()
        while not self._is_over():
            for descriptor, _ in self._poll.poll(self._wait_s()):
                self._serve(descriptor)
            self.sessions.run(time.monotonic())
            self._tidy()
        log.info("bfd.ended packets=%s", dict(self.sessions.counters))

    def end(self) -> None:
        now = time.monotonic()
        self._ends_at = min(self._ends_at, now + FAREWELL_S)
        self.sessions.shut_all(now)

    def _is_over(self) -> bool:
        return self._ends_at < NEVER and (not len(self.sessions) or time.monotonic() >= self._ends_at)

    def _end_by_signal(self) -> None:
        """A handler would run in the midst of anything, so it does nothing: the byte that tells of it ends the loop."""
        reading, self._signalled = socket.socketpair()
        for each in (reading, self._signalled):
            each.setblocking(False)
        self._add(reading, lambda: self._hear_signal(reading))
        signal.set_wakeup_fd(self._signalled.fileno())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)

    def _hear_signal(self, reading: socket.socket) -> None:
        reading.recv(64)
        self.end()

    # What comes in.

    def _serve(self, descriptor: int) -> None:
        handler = self._handlers.get(descriptor)
        if handler is not None:
            handler()

    def _receive(self, sock: socket.socket) -> None:
        for data, source, ttl in wire.read(sock):
            self.sessions.receive(data, source=source, ttl=ttl, now=time.monotonic())

    def _admit(self, listening: socket.socket) -> None:
        listener = self.listeners.admit(listening)
        if listener is not None:
            self._add(listener, lambda: self._hear(listener), select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)

    def _hear(self, listener: Listener) -> None:
        listener.flush()
        wrong = self.listeners.hear(listener)
        if wrong:
            log.warning("speaker.malformed why=%s", wrong)

    def _watch(self, watches: Watches) -> None:
        if self._ends_at == NEVER:
            self.sessions.watch(watches.wanted, time.monotonic())
            self._is_unsaved = True
            for status in self.sessions.statuses():
                self.listeners.tell(status)

    # What goes out.

    def _tell(self, watched: Watched, change: Change | None) -> None:
        self.listeners.tell(watched.status())
        if change is not None:
            self._is_unsaved = True
            level = logging.WARNING if change.is_failure else logging.INFO
            before, after, why = change.before.word, change.after.word, change.cause.value
            log.log(level, "session.%s peer=%s from=%s why=%r", after, watched.watch.peer, before, why)

    def _tidy(self) -> None:
        """What may wait until everything urgent has been done."""
        for listener in self.listeners.each():
            if listener.is_over:
                self._drop(listener)
        if self._is_unsaved:
            self._is_unsaved = False
            self._save()

    # Its own.

    def _wait_s(self) -> float:
        until = min(self.sessions.deadline(), self._ends_at)
        return min(max(0.0, until - time.monotonic()), _LONGEST_WAIT_S)

    def _add(self, what: _HasDescriptor, handler: Callable[[], None], events: int = select.EPOLLIN) -> None:
        self._handlers[what.fileno()] = handler
        self._poll.register(what.fileno(), events)

    def _drop(self, listener: Listener) -> None:
        self._poll.unregister(listener.fileno())
        del self._handlers[listener.fileno()]
        self.listeners.part(listener)

    def _resume(self) -> None:
        memories = remembered.load(self._memory_path)
        up = {watch: memory for watch, memory in memories.items() if memory is not None}
        self.sessions.watch(memories, time.monotonic(), memories=up)
        if memories:
            log.info("sessions.resumed up=%d of=%d", len(up), len(memories))

    def _save(self) -> None:
        try:
            remembered.save(self._memory_path, self.sessions.memories())
        except OSError as error:
            log.error("remembered.unwritten where=%s why=%s", self._memory_path, error)


def run(config: BfdConfig, *, on_ready: Callable[[], None] = lambda: None) -> None:
    """Watch until SIGTERM or SIGINT. Raises OSError where a socket cannot be made."""
    daemon = Daemon(config)
    log.info("bfd.ready priority=%r", priority.take())
    gc.collect()
    gc.freeze()
    on_ready()
    daemon.run()
