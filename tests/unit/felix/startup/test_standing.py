"""A node's object that lost its address is completed under the running agent; one that is gone is not made."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from ipaddress import IPv4Interface
from typing import Any

import pytest

from datastore.codec import decode
from datastore.memory import Memory, MemoryStore
from datastore.resource import Key, Resource
from datastore.resources import Node
from datastore.store import Missing
from felix.fib.kernel import KernelUnavailable
from felix.startup.detect import Link, Machine
from felix.startup.standing import Standing
from tests.virtual_time import run

KEY = Key("Node", "node1")


class World:
    """One node whose machine has ``address``; the agent has seen what :meth:`see` last read."""

    def __init__(self, *, poll_s: float | None = None, **environ: str) -> None:
        self.store = MemoryStore(Memory())
        self.address, self.looks, self.broken = "192.168.50.10/24", 0, ""
        self.me: Node | None = None
        self.troubles: list[str] = []
        self.standing = Standing(
            "node1",
            self.store,
            environ,
            me=lambda: self.me,
            read_machine=self.read,
            poll_s=poll_s,
            random=lambda: 0.5,
            on_trouble=self.troubles.append,
        )

    async def read(self, destinations: Iterable[tuple[int, str]]) -> Machine:
        self.looks += 1
        if self.broken:
            raise KernelUnavailable(self.broken)
        return Machine([Link("ens33", 2, addresses=(IPv4Interface(self.address),))], ["ens33"])

    async def make(self, **spec: object) -> None:
        await self.store.create(Resource("Node", "node1", spec=dict(spec)))

    async def see(self) -> None:
        try:
            self.me = decode(Node, await self.store.get(KEY))
        except Missing:
            self.me = None
        self.standing.changed()

    async def stored(self) -> str:
        return str(decode(Node, await self.store.get(KEY)).ipv4)


def living(world: World, story: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    async def live() -> None:
        async with asyncio.TaskGroup() as tasks:
            standing = tasks.create_task(world.standing.run())
            await story(world)
            standing.cancel()

    run(live())


def test_an_object_without_an_address_gets_it_back() -> None:
    async def story(world: World) -> None:
        await world.make()
        await world.see()
        await asyncio.sleep(0.1)
        assert await world.stored() == "192.168.50.10/24"

    living(World(), story)


def test_an_object_that_is_not_there_is_not_made() -> None:
    async def story(world: World) -> None:
        await world.see()
        await asyncio.sleep(100)
        with pytest.raises(Missing):
            await world.store.get(KEY)
        assert world.looks == 0

    living(World(), story)


def test_a_node_that_shall_have_no_address_is_left_alone() -> None:
    async def story(world: World) -> None:
        await world.make()
        await world.see()
        await asyncio.sleep(100)
        assert await world.stored() == "None"

    living(World(CALICO_NETWORKING_BACKEND="none"), story)


def test_what_keeps_it_from_being_completed_is_told_and_tried_again() -> None:
    async def story(world: World) -> None:
        world.broken = "netlink: no buffer space"
        await world.make()
        await world.see()
        await asyncio.sleep(5)
        assert set(world.troubles) == {"netlink: no buffer space"}
        assert 3 <= world.looks <= 8
        world.broken = ""
        await asyncio.sleep(20)
        assert world.troubles[-1] == ""
        assert await world.stored() == "192.168.50.10/24"

    living(World(), story)


def test_an_address_that_is_detected_follows_the_machine() -> None:
    async def story(world: World) -> None:
        await world.make(bgp={"ipv4Address": "192.168.50.10/24"})
        await world.see()
        world.address = "192.168.50.77/24"
        await asyncio.sleep(61)
        assert await world.stored() == "192.168.50.77/24"

    living(World(poll_s=60.0, IP="autodetect"), story)


def test_an_address_that_was_given_is_not_looked_for() -> None:
    async def story(world: World) -> None:
        await world.make(bgp={"ipv4Address": "192.168.50.10/24"})
        await world.see()
        await asyncio.sleep(1000)
        assert world.looks == 0

    living(World(IP="192.168.50.10/24"), story)
