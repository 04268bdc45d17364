"""The whole process but for its sockets: datastore, felix and the status socket around speakers on links in memory."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, ip_network
from pathlib import Path

import pytest

from bgp.daemon import BadEnvironment, BgpConfig, Daemon, World, read
from bgp.learned import Confirmed, Delta, Hello, InSync, Network, Snapshot, from_line, to_line
from bgp.remembered import FileMemory
from datastore.codec import Typed
from datastore.memory import MemoryStore
from datastore.resource import Key, Resource
from datastore.store import Change, Listing, Unavailable
from tests.memory_network import MemoryNetwork
from tests.unit.bgp.cluster import affinity, bgp_filter, configuration, node, peer, pool


class LosableStore(MemoryStore):
    """A memory store that can be away: what is asked then fails, and watches break off."""

    is_away = False

    async def list(self, kind: str, *, namespace: str = "", node: str = "") -> Listing:
        if self.is_away:
            raise Unavailable("the store is away")
        return await super().list(kind, namespace=namespace, node=node)

    def watch(self, kind: str, *, since: str, node: str = "") -> AsyncGenerator[Change, None]:
        if self.is_away:
            raise Unavailable("the store is away")
        return super().watch(kind, since=since, node=node)


@dataclass
class Felix:
    """What felix would have: the learned routes, and whether they are all."""

    routes: dict[Network, tuple[str, ...]] = field(default_factory=dict)
    is_in_sync: bool = False
    gone: list[Network] = field(default_factory=list)

    async def listen(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            match from_line(line):
                case Snapshot(routes):
                    self.routes = {each.dst: tuple(map(str, each.next_hops)) for each in routes}
                case Delta(best, gone):
                    self.routes.update({each.dst: tuple(map(str, each.next_hops)) for each in best})
                    self.gone += gone
                    for dst in gone:
                        del self.routes[dst]
                case InSync():
                    self.is_in_sync = True

    def table(self) -> list[str]:
        return [f"{dst} via {' '.join(hops)}" for dst, hops in sorted(self.routes.items(), key=str)]


@dataclass
class Cluster:
    folder: Path
    store: LosableStore = field(default_factory=LosableStore)
    network: MemoryNetwork = field(default_factory=MemoryNetwork)

    async def write(self, *values: Typed) -> None:
        for value in values:
            await self.store.create(value.resource)

    def config(self, name: str) -> BgpConfig:
        folder = self.folder / name
        return BgpConfig(name, "", folder / "bgp.sock", folder, folder / "lib")

    @asynccontextmanager
    async def daemon(self, number: int) -> AsyncIterator[Daemon]:
        """node ``number`` at 10.0.0.``number``; the end of the block is the end of the process."""
        host = self.network.host(IPv4Address(f"10.0.0.{number}"))
        config = self.config(f"node{number}")
        daemon = Daemon(config, self.store, world=World(host, FileMemory(config.state_folder / "bgp.json")))
        task = asyncio.create_task(daemon.run(), name=f"node{number}")
        try:
            yield daemon
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    @asynccontextmanager
    async def felix(self, number: int, *confirmed: str) -> AsyncIterator[Felix]:
        path = self.config(f"node{number}").felix_socket
        await until(path.exists)
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(to_line(Hello()) + to_line(Confirmed(frozenset(map(ip_network, confirmed)))))
        found = Felix()
        task = asyncio.create_task(found.listen(reader))
        try:
            yield found
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            writer.close()

    async def ask(self, number: int, command: str, *, socket: str = "bird.ctl") -> str:
        reader, writer = await asyncio.open_unix_connection(self.config(f"node{number}").run_folder / socket)
        writer.write(f"{command}\n".encode())
        await reader.readline()
        reply = b""
        while not reply.endswith((b"0000 \n", b"running\n")):
            reply += await asyncio.wait_for(reader.readline(), 5)
        writer.close()
        return reply.decode()


async def until(condition: Callable[[], bool]) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 10
    while not condition():
        assert loop.time() < deadline, "it did not come true"
        await asyncio.sleep(0.002)


def is_up(daemon: Daemon) -> bool:
    """With all its neighbours, and it has some."""
    peerings = daemon.speaker.peerings.values()
    return bool(peerings) and all(each.established for each in peerings)


BLOCK1, BLOCK2 = "10.244.1.0/26", "10.244.2.0/26"
OBJECTS = (
    node("node1", "10.0.0.1/24"),
    node("node2", "10.0.0.2/24"),
    pool("default", "10.244.0.0/16"),
    affinity("node1", BLOCK1),
    affinity("node2", BLOCK2),
)


async def test_two_nodes_get_each_others_blocks_as_soon_as_felix_confirms_them(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    await cluster.write(*OBJECTS)
    async with cluster.daemon(1) as one, cluster.daemon(2), cluster.felix(1, BLOCK1) as felix1:
        await until(lambda: is_up(one))
        assert felix1.table() == []
        async with cluster.felix(2, BLOCK2) as felix2:
            await until(lambda: felix1.table() == [f"{BLOCK2} via 10.0.0.2"] and felix1.is_in_sync)
            await until(lambda: felix2.table() == [f"{BLOCK1} via 10.0.0.1"] and felix2.is_in_sync)
        await asyncio.sleep(0.05)
        assert felix1.table() == [f"{BLOCK2} via 10.0.0.2"]


async def test_the_status_socket_shows_the_session_and_the_routes(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    await cluster.write(
        *OBJECTS, peer("tor", peerIP="10.0.0.254", asNumber=65000, password={"secretKeyRef": {"name": "x"}})
    )
    async with cluster.daemon(1) as one, cluster.daemon(2), cluster.felix(1, BLOCK1) as felix, cluster.felix(2, BLOCK2):
        await until(lambda: felix.is_in_sync and bool(one.speaker.exports))
        table = await cluster.ask(1, "show protocols")
        assert " Mesh_10_0_0_2 BGP      master   up     " in table
        assert "    Established   \n" in table
        assert "Down          password: the secret x is in Kubernetes, and this datastore is not" in table
        assert "Router ID is 10.0.0.1\n" in await cluster.ask(1, "show status")
        routes = await cluster.ask(1, "show route")
        assert f"{BLOCK1}      blackhole [static1 " in routes
        assert re.search(rf"{BLOCK2} +(via .*|unreachable) \[Mesh_10_0_0_2 ", routes)
        assert "BGP" not in await cluster.ask(1, "show protocols", socket="bird6.ctl")


async def test_a_node_without_an_address_waits_and_says_so(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    await cluster.write(*OBJECTS[1:], node("node1"))
    async with cluster.daemon(1) as one, cluster.daemon(2), cluster.felix(1) as felix:
        await until(lambda: one.status(4).waiting == "node node1 has no address")
        assert " Waiting: node node1 has no address\n" in await cluster.ask(1, "show status")
        assert not felix.is_in_sync
        known = await cluster.store.get(OBJECTS[0].resource.key)
        await cluster.store.update(replace(known, spec=OBJECTS[0].resource.spec))
        await until(lambda: one.status(4).waiting == "" and is_up(one))


async def test_a_block_that_is_given_up_is_withdrawn(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    await cluster.write(*OBJECTS)
    async with cluster.daemon(1), cluster.daemon(2), cluster.felix(1, BLOCK1), cluster.felix(2, BLOCK2) as felix:
        await until(lambda: felix.table() == [f"{BLOCK1} via 10.0.0.1"])
        await cluster.store.delete(OBJECTS[3].resource.key)
        await until(lambda: felix.table() == [])


async def test_a_deleted_node_is_no_neighbour_and_its_routes_go_at_once(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    await cluster.write(*OBJECTS)
    async with cluster.daemon(1) as one, cluster.daemon(2), cluster.felix(1) as felix, cluster.felix(2, BLOCK2):
        await until(lambda: felix.table() == [f"{BLOCK2} via 10.0.0.2"])
        await cluster.store.delete(OBJECTS[1].resource.key)
        await until(lambda: felix.table() == [] and not one.speaker.peerings)


async def test_switching_the_mesh_off_ends_its_sessions(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    await cluster.write(*OBJECTS)
    async with cluster.daemon(1) as one, cluster.daemon(2), cluster.felix(1, BLOCK1), cluster.felix(2, BLOCK2) as felix:
        await until(lambda: felix.table() == [f"{BLOCK1} via 10.0.0.1"])
        await cluster.write(configuration(nodeToNodeMeshEnabled=False))
        await until(lambda: felix.table() == [] and not one.speaker.peerings)


async def test_a_peering_that_takes_the_meshs_place_and_its_filter_work_on_the_living_session(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    await cluster.write(*OBJECTS)
    async with cluster.daemon(1) as one, cluster.daemon(2), cluster.felix(1, BLOCK1) as felix, cluster.felix(2, BLOCK2):
        await until(lambda: felix.table() == [f"{BLOCK2} via 10.0.0.2"])
        await cluster.write(
            bgp_filter("no", importV4=[{"cidr": BLOCK2, "matchOperator": "Equal", "action": "Reject"}]),
            peer("two", node="node1", peerIP="10.0.0.2", asNumber=64512, filters=["no"]),
        )
        await until(lambda: felix.table() == [])
        table = await cluster.ask(1, "show protocols")
        assert re.search(r"Node_10_0_0_2 BGP +master +up .*Established", table)
        assert "Routes refused: filter 1" in await cluster.ask(1, "show protocols all Node_10_0_0_2")
        written = await cluster.store.get(Key("BGPFilter", "no"))
        await cluster.store.update(replace(written, spec={}))
        await until(lambda: felix.table() == [f"{BLOCK2} via 10.0.0.2"])
        assert one.speaker.peerings["Node_10_0_0_2"].counters["established"] == 1


async def test_a_restart_while_the_datastore_is_away_withdraws_nothing(tmp_path: Path) -> None:
    """Invariant 8: a lost watch deletes nothing, and neither does a lost datastore."""
    cluster = Cluster(tmp_path)
    await cluster.write(*OBJECTS)
    async with cluster.daemon(2), cluster.felix(2, BLOCK2) as neighbour:
        async with cluster.daemon(1), cluster.felix(1, BLOCK1) as felix:
            await until(lambda: felix.is_in_sync and neighbour.table() == [f"{BLOCK1} via 10.0.0.1"])
            await until((tmp_path / "node1" / "lib" / "bgp.json").exists)
        cluster.store.is_away = True
        async with cluster.daemon(1) as one:
            await until(lambda: is_up(one))
            await until(lambda: one.status(4).waiting == "the store is away")
            await asyncio.sleep(0.1)
            assert neighbour.table() == [f"{BLOCK1} via 10.0.0.1"]
            async with cluster.felix(1, BLOCK1) as felix:
                await asyncio.sleep(0.1)
                assert not felix.is_in_sync
                cluster.store.is_away = False
                await until(lambda: felix.is_in_sync)
                assert felix.table() == [f"{BLOCK2} via 10.0.0.2"]
        assert neighbour.gone == []


async def test_felix_being_away_withdraws_nothing_either(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    await cluster.write(*OBJECTS)
    async with cluster.daemon(2), cluster.felix(2, BLOCK2) as neighbour:
        async with cluster.daemon(1), cluster.felix(1, BLOCK1):
            await until(lambda: neighbour.table() == [f"{BLOCK1} via 10.0.0.1"])
            await until((tmp_path / "node1" / "lib" / "bgp.json").exists)
        async with cluster.daemon(1) as one:
            await until(lambda: is_up(one))
            await asyncio.sleep(0.1)
            assert neighbour.table() == [f"{BLOCK1} via 10.0.0.1"]
            async with cluster.felix(1):
                await until(lambda: neighbour.table() == [])


async def test_after_a_boot_nothing_is_announced_before_felix_confirms_it(tmp_path: Path) -> None:
    """Invariant 9: the kernel has forgotten the blackholes."""
    cluster = Cluster(tmp_path)
    await cluster.write(*OBJECTS)
    memory = tmp_path / "node1" / "lib" / "bgp.json"
    async with cluster.daemon(2), cluster.felix(2, BLOCK2) as neighbour:
        async with cluster.daemon(1), cluster.felix(1, BLOCK1):
            await until(lambda: neighbour.table() == [f"{BLOCK1} via 10.0.0.1"])
            await until(memory.exists)
        memory.write_text(json.dumps({**json.loads(memory.read_text()), "boot": "another"}))
        async with cluster.daemon(1) as one:
            await until(lambda: is_up(one))
            await until(lambda: neighbour.table() == [])
            async with cluster.felix(1, BLOCK1):
                await until(lambda: neighbour.table() == [f"{BLOCK1} via 10.0.0.1"])


async def test_one_bad_object_does_not_stop_the_others(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    bad = replace(peer("bad").resource, spec={"peerIP": 7, "asNumber": "x"})
    await cluster.store.create(bad)
    await cluster.write(*OBJECTS)
    async with cluster.daemon(1), cluster.daemon(2), cluster.felix(1) as felix, cluster.felix(2, BLOCK2):
        await until(lambda: felix.table() == [f"{BLOCK2} via 10.0.0.2"])


def test_the_environment_is_read_and_what_is_wrong_in_it_is_said() -> None:
    assert read({"NODENAME": "node1"}) == BgpConfig("node1")
    assert read({"CALICO_ROUTER_ID": "hash"}, node="n") == BgpConfig("n", "hash")
    assert read({"NODENAME": "n", "CALICO_ROUTER_ID": "1.2.3.4"}).router_id == "1.2.3.4"
    with pytest.raises(BadEnvironment, match="CALICO_ROUTER_ID=x: must be an IPv4 address or hash"):
        read({"NODENAME": "n", "CALICO_ROUTER_ID": "x"})
    assert read({"NODENAME": "n", "CALICO_NODE_HOLD_TIME_S": "9"}).node_hold_time_s == 9
    for text in ("2", "70000", "9s", "-9"):
        with pytest.raises(BadEnvironment, match=r"CALICO_NODE_HOLD_TIME_S=.*: must be 3 seconds or more"):
            read({"NODENAME": "n", "CALICO_NODE_HOLD_TIME_S": text})
    with pytest.raises(BadEnvironment, match="NODENAME is not set"):
        read({})


async def test_an_object_that_cannot_be_read_is_told_in_status_and_metrics(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    await cluster.write(node("node1", "10.0.0.1/24"))
    await cluster.store.create(Resource("BGPPeer", "tor", spec={"peerIP": "10.0.0.3", "asNumber": "many"}))
    async with cluster.daemon(1) as daemon:
        await until(lambda: bool(daemon._whole_status()["unreadable"]))
        (told,) = daemon._whole_status()["unreadable"]
        assert told.startswith("BGPPeer(tor) cannot be read, and counts as it was before, if ever it could be: ")
        assert "\nbgp_objects_unreadable 1\n" in daemon._metrics()
        await cluster.store.delete(Key("BGPPeer", "tor"))
        await until(lambda: not daemon._whole_status()["unreadable"])
