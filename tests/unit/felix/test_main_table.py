"""A speaker that runs alone: what it learned, as routes of the main table."""

from ipaddress import ip_address, ip_network

from bgp.learned import Delta, LearnedRoute
from felix.fib.mirror import Surroundings
from felix.fib.model import Hop, InterfaceAddress, Link, Protocol, Route, show
from felix.main_table import MainTable

LAN = Route(ip_network("10.0.0.0/24"), (Hop("eth0"),), protocol=Protocol.KERNEL)
LONG_LAN = Route(ip_network("fd00::/64"), (Hop("eth0"),), protocol=Protocol.KERNEL, metric=256)
GROUND = Surroundings(
    {"eth0": Link("eth0", 2, is_up=True)},
    frozenset({InterfaceAddress("eth0", ip_address("10.0.0.1"), 24)}),
    (LAN, LONG_LAN),
)


def route(dst: str, *hops: str) -> LearnedRoute:
    return LearnedRoute(ip_network(dst), tuple(map(ip_address, hops)), "Global_10_0_0_2")


def table(*routes: LearnedRoute) -> MainTable:
    found = MainTable()
    found.see(GROUND)
    found.take(Delta(best=routes))
    return found


def text(of: MainTable, *originated: str) -> str:
    return show(route for route, _ in of.desired(set(map(ip_network, originated))).routes.values())


def test_a_learned_route_goes_through_its_next_hops() -> None:
    assert text(table(route("192.0.2.0/24", "10.0.0.2"), route("2001:db8::/32", "fd00::2"))) == (
        "192.0.2.0/24 via 10.0.0.2 dev eth0 proto bird\n"
        "2001:db8::/32 via fd00::2 dev eth0 proto bird metric 1024 pref medium\n"
    )


def test_what_is_gone_is_no_longer_wanted() -> None:
    found = table(route("192.0.2.0/24", "10.0.0.2"))
    found.take(Delta(gone=(ip_network("192.0.2.0/24"),)))
    assert text(found) == ""


def test_a_next_hop_that_is_not_found_waits_with_the_reason_until_it_is() -> None:
    found = table(route("192.0.2.0/24", "172.16.0.9"))
    (why,) = found.desired(()).pending.values()
    assert str(why) == "bgp Global_10_0_0_2: no route to next hop 172.16.0.9"
    beyond = Route(ip_network("172.16.0.0/12"), (Hop("eth0", ip_address("10.0.0.254")),), protocol=Protocol.STATIC)
    found.see(Surroundings(GROUND.links, GROUND.addresses, (LAN, beyond)))
    assert text(found) == "192.0.2.0/24 via 10.0.0.254 dev eth0 proto bird\n"


def test_near_is_what_is_on_a_network_of_this_machine() -> None:
    found = table()
    near = [found.is_near(ip_address(each)) for each in ("10.0.0.9", "fd00::9", "10.0.1.9", "fd01::9")]
    assert near == [True, True, False, False]
    found.see(Surroundings(GROUND.links))
    assert not found.is_near(ip_address("10.0.0.9"))


def test_what_this_machine_is_connected_to_or_originates_is_taken_from_nobody() -> None:
    found = table(route("10.0.0.0/24", "10.0.0.2"), route("198.51.100.0/24", "10.0.0.2"))
    assert text(found, "198.51.100.0/24") == ""
