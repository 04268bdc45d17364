"""Which routes are accepted from a neighbour, and the word for every refusal."""

from dataclasses import replace
from ipaddress import IPv4Address, ip_address, ip_network

import pytest

from bgp.accept import Own, Refusal, refusal
from bgp.message import AsPath, Attributes
from bgp.neighbour import Kind, Neighbour
from bgp.ownership import ownership
from tests.unit.bgp.cluster import affinity, block, node

NODES = [node("node1", "10.0.0.1/24"), node("node2", "10.0.0.2/24"), node("node3", "10.0.0.3/24")]
AFFINITIES = [
    affinity("node1", "10.244.1.0/26"),
    affinity("node2", "10.244.2.0/26"),
    affinity("node3", "10.244.3.0/26", "pending"),
    affinity("node2", "10.244.9.9/32"),
]
BLOCKS = [
    block("node1", "10.244.1.0/26", s5="node2"),
    block("node2", "10.244.2.0/26", s6="node3"),
]
VIEW = ownership(node="node1", nodes=NODES, affinities=AFFINITIES, blocks=BLOCKS)

MESH = Neighbour("Mesh_10_0_0_2", Kind.MESH, ip_address("10.0.0.2"), 64512, 64512, ip_address("10.0.0.1"))
TOR = Neighbour("Global_10_0_0_254", Kind.GLOBAL, ip_address("10.0.0.254"), 65000, 64512, ip_address("10.0.0.1"))


def said(
    dst: str,
    via: str = "10.0.0.2",
    *,
    from_: Neighbour = MESH,
    as_path: AsPath = (),
    originator: str = "",
) -> str:
    attributes = Attributes(
        ip_address(via) if via else None, as_path=as_path, originator=IPv4Address(originator) if originator else None
    )
    found = refusal(ip_network(dst), attributes, neighbour=from_, own=Own(IPv4Address("10.0.0.1")), ownership=VIEW)
    return found.value if found else "accepted"


@pytest.mark.parametrize(
    ("dst", "via", "expected"),
    [
        ("10.244.2.0/26", "10.0.0.2", "accepted"),
        ("10.244.9.9/32", "10.0.0.2", "accepted"),
        ("10.244.2.0/26", "10.0.0.3", "not-owner"),
        ("10.244.2.0/26", "192.0.2.9", "not-owner"),
        ("10.244.3.0/26", "10.0.0.3", "not-a-block"),
        ("10.244.8.0/26", "10.0.0.2", "not-a-block"),
        ("10.244.2.0/25", "10.0.0.2", "not-a-block"),
        ("10.244.2.0/27", "10.0.0.2", "not-a-block"),
        ("10.244.2.6/32", "10.0.0.3", "accepted"),
        ("10.244.2.6/32", "10.0.0.2", "not-holder"),
        ("10.244.2.7/32", "10.0.0.2", "not-holder"),
        ("10.9.9.9/32", "10.0.0.2", "not-holder"),
        ("10.244.1.0/26", "10.0.0.2", "own-block"),
        ("10.244.1.5/32", "10.0.0.2", "accepted"),
        ("10.244.1.6/32", "10.0.0.2", "not-holder"),
        ("0.0.0.0/0", "10.0.0.2", "default-route"),
        ("127.0.0.0/8", "10.0.0.2", "martian"),
        ("224.0.0.0/24", "10.0.0.2", "martian"),
    ],
)
def test_from_a_node_only_what_the_datastore_says_of_the_next_hops_node(dst: str, via: str, expected: str) -> None:
    assert said(dst, via) == expected


@pytest.mark.parametrize(
    ("dst", "expected"),
    [
        ("0.0.0.0/0", "accepted"),
        ("192.0.2.0/24", "accepted"),
        ("10.244.0.0/16", "accepted"),
        ("10.244.2.0/26", "accepted"),
        ("10.244.1.0/26", "own-block"),
        ("10.244.1.0/27", "inside-own-block"),
        ("10.244.1.9/32", "inside-own-block"),
        ("240.0.0.0/8", "martian"),
    ],
)
def test_from_a_bgp_peer_everything_but_what_is_inside_our_own_blocks(dst: str, expected: str) -> None:
    assert said(dst, "10.0.0.254", from_=TOR, as_path=(65000,)) == expected


def test_an_address_borrowed_from_our_block_is_accepted_through_a_reflector_too() -> None:
    assert said("10.244.1.5/32", "10.0.0.2", from_=TOR) == "accepted"


@pytest.mark.parametrize(
    "via", ["", "0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.5", "255.255.255.255", "10.0.0.1", "fd00::2"]
)
def test_a_next_hop_must_be_one(via: str) -> None:
    assert said("10.244.2.0/26", via) == "next-hop"
    assert said("192.0.2.0/24", via, from_=TOR) == "next-hop"


def test_a_looped_path_is_refused() -> None:
    assert said("10.244.2.0/26", as_path=(65001, 64512, 65002)) == "loop"
    assert said("192.0.2.0/24", from_=TOR, as_path=(65000, 64512)) == "loop"
    assert said("192.0.2.0/24", from_=TOR, as_path=(65000, (65001, 64512))) == "loop"
    assert said("10.244.2.0/26", originator="10.0.0.1") == "loop"


@pytest.mark.parametrize(
    ("as_path", "expected"),
    [((65000, 65001), "accepted"), ((65001, 65000), "first-as"), (((65000, 65001),), "first-as"), ((), "first-as")],
)
def test_a_path_begins_with_the_neighbours_as_where_that_is_asked_for(as_path: AsPath, expected: str) -> None:
    strict = replace(TOR, enforces_first_as=True)
    assert said("192.0.2.0/24", "10.0.0.254", from_=strict, as_path=as_path) == expected
    assert said("192.0.2.0/24", "10.0.0.254", from_=TOR, as_path=as_path) == "accepted"


@pytest.mark.parametrize(
    ("dst", "expected"), [("0.0.0.0/1", "accepted"), ("0.0.0.0/7", "accepted"), ("0.0.0.0/8", "martian")]
)
def test_half_of_everything_is_no_martian_though_it_begins_as_one(dst: str, expected: str) -> None:
    assert said(dst, "10.0.0.254", from_=TOR) == expected


def test_every_refusal_has_a_case_above() -> None:
    cases = {said("10.244.2.0/26", ""), said("10.244.2.0/26", as_path=(64512,)), said("127.0.0.0/8")}
    cases |= {said("0.0.0.0/0"), said("10.244.1.0/26"), said("10.244.1.9/32", "10.0.0.254", from_=TOR)}
    cases |= {said("10.244.2.0/26", "10.0.0.3"), said("10.9.9.9/32"), said("10.244.8.0/26")}
    cases |= {said("192.0.2.0/24", "10.0.0.254", from_=replace(TOR, enforces_first_as=True))}
    of_the_rib = {"filter", "next-hop-unreachable"}
    assert cases | of_the_rib == {each.value for each in Refusal}
