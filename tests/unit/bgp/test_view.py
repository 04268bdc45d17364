"""What follows from the datastore's tables."""

from ipaddress import IPv4Address, ip_network

import pytest

from bgp.passing import Policy
from bgp.view import KINDS, View, hashed_router_id
from datastore.codec import Typed
from datastore.follow import Batch
from datastore.resource import Key
from tests.unit.bgp.cluster import affinity, bgp_filter, block, configuration, node, peer, pool

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


def test_how_much_is_logged_is_the_nodes_own_then_the_default() -> None:
    debug, error = configuration(logSeverityScreen="Debug"), configuration("node.node1", logSeverityScreen="Error")
    found = [view_of(NODE1, *each).log_severity() for each in ((), (debug,), (debug, error))]
    assert found == ["Info", "Debug", "Error"]
    assert view_of(NODE1, debug, configuration("node.node1", listenPort=1790)).log_severity() == "Debug"


def test_each_family_has_its_own_priority() -> None:
    six = ip_network("fd00:244:1::/122")
    view = view_of(NODE1, affinity("node1", str(six)), configuration(ipv6NormalRoutePriority=512))
    assert [each.local_pref for each in view.exports(frozenset({six})).values()] == [2147483135]


def test_what_may_be_passed_on_is_in_the_datastore() -> None:
    reflector = node("node1", "10.0.0.1/24", routeReflectorClusterID="1.0.0.1")
    policy = view_of(
        reflector,
        pool("open", "10.244.0.0/16"),
        pool("closed", "10.245.0.0/16", disableBGPExport=True),
        affinity("node1", "10.244.1.0/26"),
        configuration(serviceLoadBalancerIPs=[{"cidr": "10.96.0.0/16"}], serviceExternalIPs=[{"cidr": "10.97.0.0/16"}]),
    ).policy()
    assert policy == Policy(
        pools=(ip_network("10.244.0.0/16"),),
        closed=(ip_network("10.245.0.0/16"),),
        services=(ip_network("10.96.0.0/16"), ip_network("10.97.0.0/16")),
        blocks=(ip_network("10.244.1.0/26"),),
        ranges=(ip_network("10.97.0.0/16"), ip_network("10.96.0.0/16")),
        cluster_id=IPv4Address("1.0.0.1"),
    )


def advertised(*pairs: tuple[str, list[str]]) -> list[dict[str, object]]:
    return [{"cidr": cidr, "communities": words} for cidr, words in pairs]


def test_communities_are_named_once_and_used_by_prefix() -> None:
    default = configuration(
        communities=[{"name": "gold", "value": "65000:7"}, {"name": "large", "value": "1:2:3"}],
        prefixAdvertisements=advertised(("10.244.0.0/16", ["gold", "large", "65000:9"])),
    )
    assert view_of(NODE1, default).policy().marks == (
        (ip_network("10.244.0.0/16"), ((65000, 7), (1, 2, 3), (65000, 9))),
    )


def test_a_nodes_own_prefix_advertisements_stand_in_for_the_default_ones() -> None:
    default = configuration(
        communities=[{"name": "gold", "value": "65000:7"}],
        prefixAdvertisements=advertised(("10.244.0.0/16", ["gold"]), ("10.96.0.0/12", ["gold"])),
    )
    own = configuration("node.node1", prefixAdvertisements=advertised(("10.244.0.0/16", ["65000:8"])))
    other = configuration("node.node2", prefixAdvertisements=advertised(("10.244.0.0/16", ["65000:9"])))
    assert view_of(NODE1, default, own, other).policy().marks == ((ip_network("10.244.0.0/16"), ((65000, 8),)),)


def test_a_word_that_is_no_community_costs_its_own_prefix_only() -> None:
    default = configuration(
        prefixAdvertisements=advertised(("10.244.0.0/16", ["silver"]), ("10.96.0.0/12", ["65000:7"]))
    )
    assert view_of(NODE1, default).policy().marks == ((ip_network("10.96.0.0/12"), ((65000, 7),)),)


def test_a_peer_gets_its_filter_when_that_is_written_and_another_when_it_is_edited() -> None:
    rule = peer("tor", peerIP="10.0.0.254", asNumber=65000, filters=["f"])
    view = view_of(NODE1, rule)
    assert [each.filters for each in view.mesh().neighbours] == [()]
    texts = []
    for action in ("Accept", "Reject"):
        written = bgp_filter("f", importV4=[{"action": action}])
        view.apply(Batch("BGPFilter", False, (written.resource,)))
        texts += [one.text for each in view.mesh().neighbours for one in each.filters]
    assert texts == ['{"importV4": [{"action": "Accept"}]}', '{"importV4": [{"action": "Reject"}]}']


def test_a_filter_that_cannot_be_read_keeps_its_peer_down_with_the_reason() -> None:
    rule = peer("tor", peerIP="10.0.0.254", asNumber=65000, filters=["f"])
    (found,) = view_of(NODE1, rule, bgp_filter("f", importV4=[{"action": "Perhaps"}])).mesh().unbuilt
    assert (found.name, found.why[:16]) == ("Global_10_0_0_254", "BGPFilter f: 'Pe")


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
