"""The BGP speaker: all neighbours of this node, the socket that they dial, and what they share.

It is told what should be, whole and as often as one likes (:class:`Wanted`), and works out the difference: neighbours
that are new are started, those that are gone are sent a Cease (6/3), so that they drop our routes at once, and those
that are described differently get a new session only where the old one could not know (6/6). A node that is no longer a
neighbour but still a node has only changed its place, from the mesh to a reflector or back: it is left a little later,
when the others have had the time to bring what it brought. What it learns goes out
as differences of best routes, at most one a turn of the loop.

The end of the process says nothing to anybody: neighbours keep our routes by graceful restart, and the next process
finds them. After its own start it says End-of-RIB once it knows all that it announces, and reports ``in_sync`` when
:class:`~bgp.recovery.Recovery` is over.

It makes no decision of its own: who is a neighbour, what is announced, what is believed and what a session does stand
in mesh, export, accept and session. Sockets and links in memory look alike from here (:mod:`bgp.transport`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Address, ip_network
from typing import Any

from bgp.accept import Own
from bgp.best import MOST_NEXT_HOPS
from bgp.bfd.watch import SessionStatus, Watch
from bgp.export import NOTHING, Exports, Told
from bgp.learned import Delta
from bgp.learned import Network as IPNetwork
from bgp.neighbour import AddPath, ListenAt, Neighbour
from bgp.outgoing import Outgoing
from bgp.ownership import Ownership
from bgp.passing import CLOSED, Policy
from bgp.peering import Peering
from bgp.recovery import RESTART_TIME_S, Recovery
from bgp.rib import Reaches, Rib
from bgp.stream import Doorway, Receiver
from bgp.transport import Address, Listening, Network
from bgp.wire import Packer

log = logging.getLogger(__name__)

LISTEN_RETRY_S = 5.0
LEAVE_S = 10.0
"""Enough for a dial after an error and for what is then announced."""
DEFERRAL_S = 15.0
"""After a restart learned routes are passed on then, whoever has not come; End-of-RIB waits on."""
_MOST_STRANGERS = 256
_LONGEST_REST_S = 0.1


@dataclass(frozen=True, slots=True)
class Wanted:
    """All that the speaker should be doing.

    ``is_settled``: the neighbours are those of a datastore in sync, not remembered ones. ``are_exports_known``:
    nothing that belongs into ``exports`` is still missing, so End-of-RIB may be said. ``nodes``: the names of all there
    are. ``kept_out``: where nothing that is learned is for the kernel.
    """

    router_id: IPv4Address
    neighbours: tuple[Neighbour, ...] = ()
    exports: Exports = field(default_factory=lambda: NOTHING)
    are_exports_known: bool = False
    is_settled: bool = False
    listen: ListenAt | None = None
    policy: Policy = CLOSED
    nodes: frozenset[str] = frozenset()
    kept_out: tuple[IPNetwork, ...] = ()


@dataclass(frozen=True, slots=True)
class PastLife:
    """What the last process left: whether there was one, and whether the kernel still forwards what it announced."""

    has_restarted: bool = False
    keeps_forwarding: bool = False


FIRST_LIFE = PastLife()


class Speaker:
    """``on_routes`` gets each change of the best routes, ``on_in_sync`` is called once. Both must not block."""

    def __init__(
        self,
        network: Network,
        *,
        loop: asyncio.AbstractEventLoop,
        wall: Callable[[], datetime],
        on_routes: Callable[[Delta], None],
        on_in_sync: Callable[[], None],
        past: PastLife = FIRST_LIFE,
        recovery_time_s: float = RESTART_TIME_S,
        most_next_hops: int = MOST_NEXT_HOPS,
    ) -> None:
        self.loop = loop
        self.network = network
        self.packer = Packer()
        self.router_id = IPv4Address(0)
        self.rib = Rib(most_next_hops=most_next_hops)
        self.exports: Exports = NOTHING
        self.are_exports_known = False
        self.outgoing = Outgoing()
        self.recovery = Recovery(recovery_time_s)
        self.peerings: dict[str, Peering] = {}
        self.strangers: Counter[str] = Counter()
        self.bfd: dict[Address, SessionStatus] = {}
        self._wall = wall
        self._on_routes = on_routes
        self._on_in_sync = on_in_sync
        self._past = past
        self._is_publishing = False
        self._is_announcing = False
        self._rest_until = 0.0
        self._was_in_sync = False
        self._has_selected = False
        self._listen: ListenAt | None = None
        self._listen_changed = asyncio.Event()
        self._listening: Listening | None = None
        self._leaving: dict[str, asyncio.TimerHandle] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._recovery_timer: asyncio.TimerHandle | None = None
        self._deferral_timer: asyncio.TimerHandle | None = None
        self._has_deferred = False

    # From the daemon.

    async def run(self) -> None:
        """Speak until cancelled. Then every connection is closed without a word."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                for peering in self.peerings.values():
                    peering.start()
                await self._keep_listening()
            finally:
                self._tasks = None
                for timer in (self._recovery_timer, self._deferral_timer, *self._leaving.values()):
                    if timer is not None:
                        timer.cancel()
                for peering in self.peerings.values():
                    peering.abandon()

    def apply(self, wanted: Wanted) -> None:
        """Make it so. Called as often as anything changes."""
        if wanted.router_id != self.router_id:
            self._stop_all_but(frozenset())
            self.router_id = wanted.router_id
        self.rib.be(Own(wanted.router_id, wanted.policy.cluster_id))
        self.rib.lead({ip_network(each.address): each.gateway for each in wanted.neighbours if each.gateway})
        self.rib.keep_out(wanted.kept_out)
        if wanted.listen != self._listen:
            self._listen = wanted.listen
            self._listen_changed.set()
        self._apply_exports(wanted)
        self._apply_neighbours(wanted.neighbours, wanted.nodes)
        if wanted.is_settled:
            self._expect(wanted.neighbours)

    def judge_by(self, ownership: Ownership) -> None:
        self.rib.judge_by(ownership)
        self.routes_changed()

    def watches(self) -> frozenset[Watch]:
        """Whom BFD is to watch."""
        neighbours = (peering.neighbour for peering in self.peerings.values())
        return frozenset(Watch(each.address, each.local_address) for each in neighbours if each.is_watched)

    def hear_bfd(self, status: SessionStatus) -> None:
        """Only a session that was Up can fail: one that never was says nothing of a neighbour."""
        before = self.bfd.get(status.peer)
        self.bfd[status.peer] = status
        if before is None or not before.is_up or not status.has_failed:
            return
        for peering in self.peerings.values():
            if peering.neighbour.address == status.peer and peering.neighbour.is_watched:
                peering.fail(is_independent=status.is_independent)

    def reach_by(self, is_reachable: Reaches, *, is_near: Reaches) -> None:
        self.rib.reach_by(is_reachable, is_near=is_near)
        self.routes_changed()

    # What its neighbours ask of it: peering.House.

    @property
    def has_restarted(self) -> bool:
        return self._past.has_restarted and not self.recovery.is_over

    @property
    def keeps_forwarding(self) -> bool:
        return self._past.keeps_forwarding or self.are_exports_known

    @property
    def may_end_rib(self) -> bool:
        """Whether all that is to be announced is known. What is passed on is once the neighbours have said it again."""
        return self.are_exports_known and not (self._waits and self._passes_on)

    @property
    def _waits(self) -> bool:
        """After a restart for what the neighbours know (RFC 4724, 4.1)."""
        return self._past.has_restarted and not self.recovery.may_select

    @property
    def _passes_on(self) -> bool:
        is_reflector = self.outgoing.policy.cluster_id is not None
        return is_reflector or any(not each.neighbour.is_internal for each in self.peerings.values())

    def exports_to(self, neighbour: Neighbour, many_paths: frozenset[int]) -> Told:
        return self.outgoing.to(neighbour, many_paths)

    def now_wall(self) -> datetime:
        return self._wall()

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        assert self._tasks is not None, "a neighbour was started before the speaker ran"
        return self._tasks.create_task(work, name=name)

    def routes_changed(self) -> None:
        if not self._is_publishing:
            self._is_publishing = True
            self.loop.call_soon(self._publish)

    def heard_all_of(self, name: str) -> None:
        self.recovery.hear(name)
        self._end_wait()

    def excuse(self, name: str) -> None:
        self.recovery.excuse(name)
        self._end_wait()

    # Its own.

    def _apply_exports(self, wanted: Wanted) -> None:
        is_same = not self.outgoing.announce(wanted.exports, wanted.policy)
        if is_same and wanted.are_exports_known == self.are_exports_known:
            return
        self.exports = wanted.exports
        self.are_exports_known = wanted.are_exports_known
        self._announce()

    def _announce(self) -> None:
        for peering in self.peerings.values():
            peering.announce()

    def _announce_soon(self) -> None:
        """Changes come in bursts, and a pass asks for every neighbour: the next waits for as long as it took, so that
        half of the time goes to what comes in; not for longer, since on a busy machine it may have taken seconds.
        """
        if not self._is_announcing:
            self._is_announcing = True
            self.loop.call_at(max(self._rest_until, self.loop.time()), self._announce_now)

    def _announce_now(self) -> None:
        begun = self.loop.time()
        self._is_announcing = False
        self._announce()
        now = self.loop.time()
        self._rest_until = now + min(now - begun, _LONGEST_REST_S)

    def _apply_neighbours(self, neighbours: tuple[Neighbour, ...], nodes: frozenset[str]) -> None:
        self._rename(neighbours)
        self._leave_later(neighbours, nodes)
        self._stop_all_but({*self._leaving, *(each.name for each in neighbours)})
        places = {each.address for each in neighbours}
        self.bfd = {address: status for address, status in self.bfd.items() if address in places}
        for neighbour in neighbours:
            peering = self.peerings.get(neighbour.name)
            if peering is not None and _needs_new_session(peering.neighbour, neighbour):
                self._stop(neighbour.name, 6, 6)
                peering = None
            if peering is not None:
                peering.update(neighbour)
                continue
            self.peerings[neighbour.name] = peering = Peering(self, neighbour)
            if self._tasks is not None:
                peering.start()
        self._require_passwords()
        self.outgoing.serve(peering.neighbour for peering in self.peerings.values())
        self.rib.keep_others(any(each.neighbour.add_path & AddPath.SEND for each in self.peerings.values()))
        self._announce()
        self.routes_changed()

    def _rename(self, neighbours: tuple[Neighbour, ...]) -> None:
        """One that is another kind of neighbour now, at the same place, keeps its session under its new name."""
        wanted = {each.name for each in neighbours}
        by_session = {_session_of(each.neighbour): name for name, each in self.peerings.items() if name not in wanted}
        for neighbour in neighbours:
            name = by_session.pop(_session_of(neighbour), None) if neighbour.name not in self.peerings else None
            if name is not None:
                self.peerings[neighbour.name] = self.peerings.pop(name)
                self.recovery.rename(name, neighbour.name)

    def _leave_later(self, neighbours: tuple[Neighbour, ...], nodes: frozenset[str]) -> None:
        """Those that are unwanted but still nodes, while there are others, and nobody else is wanted at their place."""
        wanted = {each.name for each in neighbours}
        places = {each.address for each in neighbours}
        versions = {each.version for each in places}
        before, self._leaving = self._leaving, {}
        for name, peering in self.peerings.items():
            neighbour = peering.neighbour
            is_elsewhere = neighbour.node in nodes and neighbour.address not in places
            if name not in wanted and is_elsewhere and neighbour.address.version in versions and peering.established:
                timer = before.pop(name) if name in before else self.loop.call_later(LEAVE_S, self._leave, name)
                self._leaving[name] = timer
        for timer in before.values():
            timer.cancel()

    def _leave(self, name: str) -> None:
        self._leaving.pop(name, None)
        if name in self.peerings:
            self._stop(name, 6, 3)

    def _require_passwords(self) -> None:
        """What they dial us with has to be signed, for those that have a password."""
        if self._listening is None:
            return
        neighbours = (peering.neighbour for peering in self.peerings.values())
        try:
            self._listening.require({each.address: each.password for each in neighbours if each.password})
        except OSError as error:
            log.error("password.refused why=%s", error)

    def _stop_all_but(self, names: Collection[str]) -> None:
        for name in [name for name in self.peerings if name not in names]:
            self._stop(name, 6, 3)

    def _stop(self, name: str, code: int, subcode: int) -> None:
        self.peerings.pop(name).stop(code, subcode)

    def _publish(self) -> None:
        self._is_publishing = False
        delta = self.rib.changes()
        if delta.best or delta.gone:
            self._on_routes(delta)
        if self._waits and not self._has_deferred:
            return
        if self.outgoing.learn(self.rib.winners, self.rib.won_anew(), self.rib.others):
            self._announce_soon()

    def _expect(self, neighbours: tuple[Neighbour, ...]) -> None:
        is_first = self.recovery.deadline is None
        self.recovery.expect((each.name for each in neighbours), self.loop.time())
        if is_first and self.recovery.deadline is not None:
            self._recovery_timer = self.loop.call_at(self.recovery.deadline, self._expire_recovery)
            self._deferral_timer = self.loop.call_later(DEFERRAL_S, self._end_deferral)
        self._end_wait()

    def _end_deferral(self) -> None:
        self._has_deferred = True
        self._publish()

    def _expire_recovery(self) -> None:
        self.recovery.expire()
        self._end_wait()

    def _end_wait(self) -> None:
        if not self.recovery.may_select:
            return
        has_selected, self._has_selected = self._has_selected, True
        was_in_sync, self._was_in_sync = self._was_in_sync, self.recovery.is_over
        if not has_selected or self._was_in_sync != was_in_sync:
            self._publish()
            self._announce()
        if self._was_in_sync and not was_in_sync:
            self._on_in_sync()

    def _welcome(self, address: Address) -> Receiver | None:
        """The neighbour at this address; anyone else is refused and counted."""
        if self._tasks is None:
            return None
        for peering in self.peerings.values():
            if peering.neighbour.address == address:
                return peering.admit()
        who = str(address) if len(self.strangers) < _MOST_STRANGERS else "others"
        if not self.strangers[who]:
            log.warning("connection.refused from=%s why=unknown", address)
        self.strangers[who] += 1
        return None

    async def _keep_listening(self) -> None:
        """One socket, where it is wanted; tried again while somebody else has it."""
        while True:
            self._listen_changed.clear()
            wanted = self._listen
            if wanted is not None:
                self._listening = await self._try_to_listen(wanted)
                self._require_passwords()
            try:
                is_settled = wanted is None or self._listening is not None
                await asyncio.wait_for(self._listen_changed.wait(), None if is_settled else LISTEN_RETRY_S)
            except TimeoutError:
                continue
            finally:
                if self._listening is not None:
                    self._listening.close()
                    self._listening = None

    async def _try_to_listen(self, wanted: ListenAt) -> Listening | None:
        try:
            return await self.network.listen(
                lambda: Doorway(self._welcome), addresses=wanted.addresses, port=wanted.port
            )
        except OSError as error:
            log.error("listen.failed port=%d why=%s", wanted.port, error)
            return None


def _needs_new_session(old: Neighbour, new: Neighbour) -> bool:
    """Whether the two differ in what was said in the OPEN or decides the addresses."""
    return _session_of(old) != _session_of(new)


def _session_of(each: Neighbour) -> tuple[object, ...]:
    return each.address, each.local_address, each.other_address, each.local_as, each.peer_as, each.spoken
