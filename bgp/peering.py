"""One neighbour: the connections to it, which of them counts, and what becomes of its routes when that one is gone.

It has a connection that dials, unless it is passive, and for a while there may be accepted ones beside it; a collision
is settled when an OPEN tells the peer's identifier (RFC 4271, 6.8), and at most one is Established. While an accepted
one is, nothing dials.

When the session is lost without a NOTIFICATION and the peer had offered graceful restart, its routes stay, marked, for
its restart time; when it is back they stay until its End-of-RIB, or once more that long. When it is lost again before,
what is still marked keeps its first time. When it comes back without having kept its forwarding state they go at once,
and so they do when the session ends by a NOTIFICATION or when the neighbour is no longer wanted (RFC 4724, 4.2). A
session that this side makes anew is another matter: nobody has restarted, and BIRD says nothing of its forwarding then.

When BFD says that its packets no longer come, the session ends at once and no route stays, whatever graceful restart
would allow: it does not answer for what it forwards. One case is left to graceful restart (RFC 5882, 4.3.2): the
session was lost before, and the neighbour's BFD lives and dies with its speaker, so its silence only says that the
speaker restarts.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine
from datetime import datetime
from ipaddress import IPv4Address
from typing import Any, Protocol

from bgp.connection import Connection
from bgp.export import Told
from bgp.guard import Guard
from bgp.message import Cause, EndOfRib, Learned, Opened, Refresh, Refreshing, Trouble
from bgp.neighbour import Neighbour
from bgp.rib import FOREVER, Rib
from bgp.session import CONNECT_RETRY_S, ERROR_WAIT_S, State, Step, keeps_own_dial
from bgp.stream import Stream
from bgp.transport import Address, Network
from bgp.wire import Codec, Ends, Packer

log = logging.getLogger(__name__)

BFD_DOWN = 10
"""The subcode of Cease (RFC 9384)."""
TOO_MANY_WAIT_S = 60.0
"""How long a neighbour stays away that announced more than it may."""


class House(Protocol):
    """What all neighbours of one speaker share."""

    loop: asyncio.AbstractEventLoop
    network: Network
    packer: Packer
    rib: Rib
    router_id: IPv4Address

    @property
    def has_restarted(self) -> bool: ...

    @property
    def keeps_forwarding(self) -> bool: ...

    @property
    def may_end_rib(self) -> bool: ...

    def exports_to(self, neighbour: Neighbour, many_paths: frozenset[int]) -> Told: ...

    def now_wall(self) -> datetime: ...

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]: ...

    def routes_changed(self) -> None: ...

    def heard_all_of(self, name: str) -> None:
        """End-of-RIB came from this neighbour."""
        ...

    def excuse(self, name: str) -> None:
        """It says no End-of-RIB, or waits for ours."""
        ...


class Peering:
    """``since_wall`` is when the session came up, or when it was last not up any more."""

    def __init__(self, house: House, neighbour: Neighbour) -> None:
        self.neighbour = neighbour
        self.since_wall = house.now_wall()
        self.trouble: Trouble | None = None
        self.opened: Opened | None = None
        self.counters: Counter[str] = Counter()
        self._house = house
        self._dialler: Connection | None = None
        self._accepted: list[Connection] = []
        self._dialling: asyncio.Task[None] | None = None
        self._waiting: asyncio.TimerHandle | None = None
        self._is_over = False
        self._has_renewed = False
        self._heard: set[int] = set()
        self._refreshing: set[int] = set()
        self._barred_until = 0.0
        self._knows_no_capabilities = False

    # From the speaker.

    def start(self) -> None:
        if not self.neighbour.is_passive and not self._is_over and not self.is_barred:
            self._dialler = self._new(is_dialled=True)
            self._dialler.start()

    def update(self, neighbour: Neighbour) -> None:
        """It is described anew, in ways that need no other session; where the OPEN is another, one that is renewed."""
        if neighbour == self.neighbour:
            return
        before, self.neighbour = self.neighbour, neighbour
        self._house.rib.describe(before.name, neighbour)
        if _guard_of(before) != _guard_of(neighbour):
            for connection in self._connections():
                connection.guard_anew()
        if _offer_of(before) != _offer_of(neighbour):
            self._has_renewed = self.established is not None
            for connection in self._connections():
                connection.renew()
        if before.is_passive and not neighbour.is_passive:
            self._start_again()

    def stop(self, code: int, subcode: int, *, text: str = "") -> None:
        """End every connection with this NOTIFICATION, and forget its routes: it is no longer a neighbour."""
        self._is_over = True
        self._stop_waiting()
        for connection in self._connections():
            connection.stop(code, subcode, text=text)
        self._stop_dialling()
        self._house.rib.forget(self.neighbour.name)
        self._house.routes_changed()

    def shut(self, text: str) -> None:
        """Somebody wants it down: it is told why (RFC 9003), and stays down until :meth:`open_again`."""
        self._bar(6, 2, text, until=FOREVER)
        self.trouble = Trouble(Cause.SENT, 6, 2, text)

    def open_again(self) -> None:
        self._barred_until = 0.0
        self._start_again()

    def fail(self, *, is_independent: bool) -> None:
        """BFD heard it and hears it no longer. ``is_independent``: its BFD lives on when its speaker restarts."""
        if self.is_barred or (self.established is None and not is_independent):
            return
        self.counters["bfd-down"] += 1
        log.warning("session.failed neighbour=%s why=bfd", self.neighbour.name)
        until = self._house.loop.time() + CONNECT_RETRY_S
        self._bar(6, BFD_DOWN, "", until=until)
        self.trouble = Trouble(Cause.SENT, 6, BFD_DOWN)
        self._house.loop.call_at(until, self._lift, until)

    @property
    def is_barred(self) -> bool:
        """No connection is made or taken."""
        return self._barred_until > self._house.loop.time()

    def abandon(self) -> None:
        """End every connection without a word: the peer is to keep our routes."""
        self._is_over = True
        self._stop_waiting()
        self._stop_dialling()
        for connection in self._connections():
            connection.abandon()

    def admit(self) -> Connection | None:
        """A connection of it has been accepted: who talks to it. A session that it replaces is closed (RFC 4724, 5)."""
        if self.is_barred:
            return None
        established = self.established
        if established is not None and established.can_restart_gracefully:
            established.replace()
            self._dialler = None if established is self._dialler else self._dialler
        for other in [each for each in self._accepted if each.state < State.OPEN_CONFIRM]:
            other.abandon()
            self._accepted.remove(other)
        connection = self._new(is_dialled=False)
        self._accepted.append(connection)
        connection.start()
        return connection

    def announce(self) -> None:
        """What the house exports has changed."""
        established = self.established
        if established is not None:
            established.announce(self.told(), is_all_known=self._house.may_end_rib)

    def told(self) -> Told:
        """What it is to be told now, or would be."""
        many_paths = self.opened.many_paths if self.opened is not None else frozenset()
        return self._house.exports_to(self.neighbour, many_paths)

    # For the status.

    @property
    def established(self) -> Connection | None:
        return next((each for each in self._connections() if each.state is State.ESTABLISHED), None)

    @property
    def state(self) -> State:
        """The furthest of its connections; a passive neighbour without one waits."""
        waiting = State.ACTIVE if self.neighbour.is_passive else State.IDLE
        return max((each.state for each in self._connections()), default=waiting)

    # From its connections.

    def dial(self, connection: Connection) -> None:
        self._stop_dialling()
        self._dialling = self._house.spawn(self._dial(connection), f"dial {self.neighbour.name}")

    @property
    def guard(self) -> Guard:
        return _guard_of(self.neighbour)

    @property
    def keepalive_time_s(self) -> int:
        return self.neighbour.keepalive_time_s

    @property
    def survives_notifications(self) -> bool:
        return self.neighbour.survives_notifications

    def codec(self, local: Address) -> Codec:
        """What is announced has the configured address as its next hop, whichever of ours was dialled."""
        house, neighbour = self._house, self.neighbour
        ends = Ends(
            local_address=neighbour.local_address or local,
            other_address=neighbour.other_address,
            versions=neighbour.spoken,
            peer_address=neighbour.address,
            local_as=neighbour.local_as,
            peer_as=neighbour.peer_as,
            router_id=house.router_id,
            hold_time_s=neighbour.hold_time_s,
            restart_time_s=neighbour.restart_time_s,
            has_restarted=house.has_restarted,
            keeps_forwarding=house.keeps_forwarding,
            survives_notifications=neighbour.survives_notifications,
            add_path=neighbour.add_path,
            has_capabilities=not self._knows_no_capabilities,
        )
        return Codec(ends, house.packer)

    def loses(self, connection: Connection, opened: Opened) -> bool:
        """Of two that were dialled by the same end the older one counts as that of the greater identifier."""
        mine = (self._house.router_id, self.neighbour.local_as)
        keeps_dialled = keeps_own_dial(mine, (opened.router_id, opened.peer_as))
        for other in self._connections():
            if other is connection or other.state < State.OPEN_SENT:
                continue
            keeps_other = (
                keeps_dialled if other.is_dialled == connection.is_dialled else other.is_dialled == keeps_dialled
            )
            if other.state is State.ESTABLISHED or keeps_other:
                return True
            other.collide()
        return False

    def came_up(self, connection: Connection) -> None:
        opened = connection.opened
        assert opened is not None
        self.opened, self.trouble, self.since_wall = opened, None, self._house.now_wall()
        self.counters["established"] += 1
        log.info(
            "session.up neighbour=%s router_id=%s hold_s=%d", self.neighbour.name, opened.router_id, opened.hold_time_s
        )
        self._stop_other_dialling(connection)
        for version in {4, 6} - self._kept(opened):
            self._house.rib.drop(self.neighbour.name, version=version)
        self._has_renewed = False
        self._heard.clear()
        self._refreshing.clear()
        self._house.rib.meet(self.neighbour, opened.router_id)
        self._sweep_after(self._restart_time_s())
        if opened.graceful is None or opened.graceful.has_restarted:
            self._house.excuse(self.neighbour.name)
        self._house.routes_changed()
        connection.announce(self.told(), is_all_known=self._house.may_end_rib)

    def went_down(self, connection: Connection, *, keeps_routes: bool) -> None:
        self._knows_no_capabilities = False
        name, rib, now = self.neighbour.name, self._house.rib, self._house.loop.time()
        self.since_wall = self._house.now_wall()
        stays = keeps_routes and connection.can_restart_gracefully and not self._is_over
        if stays:
            for version in {4, 6} - self._listed():
                rib.drop(name, version=version)
            rib.mark(name, until=now + self._restart_time_s())
            rib.sweep(name, now=now)
            self._sweep_from_now_on()
        else:
            self._stop_waiting()
            rib.drop(name)
        self.opened = None
        log.info("session.down neighbour=%s routes=%s", name, "stale" if stays else "gone")
        self._house.routes_changed()

    def learned(self, connection: Connection, message: Learned | EndOfRib | Refresh) -> None:
        name, rib = self.neighbour.name, self._house.rib
        match message:
            case Learned(faults=faults):
                for fault in faults:
                    log.warning("update.malformed neighbour=%s what=%s", name, fault)
                rib.learn(name, message)
                if rib.has_room_again(name):
                    connection.request_refresh()
                self._limit()
            case Refresh(Refreshing.BEGIN, version) if self._may_refresh(version):
                self._refreshing.add(version)
                rib.mark(name, version=version)
            case Refresh(Refreshing.BEGIN, version):
                self.counters["early-refresh"] += 1
                log.warning("refresh.early neighbour=%s version=%d", name, version)
            case Refresh(Refreshing.END, version) if version in self._refreshing:
                self._refreshing.discard(version)
                rib.sweep(name, version=version)
            case EndOfRib(version):
                if version not in self._refreshing:
                    rib.sweep(name, version=version)
                self._heard.add(version)
                if self.opened is not None and self._heard >= self.opened.versions:
                    self._stop_waiting()
                    self._house.heard_all_of(name)
        self._house.routes_changed()

    def ended(self, connection: Connection, step: Step) -> None:
        if connection.trouble == _NO_CAPABILITIES:
            self._knows_no_capabilities = True
        if self.established is None and connection.trouble not in (None, self.trouble):
            self.trouble = connection.trouble
            log.info("connection.ended neighbour=%s why=%r trouble=%s", self.neighbour.name, step.reason, self.trouble)
        self.counters.update(connection.counters)
        connection.counters.clear()
        if connection.is_dialled:
            self._stop_dialling()
            return
        if connection in self._accepted:
            self._accepted.remove(connection)
        if self._dialler is None and self.established is None:
            wait_s = ERROR_WAIT_S if step.state is State.IDLE else CONNECT_RETRY_S
            self._house.loop.call_later(wait_s, self._start_again)

    # Its own.

    def _new(self, *, is_dialled: bool) -> Connection:
        return Connection(self, loop=self._house.loop, is_dialled=is_dialled)

    def _connections(self) -> list[Connection]:
        return [*([self._dialler] if self._dialler is not None else []), *self._accepted]

    async def _dial(self, connection: Connection) -> None:
        neighbour = self.neighbour
        try:
            await self._house.network.dial(
                Stream(connection),
                local=neighbour.local_address,
                peer=neighbour.address,
                port=neighbour.port,
                guard=self.guard,
            )
        except OSError as error:
            self._dialling = None
            connection.dial_failed(error)

    def _stop_dialling(self) -> None:
        if self._dialling is not None:
            self._dialling.cancel()
            self._dialling = None

    def _stop_other_dialling(self, connection: Connection) -> None:
        dialler = self._dialler
        if dialler is not None and dialler is not connection:
            self._dialler = None
            dialler.stop(6, 7)
            self._stop_dialling()

    def _start_again(self) -> None:
        if self._dialler is None and self.established is None and not self._is_over:
            self.start()

    def _limit(self) -> None:
        most, found = self.neighbour.max_prefixes, self._house.rib.tally(self.neighbour.name).received
        if most and found > most:
            self.counters["too-many-prefixes"] += 1
            log.warning("session.limit neighbour=%s prefixes=%d most=%d", self.neighbour.name, found, most)
            until = self._house.loop.time() + TOO_MANY_WAIT_S
            self._bar(6, 1, f"more than {most} prefixes", until=until)
            self._house.loop.call_at(until, self._lift, until)

    def _bar(self, code: int, subcode: int, text: str, *, until: float) -> None:
        self._barred_until = until
        connections, self._dialler, self._accepted = self._connections(), None, []
        for connection in connections:
            connection.stop(code, subcode, text=text)
        self._stop_dialling()
        self._stop_waiting()
        self._house.rib.drop(self.neighbour.name)
        self._house.routes_changed()

    def _lift(self, until: float) -> None:
        if self._barred_until == until:
            self.open_again()

    def _kept(self, opened: Opened) -> frozenset[int]:
        """The families whose stale routes may stay, now that it is back."""
        graceful = opened.graceful
        if graceful is None:
            return frozenset()
        return opened.versions & (graceful.versions if self._has_renewed else graceful.forwarding)

    def _may_refresh(self, version: int) -> bool:
        """Not before End-of-RIB, if it restarts gracefully: what is marked then is its restart's (RFC 7313, 4)."""
        return self.opened is None or self.opened.graceful is None or version in self._heard

    def _listed(self) -> frozenset[int]:
        """The families whose routes it wants to have kept while it is away."""
        graceful = self.opened.graceful if self.opened is not None else None
        return graceful.versions if graceful is not None else frozenset()

    def _restart_time_s(self) -> float:
        """How long the peer asked us to keep its routes."""
        graceful = self.opened.graceful if self.opened is not None else None
        return graceful.restart_time_s if graceful is not None else 0.0

    def _sweep_after(self, patience_s: float) -> None:
        """The peer is back: that long it may take to announce its stale routes again."""
        self._stop_waiting()
        if self._house.rib.tally(self.neighbour.name).stale:
            self._waiting = self._house.loop.call_later(patience_s, self._sweep, FOREVER)

    def _sweep_from_now_on(self) -> None:
        """The peer is away: each stale route goes when its time has come."""
        self._stop_waiting()
        deadline = self._house.rib.next_sweep(self.neighbour.name)
        if deadline < FOREVER:
            self._waiting = self._house.loop.call_at(deadline, self._sweep, deadline)

    def _sweep(self, now: float) -> None:
        swept = self._house.rib.sweep(self.neighbour.name, now=now)
        log.info("stale.swept neighbour=%s routes=%d", self.neighbour.name, swept)
        self._house.routes_changed()
        self._sweep_from_now_on()

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


_NO_CAPABILITIES = Trouble(Cause.RECEIVED, 2, 4)
"""An old speaker's answer to an OPEN that has them; the next one has none (RFC 5492, 3)."""


def _offer_of(neighbour: Neighbour) -> tuple[object, ...]:
    """What is said in the OPEN and can be said anew over a restart."""
    return neighbour.restart_time_s, neighbour.hold_time_s, neighbour.survives_notifications, neighbour.add_path


def _guard_of(neighbour: Neighbour) -> Guard:
    return Guard(neighbour.password, neighbour.ttl_hops)
