"""From the full mesh to route reflectors and back, by edits of the datastore alone: no node loses a route."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_network

from bgp.speaker import LEAVE_S, Wanted
from bgp.view import KINDS, View
from datastore.codec import Typed
from datastore.follow import Batch
from tests.speakers import Station, World, all_established, until
from tests.unit.bgp.cluster import affinity, configuration, node, peer, pool
from tests.virtual_time import virtually

NODES = range(1, 6)
REFLECTORS = (4, 5)
POOL = pool("default", "10.244.0.0/16")
TO_REFLECTORS = peer("reflectors", nodeSelector="all()", peerSelector="has(reflector)")
MESH_OFF = configuration(nodeToNodeMeshEnabled=False)


def nodes(*reflectors: int) -> list[Typed]:
    return [
        node(
            f"node{n}",
            f"10.0.0.{n}/24",
            labels={"reflector": ""} if n in REFLECTORS else {},
            **({"routeReflectorClusterID": "1.0.0.1"} if n in reflectors else {}),
        )
        for n in NODES
    ]


@dataclass
class Cluster:
    """Stations that do as the datastore says, each with a view of its own."""

    world: World
    stations: list[Station]

    def apply(self, *objects: Typed, to: Iterable[int] = NODES) -> None:
        affinities = [affinity(each.name, each.blocks[0]) for each in self.stations]
        for number in to:
            station = self.stations[number - 1]
            view = View(station.name)
            for kind in KINDS:
                every = (*objects, POOL, *affinities)
                view.apply(Batch(kind, True, tuple(each.resource for each in every if each.resource.kind == kind)))
            station.speaker.judge_by(view.ownership())
            station.speaker.apply(
                Wanted(
                    router_id=IPv4Address(view.router_id("")),
                    neighbours=view.mesh().neighbours,
                    exports=view.exports(frozenset(map(ip_network, station.blocks))),
                    are_exports_known=True,
                    is_settled=True,
                    listen=view.listen(),
                    policy=view.policy(),
                    nodes=view.nodes(),
                )
            )

    def names(self, number: int) -> list[str]:
        return sorted(self.stations[number - 1].speaker.peerings)

    def gone(self) -> list[str]:
        return [str(dst) for each in self.stations for delta in each.told for dst in delta.gone]

    def is_whole(self) -> bool:
        return all(len(each.routes) == len(NODES) - 1 for each in self.stations)


async def meshed() -> Cluster:
    world = World()
    cluster = Cluster(world, [world.station(n, f"10.244.{n}.0/26") for n in NODES])
    for station in cluster.stations:
        await station.start()
    cluster.apply(*nodes())
    await until(lambda: all_established(cluster.stations) and cluster.is_whole())
    for station in cluster.stations:
        station.told.clear()
    return cluster


REFLECTED = [["Node_10_0_0_4", "Node_10_0_0_5"]] * 3


@virtually
async def test_step_by_step_to_reflectors_and_back() -> None:
    cluster = await meshed()
    for objects in (
        [*nodes(), TO_REFLECTORS],
        [*nodes(*REFLECTORS), TO_REFLECTORS],
        [*nodes(*REFLECTORS), TO_REFLECTORS, MESH_OFF],
    ):
        cluster.apply(*objects)
        await asyncio.sleep(30)
    assert [cluster.names(number) for number in (1, 2, 3)] == REFLECTED
    assert cluster.names(4) == ["Node_10_0_0_1", "Node_10_0_0_2", "Node_10_0_0_3", "Node_10_0_0_5"]
    assert all_established(cluster.stations)
    for objects in ([*nodes(*REFLECTORS), TO_REFLECTORS], [*nodes(), TO_REFLECTORS], nodes()):
        cluster.apply(*objects)
        await asyncio.sleep(30)
    assert [len(cluster.names(number)) for number in NODES] == [4] * 5
    assert all(name.startswith("Mesh_") for number in NODES for name in cluster.names(number))
    assert cluster.is_whole()
    assert cluster.gone() == []


@virtually
async def test_all_at_once_to_reflectors_though_each_node_sees_it_at_another_time() -> None:
    cluster = await meshed()
    for number in (1, 4, 2, 5, 3):
        cluster.apply(*nodes(*REFLECTORS), TO_REFLECTORS, MESH_OFF, to=[number])
        await asyncio.sleep(0.7)
    await asyncio.sleep(30)
    assert [cluster.names(number) for number in (1, 2, 3)] == REFLECTED
    assert cluster.is_whole()
    assert cluster.gone() == []


@virtually
async def test_a_node_that_was_left_says_so_in_the_end_and_one_that_comes_back_keeps_its_session() -> None:
    cluster = await meshed()
    cluster.apply(*nodes(*REFLECTORS), TO_REFLECTORS, MESH_OFF)
    await asyncio.sleep(LEAVE_S / 2)
    assert "Mesh_10_0_0_2" in cluster.names(1)
    cluster.apply(*nodes(), TO_REFLECTORS)
    await asyncio.sleep(LEAVE_S * 2)
    peerings = cluster.stations[0].speaker.peerings
    assert peerings["Mesh_10_0_0_2"].counters["established"] == 1
    cluster.apply(*nodes(*REFLECTORS), TO_REFLECTORS, MESH_OFF)
    mark = len(cluster.world.network.crossed)
    await asyncio.sleep(LEAVE_S + 1)
    ceased = [data[19:21] for _, _, data in cluster.world.network.crossed[mark:] if data[18] == 3]
    assert set(ceased) == {b"\x06\x03"}
    assert cluster.names(1) == REFLECTED[0]


@virtually
async def test_a_node_that_is_deleted_is_left_at_once() -> None:
    cluster = await meshed()
    cluster.apply(*nodes()[:4], to=(1, 2, 3, 4))
    assert "Mesh_10_0_0_5" not in cluster.names(1)


@virtually
async def test_when_nobody_else_is_left_the_mesh_ends_at_once() -> None:
    cluster = await meshed()
    cluster.apply(*nodes(), MESH_OFF)
    assert [cluster.names(number) for number in NODES] == [[]] * 5
