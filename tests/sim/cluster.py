"""A whole cluster in one process: nodes, the links between them, one datastore, and what an operator does to them.

Everything that is tortie is the real code; the kernel, the datastore and the links are models, and so are those who use
them: runtimes, operators, other programs. Time is the loop's, and everything that is left to chance follows from the
seed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from itertools import count
from random import Random

from datastore.codec import decode
from datastore.initial import initialise
from datastore.memory import Memory, MemoryStore
from datastore.plain import run
from datastore.resource import Key, Resource
from datastore.resources import IPPool
from datastore.store import Missing
from felix.fib.model import Network, Route
from tests.memory_network import Address, MemoryNetwork
from tests.sim.capture import announced_in
from tests.sim.controllers import SimControllers
from tests.sim.excuses import Excuses
from tests.sim.invariants import Addresses, Announcements, Records, Traffic, foreign_flaws
from tests.sim.node import SimNode, Surroundings
from tests.sim.runtime import Runtime, Sandbox
from tests.sim.trail import Trail
from tests.sim.walker import Walker

START_WALL_NS = 1_795_327_611 * 10**9
FLAWS_SHOWN = 3
REPLICAS = 2
LEAK_GRACE = "1m0s"


class SimCluster:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = Random(f"{seed} cluster")
        self._failures: list[str] = []
        self.trail = Trail(seed)
        self.memory = Memory(wall_clock=lambda: self.wall_ns() / 1e9)
        self.store = MemoryStore(self.memory)
        self.network = MemoryNetwork(tap=self._capture)
        self.nodes: dict[str, SimNode] = {}
        self.runtimes: dict[str, Runtime] = {}
        self.controllers = [
            SimControllers(number, seed=seed, memory=self.memory, wall_ns=self.wall_ns, fail=self._fail)
            for number in range(1, REPLICAS + 1)
        ]
        self.records = Records(self.memory)
        self.walker = Walker(self.network)
        self.excuses = Excuses(self.nodes.values(), self.network)
        self._addresses = Addresses(self.records)
        self.traffic = Traffic(self.walker, self.excuses)
        self.announcements = Announcements(self.walker, self.excuses)
        self._ticks = count()
        self._numbers = count(1)
        self._around = Surroundings(
            seed=seed,
            memory=self.memory,
            network=self.network,
            trail=self.trail,
            wall_ns=self.wall_ns,
            pools=self.pools,
            fail=self._fail,
            on_change=self._note_change,
            on_confirmed=self._note_confirmed,
        )

    def wall_ns(self) -> int:
        """The loop's time, and never the same twice."""
        return START_WALL_NS + int(asyncio.get_running_loop().time() * 1e9) + next(self._ticks)

    # What an operator does.

    async def prepare(self, *pools: Resource) -> None:
        await initialise(self.store, new_guid=lambda: f"{self.random.getrandbits(128):032x}")
        for pool in pools:
            await self.store.create(pool)
        spec = {"controllers": {"node": {"leakGracePeriod": LEAK_GRACE}}}
        await self.store.create(Resource("KubeControllersConfiguration", "default", spec=spec))
        for each in self.controllers:
            each.start()

    async def add_node(self, number: int) -> SimNode:
        """A new machine, known to the datastore, with everything on it started."""
        node = SimNode(number, self._around)
        self.nodes[node.name] = node
        self.network.switch_on(node.address)
        chance = Random(f"{self.seed} {node.name} runtime")
        self.runtimes[node.name] = Runtime(node, chance, self._numbers, self._fail)
        self.walker.know(self.nodes.values())
        self.announcements.note_boot(node)
        spec = {"bgp": {"ipv4Address": str(node.address)}}
        await self.store.create(Resource("Node", node.name, spec=spec, status={}))
        node.start()
        return node

    # What happens to machines.

    def switch_off(self, node: SimNode) -> None:
        self.runtimes[node.name].end()
        node.switch_off()

    def switch_on(self, node: SimNode) -> None:
        node.switch_on()
        self.announcements.note_boot(node)
        self.runtimes[node.name].begin_again()

    async def remove_machine(self, node: SimNode) -> None:
        """It is taken out of the rack."""
        self.switch_off(node)
        await node.buried()
        del self.nodes[node.name], self.runtimes[node.name]
        self.walker.know(self.nodes.values())

    async def lose_object(self, node: str, *, for_s: float) -> None:
        """The Node goes from the datastore; as it was made, without a tunnel address, it comes back."""
        with suppress(Missing):
            was = await self.store.delete(Key("Node", node))
            fresh = Resource("Node", node, spec={"bgp": {"ipv4Address": was.spec["bgp"]["ipv4Address"]}}, status={})
            asyncio.get_running_loop().call_later(for_s, self._make_again, fresh)

    def _make_again(self, node: Resource) -> None:
        if node.name in self.nodes:
            run(self.store.create(node))

    def forget_pods(self, node: str, *, after_s: float) -> None:
        """Their endpoints go, by the hand of whoever notices."""
        for name in self._endpoints_of(node):
            asyncio.get_running_loop().call_later(after_s, self._delete_endpoint, name)

    def _endpoints_of(self, node: str) -> list[Key]:
        return [item.key for item in run(self.store.list("WorkloadEndpoint", node=node)).items]

    def _delete_endpoint(self, key: Key) -> None:
        with suppress(Missing):
            run(self.store.delete(key))

    def cut(self, one: SimNode, other: SimNode) -> None:
        self.network.cut_link(one.address, other.address)

    def mend(self, one: SimNode, other: SimNode) -> None:
        self.network.mend_link(one.address, other.address)

    # What is looked at.

    @property
    def live(self) -> list[Sandbox]:
        return [each for runtime in self.runtimes.values() for each in runtime.live]

    def pools(self) -> frozenset[Network]:
        return frozenset(decode(IPPool, item).cidr for item in run(self.store.list("IPPool")).items)

    def ours(self, node: SimNode) -> list[Route]:
        """What its kernel holds inside the pools, but for what other programs wrote there."""
        pools = self.pools()
        held = (route for route in self.walker.table(node).routes if route.key not in node.machine.foreign)
        return [route for route in held if any(route.dst.subnet_of(pool) for pool in pools)]  # type: ignore[arg-type]

    def begin_step(self, what: str) -> None:
        self.trail.event(what)
        self.excuses.look()
        self.traffic.look(self.live)

    def check(self) -> None:
        """Raises Violation."""
        self.excuses.look()
        flaws = [*self._failures, *self._addresses.flaws(self.live), *self.traffic.flaws()]
        for node in self.nodes.values():
            flaws += foreign_flaws(node, {route.key: route for route in self.walker.table(node).routes})
        flaws += self.announcements.lasting_flaws(self.nodes.values())
        if flaws:
            raise self.trail.violation("\n".join(flaws[:FLAWS_SHOWN]))

    # What is heard.

    def _fail(self, what: str) -> None:
        self._failures.append(what)

    def _note_change(self, node: SimNode, route: Route | None) -> None:
        if node.name not in self.nodes:
            return
        self.walker.look(node)
        self.announcements.note(node)
        self._failures += self.traffic.flaws(node, route)

    def _note_confirmed(self, node: SimNode, told: Iterable[Network]) -> None:
        self._failures += self.announcements.flaws(node, told, "its speaker")

    def _capture(self, here: Address, there: Address, data: bytes) -> None:
        node = next((each for each in self.nodes.values() if each.address == here), None)
        if node is not None:
            self._failures += self.announcements.flaws(node, announced_in(data), str(there))

    async def close(self) -> None:
        for runtime in self.runtimes.values():
            runtime.end()
        for node in self.nodes.values():
            node.kill()
            await node.buried()
        for each in self.controllers:
            each.kill()
            await each.buried()
