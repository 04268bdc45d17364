"""What follows from the datastore's tables."""

from ipaddress import ip_network

import pytest

from bgp.view import KINDS, View, hashed_router_id
from datastore.codec import Typed
from datastore.follow import Batch
from datastore.resource import Key
from tests.unit.bgp.cluster import affinity, block, configuration, node, peer, pool

NODE1 = node("node1", "10.0.0.1/24", ipv6="fd00::1/64")
NODE2 = node("node2", "10.0.0.2/24", ipv6="fd00::2/64")
CONFIRMED = frozenset({ip_network("10.244.1.0/26")})


def view_of(*values: Typed, me: str = "node1") -> View:
    view = View(me)
    for kind in KINDS:
        view.apply(Batch(kind, True, tuple(value.resource for value in values if value.resource.kind == kind)))
    return view


def test_it_is_in_sync_when_every_kind_was_listed() -> None:
    view = View("node1")
    for kind in KINDS:
        assert not view.in_sync
        view.apply(Batch(kind, True, ()))
    assert view.in_sync


def test_neighbours_come_from_both_families() -> None:
    assert [each.name for each in view_of(NODE1, NODE2).mesh().neighbours] == ["Mesh_10_0_0_2", "Mesh_fd00__2"]


def test_a_peer_that_is_not_brought_up_is_listed_once() -> None:
    wrong = peer("tor", peerIP="nowhere", asNumber=1)
    assert [each.name for each in view_of(NODE1, wrong).mesh().unbuilt] == ["Global_tor"]


def test_exports_are_what_is_confirmed_by_both() -> None:
    view = view_of(NODE1, affinity("node1", "10.244.1.0/26"), affinity("node1", "10.244.2.0/26"))
    assert list(view.exports(CONFIRMED)) == [ip_network("10.244.1.0/26")]
    assert list(view.exports(frozenset())) == []


def test_the_priority_of_the_default_configuration_counts() -> None:
    view = view_of(NODE1, affinity("node1", "10.244.1.0/26"), configuration(ipv4NormalRoutePriority=512))
    assert [each.local_pref for each in view.exports(CONFIRMED).values()] == [2147483135]


def test_a_result_is_worked_out_again_only_when_its_tables_changed() -> None:
    view = view_of(NODE1, NODE2, affinity("node1", "10.244.1.0/26"), pool("p", "10.244.0.0/16"))
    before = view.mesh(), view.ownership(), view.exports(CONFIRMED)
    view.apply(Batch("IPAMBlock", False, (block("node1", "10.244.1.0/26", s1="node1").resource,)))
    after = view.mesh(), view.ownership(), view.exports(CONFIRMED)
    assert [one is other for one, other in zip(before, after, strict=True)] == [True, False, True]


def test_a_batch_that_changes_nothing_says_so() -> None:
    view = view_of(NODE1)
    assert not view.apply(Batch("Node", False, (NODE1.resource,)))
    assert view.apply(Batch("Node", False, (), (Key("Node", "node1"),)))


@pytest.mark.parametrize(
    ("values", "rule", "expected"),
    [
        ([], "", "node node1 is not in the datastore"),
        ([node("node1")], "", "node node1 has no address"),
        ([node("node1", ipv6="fd00::1/64")], "", "node node1 has no IPv4 address to take the router id from"),
        ([node("node1", ipv6="fd00::1/64")], "hash", ""),
        ([NODE1], "", ""),
    ],
)
def test_it_says_what_a_node_waits_for(values: list[Typed], rule: str, expected: str) -> None:
    assert view_of(*values).waits_for(rule) == expected


def test_the_router_id_is_the_nodes_address_or_as_the_rule_says() -> None:
    view = view_of(NODE1)
    assert [str(view.router_id(rule)) for rule in ("", "1.2.3.4", "hash")] == [
        "10.0.0.1", "1.2.3.4", str(hashed_router_id("node1"))
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "router_id"), [("Testrobin123", "207.94.5.27"), ("nodeTest", "109.174.215.226")])
def test_a_hashed_router_id_is_upstreams(name: str, router_id: str) -> None:
    assert str(hashed_router_id(name)) == router_id


def test_it_listens_everywhere_unless_it_is_bound_to_the_nodes_addresses() -> None:
    assert view_of(NODE1).listen().addresses == ()
    bound = view_of(NODE1, configuration(bindMode="NodeIP", listenPort=1790)).listen()
    assert (bound.port, [str(each) for each in bound.addresses]) == (1790, ["10.0.0.1", "fd00::1"])
    assert view_of(NODE1, configuration("node.node1", listenPort=1791)).listen().port == 1791
