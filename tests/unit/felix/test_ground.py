"""Next hops are found as the kernel and BIRD find them."""

from __future__ import annotations

import pytest

from felix.encap.way import NoWay
from felix.fib.model import Protocol, Route, RouteType
from felix.ground import Ground
from tests.clusters import address, foreign, network, surroundings

DEFAULT = foreign("0.0.0.0/0", "192.168.50.1", metric=100)


def find(next_hop: str, *routes: Route) -> str:
    answer = Ground(surroundings(*routes)).find(address(next_hop))
    if isinstance(answer, NoWay):
        return answer.why
    return " and ".join(f"via {hop.via} dev {hop.device}{' onlink' if hop.onlink else ''}" for hop in answer)


@pytest.mark.parametrize(
    ("next_hop", "routes", "answer"),
    [
        ("192.168.50.11", [], "via 192.168.50.11 dev ens33"),
        ("192.168.51.12", [], "no route to next hop 192.168.51.12"),
        ("192.168.51.12", [DEFAULT], "via 192.168.50.1 dev ens33"),
        ("192.168.51.12", [DEFAULT, foreign("192.168.51.0/24", "192.168.50.2")], "via 192.168.50.2 dev ens33"),
        ("192.168.50.10", [DEFAULT], "next hop 192.168.50.10 is this node's own address"),
        (
            "192.168.51.12",
            [foreign("192.168.51.0/24", f"192.168.50.{n}", metric=n) for n in (3, 2, 4)],
            "via 192.168.50.2 dev ens33",
        ),
        (
            "192.168.51.12",
            [DEFAULT, Route(network("192.168.51.0/24"), type=RouteType.BLACKHOLE, protocol=Protocol.STATIC)],
            "next hop 192.168.51.12 is cut off by blackhole 192.168.51.0/24 proto static",
        ),
        ("fd01::2", [DEFAULT], "no route to next hop fd01::2"),
    ],
)
def test_a_next_hop_is_found_through_the_most_specific_route(next_hop: str, routes: list[Route], answer: str) -> None:
    assert find(next_hop, *routes) == answer


def test_a_gateway_that_is_on_link_by_decree_stays_so() -> None:
    (hop,) = foreign("192.168.51.0/24", "10.9.9.9").hops
    route = Route(network("192.168.51.0/24"), (type(hop)(hop.device, hop.via, onlink=True),))
    assert find("192.168.51.12", route) == "via 10.9.9.9 dev ens33 onlink"


def test_a_route_with_two_ways_is_two_ways_to_the_next_hop() -> None:
    one, other = foreign("192.168.51.0/24", "192.168.50.2"), foreign("192.168.51.0/24", "192.168.50.3")
    both = Route(one.dst, one.hops + other.hops)
    assert find("192.168.51.12", both) == "via 192.168.50.2 dev ens33 and via 192.168.50.3 dev ens33"
