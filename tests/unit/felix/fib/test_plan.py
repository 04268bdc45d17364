"""The difference between wanted and actual, as the ops that a person would type, in their order."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address, ip_network

import pytest

from felix.fib.model import (
    Actual,
    DeleteRoute,
    Desired,
    Hop,
    Link,
    Network,
    Protocol,
    Route,
    RouteKey,
    RouteType,
    Scope,
    Why,
)
from felix.fib.owner import Ownership
from felix.fib.plan import ALL_IN_SYNC, NOTHING_IN_SYNC, InSync, Plan, plan, removable

OWNERSHIP = Ownership(networks=frozenset({ip_network("10.244.0.0/16")}))
NODE2 = Hop("ens33", ip_address("192.168.50.11"))
NODE3 = Hop("ens33", ip_address("192.168.50.12"))
WHY = Why("a test")


def route(dst: str, hop: Hop = NODE2, protocol: int = Protocol.BIRD, *, metric: int = 0) -> Route:
    return Route(ip_network(dst), (hop,), protocol=protocol, metric=metric)


def pod(dst: str, device: str = "cali1", *, metric: int = 0) -> Route:
    return Route(ip_network(dst), (Hop(device),), protocol=Protocol.BOOT, scope=Scope.LINK, metric=metric)


def blackhole(dst: str) -> Route:
    return Route(ip_network(dst), type=RouteType.BLACKHOLE)


def wanted(*routes: Route, up: Iterable[str] = (), pending: Iterable[Network] = ()) -> Desired:
    return Desired(
        routes={one.key: (one, WHY) for one in routes},
        pending=dict.fromkeys(pending, WHY),
        devices_up=dict.fromkeys(up, WHY),
        sysctls={"net/ipv4/ip_forward": ("1", WHY), "net/ipv4/conf/cali1/proxy_arp": ("1", WHY)},
    )


def found(*routes: Route, down: Iterable[str] = (), sysctls: dict[str, str] | None = None) -> Actual:
    up = {"ens33", "cali1", "cali2", "docker0"} - set(down)
    return Actual(
        links={name: Link(name, n, is_up=name in up) for n, name in enumerate({*up, *down}, 1)},
        routes={one.key: one for one in routes},
        sysctls={"net/ipv4/ip_forward": "1"} if sysctls is None else sysctls,
    )


def decide(desired: Desired, actual: Actual, in_sync: InSync = ALL_IN_SYNC, **rest: frozenset[RouteKey]) -> Plan:
    return plan(desired, actual, ownership=OWNERSHIP, in_sync=in_sync, **rest)


def test_what_is_as_wanted_is_left_alone() -> None:
    routes = route("10.244.104.0/26"), pod("10.244.166.128/32"), blackhole("10.244.166.128/26")
    assert str(decide(wanted(*routes), found(*routes))) == ""


def test_what_is_missing_is_added_the_more_specific_first() -> None:
    desired = wanted(blackhole("10.244.166.128/26"), route("10.244.104.0/26"), pod("10.244.166.128/32"))
    assert str(decide(desired, found())) == (
        "route add 10.244.166.128 dev cali1 scope link\n"
        "route add blackhole 10.244.166.128/26 proto bird\n"
        "route add 10.244.104.0/26 via 192.168.50.11 dev ens33 proto bird\n"
    )


def test_what_differs_is_replaced_in_place() -> None:
    assert str(decide(wanted(route("10.244.104.0/26", NODE3)), found(route("10.244.104.0/26")))) == (
        "route replace 10.244.104.0/26 via 192.168.50.12 dev ens33 proto bird\n"
    )


def test_what_nobody_wants_goes_last_the_more_specific_after_the_less() -> None:
    desired = wanted(route("10.244.166.128/26"), pod("10.244.1.1/32"))
    actual = found(blackhole("10.244.166.128/26"), pod("10.244.166.128/32"), route("10.244.7.0/26"))
    assert str(decide(desired, actual)) == (
        "route add 10.244.1.1 dev cali1 scope link\n"
        "route replace 10.244.166.128/26 via 192.168.50.11 dev ens33 proto bird\n"
        "route del 10.244.7.0/26 via 192.168.50.11 dev ens33 proto bird\n"
        "route del 10.244.166.128 dev cali1 scope link\n"
    )


def test_an_upstream_route_of_metric_1024_gives_way_and_is_not_doubled() -> None:
    assert str(decide(wanted(pod("10.244.166.128/32")), found(pod("10.244.166.128/32", metric=1024)))) == (
        "route add 10.244.166.128 dev cali1 scope link\nroute del 10.244.166.128 dev cali1 scope link metric 1024\n"
    )


def test_an_upstream_route_of_proto_80_is_replaced_in_place() -> None:
    left = Route(ip_network("10.244.104.0/26"), (Hop("ens33", NODE2.via, onlink=True),), protocol=Protocol.CALICO)
    assert str(decide(wanted(route("10.244.104.0/26")), found(left))) == (
        "route replace 10.244.104.0/26 via 192.168.50.11 dev ens33 proto bird\n"
    )


def test_a_foreign_route_in_the_way_is_reported_and_left_alone() -> None:
    desired = wanted(route("10.244.104.0/26"))
    decided = decide(desired, found(route("10.244.104.0/26", NODE3, Protocol.STATIC)))
    assert str(decided) == ""
    assert [f"{key.dst}: {why}" for key, why in decided.conflicts.items()] == [
        "10.244.104.0/26: in the way: 10.244.104.0/26 via 192.168.50.12 dev ens33 proto static "
        "(foreign: proto static on ens33 is not how we write)"
    ]


def test_what_a_person_put_over_our_route_gives_way_again_and_another_programs_does_not() -> None:
    desired = wanted(route("10.244.104.0/26"))
    key = frozenset(desired.routes)
    by_hand = found(route("10.244.104.0/26", NODE3, Protocol.BOOT))
    assert str(decide(desired, by_hand)) == ""
    assert str(decide(desired, by_hand, displaced=key)) == (
        "route replace 10.244.104.0/26 via 192.168.50.11 dev ens33 proto bird\n"
    )
    by_program = found(route("10.244.104.0/26", NODE3, Protocol.STATIC))
    assert str(decide(desired, by_program, displaced=key)) == ""


def test_foreign_routes_that_nobody_wants_stay() -> None:
    actual = found(route("10.244.104.0/26", NODE3, Protocol.STATIC), route("172.16.0.0/12"), route("0.0.0.0/0"))
    assert str(decide(wanted(), actual)) == ""


def test_nothing_goes_before_its_source_is_in_sync() -> None:
    actual = found(route("10.244.104.0/26"), pod("10.244.166.128/32"), blackhole("10.244.166.128/26"))
    assert str(decide(wanted(), actual, NOTHING_IN_SYNC)) == ""
    assert str(decide(wanted(), actual, InSync(pods=True))) == "route del 10.244.166.128 dev cali1 scope link\n"
    assert str(decide(wanted(), actual, InSync(blocks=True))) == "route del blackhole 10.244.166.128/26 proto bird\n"
    assert str(decide(wanted(), actual, InSync(remote=True))) == (
        "route del 10.244.104.0/26 via 192.168.50.11 dev ens33 proto bird\n"
    )


def test_a_destination_that_waits_keeps_what_it_has() -> None:
    actual = found(route("10.244.104.0/26"), route("10.244.1.1/32", metric=7))
    desired = wanted(pod("10.244.1.1/32", "cali9"), pending=[ip_network("10.244.104.0/26")])
    assert str(decide(desired, actual)) == ""


def test_a_route_waits_for_its_device_and_says_so() -> None:
    desired = wanted(pod("10.244.1.1/32", "cali9"), pod("10.244.1.2/32", "cali2"), route("10.244.104.0/26"))
    decided = decide(desired, found(down=["cali2", "ens33"]))
    assert str(decided) == ""
    assert {str(key.dst): why for key, why in decided.pending.items()} == {
        "10.244.1.1/32": "device cali9 is not there",
        "10.244.1.2/32": "device cali2 is down",
        "10.244.104.0/26": "device ens33 is down",
    }


def test_a_pods_device_is_raised_before_its_route_is_written() -> None:
    desired = wanted(pod("10.244.1.1/32"), up=["cali1"])
    assert str(decide(desired, found(down=["cali1"]))) == (
        "link set cali1 up\nroute add 10.244.1.1 dev cali1 scope link\n"
    )


def test_an_uplink_is_never_raised_even_when_asked() -> None:
    assert str(decide(wanted(up=["ens33", "cali9"]), found(down=["ens33"]))) == ""


def test_a_sysctl_is_written_where_it_is_and_differs() -> None:
    assert str(decide(wanted(), found(sysctls={"net/ipv4/ip_forward": "0"}))) == "sysctl net/ipv4/ip_forward=1\n"
    both = {"net/ipv4/ip_forward": "1", "net/ipv4/conf/cali1/proxy_arp": "0"}
    assert str(decide(wanted(), found(sysctls=both))) == "sysctl net/ipv4/conf/cali1/proxy_arp=1\n"


@pytest.mark.parametrize(
    ("everywhere", "own", "written"),
    [("1", "1", True), ("1", "0", True), ("0", "1", True), ("0", "0", False), ("1", "2", False), ("2", "1", False)],
)
def test_a_device_that_is_strict_about_the_way_back_is_made_loose_and_no_other(
    everywhere: str, own: str, written: bool
) -> None:
    sysctls = {"net/ipv4/conf/all/rp_filter": everywhere, "net/ipv4/conf/ens33/rp_filter": own}
    decided = decide(Desired(lenient={"ens33": WHY}), found(sysctls=sysctls))
    assert str(decided) == ("sysctl net/ipv4/conf/ens33/rp_filter=2\n" if written else "")


def test_routes_that_nobody_could_recognise_are_named_for_the_journal() -> None:
    decided = decide(wanted(route("172.16.0.0/12"), route("10.244.104.0/26")), found())
    assert [str(key.dst) for key in decided.unclaimed] == ["172.16.0.0/12"]


def test_a_stray_behind_our_route_is_removed_and_a_foreign_one_is_not() -> None:
    ours = route("10.244.104.0/26")
    behind = (blackhole("10.244.104.0/26"), route("10.244.104.0/26", NODE3, Protocol.STATIC))
    actual = Actual(found().links, routes={ours.key: ours}, shadowed={ours.key: behind})
    assert str(decide(wanted(ours), actual)) == "route del blackhole 10.244.104.0/26 proto bird\n"


def test_our_route_behind_a_stray_comes_forward_when_that_goes() -> None:
    ours, stray = route("10.244.104.0/26"), route("10.244.104.0/26", NODE3)
    actual = Actual(found().links, routes={ours.key: stray}, shadowed={ours.key: (ours,)})
    assert str(decide(wanted(ours), actual)) == "route del 10.244.104.0/26 via 192.168.50.12 dev ens33 proto bird\n"


def test_of_several_that_nobody_wants_the_hindmost_goes_first() -> None:
    first, behind = route("10.244.104.0/26"), blackhole("10.244.104.0/26")
    actual = Actual(found().links, routes={first.key: first}, shadowed={first.key: (behind,)})
    assert str(decide(wanted(), actual)) == (
        "route del blackhole 10.244.104.0/26 proto bird\n"
        "route del 10.244.104.0/26 via 192.168.50.11 dev ens33 proto bird\n"
    )


def test_our_route_behind_a_foreign_one_is_a_conflict() -> None:
    ours, foreign = route("10.244.104.0/26"), route("10.244.104.0/26", NODE3, Protocol.STATIC)
    actual = Actual(found().links, routes={ours.key: foreign}, shadowed={ours.key: (ours,)})
    decided = decide(wanted(ours), actual)
    assert (str(decided), list(decided.conflicts)) == ("", [ours.key])


def test_a_failed_write_calls_off_the_removals_that_overlap_with_it() -> None:
    removals = [
        DeleteRoute(pod("10.244.1.1/32")),
        DeleteRoute(route("10.244.104.0/26")),
        DeleteRoute(pod("fd00::1/128")),
    ]
    kept = removable(removals, [ip_network("10.244.1.0/26")])
    assert [str(op.route.dst) for op in kept] == ["10.244.104.0/26", "fd00::1/128"]
