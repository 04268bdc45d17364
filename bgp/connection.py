"""One connection of a neighbour: bytes to the codec, its messages to the state machine, the machine's actions back.

It owns the outbound queue. What is to be announced is set whole; the difference to what was sent is worked out and
packed when the queue has room, so that a peer that does not read costs one difference and no more. Keepalives and
notifications are written between whole messages.

The connection that dials lives on through failed attempts, as its machine does; one that was accepted ends with its
stream. One guard stands here: whatever goes wrong while a peer's bytes are handled ends this session and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Protocol

from bgp.export import NOTHING, Told
from bgp.guard import Guard
from bgp.message import (
    Cause,
    EndOfRib,
    Fault,
    KeptAlive,
    Learned,
    Notified,
    Opened,
    Received,
    Refresh,
    Refreshing,
    Trouble,
)
from bgp.session import Action, Do, Event, Notify, Session, State, Step
from bgp.stream import Stream
from bgp.transport import Address
from bgp.wire import Codec

log = logging.getLogger(__name__)


_STATE_ERROR = 5
_TYPE_OF = {
    Event.OPEN: 1,
    Event.OPEN_ERROR: 1,
    Event.UPDATE: 2,
    Event.UPDATE_ERROR: 2,
    Event.KEEPALIVE: 4,
    Event.REFRESH: 5,
    Event.REFRESH_ERROR: 5,
}
"""The message that must not come now, which RFC 6608 wants named."""


class Owner(Protocol):
    """The neighbour that a connection belongs to."""

    def dial(self, connection: Connection) -> None: ...

    @property
    def guard(self) -> Guard: ...

    @property
    def keepalive_time_s(self) -> int:
        """As configured; 0 where it is not."""
        ...

    @property
    def survives_notifications(self) -> bool:
        """Whether this side offers it (RFC 8538)."""
        ...

    def codec(self, local: Address) -> Codec: ...

    def loses(self, connection: Connection, opened: Opened) -> bool:
        """Settle a collision: whether this connection is the one to go."""
        ...

    def came_up(self, connection: Connection) -> None: ...

    def went_down(self, connection: Connection, *, keeps_routes: bool) -> None: ...

    def learned(self, connection: Connection, message: Learned | EndOfRib | Refresh) -> None: ...

    def ended(self, connection: Connection, step: Step) -> None:
        """Its TCP connection, or the attempt to make one, is over."""
        ...


class Connection:
    """``is_dialled``: this node makes the connection; else it was accepted."""

    def __init__(self, owner: Owner, *, loop: asyncio.AbstractEventLoop, is_dialled: bool) -> None:
        self.session = Session(is_passive=not is_dialled)
        self.is_dialled = is_dialled
        self.opened: Opened | None = None
        self.trouble: Trouble | None = None
        self.counters: Counter[str] = Counter()
        self.local_address: Address | None = None
        self._owner = owner
        self._loop = loop
        self._stream: Stream | None = None
        self._codec: Codec | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._fault: Fault | None = None
        self._is_over = False
        self._ends_hard = False
        self._event = Event.START
        self._queue = _Queue()

    @property
    def state(self) -> State:
        return self.session.state

    @property
    def can_restart_gracefully(self) -> bool:
        """Whether the peer's routes are to be kept when this session is lost (RFC 4724)."""
        graceful = self.opened.graceful if self.opened is not None else None
        return graceful is not None and graceful.is_able

    # From the neighbour that owns it.

    @property
    def _survives_notifications(self) -> bool:
        graceful = self.opened.graceful if self.opened is not None else None
        return self._owner.survives_notifications and graceful is not None and graceful.survives_notifications

    def start(self) -> None:
        self._take(Event.START if self.is_dialled else Event.START_PASSIVE)

    def stop(self, code: int, subcode: int, *, text: str = "") -> None:
        """End it for good, with a NOTIFICATION if the peer has heard of us."""
        self._fault = Fault(Event.STOP, code, subcode, b"", text)
        self._take(Event.STOP)
        self._finish()

    def collide(self) -> None:
        """End it: the neighbour's other connection stays. One that dials tries again later, unless it is stopped."""
        self._take(Event.COLLISION)

    def replace(self) -> None:
        """End it for good and without a word: the neighbour made a new one, and its routes may stay."""
        self._take(Event.REPLACED)
        self._finish()

    def abandon(self) -> None:
        """Close without a word and without a step, as the end of the process would."""
        self._finish()
        if self._stream is not None:
            self._stream.let_go(after_last_message=False)

    def dial_failed(self, error: OSError) -> None:
        self.trouble = Trouble(Cause.SOCKET, text=_words_of(error))
        self._take(Event.TCP_FAILED)

    def announce(self, wanted: Told, *, is_all_known: bool) -> None:
        """Let the peer have ``wanted``. ``is_all_known``: End-of-RIB may follow it."""
        self._queue.wanted = wanted
        self._queue.may_end_rib = is_all_known
        self._pump()

    def guard_anew(self) -> None:
        """Its neighbour's protection has changed. A connection on which the kernel refuses it is lost."""
        if self._stream is None:
            return
        try:
            self._stream.guard(self._owner.guard)
        except OSError as error:
            self._stream.let_go(after_last_message=False)
            self.lost(error)

    def renew(self) -> None:
        """End it without a word and start again, so that the next OPEN says something new; routes stay on both sides
        as over a restart (RFC 4724)."""
        if self._stream is not None:
            self._stream.let_go(after_last_message=False)
            self.lost(None)

    def request_refresh(self) -> None:
        if self.state is State.ESTABLISHED and self.opened is not None and self.opened.can_refresh:
            for version in sorted(self.opened.versions):
                self._write(self._speak().refresh(Refreshing.REQUEST, version))

    # From the stream.

    def connected(self, stream: Stream) -> None:
        if self._is_over or self.state not in (State.CONNECT, State.ACTIVE):
            stream.let_go(after_last_message=False)
            return
        try:
            stream.guard(self._owner.guard)
        except OSError as error:
            stream.let_go(after_last_message=False)
            self.lost(error)
            return
        self._stream = stream
        self.local_address, _ = stream.ends()
        self._codec = self._owner.codec(self.local_address)
        self._take(Event.CONNECTED if self.is_dialled else Event.ACCEPTED)

    def receive(self, data: bytes) -> None:
        codec = self._codec
        if codec is None:
            return
        try:
            for message in codec.read(data):
                self._receive(message)
                if self._codec is not codec:
                    return
        except Exception:  # a peer's bytes must not end the process, whatever they found in our code
            self.counters["own-faults"] += 1
            log.exception("session.guard state=%s", self.state.value)
            self._fault = Fault(Event.STOP, 6, 0, b"", "internal fault")
            self._take(Event.STOP)

    def lost(self, error: Exception | None) -> None:
        self._stream = None
        self.trouble = Trouble(Cause.SOCKET, text=_words_of(error))
        self._take(Event.TCP_FAILED)

    def blocked(self) -> None:
        self._queue.is_blocked = True
        self.session.blocked(self._loop.time())
        self._arm()

    def unblocked(self) -> None:
        self._queue.is_blocked = False
        self.session.unblocked()
        self._pump()

    # Messages.

    def _receive(self, message: Received) -> None:
        match message:
            case Opened():
                self._receive_open(message)
            case KeptAlive():
                self._take(Event.KEEPALIVE)
            case Learned(faults=faults):
                self.counters["updates"] += 1
                self.counters["malformed"] += bool(faults)
                self._take(Event.UPDATE, message)
            case EndOfRib():
                self._take(Event.UPDATE, message)
            case Refresh():
                self._take(Event.REFRESH, message)
            case Notified(code, subcode, text, is_hard):
                self.trouble = Trouble(Cause.RECEIVED, code, subcode, text)
                self._ends_hard = is_hard
                self._take(Event.NOTIFICATION)
            case Fault():
                self.counters["malformed"] += 1
                self._fault = message
                self._take(message.event)

    def _receive_open(self, opened: Opened) -> None:
        if self.state is State.OPEN_SENT:
            if self._owner.loses(self, opened):
                self.collide()
                return
            self.opened = opened
            self.session.agree(opened.hold_time_s, keepalive_time_s=self._owner.keepalive_time_s)
        self._take(Event.OPEN)

    # Steps.

    def _take(self, event: Event, message: Learned | EndOfRib | Refresh | None = None) -> None:
        self._event = event
        step = self.session.handle(event, self._loop.time())
        for action in step.actions:
            self._do(action, message)
        self._arm()
        if Do.CLOSE in step.actions:
            if not self.is_dialled:
                self._finish()
            self._owner.ended(self, step)

    def _do(self, action: Action, message: Learned | EndOfRib | Refresh | None) -> None:
        match action:
            case Notify(code, subcode):
                self._notify(code, subcode)
            case Do.DIAL:
                self._owner.dial(self)
            case Do.SEND_OPEN:
                self._write(self._speak().open())
            case Do.SEND_KEEPALIVE:
                if not self._queue.is_blocked:
                    self._write(self._speak().keepalive())
            case Do.DELIVER if message is not None:
                self._deliver(message)
            case Do.UP:
                self.trouble = None
                self._owner.came_up(self)
            case Do.LOST | Do.DOWN:
                is_soft = self._survives_notifications and not self._ends_hard
                self._owner.went_down(self, keeps_routes=action is Do.LOST or is_soft)
            case Do.CLOSE:
                self._close()
            case _:
                pass

    def _deliver(self, message: Learned | EndOfRib | Refresh) -> None:
        if isinstance(message, Refresh) and message.what is Refreshing.REQUEST:
            self._queue.owes_refresh.add(message.version)
            self._pump()
        else:
            self._owner.learned(self, message)

    def _notify(self, code: int, subcode: int) -> None:
        """Code 0: what the fault at hand says."""
        fault, data, text = self._fault, b"", ""
        if code == _STATE_ERROR:
            data = bytes((_TYPE_OF[self._event],)) if self._event in _TYPE_OF else b""
        if not code and fault is not None:
            code, subcode, data = fault.code, fault.subcode, fault.data
            text = fault.why if fault.event is Event.STOP and subcode in (2, 4) else ""
        self.trouble = Trouble(Cause.SENT, code, subcode, fault.why if fault is not None and not text else text)
        is_stop = fault is not None and fault.event is Event.STOP
        self._ends_hard = is_stop and self._survives_notifications
        self._write(self._speak().notification(code, subcode, data, text=text, is_hard=self._ends_hard))
        self._queue.is_ending = True

    def _close(self) -> None:
        stream, is_ending = self._stream, self._queue.is_ending
        self._stream, self._codec, self._fault, self._queue = None, None, None, _Queue()
        if stream is not None:
            stream.let_go(after_last_message=is_ending)

    def _speak(self) -> Codec:
        assert self._codec is not None, "an action that needs a connection came without one"
        return self._codec

    # Timers.

    def _arm(self) -> None:
        """Deadlines move on with every message; the timer does not, and looks again when it fires."""
        deadline = self.session.deadline()
        if self._is_over or deadline is None or (self._timer is not None and self._timer.when() <= deadline):
            return
        self._stop_timer()
        self._timer = self._loop.call_at(deadline, self._expire, deadline)

    def _expire(self, deadline: float) -> None:
        self._timer = None
        event = self.session.due(max(deadline, self._loop.time()))  # the loop may be early by its clock's resolution
        if event is Event.RETRY_EXPIRED and self.state is State.CONNECT:
            self.trouble = Trouble(Cause.SOCKET, text="Connection timed out")
        if event is not None:
            self._take(event)
        self._arm()

    def _finish(self) -> None:
        """No timer fires any more, and a dial that succeeds after all is let go."""
        self._is_over = True
        self._stop_timer()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # The outbound queue.

    def _pump(self) -> None:
        while self.state is State.ESTABLISHED and not self._queue.is_blocked and self._fill():
            self._write(self._queue.pending.popleft())

    def _fill(self) -> bool:
        """Whether there is something to send; made only when the last of it has gone."""
        codec, queue = self._speak(), self._queue
        if not queue.pending and queue.sent is not queue.wanted:
            queue.pending.extend(codec.updates(queue.sent, queue.wanted))
            queue.sent = queue.wanted
        if not queue.pending and queue.owes_end_of_rib and queue.may_end_rib:
            queue.owes_end_of_rib = False
            queue.pending.append(codec.end_of_rib())
        if not queue.pending and queue.owes_refresh:
            may_bracket = not queue.owes_end_of_rib or self.opened is None or self.opened.graceful is None
            queue.pending.extend(codec.refreshed(queue.sent, queue.owes_refresh.pop(), may_bracket=may_bracket))
        return bool(queue.pending)

    def _write(self, data: bytes) -> None:
        if self._stream is not None and not self._queue.is_ending:
            self._stream.write(data)


@dataclass(slots=True)
class _Queue:
    """What one stream has been sent and is owed."""

    pending: deque[bytes] = field(default_factory=deque)
    sent: Told = field(default_factory=lambda: NOTHING)
    wanted: Told = field(default_factory=lambda: NOTHING)
    may_end_rib: bool = False
    owes_end_of_rib: bool = True
    owes_refresh: set[int] = field(default_factory=set)
    is_blocked: bool = False
    is_ending: bool = False


def _words_of(error: Exception | None) -> str:
    """BIRD's words for the end of a connection: the system's, or that it was closed."""
    if error is None:
        return "Connection closed"
    code = getattr(error, "errno", None)
    return os.strerror(code) if code else str(error)
