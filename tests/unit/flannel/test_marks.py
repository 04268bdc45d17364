"""Whose a route inside the flannel network is."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from felix.fib.model import Actual, Desired, Hop, Protocol, Route, RouteKey, RouteType, Why
from felix.fib.owner import Ownership, is_ours
from felix.fib.plan import ALL_IN_SYNC, plan
from flannel.marks import FlannelMarks

PEER, STRANGER = ip_address("172.22.1.176"), ip_address("172.22.9.9")
OWNERSHIP = Ownership(
    frozenset({ip_network("10.244.0.0/16")}),
    frozenset({RouteKey(ip_network("10.244.9.0/24"))}),
    FlannelMarks(frozenset({PEER})),
)


def route(dst: str, device: str, via: object = None, **rest: object) -> Route:
    onlink = device.startswith("flannel") and via is not None
    fields = {"dst": ip_network(dst), "hops": (Hop(device, via, onlink),), "protocol": Protocol.BOOT}  # type: ignore[arg-type]
    return Route(**{**fields, **rest})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "ours"),
    [
        (route("10.244.1.0/24", "flannel.1", ip_address("10.244.1.0")), True),
        (route("10.244.1.0/24", "flannel.7", ip_address("10.244.1.0")), True),
        (route("10.244.1.0/24", "flannel.ipip", PEER), True),
        (route("10.244.0.0/16", "flannel0"), True),
        (route("10.244.1.0/24", "eth0", PEER), True),
        (route("10.244.1.0/24", "eth0", STRANGER), False),
        (route("10.244.9.0/24", "eth0", STRANGER), True),
        (route("10.99.1.0/24", "flannel.1", ip_address("10.99.1.0")), False),
        (route("10.99.1.0/24", "eth0", PEER), False),
        (route("10.244.1.0/24", "eth0", PEER, metric=100), False),
        (route("10.244.1.0/24", "eth0", PEER, protocol=Protocol.STATIC), False),
        (route("10.244.1.0/24", "eth0", PEER, protocol=Protocol.BIRD), False),
        (route("10.244.0.0/24", "cni0", protocol=Protocol.KERNEL), False),
        (route("10.244.0.0/24", "cni0"), False),
        (route("10.244.1.0/24", "flannel.tun", PEER), True),
        (route("10.244.1.0/24", "flannel.tun", STRANGER), False),
        (route("10.244.1.0/24", "eth0", PEER, table=100), False),
    ],
    ids=str,
)
def test_a_route_tells_by_its_device_by_a_gateway_with_a_lease_or_by_the_journal(found: Route, ours: bool) -> None:
    assert is_ours(found, OWNERSHIP) == ours


def test_an_unreachable_of_a_person_is_not_ours() -> None:
    found = Route(ip_network("10.244.1.0/24"), type=RouteType.UNREACHABLE, protocol=Protocol.BOOT)
    assert not is_ours(found, OWNERSHIP)


@pytest.mark.parametrize(
    ("name", "is_ours"),
    [("flannel.1", True), ("flannel-v6.4096", True), ("flannel.ipip", True), ("flannel0", False), ("flannel.x", False)],
)
def test_a_tunnel_tells_by_its_name(name: str, is_ours: bool) -> None:
    assert OWNERSHIP.marks.is_tunnel(name) == is_ours


def test_what_the_original_wrote_for_host_gw_is_journaled_as_soon_as_it_is_wanted() -> None:
    """When its lease goes, nothing but the journal tells whose it was."""
    found = route("10.244.1.0/24", "eth0", PEER)
    desired, actual = Desired({found.key: (found, Why("a lease"))}), Actual(routes={found.key: found})
    decided = plan(desired, actual, ownership=OWNERSHIP, in_sync=ALL_IN_SYNC)
    assert not decided.ops
    assert decided.unclaimed == {found.key}
