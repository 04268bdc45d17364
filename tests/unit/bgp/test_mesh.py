"""Which neighbours a node has, as lines that a person can read."""

from ipaddress import ip_address
from typing import Any

import pytest

from bgp.filters import Unreadable, read
from bgp.mesh import Cluster, Secrets, dials, mesh, split_port
from bgp.neighbour import Mesh, Neighbour, NextHopMode
from datastore.resources import BGPConfiguration, BGPPeer, Node
from tests.unit.bgp.cluster import configuration, node, peer


def neighbours_of(
    me: str,
    *nodes: Node,
    configurations: tuple[BGPConfiguration, ...] = (),
    peers: tuple[BGPPeer, ...] = (),
    secrets: Secrets | None = None,
) -> Mesh:
    cluster = Cluster(
        me=me,
        nodes={each.name: each for each in nodes},
        configurations={each.resource.name: each for each in configurations},
        peers=peers,
        secrets=secrets,
    )
    return mesh(cluster, version=4)


def lines(found: Mesh) -> list[str]:
    return [*(line(each) for each in found.neighbours), *(f"{each.name}: {each.why}" for each in found.unbuilt)]


def line(each: Neighbour) -> str:
    who = "waits" if each.is_passive else "dials"
    return f"{each.name} {who} {each.address}:{each.port} AS {each.local_as}->{each.peer_as}"


NODE1, NODE2, NODE3 = node("node1", "10.0.0.1/24"), node("node2", "10.0.0.2/24"), node("node3", "10.0.0.3/24")


def test_every_other_node_with_an_address_is_a_neighbour_and_the_greater_address_dials() -> None:
    assert lines(neighbours_of("node2", NODE1, NODE2, NODE3, node("bare"))) == [
        "Mesh_10_0_0_1 dials 10.0.0.1:179 AS 64512->64512",
        "Mesh_10_0_0_3 waits 10.0.0.3:179 AS 64512->64512",
    ]


def test_who_dials_is_decided_by_comparing_addresses_as_strings() -> None:
    assert dials(ip_address("10.0.0.9"), ip_address("10.0.0.10"))
    assert not dials(ip_address("10.0.0.10"), ip_address("10.0.0.9"))


def test_of_any_two_nodes_exactly_one_dials() -> None:
    addresses = [ip_address(f"10.{a}.0.{b}") for a in (0, 9, 10, 100) for b in (1, 2, 9, 10, 99, 100, 200)]
    for mine in addresses:
        for theirs in addresses:
            assert dials(mine, theirs) + dials(theirs, mine) == (mine != theirs)


def test_a_node_without_an_address_has_no_neighbours() -> None:
    assert lines(neighbours_of("bare", NODE1, node("bare"))) == []


def test_a_node_that_the_datastore_does_not_know_has_no_neighbours() -> None:
    assert lines(neighbours_of("stranger", NODE1, NODE2)) == []


def test_the_mesh_can_be_switched_off() -> None:
    off = configuration(nodeToNodeMeshEnabled=False)
    assert lines(neighbours_of("node1", NODE1, NODE2, configurations=(off,))) == []


def test_as_numbers_come_from_the_node_before_the_default_configuration() -> None:
    found = neighbours_of(
        "node1", NODE1, node("node2", "10.0.0.2/24", asNumber=65001), configurations=(configuration(asNumber=65000),)
    )
    assert lines(found) == ["Mesh_10_0_0_2 waits 10.0.0.2:179 AS 65000->65001"]


def test_the_port_is_the_far_nodes_own_then_the_default_one() -> None:
    found = neighbours_of(
        "node1",
        NODE1,
        NODE2,
        NODE3,
        configurations=(configuration(listenPort=1790), configuration("node.node3", listenPort=1791)),
    )
    assert [each.port for each in found.neighbours] == [1790, 1791]


def test_a_nodes_configuration_without_a_port_does_not_hide_the_default_one() -> None:
    found = neighbours_of(
        "node1",
        NODE1,
        NODE2,
        configurations=(configuration(listenPort=1790), configuration("node.node2", logSeverityScreen="Debug")),
    )
    assert [each.port for each in found.neighbours] == [1790]


def test_route_reflectors_are_not_in_the_mesh_on_either_side() -> None:
    reflector = node("rr", "10.0.0.9/24", routeReflectorClusterID="1.0.0.1")
    assert lines(neighbours_of("node1", NODE1, NODE2, reflector)) == [
        "Mesh_10_0_0_2 waits 10.0.0.2:179 AS 64512->64512"
    ]
    assert lines(neighbours_of("rr", NODE1, NODE2, reflector)) == []


def test_the_restart_time_of_the_mesh_is_read_as_gos_durations() -> None:
    for text, seconds in (("90s", 90), ("2m0s", 120), ("1h", 3600), ("", 120), ("soon", 120), ("90000s", 4095)):
        default = configuration(nodeMeshMaxRestartTime=text)
        found = neighbours_of("node1", NODE1, NODE2, configurations=(default,))
        assert (text, found.neighbours[0].restart_time_s) == (text, seconds)


@pytest.mark.parametrize(
    ("secrets", "said"),
    [
        (None, "password: the secret bgp is in Kubernetes, and this datastore is not"),
        ({}, "password: no secret bgp with a key mesh"),
        ({("bgp", "mesh"): "x" * 81}, "password: mesh of the secret bgp is longer than 80 bytes"),
    ],
)
def test_a_mesh_whose_password_cannot_be_read_is_listed_and_not_brought_up_without_one(
    secrets: Secrets | None, said: str
) -> None:
    secret = configuration(nodeMeshPassword={"secretKeyRef": {"name": "bgp", "key": "mesh"}})
    found = neighbours_of("node1", NODE1, NODE2, configurations=(secret,), secrets=secrets)
    assert lines(found) == [f"Mesh_10_0_0_2: {said}"]


def test_passwords_come_from_secrets_and_an_optional_one_may_be_missing() -> None:
    secrets = {("bgp", "mesh"): "meshed", ("bgp", "tor"): "towering"}
    mesh_secret = configuration(nodeMeshPassword={"secretKeyRef": {"name": "bgp", "key": "mesh"}})
    rules = tuple(
        peer(
            name, peerIP=f"10.0.0.{last}", asNumber=65000, password={"secretKeyRef": {"name": "bgp", "key": key} | more}
        )
        for name, last, key, more in (("tor", 254, "tor", {}), ("none", 253, "gone", {"optional": True}))
    )
    found = neighbours_of("node1", NODE1, NODE2, configurations=(mesh_secret,), peers=rules, secrets=secrets)
    assert [(each.name, each.password) for each in found.neighbours] == [
        ("Global_10_0_0_253", ""),
        ("Global_10_0_0_254", "towering"),
        ("Mesh_10_0_0_2", "meshed"),
    ]
    assert "towering" not in repr(found)


def test_a_global_peer_is_every_nodes_neighbour() -> None:
    tor = peer("tor", peerIP="10.0.0.254", asNumber=65000)
    assert lines(neighbours_of("node1", NODE1, peers=(tor,))) == [
        "Global_10_0_0_254 dials 10.0.0.254:179 AS 64512->65000"
    ]


def test_a_port_of_a_peer_is_part_of_its_name() -> None:
    tor = peer("tor", peerIP="10.0.0.254:1790", asNumber=65000)
    assert lines(neighbours_of("node1", NODE1, peers=(tor,))) == [
        "Global_10_0_0_254_port_1790 dials 10.0.0.254:1790 AS 64512->65000"
    ]


def test_a_peer_for_one_node_is_not_the_others() -> None:
    tor = peer("tor", node="node2", peerIP="10.0.0.254", asNumber=65000)
    assert lines(neighbours_of("node1", NODE1, peers=(tor,))) == []
    assert lines(neighbours_of("node2", NODE2, peers=(tor,))) == [
        "Node_10_0_0_254 dials 10.0.0.254:179 AS 64512->65000"
    ]


def test_a_node_selector_chooses_the_nodes_that_have_the_peer() -> None:
    rack1 = node("node1", "10.0.0.1/24", labels={"rack": "1"})
    tor = peer("tor", nodeSelector="rack == '1'", peerIP="10.0.0.254", asNumber=65000)
    off = (configuration(nodeToNodeMeshEnabled=False),)
    assert lines(neighbours_of("node1", rack1, NODE2, configurations=off, peers=(tor,))) == [
        "Node_10_0_0_254 dials 10.0.0.254:179 AS 64512->65000"
    ]
    assert lines(neighbours_of("node2", rack1, NODE2, configurations=off, peers=(tor,))) == []


def test_a_peer_selector_joins_clients_and_reflectors_from_both_sides() -> None:
    reflector = node("rr", "10.0.0.9/24", labels={"role": "rr"}, routeReflectorClusterID="1.0.0.1")
    off = (configuration(nodeToNodeMeshEnabled=False),)
    rule = (peer("to-reflectors", nodeSelector="all()", peerSelector="role == 'rr'"),)
    nodes = (NODE1, NODE2, reflector)
    assert lines(neighbours_of("node1", *nodes, configurations=off, peers=rule)) == [
        "Node_10_0_0_9 dials 10.0.0.9:179 AS 64512->64512"
    ]
    assert lines(neighbours_of("rr", *nodes, configurations=off, peers=rule)) == [
        "Node_10_0_0_1 dials 10.0.0.1:179 AS 64512->64512",
        "Node_10_0_0_2 dials 10.0.0.2:179 AS 64512->64512",
    ]


def test_a_mirrored_session_can_be_declined() -> None:
    off = (configuration(nodeToNodeMeshEnabled=False),)
    rule = (peer("one-way", node="node1", peerIP="10.0.0.2", reversePeering="Manual"),)
    assert lines(neighbours_of("node2", NODE1, NODE2, configurations=off, peers=rule)) == []


def test_a_global_peer_that_is_a_node_follows_the_rule_of_the_mesh_for_dialling() -> None:
    off = (configuration(nodeToNodeMeshEnabled=False),)
    rule = (peer("to2", peerIP="10.0.0.2", asNumber=64512),)
    assert lines(neighbours_of("node1", NODE1, NODE2, configurations=off, peers=rule)) == [
        "Global_10_0_0_2 waits 10.0.0.2:179 AS 64512->64512"
    ]
    assert lines(neighbours_of("node3", NODE2, NODE3, configurations=off, peers=rule)) == [
        "Global_10_0_0_2 dials 10.0.0.2:179 AS 64512->64512"
    ]


def test_an_explicit_peer_takes_the_place_of_the_meshs() -> None:
    rule = (peer("to2", node="node1", peerIP="10.0.0.2", asNumber=64512),)
    assert lines(neighbours_of("node1", NODE1, NODE2, NODE3, peers=rule)) == [
        "Mesh_10_0_0_3 waits 10.0.0.3:179 AS 64512->64512",
        "Node_10_0_0_2 dials 10.0.0.2:179 AS 64512->64512",
    ]


def test_a_global_peer_wins_over_one_for_some_nodes_at_the_same_place() -> None:
    rules = (peer("a", node="node1", peerIP="10.0.0.254", asNumber=1), peer("b", peerIP="10.0.0.254", asNumber=2))
    assert lines(neighbours_of("node1", NODE1, peers=rules)) == ["Global_10_0_0_254 dials 10.0.0.254:179 AS 64512->2"]


def test_a_session_may_have_its_own_local_as() -> None:
    rule = (peer("tor", peerIP="10.0.0.254", asNumber=65000, localASNumber=65100),)
    assert lines(neighbours_of("node1", NODE1, peers=rule)) == [
        "Global_10_0_0_254 dials 10.0.0.254:179 AS 65100->65000"
    ]


def test_the_source_address_can_be_left_to_the_kernel() -> None:
    rule = (peer("tor", peerIP="10.0.0.254", asNumber=65000, sourceAddress="None"),)
    assert neighbours_of("node1", NODE1, peers=rule).neighbours[0].local_address is None


def test_a_node_is_never_its_own_neighbour() -> None:
    rule = (peer("everyone", peerIP="10.0.0.1", asNumber=64512),)
    assert lines(neighbours_of("node1", NODE1, peers=rule)) == []


@pytest.mark.parametrize(
    ("asked", "field", "value"),
    [
        ({}, "ttl_hops", 0),
        ({"ttlSecurity": 1}, "ttl_hops", 1),
        ({"reachableBy": "10.0.0.253"}, "gateway", ip_address("10.0.0.253")),
        ({"reachableBy": "fd00::1"}, "gateway", None),
        ({"numAllowedLocalASNumbers": 2}, "allowed_local_as", 2),
        ({"keepaliveTime": "10s"}, "keepalive_time_s", 10),
        ({"maxRestartTime": "1m30s"}, "restart_time_s", 90),
        ({"nextHopMode": "Self"}, "next_hop_mode", NextHopMode.SELF),
        ({"nextHopMode": "Keep"}, "next_hop_mode", NextHopMode.KEEP),
        ({"nextHopMode": "Auto"}, "next_hop_mode", NextHopMode.AUTO),
        ({"keepOriginalNextHop": True}, "next_hop_mode", NextHopMode.KEEP),
    ],
)
def test_what_a_peer_may_ask_for(asked: dict[str, object], field: str, value: object) -> None:
    rule = (peer("tor", peerIP="10.0.0.254", asNumber=65000, **asked),)
    (found,) = neighbours_of("node1", NODE1, peers=rule).neighbours
    assert getattr(found, field) == value


def test_the_original_next_hop_is_kept_towards_other_ases_only() -> None:
    rule = (peer("tor", peerIP="10.0.0.254", asNumber=64512, keepOriginalNextHop=True),)
    (found,) = neighbours_of("node1", NODE1, peers=rule).neighbours
    assert found.next_hop_mode is NextHopMode.AUTO


def test_what_is_not_built_is_listed_with_its_reason_and_not_brought_up() -> None:
    rule = (peer("pods", localWorkloadSelector="all()", peerIP="10.0.0.254", asNumber=65000),)
    assert lines(neighbours_of("node1", NODE1, peers=rule)) == [
        "Global_10_0_0_254: not built yet: localWorkloadSelector"
    ]


def test_a_peer_has_the_filters_that_it_names_in_order_and_one_that_is_not_there_is_none() -> None:
    rule = (peer("tor", peerIP="10.0.0.254", asNumber=65000, filters=["b", "gone", "a"]),)
    filters = {"a": read("a", {}), "b": read("b", {})}
    (found,) = mesh(Cluster("node1", {"node1": NODE1}, peers=rule, filters=filters), version=4).neighbours
    assert [each.name for each in found.filters] == ["b", "a"]


def test_a_peer_with_a_filter_that_cannot_be_read_is_not_brought_up() -> None:
    rule = (peer("tor", peerIP="10.0.0.254", asNumber=65000, filters=["bad"]),)
    cluster = Cluster("node1", {"node1": NODE1}, peers=rule, filters={"bad": Unreadable("BGPFilter bad: no")})
    assert lines(mesh(cluster, version=4)) == ["Global_10_0_0_254: BGPFilter bad: no"]


CLUSTERS = {
    "a client that is a node": ("1.0.0.1", "", 0, "1.0.0.1"),
    "a reflector of the same cluster": ("1.0.0.1", "1.0.0.1", 0, None),
    "a reflector of another cluster": ("1.0.0.1", "1.0.0.2", 0, "1.0.0.1"),
    "another AS": ("1.0.0.1", "", 65000, None),
    "we are no reflector": ("", "1.0.0.2", 0, None),
    "no cluster id at all": ("cluster", "", 0, None),
}


@pytest.mark.parametrize("case", CLUSTERS)
def test_who_is_a_client_of_this_reflector(case: str) -> None:
    ours, theirs, as_number, expected = CLUSTERS[case]
    me = node("node1", "10.0.0.1/24", routeReflectorClusterID=ours)
    far = node("far", "10.0.0.9/24", labels={"far": ""}, routeReflectorClusterID=theirs, asNumber=as_number or 64512)
    rule = (peer("far", node="node1", peerSelector="has(far)"),)
    (found,) = neighbours_of("node1", me, far, peers=rule).neighbours
    assert found.cluster_id == (None if expected is None else ip_address(expected))


def test_an_external_speaker_in_our_as_is_a_client_too() -> None:
    me = node("node1", "10.0.0.1/24", routeReflectorClusterID="1.0.0.1")
    rule = (peer("tor", peerIP="10.0.0.254", asNumber=64512),)
    (found,) = neighbours_of("node1", me, peers=rule).neighbours
    assert str(found.cluster_id) == "1.0.0.1"


def test_an_address_that_cannot_be_read_is_listed_too() -> None:
    rule = (peer("tor", peerIP="10.0.0.300", asNumber=65000),)
    assert lines(neighbours_of("node1", NODE1, peers=rule)) == ["Global_tor: peerIP is no address: '10.0.0.300'"]


def test_a_selector_that_cannot_be_read_is_listed_too() -> None:
    rule = (peer("racks", nodeSelector="rack ==", peerIP="10.0.0.254", asNumber=65000),)
    (found,) = neighbours_of("node1", NODE1, peers=rule).unbuilt
    assert (found.name, found.why[:14]) == ("Node_racks", "nodeSelector: ")


def test_the_two_families_have_sessions_of_their_own() -> None:
    nodes = {
        "a": node("a", "10.0.0.1/24", ipv6="fd00::1/64"),
        "b": node("b", "10.0.0.2/24", ipv6="fd00::2/64"),
    }
    found = mesh(Cluster("a", nodes), version=6)
    assert lines(found) == ["Mesh_fd00__2 waits fd00::2:179 AS 64512->64512"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("10.0.0.9", ("10.0.0.9", 0)),
        ("10.0.0.9:1790", ("10.0.0.9", 1790)),
        ("fd00::9", ("fd00::9", 0)),
        ("[fd00::9]:1790", ("fd00::9", 1790)),
        ("tor.example", None),
        ("", None),
    ],
)
def test_a_peers_address_may_have_a_port(text: str, place: tuple[str, int] | None) -> None:
    found = split_port(text)
    assert (found and (str(found[0]), found[1])) == place


def watched(name: str, *nodes: Node, **cluster: Any) -> list[str]:
    return [str(each.address) for each in neighbours_of(name, *nodes, **cluster).neighbours if each.is_watched]


def test_bfd_watches_nodes_unless_somebody_does_not_want_it_and_others_where_somebody_asks() -> None:
    assert watched("node1", NODE1, NODE2) == ["10.0.0.2"]
    for mode, node_is, other_is in (("", True, False), ("None", False, False), ("BFDIfDirectlyConnected", True, True)):
        more = {"failureDetectionMode": mode} if mode else {}
        to_node = peer("to2", node="node1", peerIP="10.0.0.2", asNumber=64512, **more)
        to_router = peer("tor", node="node1", peerIP="10.0.0.254", asNumber=65000, **more)
        found = watched("node1", NODE1, NODE2, peers=(to_node, to_router))
        assert ("10.0.0.2" in found, "10.0.0.254" in found) == (node_is, other_is), mode


def test_other_nodes_are_offered_the_hold_time_that_is_asked_for_and_nobody_else_is() -> None:
    peers = (peer("tor", peerIP="10.0.0.254", asNumber=65000), peer("n3", peerIP="10.0.0.3", asNumber=64512))
    nodes = {each.name: each for each in (NODE1, NODE2, NODE3)}
    found = mesh(Cluster("node1", nodes, peers=peers, node_hold_time_s=9), version=4)
    assert {each.name: each.hold_time_s for each in found.neighbours} == {
        "Global_10_0_0_254": 240,
        "Global_10_0_0_3": 9,
        "Mesh_10_0_0_2": 9,
    }
