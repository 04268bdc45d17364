"""Whose a route is, told from the route alone."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from felix.fib.marks import CalicoMarks
from felix.fib.model import Hop, Protocol, Route, RouteKey, RouteType, Scope
from felix.fib.owner import Ownership, is_ours, judge, left_by_bird

OWNERSHIP = Ownership(
    networks=frozenset({ip_network("10.244.0.0/16"), ip_network("fd00::/48")}),
    keys=frozenset({RouteKey(ip_network("172.16.0.0/12"))}),
)
NODE2 = ip_address("192.168.50.11")


def route(dst: str, device: str = "", protocol: int = Protocol.BIRD, **rest: object) -> Route:
    via = NODE2 if device in ("ens33", "tunl0") else None
    hops = (Hop(device, via),) if device else ()
    kind = RouteType.UNICAST if device else RouteType.BLACKHOLE
    return Route(**{"dst": ip_network(dst), "hops": hops, "type": kind, "protocol": protocol, **rest})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (route("10.244.104.0/26", "ens33"), "ours: proto bird on ens33"),
        (route("10.244.104.0/26", "tunl0"), "ours: proto bird on tunl0"),
        (route("10.244.166.128/26"), "ours: proto bird blackhole"),
        (route("10.244.0.0/16", "ens33"), "ours: proto bird on ens33"),
        (route("10.244.166.128/32", "cali1", Protocol.BOOT, scope=Scope.LINK), "ours: proto boot on cali1"),
        (route("10.244.166.128/32", "cali1", Protocol.BOOT, metric=1024), "ours: proto boot on cali1"),
        (route("fd00::1/128", "cali1", Protocol.BOOT, metric=1024), "ours: proto boot on cali1"),
        (route("10.244.104.0/26", "ens33", Protocol.CALICO), "ours: left by upstream's felix"),
        (route("10.244.166.128/26", "", Protocol.CALICO), "ours: left by upstream's felix"),
        (route("172.16.0.0/12", "ens33"), "ours: proto bird on ens33"),
        (route("172.16.0.0/12", "ens33", metric=9), "foreign: in no pool, and the journal does not name it"),
        (route("172.16.0.0/16", "ens33"), "foreign: in no pool, and the journal does not name it"),
        (route("10.0.0.0/8", "ens33"), "foreign: in no pool, and the journal does not name it"),
        (route("0.0.0.0/0", "ens33"), "foreign: in no pool, and the journal does not name it"),
        (route("10.9.9.9/32", "cali1", Protocol.BOOT), "foreign: in no pool, and the journal does not name it"),
        (route("10.9.9.9/32", "ens33", Protocol.CALICO), "foreign: in no pool, and the journal does not name it"),
        (route("10.244.104.0/26", "ens33", Protocol.BOOT), "foreign: proto boot on ens33 is not how we write"),
        (route("10.244.104.0/26", "ens33", Protocol.STATIC), "foreign: proto static on ens33 is not how we write"),
        (route("10.244.166.129/32", "cali1"), "foreign: proto bird on cali1 is not how we write"),
        (route("10.244.104.0/26", "flannel.1", 16), "foreign: proto dhcp on flannel.1 is not how we write"),
        (
            route("10.244.104.0/26", "", type=RouteType.UNREACHABLE),
            "foreign: proto bird unreachable is not how we write",
        ),
        (route("10.244.104.0/26", "ens33", table=100), "foreign: proto bird on ens33 is not how we write"),
        (route("10.244.104.0/26", "ens33", tos=4), "foreign: proto bird on ens33 is not how we write"),
        (route("10.244.0.0/16", "cni0", Protocol.KERNEL), "kernel: made by the kernel"),
    ],
    ids=lambda value: str(value),
)
def test_a_route_is_judged_by_its_mark_its_device_and_its_destination(found: Route, verdict: str) -> None:
    assert str(judge(found, OWNERSHIP)) == verdict
    assert is_ours(found, OWNERSHIP) == verdict.startswith("ours")


def test_without_pools_and_journal_nothing_is_ours() -> None:
    ours_elsewhere = [route("10.244.104.0/26", "ens33"), route("10.244.166.128/32", "cali1", Protocol.BOOT)]
    assert not any(is_ours(found, Ownership()) for found in ours_elsewhere)


def test_the_prefix_of_pods_devices_is_configurable() -> None:
    ownership = Ownership(networks=OWNERSHIP.networks, marks=CalicoMarks("eni"))
    assert is_ours(route("10.244.166.128/32", "eni7", Protocol.BOOT), ownership)
    assert not is_ours(route("10.244.166.128/32", "cali1", Protocol.BOOT), ownership)


def test_what_upstreams_bird_left_outside_the_pools_is_named_for_an_explicit_takeover() -> None:
    found = [
        route("10.244.104.0/26", "ens33"),
        route("172.16.0.0/12", "ens33"),
        route("172.32.0.0/12", "ens33"),
        route("172.48.0.0/12", "ens33", Protocol.STATIC),
    ]
    assert left_by_bird(found, OWNERSHIP) == {RouteKey(ip_network("172.32.0.0/12"))}
