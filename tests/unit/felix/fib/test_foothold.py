"""An IPv6 route that goes from one device to another, when its gateway lies in what it replaces."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from felix.fib.foothold import footholds
from felix.fib.model import Actual, Desired, Hop, Link, Protocol, Route, RouteType, Why
from felix.fib.owner import Ownership
from felix.fib.plan import InSync, plan

BLOCK, GATEWAY = "fd00:10:244::/122", "fd00:10:244::1"
OWNERSHIP = Ownership(networks=frozenset({ip_network("fd00:10:244::/64")}))
DEVICES = ("ens33", "vxlan-v6.calico")


def route(dst: str, device: str, via: str = "", *, onlink: bool = False, protocol: int = Protocol.BIRD) -> Route:
    hop = Hop(device, ip_address(via) if via else None, onlink)
    return Route(ip_network(dst), (hop,), protocol=protocol, metric=1024)


BARE = route(BLOCK, "ens33", "fd00:50::11")
WRAPPED = route(BLOCK, "vxlan-v6.calico", GATEWAY, onlink=True, protocol=Protocol.BOOT)
FOOTHOLD = route(f"{GATEWAY}/128", "vxlan-v6.calico", protocol=Protocol.BOOT)


def holds(*routes: Route) -> Actual:
    links = {name: Link(name, n, is_up=True) for n, name in enumerate(DEVICES, 1)}
    return Actual(links=links, routes={one.key: one for one in routes})


def needed(*routes: Route, write: Route = WRAPPED) -> list[str]:
    return [f"{one}  # {why}" for one, why in footholds([write], holds(*routes)).values()]


def planned(*routes: Route) -> str:
    desired = Desired(routes={WRAPPED.key: (WRAPPED, Why("a test"))})
    return str(plan(desired, holds(*routes), ownership=OWNERSHIP, in_sync=InSync(remote=True)))


def test_a_gateway_that_is_reached_through_the_old_device_needs_a_foothold() -> None:
    assert needed(BARE) == [
        f"{GATEWAY} dev vxlan-v6.calico metric 1024 pref medium  # until {GATEWAY} is not reached by {BLOCK} any more"
    ]


def test_a_gateway_that_nothing_leads_to_needs_none() -> None:
    assert needed() == []
    assert needed(route("::/0", "ens33", "fe80::1")) == []
    assert needed(Route(ip_network(BLOCK), type=RouteType.BLACKHOLE, metric=1024)) == []


def test_a_gateway_that_the_new_device_leads_to_already_needs_none() -> None:
    assert needed(WRAPPED) == []


def test_what_is_not_onlink_or_has_a_gateway_on_the_link_itself_needs_none() -> None:
    assert needed(WRAPPED, write=BARE) == []
    assert needed(BARE, write=route(BLOCK, "vxlan-v6.calico", "fe80::2", onlink=True)) == []


def test_the_foothold_comes_first_and_goes_when_the_route_has_changed() -> None:
    turn = f"route replace {WRAPPED}\n"
    assert planned(BARE) == f"route add {FOOTHOLD}\n{turn}"
    assert planned(BARE, FOOTHOLD) == turn
    assert planned(WRAPPED, FOOTHOLD) == f"route del {FOOTHOLD}\n"
