"""One node: a machine, felix and the speaker on it, each with one life at a time, and the node's way to the datastore.

felix is :class:`felix.agent.Agent` and the speaker :class:`bgp.daemon.Daemon`, as they run everywhere.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Interface
from random import Random

from bgp.daemon import BgpConfig, Daemon
from bgp.daemon import World as BgpWorld
from bgp.learned import Confirmed, InSync, from_line
from datastore.events import Silence
from datastore.memory import Memory, MemoryStore
from felix.agent import Agent
from felix.agent import World as FelixWorld
from felix.fib.journal import Claims
from felix.fib.model import DeleteRoute, Network, Op, Route, RouteType
from felix.startup.detect import Link
from felix.startup.detect import Machine as Surveyed
from tests.memory_network import Address, MemoryHost, MemoryNetwork
from tests.models.faulty_store import Faults, StoreLine
from tests.models.node_model import ModelFlows
from tests.sim.doors import (
    HERE,
    LINE_PORT,
    FilterDoor,
    JournalDoor,
    KernelDoor,
    MemoryDoor,
    SpeakerLine,
    SpoolDoor,
    StoreDoor,
    VethDoor,
    open_host,
)
from tests.sim.life import SLOW_CHANCE, SLOWEST_S, Life
from tests.sim.machine import Machine
from tests.sim.trail import Trail
from tests.states.watched_kernel import flaw_of

CONFLICT_CHANCE = 0.02
LOST_ANSWER_CHANCE = 0.01
_REMOTE = ("IPPool", "Node", "BlockAffinity", "IPAMBlock")


@dataclass(frozen=True)
class Surroundings:
    """What all nodes of a cluster share. ``on_change`` hears of every change of a kernel, ``on_confirmed`` of what
    felix tells the speaker; ``pools`` are those in the datastore.
    """

    seed: int
    memory: Memory
    network: MemoryNetwork
    trail: Trail
    wall_ns: Callable[[], int]
    pools: Callable[[], frozenset[Network]]
    fail: Callable[[str], None]
    on_change: Callable[[SimNode, Route | None], None]
    on_confirmed: Callable[[SimNode, Iterable[Network]], None]


@dataclass
class Felix:
    """``has_heard_all``: the speaker told it that it is in sync. ``has_confirmed``: it told the speaker what may be
    announced. ``takes_pods``: its CNI socket is open.
    """

    life: Life
    agent: Agent
    store: StoreDoor
    kernel: KernelDoor
    has_heard_all: bool = False
    has_confirmed: bool = False
    takes_pods: bool = False


@dataclass
class Speaker:
    life: Life
    daemon: Daemon
    store: StoreDoor
    host: MemoryHost


class SimNode:
    """``store_line`` is cut when the datastore is away for this node."""

    def __init__(self, number: int, around: Surroundings) -> None:
        self.number, self.around = number, around
        self.machine = Machine(
            IPv4Interface(f"192.168.50.{9 + number}/24"), on_change=lambda route: around.on_change(self, route)
        )
        self.store_line = StoreLine()
        self.felix: Felix | None = None
        self.speaker: Speaker | None = None
        self.is_on = True
        self.speaker_ended_at = 0.0
        self._local = MemoryNetwork(tap=self._overhear)
        self._lives = 0
        self._past_and_present: list[Life] = []

    @property
    def name(self) -> str:
        return f"node{self.number}"

    @property
    def address(self) -> IPv4Address:
        return self.machine.address.ip

    # felix.

    def start_felix(self) -> None:
        if self.felix is not None or not self.is_on:
            return
        life = self._new_life("felix", self._forget_felix)
        store = self._store(life)
        kernel = KernelDoor(life, self.machine, self._look_at)
        world = FelixWorld(
            store=store,
            kernel=kernel,
            filters=FilterDoor(life, self.machine),
            journal=JournalDoor(life, self.machine.disk),
            veths=VethDoor(life, self.machine),
            flows=ModelFlows(),
            spool=SpoolDoor(life, self.machine.disk),
            speaker=SpeakerLine(open_host(self._local, HERE, life)),
            offer_mtu=lambda _: "",
            read_machine=self._look_at_machine,
            herald=Silence(),
            environ={},
            wall_ns=self.around.wall_ns,
            random=life.random,
        )
        self.felix = Felix(life, Agent(self.name, world), store, kernel)
        life.start(self.felix.agent.run())
        life.start(_open_cni(self.felix))

    async def _look_at_machine(self, destinations: Iterable[tuple[int, str]]) -> Surveyed:
        return Surveyed([Link("ens33", 2, addresses=(self.machine.address,))], ["ens33"])

    async def ask(self, variables: dict[str, str], stdin: bytes, netns: int) -> bytes:
        """What felix answers to the plugin. Raises CniError, and ConnectionError when there is no felix."""
        felix = self.felix
        if felix is None or not felix.takes_pods:
            raise ConnectionRefusedError(self.name)
        inside = netns if netns in self.machine.namespaces else -1
        return await felix.life.answer(felix.agent.commands.handle(variables, stdin, inside))

    # The speaker.

    def start_speaker(self) -> None:
        if self.speaker is not None or not self.is_on:
            return
        life = self._new_life("bgp", self._forget_speaker)
        store, host = self._store(life), open_host(self.around.network, self.address, life)
        world = BgpWorld(
            network=host,
            memory=MemoryDoor(life, self.machine),
            wall=lambda: datetime.fromtimestamp(self.around.wall_ns() / 1e9, UTC),
            stopwatch=asyncio.get_running_loop().time,
            chance=life.random.random,
        )
        daemon = Daemon(BgpConfig(self.name), store, world=world)
        self.speaker = Speaker(life, daemon, store, host)
        life.start(daemon.speak())
        life.start(open_host(self._local, HERE, life).listen(daemon.felix.admit, addresses=(), port=LINE_PORT))

    # The machine.

    def start(self) -> None:
        self.start_speaker()
        self.start_felix()

    def lives(self) -> list[Life]:
        return [process.life for process in (self.felix, self.speaker) if process is not None]

    def kill(self) -> None:
        for life in self.lives():
            life.kill()

    async def stop(self) -> None:
        for life in self.lives():
            await life.stop()

    async def buried(self) -> None:
        """Return when nothing of any process here runs any more."""
        for life in self._past_and_present:
            await life.buried()

    def switch_off(self) -> None:
        """The power goes, and nobody is told."""
        self.is_on = False
        self.around.network.switch_off(self.address)
        if self.speaker is not None:
            self.speaker.host.vanish()
        self.kill()

    def switch_on(self) -> None:
        self.is_on = True
        self.machine.boot()
        self.around.network.switch_on(self.address)
        self.around.on_change(self, None)

    # What is heard and seen of it.

    def _look_at(self, op: Op) -> None:
        """At one write of felix, before it is done."""
        self.around.trail.write(f"{self.name} {op}")
        claims = self.machine.disk.journal.claims | Claims(self.around.pools())
        flaw = flaw_of(op, claims) or (self._haste(op.route) if isinstance(op, DeleteRoute) else "")
        if flaw:
            self.around.fail(f"{self.name}: {op}: {flaw}")

    def _haste(self, route: Route) -> str:
        """What felix cannot know yet although it removes ``route``."""
        felix = self.felix
        assert felix is not None
        is_of_pod = any(hop.device.startswith("cali") for hop in route.hops)
        is_remote = route.type is not RouteType.BLACKHOLE and not is_of_pod
        needed = ("WorkloadEndpoint",) if is_of_pod else _REMOTE if is_remote else ("BlockAffinity",)
        unlisted = [kind for kind in needed if not felix.store.lists[kind]]
        if unlisted:
            return f"invariant 4: not in sync, {', '.join(unlisted)} not listed"
        return "" if felix.has_heard_all or not is_remote else "invariant 4: the speaker is not in sync"

    def _overhear(self, here: Address, there: Address, data: bytes) -> None:
        for line in data.splitlines():
            match from_line(line):
                case InSync() if self.felix is not None:
                    self.felix.has_heard_all = True
                case Confirmed(destinations):
                    if self.felix is not None:
                        self.felix.has_confirmed = True
                    self.around.on_confirmed(self, destinations)

    # Lives.

    def _new_life(self, name: str, on_end: Callable[[], None]) -> Life:
        self._lives += 1
        random = Random(f"{self.around.seed} {self.name} {name} {self._lives}")
        life = Life(f"{name} of {self.name}", random, on_failure=self._note_failure)
        life.on_end.append(on_end)
        self._past_and_present = [each for each in self._past_and_present if each.is_running] + [life]
        return life

    def _note_failure(self, life: Life, error: BaseException) -> None:
        text = "".join(traceback.format_exception(error))
        self.around.fail(f"{life.name} ended by itself: {text}")

    def _store(self, life: Life) -> StoreDoor:
        faults = Faults(
            life.random,
            conflict_chance=CONFLICT_CHANCE,
            lost_answer_chance=LOST_ANSWER_CHANCE,
            slow_chance=SLOW_CHANCE,
            slowest_s=SLOWEST_S,
            line=self.store_line,
            on_call=life.pass_by,
        )
        return StoreDoor(MemoryStore(self.around.memory), faults)

    def _forget_felix(self) -> None:
        self.felix = None

    def _forget_speaker(self) -> None:
        self.speaker, self.speaker_ended_at = None, asyncio.get_running_loop().time()


async def _open_cni(felix: Felix) -> None:
    await felix.agent.can_take_pods()
    felix.takes_pods = True
