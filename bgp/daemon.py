"""The speaker as a process: datastore, neighbours, felix and the status socket joined under one TaskGroup.

    datastore ─follow─▶ View ─▶ mesh, exports, ownership ─▶ Speaker ⇄ neighbours
    felix ─confirmed─▶ View                                    └─routes─▶ felix

It decides nothing: what changes is put into the view, and moments later the whole of what should be is worked out and
handed to the speaker. Moments later, since changes come in bursts and a pass over a large cluster takes a while: after
one that was not quick it rests for nine times as long as it took, half a second at most.

Until the datastore is in sync it speaks as the last process did (:mod:`bgp.remembered`). What was announced in this
boot of the machine counts as confirmed until felix says otherwise. SIGTERM ends it with everything left as it is:
neighbours keep our routes, felix the learned ones.
"""

from __future__ import annotations

import asyncio
import logging
import random
import signal
import time
from collections.abc import Callable, Collection, Coroutine, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Protocol

from setproctitle import setproctitle

from bgp import bird_socket, control, looking_glass, metrics, metrics_server, node_status
from bgp.bfd.watch import SOCKET_NAME as BFD_SOCKET_NAME
from bgp.bfd_link import BfdLink
from bgp.export import NOTHING, Exports
from bgp.felix_link import FelixLink
from bgp.learned import SOCKET_PATH, InSync, Network
from bgp.neighbour import ListenAt, Mesh
from bgp.node_reports import NodeReports
from bgp.recovery import RESTART_TIME_S
from bgp.remembered import FileMemory, Memory, Remembered
from bgp.report import report
from bgp.secret_reading import SecretReading
from bgp.session import HOLD_TIME_S
from bgp.speaker import PastLife, Speaker, Wanted
from bgp.status import SpeakerStatus
from bgp.transport import Network as Transport
from bgp.transport import TcpNetwork
from bgp.view import KINDS, View
from datastore.follow import Batch, follow
from datastore.store import Store, StoreError, Unavailable
from datastore.unreadable import Reasons, in_words

log = logging.getLogger(__name__)

EXPORTS_WAIT_S = 60.0
"""How long End-of-RIB waits for the datastore and felix: less than neighbours keep our routes without it."""
_SEVERITY = {
    "Trace": logging.DEBUG,
    "Debug": logging.DEBUG,
    "Info": logging.INFO,
    "Warning": logging.WARNING,
    "Error": logging.ERROR,
    "Fatal": logging.CRITICAL,
}
_QUICK_S = 0.002
_REST_FACTOR, _LONGEST_REST_S = 9.0, 0.5


@dataclass(frozen=True, slots=True)
class BgpConfig:
    """``router_id``: an address, ``hash``, or "" for the node's own address. ``cluster_ips``: serviceClusterIPs by
    comma, where they are not BGPConfiguration's. ``metrics_port`` 0: nobody is told any. ``node_hold_time_s`` is
    offered to other nodes.
    """

    node: str
    router_id: str = ""
    felix_socket: Path = Path(SOCKET_PATH)
    run_folder: Path = Path("/var/run/calico")
    state_folder: Path = Path("/var/lib/calico")
    cluster_ips: str = ""
    metrics_port: int = 0
    node_hold_time_s: int = HOLD_TIME_S


class Beside(Protocol):
    """What lists and watches Kubernetes' own objects."""

    def secret(self, name: str) -> Store: ...

    def services(self) -> Store: ...

    def endpoint_slices(self) -> Store: ...


class BadEnvironment(ValueError):
    """The user's mistake, in words."""


def read(environ: Mapping[str, str], *, node: str = "") -> BgpConfig:
    """``node`` as the caller found it, or NODENAME. Raises BadEnvironment."""
    node = node or environ.get("NODENAME", "")
    if not node:
        raise BadEnvironment("NODENAME is not set")
    router_id = environ.get("CALICO_ROUTER_ID", "")
    if router_id not in ("", "hash"):
        try:
            IPv4Address(router_id)
        except ValueError:
            raise BadEnvironment(f"CALICO_ROUTER_ID={router_id}: must be an IPv4 address or hash") from None
    return BgpConfig(
        node,
        router_id,
        cluster_ips=environ.get("CALICO_ADVERTISE_CLUSTER_IPS", ""),
        metrics_port=_number(environ, "BGP_METRICS_PORT", 0, least=0, what="a port"),
        node_hold_time_s=_number(environ, "CALICO_NODE_HOLD_TIME_S", HOLD_TIME_S, least=3, what="3 seconds or more"),
    )


def _number(environ: Mapping[str, str], name: str, default: int, *, least: int, what: str) -> int:
    """Raises BadEnvironment."""
    text = environ.get(name) or str(default)
    if not text.isdecimal() or not least <= int(text) <= 65535:
        raise BadEnvironment(f"{name}={text}: must be {what}")
    return int(text)


async def run(
    config: BgpConfig,
    store: Store,
    *,
    on_ready: Callable[[], None] = lambda: None,
    beside: Beside | None = None,
) -> None:
    """Speak until SIGTERM or SIGINT. Raises OSError when a socket's file cannot be made.

    ``on_ready`` is called once, as soon as it is known whom to speak to and neighbours can connect.
    """
    setproctitle("bird")
    loop = asyncio.get_running_loop()
    daemon = asyncio.ensure_future(Daemon(config, store, on_ready=on_ready, beside=beside).run())
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, daemon.cancel)
    with suppress(asyncio.CancelledError):
        await daemon


@dataclass(frozen=True, slots=True)
class World:
    """What is outside of the process beside the datastore. ``wall`` is the time of day, ``stopwatch`` counts seconds,
    ``chance`` draws from 0 up to 1.
    """

    network: Transport
    memory: Memory
    wall: Callable[[], datetime] = datetime.now
    stopwatch: Callable[[], float] = time.perf_counter
    chance: Callable[[], float] = random.random


class Daemon:
    """``world``: the machine's, where none is given. :attr:`felix` is the line to felix. ``beside``: what
    Kubernetes has beside Calico's objects, where that is the datastore.
    """

    def __init__(
        self,
        config: BgpConfig,
        store: Store,
        *,
        on_ready: Callable[[], None] = lambda: None,
        world: World | None = None,
        beside: Beside | None = None,
    ) -> None:
        world = world or World(TcpNetwork(), FileMemory(config.state_folder / "bgp.json"))
        self._config = config
        self._store = store
        self._on_ready, self._is_ready = on_ready, False
        self._memory, self._wall, self._stopwatch, self._chance = (
            world.memory,
            world.wall,
            world.stopwatch,
            world.chance,
        )
        self._loop = asyncio.get_running_loop()
        self._view = View(config.node, cluster_ips=config.cluster_ips, node_hold_time_s=config.node_hold_time_s)
        self._troubles: dict[str, StoreError] = {}
        self._unreadable: Reasons = {}
        self._started_wall = self._configured_wall = world.wall()
        self._remembered = world.memory.load()
        self._confirmed: frozenset[Network] | None = None
        self._has_waited = False
        self._mesh = Mesh()
        self._tasks: asyncio.TaskGroup | None = None
        self._secrets: SecretReading | None = None
        self._beside = beside
        self._reads_services = False
        if beside is not None:
            self._secrets = SecretReading(beside.secret, random=self._chance, on_change=self._take_secrets)
            self._view.keep({})
        self._pass: asyncio.TimerHandle | None = None
        self._rest_until = 0.0
        self._unsaved = asyncio.Event()
        self.speaker = Speaker(
            world.network,
            loop=self._loop,
            wall=world.wall,
            on_routes=lambda delta: self.felix.tell(delta),
            on_in_sync=lambda: self.felix.tell(InSync()),
            past=self._past_life(),
        )
        self.felix = FelixLink(
            routes=self.speaker.rib.routes,
            is_in_sync=lambda: self.speaker.recovery.is_over,
            on_confirmed=self._take_confirmed,
        )
        self.bfd = BfdLink(self.speaker.hear_bfd, config.run_folder / BFD_SOCKET_NAME)

    async def run(self) -> None:
        """Speak, and be there for felix and for who asks for the status, until cancelled.

        Raises OSError when a socket's file cannot be made.
        """
        async with AsyncExitStack() as sockets:
            await sockets.enter_async_context(self.felix.serving(self._config.felix_socket))
            for version, name in ((4, "bird.ctl"), (6, "bird6.ctl")):
                status = self._status_of(version)
                await sockets.enter_async_context(bird_socket.serving(self._config.run_folder / name, status))
            commands = looking_glass.commands(self.speaker, self._whole_status)
            control_socket = self._config.run_folder / control.SOCKET_NAME
            await sockets.enter_async_context(control.serving(control_socket, commands))
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.bfd.run(), name="bfd")
                await self.speak()

    async def speak(self) -> None:
        """Until cancelled."""
        self._speak_as_before()
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            tasks.create_task(self.speaker.run(), name="speaker")
            tasks.create_task(self._keep_saving(), name="remember")
            for kind in KINDS:
                following = follow(self._store, kind, self._take, random=self._chance, on_trouble=self._note_trouble)
                tasks.create_task(following, name=f"follow {kind}")
            reports = NodeReports(self._store, self._config.node, self._answer, wall=self._wall)
            tasks.create_task(reports.run(chance=self._chance), name="node reports")
            if self._config.metrics_port:
                serving = metrics_server.serve(self._metrics, self._config.metrics_port)
                tasks.create_task(serving, name="metrics")
            self._loop.call_later(EXPORTS_WAIT_S, self._stop_waiting)
            log.info("bgp.ready node=%s remembered=%s", self._config.node, self._remembered is not None)

    # What comes in.

    def _take(self, batch: Batch) -> None:
        if self._view.apply(batch):
            self._pass_soon()
        found = self._view.unreadable
        for key in found.keys() - self._unreadable.keys():
            log.warning("object.unreadable %s", in_words(key, found[key]))
        self._unreadable = found

    def _take_confirmed(self, confirmed: frozenset[Network]) -> None:
        if confirmed != self._confirmed:
            log.info("felix.confirmed destinations=%d", len(confirmed))
            self._confirmed = confirmed
            self._pass_soon()

    def _take_secrets(self) -> None:
        if self._secrets is not None:
            self._view.keep(self._secrets.values())
            self._pass_soon()

    def _has_all_secrets(self) -> bool:
        """Those that are named now are being read, and each has been read once."""
        if self._secrets is None:
            return True
        self._secrets.want(self._view.named_secrets(), self._spawn)
        return self._secrets.is_settled

    def _has_services(self) -> bool:
        """Services are read from when some are to be announced on."""
        if self._beside is None or not self._view.service_ranges():
            return True
        if not self._reads_services:
            self._reads_services = True
            for kind, store in (
                ("Service", self._beside.services()),
                ("EndpointSlice", self._beside.endpoint_slices()),
            ):
                self._spawn(self._follow_beside(kind, store), f"follow {kind}")
        return self._view.has_services

    async def _follow_beside(self, kind: str, store: Store) -> None:
        def note(kind: str, error: StoreError | None) -> None:
            self._note_trouble(kind, error)
            if error is not None and not isinstance(error, Unavailable) and not self._view.has_services:
                self._take(Batch(kind, True, ()))  # not for us to read: what needs no Service goes out

        await follow(store, kind, self._take, random=self._chance, on_trouble=note)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        assert self._tasks is not None, "a pass was made before the daemon ran"
        return self._tasks.create_task(work, name=name)

    def _note_trouble(self, kind: str, error: StoreError | None) -> None:
        if error is None:
            self._troubles.pop(kind, None)
            log.info("datastore.back kind=%s", kind)
        else:
            self._troubles[kind] = error
            log.warning("datastore.lost kind=%s why=%s", kind, error)

    def _stop_waiting(self) -> None:
        self._has_waited = True
        self._pass_soon()

    # What follows from it.

    def _pass_soon(self) -> None:
        if self._pass is None:
            self._pass = self._loop.call_at(max(self._rest_until, self._loop.time()), self._make_pass)

    def _make_pass(self) -> None:
        begun = self._stopwatch()
        self._pass = None
        if self._view.in_sync and self._has_all_secrets() and self._has_services():
            self._speak()
        elif self._has_waited:
            self._speak_as_before()
        if (taken_s := self._stopwatch() - begun) > _QUICK_S:
            self._rest_until = self._loop.time() + min(taken_s * _REST_FACTOR, _LONGEST_REST_S)

    def _speak(self) -> None:
        router_id = self._view.router_id(self._config.router_id)
        if self._view.waits_for(self._config.router_id):
            self._apply(Wanted(router_id), Mesh())
            return
        found = self._view.mesh()
        wanted = Wanted(
            router_id=router_id,
            neighbours=found.neighbours,
            exports=self._view.exports(self._assumed_confirmed()),
            are_exports_known=self._confirmed is not None or self._has_waited,
            is_settled=True,
            listen=self._view.listen(),
            policy=self._view.policy(),
            kept_out=self._view.service_ranges().whole(),
            nodes=self._view.nodes(),
        )
        logging.getLogger(__package__).setLevel(_SEVERITY.get(self._view.log_severity(), logging.INFO))
        self.speaker.judge_by(self._view.ownership())
        self._apply(wanted, found)
        self._unsaved.set()

    def _apply(self, wanted: Wanted, found: Mesh) -> None:
        if found != self._mesh:
            self._configured_wall = self._wall()
            for each in set(found.unbuilt) - set(self._mesh.unbuilt):
                log.warning("neighbour.unbuilt name=%s why=%r", each.name, each.why)
        self._mesh = found
        self.speaker.apply(wanted)
        self.bfd.watch(self.speaker.watches())
        if not self._is_ready:
            self._is_ready = True
            self._on_ready()

    # What the last process left.

    def _past_life(self) -> PastLife:
        return PastLife(self._remembered is not None, bool(self._remembered_exports()))

    def _remembered_exports(self) -> Exports:
        last = self._remembered
        return last.exports if last is not None and last.boot == self._memory.boot else NOTHING

    def _assumed_confirmed(self) -> frozenset[Network]:
        """The kernel holds what it held when the last process ended, until felix says otherwise."""
        return self._confirmed if self._confirmed is not None else frozenset(self._remembered_exports())

    def _speak_as_before(self) -> None:
        last = self._remembered
        if last is None:
            return
        exports = self._remembered_exports()
        if self._confirmed is not None:
            exports = {dst: each for dst, each in exports.items() if dst in self._confirmed}
        wanted = Wanted(
            router_id=last.router_id,
            neighbours=last.neighbours,
            exports=exports,
            are_exports_known=self._has_waited,
            listen=ListenAt(last.port),
            policy=last.policy,
        )
        self._apply(wanted, Mesh(last.neighbours))

    async def _keep_saving(self) -> None:
        saved = self._remembered
        while True:
            await self._unsaved.wait()
            self._unsaved.clear()
            now = self._to_remember()
            if now == saved:
                continue
            try:
                await self._memory.save(now)
                saved = now
            except OSError as error:
                log.error("remembered.unwritten where=%s why=%s", self._memory, error)

    def _to_remember(self) -> Remembered:
        speaker = self.speaker
        return Remembered(
            router_id=speaker.router_id,
            neighbours=tuple(peering.neighbour for peering in speaker.peerings.values()),
            exports=speaker.exports,
            port=self._view.listen().port,
            boot=self._memory.boot,
            policy=speaker.outgoing.policy,
        )

    # What is said of it.

    def _status_of(self, version: int) -> Callable[[], SpeakerStatus]:
        return lambda: self.status(version)

    def status(self, version: int) -> SpeakerStatus:
        """Of the neighbours and routes of one family."""
        return report(
            self.speaker,
            self._mesh,
            version=version,
            now_wall=self._wall(),
            started_wall=self._started_wall,
            configured_wall=self._configured_wall,
            waiting=self._waits_for(),
            recovery_time_s=int(RESTART_TIME_S),
        )

    def _answer(self, classes: Collection[str], before: Mapping[str, Any]) -> dict[str, Any]:
        """To who asks by a CalicoNodeStatus."""
        speakers = {version: self.status(version) for version in (4, 6)}
        find = bird_socket.kernels_way_out() if "Routes" in classes else bird_socket.nowhere
        return node_status.answer(classes, speakers, find, before=before)

    def _whole_status(self) -> dict[str, Any]:
        unreadable = [in_words(key, why) for key, why in sorted(self._unreadable.items())]
        return looking_glass.status(self.speaker, self._mesh.unbuilt, self._waits_for(), unreadable)

    def _metrics(self) -> str:
        return metrics.text(self._whole_status())

    def _waits_for(self) -> str:
        if self._troubles:
            return "; ".join(sorted({str(error) for error in self._troubles.values()}))
        if not self._view.in_sync:
            return "the datastore has not been read yet"
        return self._view.waits_for(self._config.router_id)
