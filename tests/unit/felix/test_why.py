"""The answers that a person gets."""

from __future__ import annotations

from dataclasses import replace

from felix.fib.model import Actual, Desired, Protocol, Route, RouteKey, RouteType, Why
from felix.fib.owner import Ownership
from felix.fib.status import State, Status
from felix.why import Evidence, why_address, why_network
from tests.clusters import address, foreign, network

BLOCK = foreign("10.244.104.0/26", "192.168.50.11", protocol=Protocol.BIRD)
BLACKHOLE = Route(network("10.244.166.128/26"), type=RouteType.BLACKHOLE)
STRAY = foreign("10.244.77.0/26", "192.168.50.12", protocol=Protocol.BIRD)
DEFAULT = foreign("0.0.0.0/0", "192.168.50.1", metric=100)
IN_THE_WAY = foreign("10.244.166.128/26", "192.168.50.9")
BECAUSE = Why("pool p, node node2, bgp 192.168.50.11")

STATUSES = {
    BLOCK.key: Status(State.IN_KERNEL, BECAUSE),
    BLACKHOLE.key: Status(State.CONFLICT, BECAUSE, "in the way: something"),
}


def status(key: RouteKey) -> Status | None:
    return STATUSES.get(key)


EVIDENCE = Evidence(
    Desired(
        {BLOCK.key: (BLOCK, BECAUSE), BLACKHOLE.key: (BLACKHOLE, Why("own block"))},
        pending={network("10.244.135.0/26"): Why("pool p, node node3: no route to next hop 192.168.51.12")},
    ),
    Actual(routes={route.key: route for route in (BLOCK, STRAY, DEFAULT, IN_THE_WAY)}),
    Ownership(networks=frozenset({network("10.244.0.0/16")})),
    status,
)


def test_an_address_is_explained_by_the_route_that_carries_it_and_by_those_behind_it() -> None:
    assert why_address(address("10.244.104.7"), EVIDENCE) == [
        "10.244.104.7 goes by 10.244.104.0/26",
        "10.244.104.0/26",
        "  wanted   10.244.104.0/26 via 192.168.50.11 dev ens33 proto bird",
        "  because  pool p, node node2, bgp 192.168.50.11",
        "  state    in kernel",
        "  kernel   10.244.104.0/26 via 192.168.50.11 dev ens33 proto bird (ours: proto bird on ens33)",
        "0.0.0.0/0",
        "  kernel   default via 192.168.50.1 dev ens33 proto static metric 100"
        " (foreign: proto static on ens33 is not how we write)",
    ]


def test_what_waits_says_for_what_and_where_its_packets_go_meanwhile() -> None:
    assert why_address(address("10.244.135.1"), EVIDENCE)[:3] == [
        "10.244.135.1 goes by 0.0.0.0/0",
        "10.244.135.0/26",
        "  waits    pool p, node node3: no route to next hop 192.168.51.12",
    ]


def test_a_conflict_shows_both_sides() -> None:
    assert why_network(network("10.244.166.128/26"), EVIDENCE) == [
        "10.244.166.128/26",
        "  wanted   blackhole 10.244.166.128/26 proto bird",
        "  because  own block",
        "  state    conflict: in the way: something",
        "  kernel   10.244.166.128/26 via 192.168.50.9 dev ens33 proto static"
        " (foreign: proto static on ens33 is not how we write)",
    ]


def test_a_route_of_ours_that_nobody_wants_is_named_as_that() -> None:
    assert why_network(network("10.244.77.0/26"), EVIDENCE) == [
        "10.244.77.0/26",
        "  kernel   10.244.77.0/26 via 192.168.50.12 dev ens33 proto bird"
        " (ours: proto bird on ens33, wanted by nobody)",
    ]


def test_an_address_that_no_pod_has_is_refused_by_its_block() -> None:
    evidence = replace(EVIDENCE, actual=Actual(routes={BLACKHOLE.key: BLACKHOLE, DEFAULT.key: DEFAULT}))
    assert why_address(address("10.244.166.140"), evidence)[0] == "10.244.166.140 is refused by 10.244.166.128/26"


def test_what_nobody_knows_is_said_plainly() -> None:
    assert why_network(network("10.9.0.0/16"), EVIDENCE) == ["10.9.0.0/16", "  wanted   by nobody"]
    assert why_address(address("fd00::1"), EVIDENCE) == ["fd00::1 goes nowhere: the kernel has no route"]
