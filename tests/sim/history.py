"""What happens to a cluster, drawn from a seed: pods come and go, processes and machines die, links, disks and the
datastore fail, people and other programs write to kernels. After each step the invariants are checked; at the end all
is put right, and after some quiet minutes nothing may tell what happened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_network
from random import Random

from calicoctl.deletion import delete
from datastore.resource import Key, Resource
from datastore.store import Missing
from felix.fib.model import DeleteRoute, Hop, Protocol, Route
from tests.sim.cluster import SimCluster
from tests.sim.machine import DEFAULT_ROUTE, GATEWAY, UPLINK
from tests.sim.node import SimNode
from tests.sim.rest import check_rest

NODES = 3
MOST_NODES = 4
MOST_PODS = 5
"""On one node."""
FULL_POOL, ROOMY_POOL = ("10.244.0.0/27", 30), ("10.244.0.0/24", 28)
"""With the first, blocks run out and addresses are borrowed."""
PAUSES_S = (0, 0, 0.001, 0.01, 0.1, 1, 1, 7, 40)
QUIET_S = 300.0
"""Longer than any retry, any grace and any refresh."""

Event = Callable[[SimNode], Awaitable[None] | None]


class History:
    def __init__(self, seed: int) -> None:
        self.cluster = SimCluster(seed)
        self._random = Random(f"{seed} history")
        self._pods = self._nodes = 0
        self._events: dict[str, tuple[int, Event]] = {
            "a pod is wanted": (9, self._add_pod),
            "a pod is deleted": (4, self._delete_pod),
            "a pod is made again under its name": (2, self._replace_pod),
            "felix is killed": (4, self._kill_felix),
            "felix will be killed at some door": (4, self._doom_felix),
            "the speaker is killed": (3, self._kill_speaker),
            "the speaker will be killed at some door": (3, self._doom_speaker),
            "both are told to end": (1, SimNode.stop),
            "what had ended is started": (6, SimNode.start),
            "a link is cut": (2, self._cut),
            "links are mended": (3, self._mend),
            "the datastore is away": (2, self._lose_store),
            "the datastore is back": (4, lambda node: node.store_line.mend()),
            "the datastore forgets its old changes": (2, lambda _: self.cluster.memory.compact()),
            "the kernel has no memory for some calls": (1, self._break_kernel),
            "the kernel loses what it had to tell": (1, lambda node: node.machine.kernel.lose()),
            "one of our routes is deleted by hand": (2, self._delete_route),
            "another program writes a route": (2, self._add_foreign),
            "another program takes its route away": (2, self._remove_foreign),
            "the uplink goes down": (1, lambda node: node.machine.set_link(UPLINK, is_up=False)),
            "the uplink comes up": (3, self._raise_uplink),
            "a pod's device is taken down by hand": (1, self._lower_pod),
            "the disk is full": (1, lambda node: self._fill(node, is_full=True)),
            "the disk has room": (2, lambda node: self._fill(node, is_full=False)),
            "the power goes": (1, self._switch_off),
            "the power is back": (3, self._switch_on),
            "a node is added": (1, self._add_node),
            "a node is deleted": (1, self._delete_node),
            "a node is deleted, and what it had is left to others": (1, self._forget_node),
            "a node's object is deleted, and made again later": (2, self._lose_object),
            "the controllers are killed": (2, self._kill_controllers),
            "the controllers will be killed at some door": (2, self._doom_controllers),
            "the datastore is away for the controllers": (1, self._lose_controllers_store),
            "the controllers are started": (4, self._start_controllers),
        }

    async def play(self, steps: int) -> None:
        """Raises Violation."""
        self.cluster.trail.planned = steps
        try:
            await self._begin()
            for _ in range(steps):
                await self._step()
            await self._put_right()
            await asyncio.sleep(QUIET_S)
            check_rest(self.cluster)
        finally:
            await self.cluster.close()

    async def _begin(self) -> None:
        cidr, size = self._random.choice((FULL_POOL, ROOMY_POOL))
        spec = {"cidr": cidr, "blockSize": size, "ipipMode": "Never", "vxlanMode": "Never", "nodeSelector": "all()"}
        await self.cluster.prepare(Resource("IPPool", "default-ipv4-ippool", spec=spec))
        for _ in range(NODES):
            await self._add_node()
        await asyncio.sleep(10)

    async def _step(self) -> None:
        cluster = self.cluster
        what = self._random.choices(list(self._events), [weight for weight, _ in self._events.values()])[0]
        node = self._random.choice(list(cluster.nodes.values()))
        cluster.begin_step(f"{node.name}: {what}")
        _, happen = self._events[what]
        if (happening := happen(node)) is not None:
            await happening
        cluster.check()
        await asyncio.sleep(self._random.choice(PAUSES_S))
        cluster.check()

    async def _put_right(self) -> None:
        self.cluster.begin_step("all is put right")
        self.cluster.network.mend_all()
        for each in self.cluster.controllers:
            if each.life is not None:
                each.life.doom(-1)
            each.store_line.mend()
            each.start()
        for node in self.cluster.nodes.values():
            self._switch_on(node)
            node.store_line.mend()
            self._fill(node, is_full=False)
            self._raise_uplink(node)
            for route in [node.machine.foreign[key] for key in node.machine.obstacles]:
                node.machine.remove_foreign(route)
            if node.felix is not None:
                node.felix.kernel.breaks = 0
            for life in node.lives():
                life.doom(-1)
            node.start()

    # What users do.

    def _add_pod(self, node: SimNode) -> None:
        runtime = self.cluster.runtimes[node.name]
        if node.is_on and len(runtime.pods) < MOST_PODS:
            self._pods += 1
            runtime.add(f"pod{self._pods}")

    def _delete_pod(self, node: SimNode) -> None:
        runtime = self.cluster.runtimes[node.name]
        if node.is_on and runtime.pods:
            runtime.delete(self._random.choice(list(runtime.pods)))

    def _replace_pod(self, node: SimNode) -> None:
        runtime = self.cluster.runtimes[node.name]
        if node.is_on and runtime.pods:
            runtime.replace(self._random.choice(list(runtime.pods)))

    async def _add_node(self, _: SimNode | None = None) -> None:
        """A name that was there before never comes again."""
        if len(self.cluster.nodes) < MOST_NODES:
            self._nodes += 1
            await self.cluster.add_node(self._nodes)

    async def _delete_node(self, node: SimNode) -> None:
        if len(self.cluster.nodes) > 2:
            await self.cluster.remove_machine(node)
            with suppress(Missing):
                await delete(self.cluster.store, Key("Node", node.name), wall_ns=self.cluster.wall_ns)

    async def _forget_node(self, node: SimNode) -> None:
        """As Kubernetes does it: the Node goes, and its pods some time later."""
        if len(self.cluster.nodes) > 2:
            await self.cluster.remove_machine(node)
            with suppress(Missing):
                await self.cluster.store.delete(Key("Node", node.name))
            self.cluster.forget_pods(node.name, after_s=self._random.choice((0, 5, 40)))

    async def _lose_object(self, node: SimNode) -> None:
        """By mistake: the machine and its pods are there all the while. Nobody can reach them until it is back."""
        self.cluster.excuses.shake(node)
        await self.cluster.lose_object(node.name, for_s=self._random.choice((0, 1, 5, 25, 35)))

    # What happens to processes.

    def _kill_felix(self, node: SimNode) -> None:
        if node.felix is not None:
            node.felix.life.kill()

    def _kill_speaker(self, node: SimNode) -> None:
        if node.speaker is not None:
            node.speaker.life.kill()

    def _doom_felix(self, node: SimNode) -> None:
        if node.felix is not None:
            node.felix.life.doom(self._random.randrange(60))

    def _doom_speaker(self, node: SimNode) -> None:
        if node.speaker is not None:
            node.speaker.life.doom(self._random.randrange(40))

    def _kill_controllers(self, _: SimNode) -> None:
        self._random.choice(self.cluster.controllers).kill()

    def _doom_controllers(self, _: SimNode) -> None:
        life = self._random.choice(self.cluster.controllers).life
        if life is not None:
            life.doom(self._random.randrange(60))

    def _start_controllers(self, _: SimNode) -> None:
        for each in self.cluster.controllers:
            each.store_line.mend()
            each.start()

    # What fails.

    def _lose_controllers_store(self, _: SimNode) -> None:
        line = self._random.choice(self.cluster.controllers).store_line
        line.cut(answer_after_s=self._random.choice((0, 0.1, 30)))

    def _cut(self, node: SimNode) -> None:
        self.cluster.cut(
            node, self._random.choice([other for other in self.cluster.nodes.values() if other is not node])
        )

    def _mend(self, node: SimNode) -> None:
        for other in self.cluster.nodes.values():
            self.cluster.mend(node, other)

    def _lose_store(self, node: SimNode) -> None:
        node.store_line.cut(answer_after_s=self._random.choice((0, 0.1, 30)))

    def _break_kernel(self, node: SimNode) -> None:
        if node.felix is not None:
            node.felix.kernel.breaks = self._random.randrange(1, 6)

    def _fill(self, node: SimNode, *, is_full: bool) -> None:
        node.machine.disk.is_full = is_full

    def _switch_off(self, node: SimNode) -> None:
        if node.is_on:
            self.cluster.switch_off(node)

    def _switch_on(self, node: SimNode) -> None:
        if not node.is_on:
            self.cluster.switch_on(node)
            node.start()

    def _raise_uplink(self, node: SimNode) -> None:
        if not node.machine.has_uplink:
            node.machine.set_link(UPLINK, is_up=True)

    # What people and other programs do to a kernel.

    def _delete_route(self, node: SimNode) -> None:
        if (route := self._pick_ours(node)) is not None:
            self.cluster.excuses.shake(node)
            node.machine.do(DeleteRoute(route))

    def _add_foreign(self, node: SimNode) -> None:
        """Beside ours, or in the place of one of ours."""
        number, gateway = self._random.randrange(8), Hop(UPLINK, GATEWAY)
        route = Route(ip_network(f"10.99.{number}.0/24"), (gateway,), protocol=Protocol.STATIC)
        over = self._pick_ours(node) if self._random.random() < 0.5 else None
        if over is not None:
            self.cluster.excuses.shake(node)
            route = replace(route, dst=over.dst)
        if node.machine.has_uplink:
            node.machine.add_foreign(route, over)

    def _remove_foreign(self, node: SimNode) -> None:
        removable = [each for each in node.machine.foreign.values() if each != DEFAULT_ROUTE]
        if removable and node.machine.has_uplink:
            node.machine.remove_foreign(self._random.choice(removable))

    def _lower_pod(self, node: SimNode) -> None:
        if node.machine.pairs:
            self.cluster.excuses.shake(node)
            node.machine.set_link(self._random.choice(list(node.machine.pairs)), is_up=False)

    def _pick_ours(self, node: SimNode) -> Route | None:
        ours = self.cluster.ours(node)
        return self._random.choice(ours) if ours else None
