"""Route reflection (RFC 4456) and passing on between ASes, by whole speakers on links in memory."""

import asyncio
from dataclasses import replace
from ipaddress import IPv4Address, ip_address, ip_network

from bgp.filters import read
from bgp.mesh import name_of
from bgp.neighbour import Kind, Neighbour
from bgp.passing import Policy
from bgp.recovery import RESTART_TIME_S
from bgp.speaker import DEFERRAL_S, PastLife
from tests.speakers import Station, World, all_established, mesh_neighbour, raw_session, until
from tests.unit.bgp.bgp_bytes import USUAL, attribute, nlri, update
from tests.virtual_time import virtually

POOL = ip_network("10.244.0.0/16")


def joined(here: Station, there: Station, cluster: IPv4Address | None = None) -> Neighbour:
    """As a BGPPeer that selects nodes on both sides."""
    return replace(
        mesh_neighbour(here, there),
        name=name_of(Kind.NODE, there.address),
        kind=Kind.NODE,
        is_passive=False,
        cluster_id=cluster,
    )


def policy_of(cluster: str = "") -> Policy:
    return Policy(pools=(POOL,), cluster_id=IPv4Address(cluster) if cluster else None)


async def star(*, clients: int = 3, reflectors: int = 1) -> tuple[World, list[Station], list[Station]]:
    """Clients that know reflectors only; the reflectors share a cluster."""
    world = World()
    ends = [world.station(n, f"10.244.{n}.0/26") for n in range(1, clients + 1)]
    middles = [world.station(n, f"10.244.{n}.0/26") for n in range(100, 100 + reflectors)]
    cluster = IPv4Address("1.0.0.1")
    for end in ends:
        end.neighbours = tuple(joined(end, middle) for middle in middles)
        end.policy = policy_of()
    for middle in middles:
        others = tuple(joined(middle, other) for other in middles if other is not middle)
        middle.neighbours = (*others, *(joined(middle, end, cluster) for end in ends))
        middle.policy = policy_of("1.0.0.1")
    for station in (*ends, *middles):
        await station.start()
    return world, ends, middles


@virtually
async def test_clients_learn_each_others_blocks_with_the_next_hops_they_have() -> None:
    _, ends, _ = await star()
    await until(lambda: len(ends[0].routes) == 3)
    assert ends[0].table() == [
        "10.244.2.0/26 via 10.0.0.2",
        "10.244.3.0/26 via 10.0.0.3",
        "10.244.100.0/26 via 10.0.0.100",
    ]
    ends[1].blocks = ()
    ends[1].apply()
    await until(lambda: len(ends[0].routes) == 2)


@virtually
async def test_no_client_is_told_its_own_routes() -> None:
    _, ends, _ = await star()
    await until(lambda: all(len(each.routes) == 3 for each in ends))
    assert [each.speaker.rib.tally("Node_10_0_0_100").received for each in ends] == [3, 3, 3]


@virtually
async def test_two_reflectors_of_one_cluster_refuse_each_others_reflections() -> None:
    """RFC 4456, 8: their cluster id is in it already."""
    _, ends, middles = await star(reflectors=2)
    await until(lambda: all(len(each.routes) == 4 for each in ends))
    tally = middles[0].speaker.rib.tally(f"Node_{str(middles[1].address).replace('.', '_')}")
    assert tally.refused == {"loop": 3}
    assert [each.next_hops for each in ends[0].routes.values()] == [
        (route.next_hops[0],) for route in ends[0].routes.values()
    ]


@virtually
async def test_a_reflector_that_dies_takes_no_route_with_it() -> None:
    _, ends, middles = await star(reflectors=2)
    await until(lambda: all(len(each.routes) == 4 for each in ends))
    for end in ends:
        end.told.clear()
    await middles[0].die()
    await middles[0].start(PastLife(has_restarted=True, keeps_forwarding=True))
    await until(lambda: all_established([*ends, *middles]))
    assert [str(dst) for end in ends for delta in end.told for dst in delta.gone] == []
    await middles[1].die()
    assert all(len(each.routes) == 4 for each in ends)


@virtually
async def test_a_reflector_that_restarts_waits_for_one_that_is_dead_with_end_of_rib_alone() -> None:
    _, ends, (middle,) = await star()
    await until(lambda: all(len(each.routes) == 3 for each in ends))
    await ends[2].die()
    await middle.die()
    await middle.start(PastLife(has_restarted=True, keeps_forwarding=True))
    await until(lambda: all_established([*ends[:2]]))
    begun = asyncio.get_running_loop().time()
    ends[0].blocks = (*ends[0].blocks, "10.244.7.0/26")
    ends[0].apply()
    await until(lambda: any("10.244.7.0/26" in line for line in ends[1].table()), within_s=30)
    assert DEFERRAL_S - 5 <= asyncio.get_running_loop().time() - begun <= DEFERRAL_S + 1
    assert ends[1].speaker.rib.tally("Node_10_0_0_100").stale == 1
    await until(lambda: not ends[1].speaker.rib.tally("Node_10_0_0_100").stale, within_s=RESTART_TIME_S)


@virtually
async def test_a_reflector_that_restarts_alone_says_end_of_rib_after_it_has_heard_all() -> None:
    """RFC 4724, 4.1: else each client would sweep what the others have not said again yet."""
    _, ends, (middle,) = await star()
    await until(lambda: all(len(each.routes) == 3 for each in ends))
    for end in ends:
        end.told.clear()
    await middle.die()
    await middle.start(PastLife(has_restarted=True, keeps_forwarding=True))
    await until(lambda: all_established([*ends, middle]))
    await until(lambda: not any(each.speaker.rib.tally("Node_10_0_0_100").stale for each in ends))
    assert [str(dst) for end in ends for delta in end.told for dst in delta.gone] == []
    assert all(len(each.routes) == 3 for each in ends)


@virtually
async def test_what_a_raw_client_hears_is_marked_as_reflected() -> None:
    _, ends, (middle,) = await star(clients=1)
    raw = replace(joined(middle, ends[0], IPv4Address("1.0.0.1")), name="Node_10_0_0_9", address=ip_address("10.0.0.9"))
    middle.neighbours = (*middle.neighbours, raw)
    middle.apply()
    peer = await raw_session(middle, 9)
    await until(lambda: peer.heard.count(nlri("10.244.1.0/26")) > 0, within_s=10)
    assert attribute(9, IPv4Address("10.0.0.1").packed, flags=0x80) in peer.heard
    assert attribute(10, IPv4Address("1.0.0.1").packed, flags=0x80) in peer.heard
    peer.say(
        update(
            attributes=USUAL + attribute(10, IPv4Address("1.0.0.1").packed, flags=0x80), announced=nlri("192.0.2.0/24")
        )
    )
    peer.say(
        update(attributes=USUAL + attribute(9, middle.address.packed, flags=0x80), announced=nlri("198.51.100.0/24"))
    )
    await until(lambda: middle.speaker.rib.tally("Node_10_0_0_9").refused == {"loop": 2})


@virtually
async def test_a_node_tells_an_external_peer_of_the_whole_cluster_and_that_one_alone() -> None:
    world = World()
    one, two, tor = world.station(1, "10.244.1.0/26"), world.station(2, "10.244.2.0/26"), world.station(9)
    tor.local_as = 65000
    world.mesh(one, two)
    one.policy = two.policy = policy_of()
    outward = replace(joined(one, tor), peer_as=65000)
    one.neighbours = (*one.neighbours, outward)
    tor.neighbours = (replace(joined(tor, one), peer_as=64512),)
    for station in (one, two, tor):
        await station.start()
    await until(lambda: len(tor.routes) == 2)
    assert tor.table() == ["10.244.1.0/26 via 10.0.0.1", "10.244.2.0/26 via 10.0.0.1"]
    assert [each.attributes.as_path for each in tor.speaker.rib.winners.values()] == [(64512,), (64512,)]
    assert one.speaker.outgoing.to(outward).keys() == {ip_network(each) for each in ("10.244.1.0/26", "10.244.2.0/26")}
    assert two.speaker.rib.tally("Mesh_10_0_0_1").received == 1


@virtually
async def test_a_filter_that_is_edited_works_both_ways_without_a_new_session() -> None:
    _, ends, (middle,) = await star()
    await until(lambda: all(len(each.routes) == 3 for each in ends))
    rule = {"cidr": "10.244.2.0/26", "matchOperator": "Equal", "action": "Reject"}
    first, third = (each for each in middle.neighbours if each.name in ("Node_10_0_0_1", "Node_10_0_0_3"))
    others = tuple(each for each in middle.neighbours if each is not first)
    middle.neighbours = (*others, replace(first, filters=(read("f", {"exportV4": [rule]}),)))
    middle.apply()
    await until(lambda: len(ends[0].routes) == 2)
    assert len(ends[2].routes) == 3
    second = next(each for each in middle.neighbours if each.name == "Node_10_0_0_2")
    middle.neighbours = (first, third, replace(second, filters=(read("f", {"importV4": [rule]}),)))
    middle.apply()
    await until(lambda: len(ends[0].routes) == len(ends[2].routes) == 2)
    assert middle.speaker.rib.tally("Node_10_0_0_2").refused == {"filter": 1}
    middle.neighbours = (first, second, third)
    middle.apply()
    await until(lambda: len(ends[0].routes) == len(ends[2].routes) == 3)
    ups = [each.counters["established"] for each in middle.speaker.peerings.values()]
    assert ups == [1, 1, 1]
