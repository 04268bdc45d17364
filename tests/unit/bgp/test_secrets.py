"""Passwords from the datastore to the sessions: which Secrets are read, when they count, and what their edits do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from pathlib import Path

from bgp.daemon import BgpConfig, Daemon, World
from bgp.remembered import FileMemory
from datastore.memory import MemoryStore
from datastore.resource import Key, Resource
from datastore.store import Forbidden, Listing
from tests.memory_network import MemoryNetwork
from tests.unit.bgp.cluster import configuration, node
from tests.unit.bgp.test_daemon import until

MESH = configuration(nodeMeshPassword={"secretKeyRef": {"name": "bgp", "key": "mesh"}})


class Unreadable(MemoryStore):
    async def list(self, kind: str, *, namespace: str = "", node: str = "") -> Listing:
        raise Forbidden("secrets is forbidden")


def secret(text: str) -> Resource:
    return Resource("Secret", "bgp", spec={"mesh": text})


@dataclass
class Nodes:
    """Two nodes of a mesh with a password. ``opened``: which Secrets they asked for."""

    folder: Path
    store: MemoryStore = field(default_factory=MemoryStore)
    secrets: MemoryStore = field(default_factory=MemoryStore)
    network: MemoryNetwork = field(default_factory=MemoryNetwork)
    opened: list[str] = field(default_factory=list)

    def secret(self, name: str) -> MemoryStore:
        self.opened.append(name)
        return self.secrets

    def services(self) -> MemoryStore:
        return self.secrets

    def endpoint_slices(self) -> MemoryStore:
        return self.secrets

    @asynccontextmanager
    async def running(self) -> AsyncIterator[tuple[Daemon, Daemon]]:
        for each in (node("node1", "10.0.0.1/24"), node("node2", "10.0.0.2/24"), MESH):
            await self.store.create(each.resource)
        daemons = [self._daemon(number) for number in (1, 2)]
        tasks = [asyncio.create_task(each.run()) for each in daemons]
        try:
            yield daemons[0], daemons[1]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _daemon(self, number: int) -> Daemon:
        folder = self.folder / f"node{number}"
        config = BgpConfig(f"node{number}", "", folder / "bgp.sock", folder, folder / "lib")
        world = World(self.network.host(IPv4Address(f"10.0.0.{number}")), FileMemory(folder / "lib" / "bgp.json"))
        return Daemon(config, self.store, world=world, beside=self)


def passwords(daemon: Daemon) -> list[str]:
    return [each.neighbour.password for each in daemon.speaker.peerings.values()]


def is_up(daemon: Daemon) -> bool:
    return any(each.established for each in daemon.speaker.peerings.values())


async def test_a_password_in_a_secret_reaches_the_session_and_an_edit_keeps_it(tmp_path: Path) -> None:
    nodes = Nodes(tmp_path)
    made = await nodes.secrets.create(secret("opensesame"))
    async with nodes.running() as (one, two):
        await until(lambda: is_up(one) and is_up(two))
        assert (passwords(one), passwords(two)) == (["opensesame"], ["opensesame"])
        assert set(nodes.opened) == {"bgp"}
        await nodes.secrets.update(replace(made, spec={"mesh": "another"}))
        await until(lambda: passwords(one) == passwords(two) == ["another"])
        assert [each.counters["established"] for each in one.speaker.peerings.values()] == [1]


async def test_a_session_waits_for_its_secret(tmp_path: Path) -> None:
    nodes = Nodes(tmp_path)
    async with nodes.running() as (one, _):
        await until(lambda: [each.why for each in one._mesh.unbuilt] == ["password: no secret bgp with a key mesh"])
        assert one.speaker.peerings == {}
        await nodes.secrets.create(secret("opensesame"))
        await until(lambda: is_up(one))


async def test_a_secret_that_goes_takes_the_session_with_it(tmp_path: Path) -> None:
    nodes = Nodes(tmp_path)
    await nodes.secrets.create(secret("opensesame"))
    async with nodes.running() as (one, _):
        await until(lambda: is_up(one))
        await nodes.secrets.delete(Key("Secret", "bgp"))
        await until(lambda: one.speaker.peerings == {})


async def test_a_secret_that_may_not_be_read_stops_no_more_than_its_sessions(tmp_path: Path) -> None:
    nodes = Nodes(tmp_path, secrets=Unreadable())
    async with nodes.running() as (one, _):
        await until(lambda: bool(one._mesh.unbuilt))
        assert one._mesh.unbuilt[0].why == "password: no secret bgp with a key mesh"


async def test_what_nobody_names_is_no_longer_read(tmp_path: Path) -> None:
    nodes = Nodes(tmp_path)
    await nodes.secrets.create(secret("opensesame"))
    async with nodes.running() as (one, _):
        await until(lambda: is_up(one))
        found = await nodes.store.get(Key("BGPConfiguration", "default"))
        await nodes.store.update(replace(found, spec={}))
        await until(lambda: passwords(one) == [""])
        await until(lambda: not any(task.get_name().startswith("secret") for task in asyncio.all_tasks()))
