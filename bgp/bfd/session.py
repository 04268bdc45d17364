"""One BFD session: RFC 5880's state machine and its timing, without I/O, clock and chance.

A packet comes in with the time, a packet goes out when its time has come; the owner asks for the next deadline and
comes back when it has passed. Asynchronous mode, active role, no echo, no authentication. What it is careful about:

- A session that is not Up says that it wants to send once a second at most, and so it does (6.8.3). Its own interval is
  said when it is Up, with a poll, and holds at once where it is shorter.
- While it is Up a longer interval of sending, and a shorter one of receiving, hold only when the neighbour has answered
  the poll that told it (6.8.3). A second change waits until a packet without F has shown that the first is over (6.5).
- Each interval is cut by a random 0 to 25 percent, by 10 to 25 with a multiplier of 1 (6.8.7).
- A neighbour in demand mode is not sent periodic packets while both are Up, but polls and answers to its polls (6.6).
- AdminDown, ours or the neighbour's, is a wish and no failure (RFC 5882, 3.2): ``has_failed`` tells the two apart.
- Whom nothing was heard of for a detection time is forgotten, whatever the state: a neighbour that comes back with
  another discriminator is not answered with the old one (6.8.1).

Times are seconds on the owner's monotonic clock, intervals microseconds as on the wire.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from bgp.bfd.packet import Control, Diagnostic, State

SLOWEST_START_US = 1_000_000
"""How seldom a session that is not Up sends at the least."""
MOST_PER_S = 334
"""Packets that a process sends: 100 sessions at 300 ms, some 4 % of a core. With more it notices failures later."""
NEVER = float("inf")
_STEP_US = 100_000
_US = 1e-6


@dataclass(frozen=True, slots=True)
class Timing:
    """What this side wants: the least interval between packets, both ways, and how many may be missing."""

    interval_us: int = 300_000
    detect_mult: int = 3

    def shared_by(self, sessions: int) -> Timing:
        """For so many sessions at once: no more than MOST_PER_S packets a second in all, in steps of 0.1 s."""
        fair_us = -(-sessions * 1_000_000 // MOST_PER_S)
        return replace(self, interval_us=max(self.interval_us, -(-fair_us // _STEP_US) * _STEP_US))


class Cause(Enum):
    """Why a session changed its state."""

    STARTED = "started"
    HEARD = "heard"
    EXPIRED = "detection time expired"
    NOT_RESUMED = "nothing heard after a restart"
    NEIGHBOUR_DOWN = "neighbour signalled session down"
    NEIGHBOUR_ADMIN_DOWN = "neighbour is administratively down"
    SHUT = "administratively down"


@dataclass(frozen=True, slots=True)
class Change:
    before: State
    after: State
    cause: Cause

    @property
    def is_failure(self) -> bool:
        """The session was Up and went down by nobody's wish."""
        return self.before is State.UP and self.cause in (Cause.EXPIRED, Cause.NEIGHBOUR_DOWN)


@dataclass(frozen=True, slots=True)
class Memory:
    """What is to be known of a session that is Up: both discriminators, and what the neighbour said last."""

    mine: int
    yours: int
    min_tx_us: int
    min_rx_us: int
    detect_mult: int
    independent: bool


class Session:
    """``discriminator``: this side's, not 0 and no other session's."""

    def __init__(self, timing: Timing, discriminator: int, now: float) -> None:
        self.discriminator = discriminator
        self.state = State.DOWN
        self.diagnostic = Diagnostic.NONE
        self.has_failed = False
        self.remote_state = State.DOWN
        self.remote_discriminator = 0
        self.remote_diagnostic = Diagnostic.NONE
        self.is_remote_independent = False
        self._timing = timing
        self._tx_us = self._tx_in_force_us = max(timing.interval_us, SLOWEST_START_US)
        self._rx_us = self._rx_in_force_us = timing.interval_us
        self._remote_min_tx_us = 0
        self._remote_min_rx_us = 1
        self._remote_mult = 0
        self._is_remote_demanding = False
        self._is_polling = False
        self._owes_poll = False
        self._owes_final = False
        self._is_proven = False
        self._heard_until = NEVER
        self._next_tx = now
        self._sends_until = NEVER

    # What comes in.

    def receive(self, packet: Control, now: float) -> Change | None:
        """A packet that was found to be for this session."""
        self._remember(packet)
        self._hear_about_polls(packet)
        if self.state is State.ADMIN_DOWN:
            return None
        change = self._follow(packet.state, now)
        self._is_proven = True
        self._heard_until = now + self.detection_time_s
        self._next_tx = min(self._next_tx, now + self.interval_s)
        return change

    def expire(self, now: float) -> Change | None:
        """To be asked when :meth:`deadline` has passed: nothing was heard for the detection time."""
        if now < self._heard_until:
            return None
        self._forget()
        if self.state in (State.INIT, State.UP):
            cause = Cause.EXPIRED if self._is_proven else Cause.NOT_RESUMED
            return self._move(State.DOWN, cause, now, Diagnostic.DETECTION_TIME_EXPIRED)
        return None

    def shut(self, now: float) -> Change | None:
        """Nobody wants it any more. The neighbour is told for as long as it may need; then it :meth:`is_over`."""
        if self.state is State.ADMIN_DOWN:
            return None
        change = self._move(State.ADMIN_DOWN, Cause.SHUT, now, Diagnostic.ADMINISTRATIVELY_DOWN)
        self._sends_until = now + self.interval_s * self._timing.detect_mult if self.remote_discriminator else now
        return change

    def retime(self, timing: Timing, now: float) -> None:
        self._timing = timing
        self._apply_timing(now)

    # Over a restart of the process.

    def memory(self) -> Memory | None:
        """What lets the next process go on with a session that is Up, so that the neighbour notices nothing."""
        if self.state is not State.UP:
            return None
        return Memory(
            self.discriminator,
            self.remote_discriminator,
            self._remote_min_tx_us,
            self._remote_min_rx_us,
            self._remote_mult,
            self.is_remote_independent,
        )

    @classmethod
    def resumed(cls, timing: Timing, memory: Memory, now: float) -> Session:
        """Up, until a detection time has passed in which nothing was heard.

        That is then no failure: nobody can say whether the neighbour went or was left alone for too long.
        """
        session = cls(timing, memory.mine, now)
        session.state = session.remote_state = State.UP
        session.remote_discriminator = memory.yours
        session._remote_min_tx_us, session._remote_min_rx_us = memory.min_tx_us, memory.min_rx_us
        session._remote_mult, session.is_remote_independent = memory.detect_mult, memory.independent
        session._tx_us = session._tx_in_force_us = timing.interval_us
        session._heard_until = now + session.detection_time_s
        return session

    # What goes out.

    def transmit(self, now: float, chance: float) -> tuple[Control, ...]:
        """What is to be sent now: the answer to a poll, and the periodic packet when its time has come.

        ``chance`` is drawn from 0 up to 1.
        """
        answers = (self._packet(final=True),) if self._owes_final else ()
        self._owes_final = False
        if now < self._next_tx or not self._may_send(now):
            return answers
        self._next_tx = now + self._jittered_s(chance)
        return (*answers, self._packet(poll=self._is_polling))

    def deadline(self, now: float) -> float:
        """When to come back for :meth:`expire` and :meth:`transmit`."""
        if self._owes_final:
            return now
        sends_at = self._next_tx if self._may_send(max(now, self._next_tx)) else NEVER
        return min(sends_at, self._heard_until, self._sends_until)

    def is_over(self, now: float) -> bool:
        return now >= self._sends_until

    @property
    def detection_time_s(self) -> float:
        """How long nothing may be heard (6.8.4); 0 before anything was."""
        return self._remote_mult * max(self._rx_in_force_us, self._remote_min_tx_us) * _US

    @property
    def interval_s(self) -> float:
        """Between two packets of ours, before the jitter."""
        return self._interval_us * _US

    # Its own.

    @property
    def _interval_us(self) -> int:
        return max(self._tx_in_force_us, self._remote_min_rx_us)

    def _jittered_s(self, chance: float) -> float:
        most = 0.9 if self._timing.detect_mult == 1 else 1.0
        return self._interval_us * _US * (0.75 + (most - 0.75) * chance)

    def _may_send(self, now: float) -> bool:
        both_up = self.state is State.UP and self.remote_state is State.UP
        is_silenced = self._is_remote_demanding and both_up and not self._is_polling
        return self._remote_min_rx_us != 0 and not is_silenced and now <= self._sends_until

    def _packet(self, *, poll: bool = False, final: bool = False) -> Control:
        return Control(
            state=self.state,
            mine=self.discriminator,
            yours=self.remote_discriminator,
            detect_mult=self._timing.detect_mult,
            desired_min_tx_us=self._tx_us,
            required_min_rx_us=self._rx_us,
            diagnostic=self.diagnostic,
            poll=poll,
            final=final,
            independent=True,
        )

    def _remember(self, packet: Control) -> None:
        self.remote_discriminator = packet.mine
        self.remote_state = packet.state
        self.remote_diagnostic = packet.diagnostic
        self.is_remote_independent = packet.independent
        self._is_remote_demanding = packet.demand
        self._remote_min_tx_us = packet.desired_min_tx_us
        self._remote_mult = packet.detect_mult
        self._remote_min_rx_us = packet.required_min_rx_us

    def _hear_about_polls(self, packet: Control) -> None:
        self._owes_final = self._owes_final or packet.poll
        if packet.final and self._is_polling:
            self._is_polling = False
            if not self._owes_poll:
                self._tx_in_force_us, self._rx_in_force_us = self._tx_us, self._rx_us
        elif not packet.final and self._owes_poll and not self._is_polling:
            self._owes_poll, self._is_polling = False, True

    def _follow(self, remote: State, now: float) -> Change | None:
        """The table of 6.8.6."""
        if remote is State.ADMIN_DOWN:
            if self.state is State.DOWN:
                return None
            return self._move(State.DOWN, Cause.NEIGHBOUR_ADMIN_DOWN, now, Diagnostic.NEIGHBOUR_SAID_DOWN)
        match self.state, remote:
            case State.DOWN, State.DOWN:
                return self._move(State.INIT, Cause.HEARD, now)
            case (State.DOWN, State.INIT) | (State.INIT, State.INIT | State.UP):
                return self._move(State.UP, Cause.HEARD, now)
            case State.UP, State.DOWN:
                return self._move(State.DOWN, Cause.NEIGHBOUR_DOWN, now, Diagnostic.NEIGHBOUR_SAID_DOWN)
            case _:
                return None

    def _move(self, state: State, cause: Cause, now: float, diagnostic: Diagnostic = Diagnostic.NONE) -> Change:
        change = Change(self.state, state, cause)
        self.state = state
        if state is not State.INIT:
            self.diagnostic = diagnostic
        if change.before is State.UP or state is State.UP:
            self.has_failed = change.is_failure
        self._next_tx = now
        self._apply_timing(now)
        return change

    def _apply_timing(self, now: float) -> None:
        """Say what this side wants now that the state, or the wish, is another."""
        wanted_us = self._timing.interval_us
        is_up = self.state is State.UP
        tx_us, rx_us = wanted_us if is_up else max(wanted_us, SLOWEST_START_US), wanted_us
        if (tx_us, rx_us) == (self._tx_us, self._rx_us):
            return
        self._tx_us, self._rx_us = tx_us, rx_us
        self._tx_in_force_us = min(self._tx_in_force_us, tx_us) if is_up else tx_us
        self._rx_in_force_us = max(self._rx_in_force_us, rx_us) if is_up else rx_us
        self._next_tx = min(self._next_tx, now + self._interval_us * _US)
        if self._is_polling:
            self._owes_poll = True
        self._is_polling = True

    def _forget(self) -> None:
        self._heard_until = NEVER
        self.remote_discriminator = 0
        self.remote_state = State.DOWN
        self._remote_min_rx_us, self._remote_min_tx_us, self._remote_mult = 1, 0, 0
        self._is_remote_demanding = False
        self._is_polling = self._owes_poll = self._owes_final = False
