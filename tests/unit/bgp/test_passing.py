"""What is passed on to whom, as lines that read like a looking glass."""

from dataclasses import replace
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Any

import pytest

from bgp.export import Announcement
from bgp.filters import read
from bgp.message import NO_ADVERTISE, NO_EXPORT, Attributes, Carried, Origin
from bgp.neighbour import Kind, Neighbour, NextHopMode
from bgp.passing import Policy, Winner, audience_of, of_our_own, passed_on

CLUSTER = IPv4Address("1.0.0.1")
POOL, CLOSED, OURS = ip_network("10.244.0.0/16"), ip_network("10.245.0.0/16"), ip_network("10.244.1.0/26")
PLAIN = Policy(pools=(POOL,), closed=(CLOSED,), services=(ip_network("10.96.0.0/12"),), blocks=(OURS,))
REFLECTOR = replace(PLAIN, cluster_id=CLUSTER)


def neighbour(name: str, *, peer_as: int = 64512, **more: Any) -> Neighbour:
    return Neighbour(name, Kind.NODE, ip_address("10.0.0.7"), peer_as, 64512, ip_address("10.0.0.1"), **more)


PEER, CLIENT = neighbour("peer"), neighbour("client", cluster_id=CLUSTER)
EXTERNAL = neighbour("tor", peer_as=65000)
WHO = {"peer": PEER, "client": CLIENT, "tor": EXTERNAL}
LEARNED = Attributes(ip_address("10.0.0.2"), local_pref=777, as_path=(65009,), origin=Origin.EGP, med=5)


def told(
    dst: str = "10.244.2.0/26",
    *,
    from_: Neighbour = PEER,
    to: Neighbour = EXTERNAL,
    policy: Policy = PLAIN,
    **attributes: Any,
) -> str:
    winner = Winner(from_, IPv4Address("10.0.0.99"), replace(LEARNED, **attributes))
    found = passed_on(ip_network(dst), winner, to=audience_of(to), policy=policy)
    return line(found) if found is not None else "nothing"


def line(each: Announcement) -> str:
    words = [f"via {each.next_hop or 'self'}", f"path {' '.join(map(str, each.as_path))}", f"pref {each.local_pref}"]
    words += [f"med {each.med}"] if each.med is not None else []
    words += [f"from {each.originator}", f"by {' '.join(map(str, each.clusters))}"] if each.originator else []
    words += [f"with {':'.join(map(str, one))}" for one in each.communities]
    return ", ".join(words)


@pytest.mark.parametrize(
    ("from_", "to", "expected"),
    [
        ("peer", "peer", "nothing"),
        ("client", "peer", "passed on"),
        ("peer", "client", "passed on"),
        ("client", "client", "passed on"),
        ("tor", "peer", "passed on"),
        ("tor", "client", "passed on"),
        ("peer", "tor", "passed on"),
        ("client", "tor", "passed on"),
        ("tor", "tor", "passed on"),
    ],
)
def test_who_is_told_what_whom_said(from_: str, to: str, expected: str) -> None:
    """RFC 4271, 9.2 and RFC 4456, 6."""
    found = told(from_=WHO[from_], to=WHO[to], policy=REFLECTOR)
    assert ("nothing" if found == "nothing" else "passed on") == expected


def test_a_reflector_says_who_began_and_that_it_was_there() -> None:
    found = told(from_=CLIENT, to=PEER, policy=REFLECTOR)
    assert found == "via 10.0.0.2, path 65009, pref 777, med 5, from 10.0.0.99, by 1.0.0.1"


def test_a_reflected_route_keeps_its_originator_and_gets_another_cluster() -> None:
    far, cluster = IPv4Address("10.0.0.50"), IPv4Address("2.0.0.2")
    found = told(from_=CLIENT, to=PEER, policy=REFLECTOR, originator=far, clusters=(cluster,))
    assert found.endswith("from 10.0.0.50, by 1.0.0.1 2.0.0.2")


def test_what_an_external_peer_said_goes_to_nodes_as_it_is() -> None:
    assert told(from_=EXTERNAL, to=PEER) == "via 10.0.0.2, path 65009, pref 777, med 5"


def test_what_goes_to_another_as_comes_from_this_node_and_without_med() -> None:
    assert told() == "via self, path 65009, pref 777"


@pytest.mark.parametrize(
    ("to", "mode", "via"),
    [
        (EXTERNAL, NextHopMode.AUTO, "self"),
        (EXTERNAL, NextHopMode.SELF, "self"),
        (EXTERNAL, NextHopMode.KEEP, "10.0.0.2"),
        (CLIENT, NextHopMode.AUTO, "10.0.0.2"),
        (CLIENT, NextHopMode.KEEP, "10.0.0.2"),
        (CLIENT, NextHopMode.SELF, "self"),
    ],
)
def test_the_next_hop_is_the_peers_wish(to: Neighbour, mode: NextHopMode, via: str) -> None:
    found = told(to=replace(to, next_hop_mode=mode), policy=REFLECTOR)
    assert found.split(",")[0] == f"via {via}"


@pytest.mark.parametrize(
    ("dst", "policy", "expected"),
    [
        ("10.244.2.0/26", PLAIN, True),
        ("10.244.0.0/16", PLAIN, True),
        ("10.244.0.0/15", PLAIN, False),
        ("10.245.2.0/26", PLAIN, False),
        ("10.244.1.0/26", PLAIN, False),
        ("10.244.1.5/32", PLAIN, False),
        ("192.0.2.0/24", PLAIN, False),
        ("0.0.0.0/0", PLAIN, False),
        ("10.96.3.0/24", PLAIN, False),
        ("10.96.3.0/24", REFLECTOR, True),
    ],
)
def test_only_what_lies_in_pools_is_passed_on_and_on_a_reflector_services(
    dst: str, policy: Policy, expected: bool
) -> None:
    assert (told(dst, policy=policy) != "nothing") is expected


@pytest.mark.parametrize(
    ("community", "to", "expected"),
    [(NO_EXPORT, EXTERNAL, False), (NO_EXPORT, CLIENT, True), (NO_ADVERTISE, CLIENT, False)],
)
def test_the_well_known_communities_are_kept(community: Any, to: Neighbour, expected: bool) -> None:
    assert (told(to=to, policy=REFLECTOR, communities=(community,)) != "nothing") is expected


def test_a_set_in_a_path_is_passed_on_as_it_is() -> None:
    assert "path 65009 (65010, 65011)," in told(as_path=(65009, (65010, 65011)))


def test_what_nobody_here_reads_goes_on() -> None:
    strange = (Carried(99, 0xE0, b"abc"),)
    winner = Winner(CLIENT, IPv4Address("10.0.0.99"), replace(LEARNED, carried=strange))
    found = passed_on(ip_network("10.244.2.0/26"), winner, to=audience_of(PEER), policy=REFLECTOR)
    assert found is not None
    assert found.carried == strange


def test_a_filter_lets_out_what_the_policy_would_not_and_keeps_in_what_it_would() -> None:
    spec = {
        "exportV4": [
            {"cidr": "192.0.2.0/24", "matchOperator": "In", "action": "Accept"},
            {"cidr": "10.244.0.0/16", "matchOperator": "In", "source": "RemotePeers", "action": "Reject"},
        ]
    }
    filtered = replace(EXTERNAL, filters=(read("f", spec),))
    assert told("192.0.2.128/25", to=filtered) != "nothing"
    assert told("10.244.2.0/26", to=filtered) == "nothing"
    own = of_our_own(OURS, Announcement(), to=audience_of(filtered), policy=PLAIN)
    assert own is not None
    assert line(own) == "via self, path , pref 2147482623"


def test_a_pool_may_forbid_its_announcement_and_a_filter_may_allow_it_for_one_peer() -> None:
    own = ip_network("10.245.7.0/26")
    allowed = replace(EXTERNAL, filters=(read("f", {"exportV4": [{"action": "Accept"}]}),))
    found = [of_our_own(own, Announcement(), to=audience_of(each), policy=PLAIN) for each in (PEER, EXTERNAL, allowed)]
    assert [each is not None for each in found] == [False, False, True]


def test_prefixes_get_the_communities_that_are_advertised_for_them() -> None:
    marked = replace(PLAIN, marks=((POOL, ((65000, 7), (1, 2, 3))), (ip_network("10.96.0.0/12"), ((9, 9),))))
    own = of_our_own(OURS, Announcement(), to=audience_of(PEER), policy=marked)
    assert own is not None
    assert line(own) == "via self, path , pref 2147482623, with 65000:7, with 1:2:3"
    found = told(policy=marked, communities=((65000, 7),))
    assert found == "via self, path 65009, pref 777, with 65000:7, with 1:2:3"
