"""The routing tables: what becomes of routes as neighbours, sessions and the datastore come and go."""

from dataclasses import replace
from ipaddress import IPv4Address, ip_address, ip_network

from bgp.learned import Delta
from bgp.message import Attributes, Learned, Numbered
from bgp.neighbour import Kind, Neighbour
from bgp.ownership import Ownership, ownership
from bgp.rib import FOREVER, Rib
from tests.unit.bgp.cluster import affinity, block, node

ME = IPv4Address("10.0.0.1")
NODES = [node(f"node{n}", f"10.0.0.{n}/24") for n in range(1, 5)]


def cluster_of(*owned: str) -> Ownership:
    """``node2 10.244.2.0/26``: who owns which block."""
    affinities = [affinity(*each.split()) for each in owned]
    return ownership(node="node1", nodes=NODES, affinities=affinities, blocks=[])


def neighbour(number: int, kind: Kind = Kind.MESH) -> Neighbour:
    address = ip_address(f"10.0.0.{number}")
    return Neighbour(f"{kind.value}_10_0_0_{number}", kind, address, 64512, 64512, ME)


def rib_with(*neighbours: Neighbour, view: Ownership | None = None, most_routes: int = 1000) -> Rib:
    rib = Rib(ME, most_routes)
    rib.judge_by(view or cluster_of())
    for each in neighbours:
        rib.meet(each, IPv4Address(int(each.address)))
    return rib


def announce(rib: Rib, who: Neighbour, *networks: str, via: str = "", local_pref: int = 100) -> None:
    attributes = Attributes(ip_address(via) if via else who.address, local_pref=local_pref)
    rib.learn(who.name, Learned(announced=tuple(map(ip_network, networks)), attributes=attributes))


def withdraw(rib: Rib, who: Neighbour, *networks: str) -> None:
    rib.learn(who.name, Learned(withdrawn=tuple(map(ip_network, networks))))


def lines(delta: Delta) -> list[str]:
    return sorted(
        [f"{each.dst} via {' '.join(map(str, each.next_hops))} from {each.peer}" for each in delta.best]
        + [f"{dst} gone" for dst in delta.gone]
    )


NODE2, NODE3 = neighbour(2), neighbour(3)
TOR, OTHER_TOR = neighbour(250, Kind.GLOBAL), neighbour(251, Kind.GLOBAL)


def test_an_accepted_route_is_told_once() -> None:
    rib = rib_with(NODE2, view=cluster_of("node2 10.244.2.0/26"))
    announce(rib, NODE2, "10.244.2.0/26")
    assert lines(rib.changes()) == ["10.244.2.0/26 via 10.0.0.2 from Mesh_10_0_0_2"]
    assert lines(rib.changes()) == []
    announce(rib, NODE2, "10.244.2.0/26")
    assert lines(rib.changes()) == []


def test_what_comes_and_goes_between_two_looks_is_not_told() -> None:
    rib = rib_with(TOR)
    announce(rib, TOR, "192.0.2.0/24")
    withdraw(rib, TOR, "192.0.2.0/24")
    assert lines(rib.changes()) == []


def test_a_refused_route_counts_and_changes_nothing() -> None:
    rib = rib_with(NODE2, view=cluster_of("node3 10.244.3.0/26"))
    announce(rib, NODE2, "10.244.3.0/26", "10.244.4.0/26", "0.0.0.0/0")
    assert lines(rib.changes()) == []
    tally = rib.tally(NODE2.name)
    assert (tally.received, tally.accepted) == (3, 0)
    assert tally.refused == {"not-owner": 1, "not-a-block": 1, "default-route": 1}


def test_the_datastore_may_come_after_the_route() -> None:
    rib = rib_with(NODE2)
    announce(rib, NODE2, "10.244.2.0/26")
    assert lines(rib.changes()) == []
    rib.judge_by(cluster_of("node2 10.244.2.0/26"))
    assert lines(rib.changes()) == ["10.244.2.0/26 via 10.0.0.2 from Mesh_10_0_0_2"]
    rib.judge_by(cluster_of())
    assert lines(rib.changes()) == ["10.244.2.0/26 gone"]


def test_an_address_is_accepted_when_ipam_gives_it_to_the_node() -> None:
    rib = rib_with(NODE2, view=cluster_of("node3 10.244.3.0/26"))
    announce(rib, NODE2, "10.244.3.5/32")
    assert lines(rib.changes()) == []
    affinities, blocks = [affinity("node3", "10.244.3.0/26")], [block("node3", "10.244.3.0/26", s5="node2")]
    rib.judge_by(ownership(node="node1", nodes=NODES, affinities=affinities, blocks=blocks))
    assert lines(rib.changes()) == ["10.244.3.5/32 via 10.0.0.2 from Mesh_10_0_0_2"]


def test_a_block_that_becomes_ours_is_no_longer_believed_of_others() -> None:
    rib = rib_with(TOR)
    announce(rib, TOR, "10.244.9.0/26")
    assert lines(rib.changes()) == ["10.244.9.0/26 via 10.0.0.250 from Global_10_0_0_250"]
    rib.judge_by(cluster_of("node1 10.244.9.0/26"))
    assert lines(rib.changes()) == ["10.244.9.0/26 gone"]
    assert rib.tally(TOR.name).refusals == {"own-block": 1}


def test_the_next_best_takes_over() -> None:
    rib = rib_with(TOR, OTHER_TOR)
    announce(rib, TOR, "192.0.2.0/24", local_pref=200)
    announce(rib, OTHER_TOR, "192.0.2.0/24")
    assert lines(rib.changes()) == ["192.0.2.0/24 via 10.0.0.250 from Global_10_0_0_250"]
    withdraw(rib, TOR, "192.0.2.0/24")
    assert lines(rib.changes()) == ["192.0.2.0/24 via 10.0.0.251 from Global_10_0_0_251"]


def test_equal_paths_are_used_together() -> None:
    rib = rib_with(TOR, OTHER_TOR)
    announce(rib, OTHER_TOR, "192.0.2.0/24")
    announce(rib, TOR, "192.0.2.0/24")
    assert lines(rib.changes()) == ["192.0.2.0/24 via 10.0.0.250 10.0.0.251 from Global_10_0_0_250"]


def test_a_new_announcement_replaces_the_old_one() -> None:
    rib = rib_with(TOR)
    announce(rib, TOR, "192.0.2.0/24")
    announce(rib, TOR, "192.0.2.0/24", via="10.0.0.99")
    assert lines(rib.changes()) == ["192.0.2.0/24 via 10.0.0.99 from Global_10_0_0_250"]
    announce(rib, TOR, "192.0.2.0/24", via="127.0.0.1")
    assert lines(rib.changes()) == ["192.0.2.0/24 gone"]


def test_stale_routes_stay_until_they_are_swept() -> None:
    rib = rib_with(TOR)
    announce(rib, TOR, "192.0.2.0/24", "198.51.100.0/24")
    rib.changes()
    rib.mark(TOR.name, until=120.0)
    assert lines(rib.changes()) == []
    assert rib.tally(TOR.name).stale == 2
    rib.meet(TOR, ME)
    announce(rib, TOR, "192.0.2.0/24")
    assert lines(rib.changes()) == []
    assert rib.sweep(TOR.name) == 1
    assert lines(rib.changes()) == ["198.51.100.0/24 gone"]
    assert rib.tally(TOR.name).stale == 0


def test_what_is_stale_when_the_session_is_lost_again_keeps_its_time() -> None:
    rib = rib_with(TOR)
    announce(rib, TOR, "192.0.2.0/24", "198.51.100.0/24")
    rib.changes()
    rib.mark(TOR.name, until=120.0)
    rib.meet(TOR, ME)
    announce(rib, TOR, "192.0.2.0/24")
    rib.mark(TOR.name, until=150.0)
    assert rib.next_sweep(TOR.name) == 120.0
    assert rib.sweep(TOR.name, now=119.0) == 0
    assert rib.sweep(TOR.name, now=120.0) == 1
    assert lines(rib.changes()) == ["198.51.100.0/24 gone"]
    assert rib.next_sweep(TOR.name) == 150.0


def test_a_refresh_that_is_cut_short_leaves_no_route_for_ever() -> None:
    rib = rib_with(TOR)
    announce(rib, TOR, "192.0.2.0/24")
    rib.mark(TOR.name)
    assert rib.next_sweep(TOR.name) == FOREVER
    rib.mark(TOR.name, until=120.0)
    assert rib.next_sweep(TOR.name) == 120.0


def test_a_neighbour_that_is_gone_takes_its_routes_with_it() -> None:
    rib = rib_with(TOR, OTHER_TOR)
    announce(rib, TOR, "192.0.2.0/24")
    announce(rib, OTHER_TOR, "192.0.2.0/24", "203.0.113.0/24")
    rib.changes()
    rib.forget(TOR.name)
    assert lines(rib.changes()) == ["192.0.2.0/24 via 10.0.0.251 from Global_10_0_0_251"]
    rib.drop(OTHER_TOR.name)
    assert lines(rib.changes()) == ["192.0.2.0/24 gone", "203.0.113.0/24 gone"]
    assert rib.routes() == ()


def test_a_refresh_sweeps_what_was_not_announced_again() -> None:
    rib = rib_with(TOR)
    announce(rib, TOR, "192.0.2.0/24", "198.51.100.0/24")
    rib.changes()
    rib.mark(TOR.name)
    announce(rib, TOR, "198.51.100.0/24")
    rib.sweep(TOR.name)
    assert lines(rib.changes()) == ["192.0.2.0/24 gone"]


def test_one_neighbour_has_a_bounded_number_of_places() -> None:
    rib = rib_with(TOR, OTHER_TOR, most_routes=10)
    announce(rib, TOR, *(f"192.0.{n}.0/24" for n in range(15)))
    announce(rib, OTHER_TOR, "203.0.113.0/24")
    assert (rib.tally(TOR.name).received, rib.tally(TOR.name).left_out) == (10, 5)
    assert len(rib.changes().best) == 11
    announce(rib, TOR, "192.0.0.0/24", via="10.0.0.99")
    assert lines(rib.changes()) == ["192.0.0.0/24 via 10.0.0.99 from Global_10_0_0_250"]


def test_routes_that_were_left_out_are_asked_for_once_there_is_room() -> None:
    rib = rib_with(TOR, most_routes=10)
    announce(rib, TOR, *(f"192.0.{n}.0/24" for n in range(11)))
    assert not rib.has_room_again(TOR.name)
    withdraw(rib, TOR, "192.0.1.0/24", "192.0.2.0/24")
    assert rib.has_room_again(TOR.name)
    assert not rib.has_room_again(TOR.name)


def test_every_accepted_path_can_be_shown_the_best_first() -> None:
    rib = rib_with(TOR, OTHER_TOR)
    announce(rib, TOR, "192.0.2.0/24")
    announce(rib, OTHER_TOR, "192.0.2.0/24", local_pref=200)
    ((dst, candidates),) = rib.paths()
    assert (str(dst), [each.peer for each in candidates]) == ("192.0.2.0/24", [OTHER_TOR.name, TOR.name])


def test_of_one_neighbours_paths_the_best_is_used_and_the_others_are_kept_where_somebody_hears_them() -> None:
    rib, dst = rib_with(TOR), ip_network("192.0.2.0/24")
    for number, med in ((1, 9), (2, 5), (3, 7)):
        hop = ip_address(f"10.0.0.{number}0")
        rib.learn(TOR.name, Learned(announced=(Numbered(dst, number),), attributes=Attributes(hop, med=med)))
    assert lines(rib.changes()) == ["192.0.2.0/24 via 10.0.0.20 from Global_10_0_0_250"]
    assert (rib.winners[dst].path_id, rib.others, rib.tally(TOR.name).received) == (2, {}, 3)
    rib.keep_others(True)
    assert lines(rib.changes()) == []
    assert rib.won_anew() == {dst}
    assert [each.path_id for each in rib.others[dst]] == [1, 3]
    rib.learn(TOR.name, Learned(withdrawn=(Numbered(dst, 2),)))
    assert lines(rib.changes()) == ["192.0.2.0/24 via 10.0.0.30 from Global_10_0_0_250"]
    rib.mark(TOR.name)
    rib.learn(TOR.name, Learned(announced=(Numbered(dst, 1),), attributes=Attributes(ip_address("10.0.0.10"))))
    assert rib.sweep(TOR.name) == 1
    assert lines(rib.changes()) == ["192.0.2.0/24 via 10.0.0.10 from Global_10_0_0_250"]
    rib.drop(TOR.name)
    rib.changes()
    assert (rib.winners, rib.others) == ({}, {})


def test_a_next_hop_behind_another_router_is_refused_from_who_is_next_to_us() -> None:
    near = replace(TOR, needs_near_next_hops=True)
    rib = rib_with(near)
    rib.reach_by(lambda _: True, is_near=lambda address: address == TOR.address)
    announce(rib, near, "192.0.2.0/24", via="10.9.9.9")
    announce(rib, near, "192.0.3.0/24")
    assert lines(rib.changes()) == ["192.0.3.0/24 via 10.0.0.250 from Global_10_0_0_250"]
    assert rib.tally(near.name).refused == {"next-hop": 1}
    rib.reach_by(lambda _: True, is_near=lambda _: False)
    assert lines(rib.changes()) == ["192.0.2.0/24 via 10.9.9.9 from Global_10_0_0_250"]


def test_a_next_hop_that_cannot_be_reached_is_refused_until_it_can() -> None:
    rib = rib_with(TOR, OTHER_TOR)
    announce(rib, TOR, "192.0.2.0/24", local_pref=200)
    announce(rib, OTHER_TOR, "192.0.2.0/24")
    assert lines(rib.changes()) == ["192.0.2.0/24 via 10.0.0.250 from Global_10_0_0_250"]
    rib.reach_by(lambda next_hop: next_hop != TOR.address, is_near=lambda _: True)
    assert lines(rib.changes()) == ["192.0.2.0/24 via 10.0.0.251 from Global_10_0_0_251"]
    assert rib.tally(TOR.name).refused == {"next-hop-unreachable": 1}
    rib.reach_by(lambda _: True, is_near=lambda _: True)
    assert lines(rib.changes()) == ["192.0.2.0/24 via 10.0.0.250 from Global_10_0_0_250"]
