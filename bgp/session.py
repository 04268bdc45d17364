"""RFC 4271's state machine, one for each TCP connection to a neighbour: a table, and the timers that belong to a state.

There is no I/O and no clock in here. An event comes in with the time of the loop, a step comes out: the new state, what
the connection has to do, and why. The owner asks for the next deadline and comes back when it has passed.

What the table is faithful to, and where it is deliberately not RFC 4271's:

- The optional attributes of section 8 are off (no DelayOpen, no damping, no TrackTcpState). A machine that fell to Idle
  by a NOTIFICATION starts again after ``ERROR_WAIT_S``, so that two speakers that disagree do not spin.
- A connection that could not be made or just broke leads to Active, in every state, and is tried again after
  ``CONNECT_RETRY_S``, always the same: no back-off, since a neighbour that is being restarted should not be waited for
  longer because it was gone for long.
- A passive machine waits in Active and never dials. Upstream's full mesh depends on it.
- The hold timer runs in OpenConfirm too, is restarted by complete KEEPALIVE and UPDATE messages only, and never fires
  early. In OpenSent it is the large value that section 8 suggests.
- What must not arrive in a state ends the connection with 5/1, 5/2 or 5/3 (RFC 6608).
- A connection that is replaced by a new one of the same neighbour (RFC 4724, 5) and one that just broke are LOST: their
  routes may be kept. One that ends by a NOTIFICATION in either direction is DOWN: they may not.
- The send hold timer (RFC 9687) ends a session whose peer does not read.

Collisions (6.8) are settled by whoever holds the two machines, with :func:`keeps_own_dial`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from ipaddress import IPv4Address

HOLD_TIME_S = 240
"""What BIRD 1 offers; the smaller of both offers counts."""
OPEN_HOLD_TIME_S = 240.0
CONNECT_RETRY_S = 1.0
DIAL_TIMEOUT_S = 5.0
ERROR_WAIT_S = 5.0
SHORTEST_SEND_HOLD_S = 480.0


class State(Enum):
    IDLE = "Idle"
    CONNECT = "Connect"
    ACTIVE = "Active"
    OPEN_SENT = "OpenSent"
    OPEN_CONFIRM = "OpenConfirm"
    ESTABLISHED = "Established"

    def __lt__(self, other: State) -> bool:
        return _ORDER[self] < _ORDER[other]


_ORDER = {state: rank for rank, state in enumerate(State)}


class Event(Enum):
    """Numbers are those of RFC 4271, 8.1."""

    START = auto()  # 3
    START_PASSIVE = auto()  # 5
    STOP = auto()  # 8: the neighbour is no longer wanted, or not like this
    RETRY_EXPIRED = auto()  # 9
    HOLD_EXPIRED = auto()  # 10
    KEEPALIVE_EXPIRED = auto()  # 11
    CONNECTED = auto()  # 16: our dial was answered
    ACCEPTED = auto()  # 17: the neighbour dialled us
    TCP_FAILED = auto()  # 18
    OPEN = auto()  # 19
    HEADER_ERROR = auto()  # 21
    OPEN_ERROR = auto()  # 22
    COLLISION = auto()  # 23: the other connection of this neighbour stays
    NOTIFICATION = auto()  # 24 and 25
    KEEPALIVE = auto()  # 26
    UPDATE = auto()  # 27
    UPDATE_ERROR = auto()  # 28
    SEND_HOLD_EXPIRED = auto()  # 29, RFC 9687
    REFRESH = auto()  # RFC 2918 and 7313
    REFRESH_ERROR = auto()  # RFC 7313, 5
    REPLACED = auto()  # RFC 4724, 5: the neighbour dialled again and graceful restart was negotiated


class Do(Enum):
    DIAL = auto()
    SEND_OPEN = auto()
    SEND_KEEPALIVE = auto()
    RESTART_HOLD = auto()
    DELIVER = auto()  # hand the UPDATE or ROUTE-REFRESH on
    UP = auto()
    LOST = auto()  # it was up; graceful restart may keep its routes
    DOWN = auto()  # it was up; its routes go
    CLOSE = auto()


@dataclass(frozen=True, slots=True)
class Notify:
    """Send a NOTIFICATION. Code 0 stands for the code and data that came with the event."""

    code: int
    subcode: int = 0


Action = Do | Notify
TOLD = Notify(0)


@dataclass(frozen=True, slots=True)
class Step:
    state: State
    actions: tuple[Action, ...]
    reason: str


def _end(*actions: Action, why: str, state: State = State.IDLE) -> Step:
    return Step(state, (*actions, Do.CLOSE), why)


_I, _C, _A, _S, _F, _E = State  # Idle, Connect, Active, OpenSent, OpenConfirm, Established

_ROWS: Mapping[State, Mapping[Event, Step]] = {
    _I: {
        Event.START: Step(_C, (Do.DIAL,), "started"),
        Event.START_PASSIVE: Step(_A, (), "waiting to be dialled"),
    },
    _C: {
        Event.CONNECTED: Step(_S, (Do.SEND_OPEN,), "connected"),
        Event.ACCEPTED: Step(_S, (Do.SEND_OPEN,), "accepted"),
        Event.TCP_FAILED: _end(state=_A, why="connection failed"),
        Event.RETRY_EXPIRED: _end(state=_A, why="connection timed out"),
        Event.START: Step(_C, (), "already started"),
    },
    _A: {
        Event.ACCEPTED: Step(_S, (Do.SEND_OPEN,), "accepted"),
        Event.RETRY_EXPIRED: Step(_C, (Do.DIAL,), "dialling again"),
        Event.START: Step(_A, (), "already started"),
        Event.START_PASSIVE: Step(_A, (), "already started"),
    },
    _S: {
        Event.OPEN: Step(_F, (Do.SEND_KEEPALIVE,), "open received"),
        Event.TCP_FAILED: _end(state=_A, why="connection closed"),
        Event.HOLD_EXPIRED: _end(Notify(4), why="no open in time"),
        Event.SEND_HOLD_EXPIRED: _end(Notify(8), why="peer does not read"),
        Event.HEADER_ERROR: _end(TOLD, why="bad header"),
        Event.OPEN_ERROR: _end(TOLD, why="bad open"),
        Event.COLLISION: _end(Notify(6, 7), why="collision"),
        Event.NOTIFICATION: _end(why="notification received"),
        Event.STOP: _end(TOLD, why="stopped"),
        Event.START: Step(_S, (), "already started"),
    },
    _F: {
        Event.KEEPALIVE: Step(_E, (Do.RESTART_HOLD, Do.UP), "established"),
        Event.KEEPALIVE_EXPIRED: Step(_F, (Do.SEND_KEEPALIVE,), "keepalive due"),
        Event.TCP_FAILED: _end(state=_A, why="connection closed"),
        Event.HOLD_EXPIRED: _end(Notify(4), why="hold timer expired"),
        Event.SEND_HOLD_EXPIRED: _end(Notify(8), why="peer does not read"),
        Event.HEADER_ERROR: _end(TOLD, why="bad header"),
        Event.OPEN_ERROR: _end(TOLD, why="bad open"),
        Event.COLLISION: _end(Notify(6, 7), why="collision"),
        Event.NOTIFICATION: _end(why="notification received"),
        Event.STOP: _end(TOLD, why="stopped"),
        Event.START: Step(_F, (), "already started"),
    },
    _E: {
        Event.UPDATE: Step(_E, (Do.RESTART_HOLD, Do.DELIVER), "update"),
        Event.KEEPALIVE: Step(_E, (Do.RESTART_HOLD,), "keepalive"),
        Event.REFRESH: Step(_E, (Do.DELIVER,), "refresh"),
        Event.KEEPALIVE_EXPIRED: Step(_E, (Do.SEND_KEEPALIVE,), "keepalive due"),
        Event.TCP_FAILED: _end(Do.LOST, state=_A, why="connection closed"),
        Event.REPLACED: _end(Do.LOST, state=_A, why="replaced by a new connection"),
        Event.HOLD_EXPIRED: _end(Notify(4), Do.DOWN, why="hold timer expired"),
        Event.SEND_HOLD_EXPIRED: _end(Notify(8), Do.DOWN, why="peer does not read"),
        Event.HEADER_ERROR: _end(TOLD, Do.DOWN, why="bad header"),
        Event.UPDATE_ERROR: _end(TOLD, Do.DOWN, why="bad update"),
        Event.REFRESH_ERROR: _end(TOLD, Do.DOWN, why="bad refresh"),
        Event.COLLISION: _end(Notify(6, 7), Do.DOWN, why="collision"),
        Event.NOTIFICATION: _end(Do.DOWN, why="notification received"),
        Event.STOP: _end(TOLD, Do.DOWN, why="stopped"),
        Event.START: Step(_E, (), "already started"),
    },
}

_OTHERWISE: Mapping[State, Step] = {
    _I: Step(_I, (), "ignored"),
    _C: _end(why="stopped"),
    _A: _end(why="stopped"),
    _S: _end(Notify(5, 1), why="unexpected in OpenSent"),
    _F: _end(Notify(5, 2), why="unexpected in OpenConfirm"),
    _E: _end(Notify(5, 3), Do.DOWN, why="unexpected in Established"),
}

TABLE: Mapping[tuple[State, Event], Step] = {
    (state, event): _ROWS[state].get(event, _OTHERWISE[state]) for state in State for event in Event
}


class Timer(Enum):
    RETRY = auto()
    HOLD = auto()
    KEEPALIVE = auto()
    SEND_HOLD = auto()


_RUNS: Mapping[State, tuple[Timer, ...]] = {
    _I: (Timer.RETRY,),
    _C: (Timer.RETRY,),
    _A: (Timer.RETRY,),
    _S: (Timer.HOLD, Timer.SEND_HOLD),
    _F: (Timer.HOLD, Timer.KEEPALIVE, Timer.SEND_HOLD),
    _E: (Timer.HOLD, Timer.KEEPALIVE, Timer.SEND_HOLD),
}
"""The timers of each state. The send hold timer is started by blocked(), the others on entry unless they run."""

_RETRY_S = {_I: ERROR_WAIT_S, _C: DIAL_TIMEOUT_S, _A: CONNECT_RETRY_S}


class Session:
    """One machine. ``is_passive``: it waits for the neighbour's connection and never starts one."""

    def __init__(self, *, is_passive: bool = False) -> None:
        self.state = State.IDLE
        self.hold_time_s = 0.0
        self._configured_keepalive_s = 0.0
        self._is_passive = is_passive
        self._deadlines: dict[Timer, float] = {}

    def agree(self, hold_time_s: float, *, keepalive_time_s: float = 0.0) -> None:
        """The hold time of both OPENs; 0 means that neither side sends keepalives. Before the event OPEN.

        ``keepalive_time_s`` is what somebody asked for, if it is less than a third of it.
        """
        self.hold_time_s = hold_time_s
        self._configured_keepalive_s = keepalive_time_s

    @property
    def keepalive_time_s(self) -> float:
        usual = self.hold_time_s / 3
        return min(self._configured_keepalive_s, usual) if self._configured_keepalive_s else usual

    def handle(self, event: Event, now: float) -> Step:
        """Take the step and move the timers. The caller carries out its actions, in order."""
        step = TABLE[self.state, event]
        self._move_to(step.state, now)
        if Do.RESTART_HOLD in step.actions:
            self._start(Timer.HOLD, now)
        if Do.SEND_KEEPALIVE in step.actions:
            self._start(Timer.KEEPALIVE, now)
        return step

    def blocked(self, now: float) -> None:
        """The peer stopped reading: it has the send hold time to begin again."""
        self._deadlines[Timer.SEND_HOLD] = now + max(SHORTEST_SEND_HOLD_S, 2 * self.hold_time_s)

    def unblocked(self) -> None:
        self._deadlines.pop(Timer.SEND_HOLD, None)

    def deadline(self) -> float | None:
        """When to ask :meth:`due` again, or None while no timer runs."""
        return min(self._deadlines.values(), default=None)

    def due(self, now: float) -> Event | None:
        """The event of a timer that has run out, the earliest first."""
        expired = [(at, timer.value, timer) for timer, at in self._deadlines.items() if at <= now]
        if not expired:
            return None
        timer = min(expired)[2]
        if timer is Timer.RETRY and self.state is State.IDLE:
            return Event.START_PASSIVE if self._is_passive else Event.START
        return _EXPIRY[timer]

    def _move_to(self, state: State, now: float) -> None:
        is_new = state is not self.state
        self.state = state
        for timer in list(self._deadlines):
            if timer not in _RUNS[state]:
                del self._deadlines[timer]
        for timer in _RUNS[state] if is_new else ():
            if timer is not Timer.SEND_HOLD and not (timer is Timer.KEEPALIVE and timer in self._deadlines):
                self._start(timer, now)

    def _start(self, timer: Timer, now: float) -> None:
        after_s = self._length_s(timer)
        if after_s:
            self._deadlines[timer] = now + after_s
        else:
            self._deadlines.pop(timer, None)

    def _length_s(self, timer: Timer) -> float:
        """How long it runs in this state; 0 means not at all."""
        match timer:
            case Timer.RETRY:
                return 0.0 if self._is_passive and self.state is State.ACTIVE else _RETRY_S[self.state]
            case Timer.HOLD:
                return OPEN_HOLD_TIME_S if self.state is State.OPEN_SENT else self.hold_time_s
            case Timer.KEEPALIVE:
                return self.keepalive_time_s
            case Timer.SEND_HOLD:
                return 0.0


_EXPIRY = {
    Timer.RETRY: Event.RETRY_EXPIRED,
    Timer.HOLD: Event.HOLD_EXPIRED,
    Timer.KEEPALIVE: Event.KEEPALIVE_EXPIRED,
    Timer.SEND_HOLD: Event.SEND_HOLD_EXPIRED,
}


def keeps_own_dial(mine: tuple[IPv4Address, int], theirs: tuple[IPv4Address, int]) -> bool:
    """Of two connections between the same speakers the one survives that the greater BGP identifier dialled (6.8).

    Each side is (identifier, AS): the AS decides between equal identifiers (RFC 6286, 2.3).
    """
    return mine > theirs
