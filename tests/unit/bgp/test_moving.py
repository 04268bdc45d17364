"""From the full mesh to route reflectors and back, by edits of the datastore alone: no node loses a route."""

import asyncio

from bgp.speaker import LEAVE_S
from tests.speakers import all_established
from tests.unit.bgp.cluster import configuration, peer
from tests.unit.bgp.living_cluster import NODES, REFLECTORS, meshed, nodes
from tests.virtual_time import virtually

TO_REFLECTORS = peer("reflectors", nodeSelector="all()", peerSelector="has(reflector)")
MESH_OFF = configuration(nodeToNodeMeshEnabled=False)


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
