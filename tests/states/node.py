"""One node on the model kernel, taken from state to state by events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_interface
from random import Random

from bgp.learned import Delta, InSync, LearnedRoute, Message, Snapshot
from datastore.resource import Key
from felix.dataplane import Dataplane
from felix.fib.journal import MemoryJournal
from felix.fib.model import AddRoute, DeleteRoute, Network, ReplaceRoute, Route, show
from felix.fib.model_kernel import ModelKernel
from felix.view import KINDS, Listed
from tests.states.watched_kernel import Killed, WatchedKernel

NODE = "node1"
_IPV6 = ip_interface("fd01::10/64")


@dataclass(frozen=True)
class State:
    """All that is true at one time, and ``table``: what ``ip route`` must print then, however it came to be true.

    ``foreign``: routes of other programs, which put them back whenever they can. ``down``: devices.
    """

    name: str
    table: str
    resources: tuple[Listed, ...] = ()
    learned: tuple[LearnedRoute, ...] = ()
    foreign: tuple[Route, ...] = ()
    down: frozenset[str] = frozenset()

    @property
    def by_key(self) -> dict[Key, Listed]:
        return {one.resource.key: one for one in self.resources}

    @property
    def by_dst(self) -> dict[Network, LearnedRoute]:
        return {one.dst: one for one in self.learned}


class NodeUnderTest:
    """``left``: routes that an earlier life of the node, or another program, put there before it starts."""

    def __init__(self, first: State, *, pods_devices: Iterable[str], left: Iterable[Route] = ()) -> None:
        self._journal = MemoryJournal()
        self.kernel = WatchedKernel(self._journal)
        for device in ("ens33", "docker0", *pods_devices):
            self.kernel.add_link(device)
            self.kernel.set_up(device)
        self.kernel.add_address("ens33", ip_interface("192.168.50.10/24"), metric=100)
        self.kernel.add_address("ens33", _IPV6)
        self.kernel.add_address("docker0", ip_interface("172.17.0.1/16"))
        for route in left:
            assert self.kernel.do(AddRoute(route)) is None, route
        self._task: asyncio.Task[None] | None = None
        _by_hand(State("before", ""), first, self.kernel)

    async def start(self, state: State) -> None:
        """Felix starts, with an empty memory, while ``state`` is true."""
        await self.start_knowing(state.resources, KINDS)
        self.hear(Snapshot(state.learned))
        self.hear(InSync())

    async def start_knowing(self, resources: Iterable[Listed], listed: Iterable[str]) -> None:
        """It has been told so much, and no more."""
        self._dataplane = Dataplane(NODE, self.kernel, self._journal, rng=Random(1))
        self._task = asyncio.create_task(_until_killed(self._dataplane))
        for one in resources:
            self._dataplane.view.put(one)
        for kind in listed:
            self._dataplane.view.listed(kind)
        self._dataplane.changed()

    async def stop(self) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        assert self._task.cancelled(), self._task.exception()

    async def is_dead(self) -> bool:
        """Whether felix was killed by now."""
        await asyncio.sleep(5)
        assert self._task is not None
        return self._task.done() and isinstance(self._task.exception(), FelixDied)

    async def table(self) -> str:
        """Once everything that is due has been done; the clock is virtual."""
        await asyncio.sleep(5)
        if self._task is not None and self._task.done():
            self._task.result()
        return show((await self.kernel.read()).routes.values())

    def put(self, one: Listed) -> None:
        self._dataplane.view.put(one)
        self._dataplane.changed()

    def gone(self, key: Key) -> None:
        self._dataplane.view.gone(key)
        self._dataplane.changed()

    def hear(self, message: Message) -> None:
        self._dataplane.view.hear(message)
        self._dataplane.changed()


class FelixDied(Exception):
    pass


async def _until_killed(dataplane: Dataplane) -> None:
    try:
        await dataplane.reconciler.run()
    except Killed as death:
        raise FelixDied from death


Event = Callable[[NodeUnderTest], None]


def events(old: State, new: State) -> list[Event]:
    """What happens on the way from one state to the other, one thing an event. They may happen in any order."""
    happen: list[Event] = [partial(_gone, key) for key in old.by_key.keys() - new.by_key.keys()]
    happen += [partial(_put, one) for key, one in new.by_key.items() if old.by_key.get(key) != one]
    happen += [partial(_hear, Delta(gone=(dst,))) for dst in old.by_dst.keys() - new.by_dst.keys()]
    happen += [partial(_hear, Delta(best=(one,))) for dst, one in new.by_dst.items() if old.by_dst.get(dst) != one]
    if (old.foreign, old.down) != (new.foreign, new.down):
        happen.append(lambda node: _by_hand(old, new, node.kernel))
    return happen


def _put(one: Listed, node: NodeUnderTest) -> None:
    node.put(one)


def _gone(key: Key, node: NodeUnderTest) -> None:
    node.gone(key)


def _hear(delta: Delta, node: NodeUnderTest) -> None:
    node.hear(delta)


def _by_hand(old: State, new: State, kernel: ModelKernel) -> None:
    """A person moves the links, and the other programs follow."""
    for device in new.down - old.down:
        kernel.set_down(device)
    for device in old.down - new.down:
        kernel.set_up(device)
        if device == "ens33":
            kernel.add_address("ens33", _IPV6)
    for route in set(old.foreign) - set(new.foreign):
        kernel.do(DeleteRoute(route))
    for route in new.foreign:
        if kernel.do(AddRoute(route)) is not None:
            kernel.do(ReplaceRoute(route, route))
