"""What Linux does, word for word the same in the model and in the real kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from ipaddress import IPv4Interface, ip_address, ip_network

import pytest

from felix.fib.kernel import AddressGone, AddressNow, Change, LinkGone, LinkNow, RouteGone, RouteNow, SettingsChanged
from felix.fib.model import (
    AddRoute,
    DeleteRoute,
    Hop,
    Protocol,
    RaiseLink,
    ReplaceRoute,
    Route,
    RouteType,
    Scope,
    WriteSysctl,
)
from tests.contract.worlds import World, model_world, real_world


@pytest.fixture(params=[model_world, pytest.param(real_world, marks=pytest.mark.root)], ids=["model", "real"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """One node with an uplink ens33, 192.168.50.10/24, and a pod's device cali1, up."""
    make: Callable[[], AbstractContextManager[World]] = request.param
    with make() as world:
        for name in ("ens33", "cali1"):
            world.person.add_link(name)
            world.person.set_up(name)
        world.person.add_address("ens33", "192.168.50.10/24")
        world.take_changes()
        yield world


CONNECTED = "192.168.50.0/24 dev ens33 proto kernel scope link src 192.168.50.10\n"
NODE2 = Hop("ens33", ip_address("192.168.50.11"))
NODE3 = Hop("ens33", ip_address("192.168.50.12"))
AWAY = Hop("ens33", ip_address("10.9.9.9"))


def route(dst: str, *hops: Hop, metric: int = 0, protocol: int = Protocol.BIRD) -> Route:
    return Route(ip_network(dst), hops, protocol=protocol, metric=metric)


def pod(dst: str, device: str = "cali1", *, metric: int = 0) -> Route:
    scope = Scope.LINK if ip_network(dst).version == 4 else Scope.GLOBAL
    return Route(ip_network(dst), (Hop(device),), protocol=Protocol.BOOT, scope=scope, metric=metric)


def blackhole(dst: str, *, metric: int = 0) -> Route:
    return Route(ip_network(dst), type=RouteType.BLACKHOLE, metric=metric)


BLOCK = route("10.244.104.0/26", NODE2)
ELSEWHERE = route("10.244.104.0/26", NODE3)


def routes_among(changes: object) -> list[Change]:
    assert isinstance(changes, list | tuple)
    return [change for change in changes if isinstance(change, RouteNow | RouteGone)]


# Writing.


def test_the_documents_table_reads_back_letter_for_letter(world: World) -> None:
    written = [BLOCK, route("10.244.135.0/26", NODE3), pod("10.244.166.128/32"), blackhole("10.244.166.128/26")]
    assert world.do(*(AddRoute(one) for one in written)) == "done done done done"
    table = (
        "10.244.104.0/26 via 192.168.50.11 dev ens33 proto bird\n"
        "10.244.135.0/26 via 192.168.50.12 dev ens33 proto bird\n"
        "10.244.166.128 dev cali1 scope link\n"
        "blackhole 10.244.166.128/26 proto bird\n" + CONNECTED
    )
    assert world.show() == table
    assert world.person.ip_route() == table


def test_every_form_of_route_reads_back_as_it_was_written(world: World) -> None:
    forms = [
        BLOCK,
        Route(ip_network("10.0.1.0/24"), (Hop("cali1", ip_address("10.9.9.9"), onlink=True),), mtu_bytes=1400),
        Route(ip_network("10.0.2.0/24"), (NODE2,), source=ip_address("192.168.50.10"), metric=7),
        Route(ip_network("10.0.3.0/24"), (Hop("ens33", ip_address("fe80::1")),), protocol=Protocol.CALICO),
        Route(ip_network("10.0.4.0/24"), (NODE2, Hop("ens33", NODE3.via, weight=3), Hop("cali1"))),
        Route(ip_network("10.0.5.0/24"), type=RouteType.UNREACHABLE, protocol=Protocol.STATIC),
        Route(ip_network("0.0.0.0/0"), (Hop("ens33", ip_address("192.168.50.1")),), protocol=Protocol.STATIC, tos=4),
    ]
    assert set(world.do(*(AddRoute(one) for one in forms)).split()) == {"done"}
    found = world.read().routes
    assert [found.get(one.key) for one in forms] == forms
    assert set(world.person.ip_route().splitlines()) == {str(one) for one in forms} | {CONNECTED.strip()}


def test_every_form_of_ipv6_route_reads_back_as_it_was_written(world: World) -> None:
    world.person.add_address("ens33", "fd01::1/64")
    two = Hop("ens33", ip_address("fd01::2"))
    forms = [
        route("fd00::/122", two, metric=1024),
        blackhole("fd00::40/122", metric=1024),
        pod("fd00::41/128", metric=1024),
        route("fd02::/122", two, Hop("ens33", ip_address("fd01::3")), metric=1024),
    ]
    assert world.do(*(AddRoute(one) for one in forms)) == "done done done done"
    found = world.read().routes
    assert [found.get(one.key) for one in forms] == forms
    connected = "fd01::/64 dev ens33 proto kernel metric 256 pref medium"
    assert set(world.person.ip_route(6).splitlines()) == {str(one) for one in forms} | {connected}


def test_ipv6_reads_metric_0_as_1024(world: World) -> None:
    assert world.do(AddRoute(pod("fd00::41/128"))) == "done"
    assert pod("fd00::41/128", metric=1024).key in world.read().routes


def test_an_exclusive_write_to_a_taken_key_is_refused_whoever_has_it(world: World) -> None:
    world.do(AddRoute(route("10.244.104.0/26", NODE3, protocol=Protocol.STATIC)))
    assert world.do(AddRoute(BLOCK)) == "EEXIST"
    assert world.show() == "10.244.104.0/26 via 192.168.50.12 dev ens33 proto static\n" + CONNECTED


def test_another_metric_is_another_route(world: World) -> None:
    assert world.do(AddRoute(pod("10.244.166.128/32", metric=1024)), AddRoute(pod("10.244.166.128/32"))) == "done done"
    assert world.show() == (
        "10.244.166.128 dev cali1 scope link\n10.244.166.128 dev cali1 scope link metric 1024\n" + CONNECTED
    )


def test_a_replacement_takes_the_place_of_whatever_has_the_key(world: World) -> None:
    foreign = route("10.244.104.0/26", NODE3, protocol=Protocol.STATIC)
    assert world.do(AddRoute(foreign), ReplaceRoute(BLOCK, foreign)) == "done done"
    assert world.show() == "10.244.104.0/26 via 192.168.50.11 dev ens33 proto bird\n" + CONNECTED


def test_every_form_of_route_takes_the_place_of_every_other(world: World) -> None:
    world.person.add_address("ens33", "fd01::1/64")
    two, three = Hop("ens33", ip_address("fd01::2")), Hop("ens33", ip_address("fd01::3"))
    families = [
        [BLOCK, blackhole("10.244.104.0/26"), pod("10.244.104.0/26"), route("10.244.104.0/26", NODE2, NODE3)],
        [
            route("fd00::/122", two, metric=1024),
            blackhole("fd00::/122", metric=1024),
            pod("fd00::/122", metric=1024),
            route("fd00::/122", two, three, metric=1024),
        ],
    ]
    for forms in families:
        world.do(AddRoute(forms[0]))
        standing = forms[0]
        for form in [*forms[1:], *forms[::-1], forms[2], forms[0]]:
            assert world.do(ReplaceRoute(form, standing)) == "done", f"{form} over {standing}"
            actual = world.read()
            assert (actual.routes[form.key], actual.shadowed.get(form.key)) == (form, None)
            standing = form


def test_a_replacement_of_nothing_is_refused(world: World) -> None:
    assert world.do(ReplaceRoute(BLOCK, BLOCK)) == "ENOENT"
    assert world.show() == CONNECTED


def test_a_route_may_be_replaced_by_itself(world: World) -> None:
    assert world.do(AddRoute(BLOCK), ReplaceRoute(BLOCK, BLOCK)) == "done done"


def test_only_the_route_that_is_named_is_deleted(world: World) -> None:
    world.do(AddRoute(BLOCK))
    others = [ELSEWHERE, route("10.244.104.0/26", NODE2, protocol=Protocol.STATIC), blackhole("10.244.104.0/26")]
    assert world.do(*(DeleteRoute(other) for other in others)) == "ESRCH ESRCH ESRCH"
    assert world.do(DeleteRoute(BLOCK), DeleteRoute(BLOCK)) == "done ESRCH"
    assert world.show() == CONNECTED


def test_a_deletion_without_metric_takes_the_route_of_the_lowest(world: World) -> None:
    world.do(AddRoute(pod("10.244.166.128/32", metric=7)), AddRoute(pod("10.244.166.128/32", metric=1024)))
    assert world.do(DeleteRoute(pod("10.244.166.128/32"))) == "done"
    assert world.show() == "10.244.166.128 dev cali1 scope link metric 1024\n" + CONNECTED


def test_a_refusal_does_not_stop_what_comes_after_it(world: World) -> None:
    ops = [AddRoute(BLOCK), AddRoute(BLOCK), AddRoute(pod("10.244.1.1/32", "nosuch")), AddRoute(pod("10.244.1.2/32"))]
    assert world.do(*ops) == "done EEXIST ENODEV done"


def test_thousands_of_routes_go_in_and_out(world: World) -> None:
    many = [Route(ip_network((0x0A000000 + 64 * n, 26)), (NODE2,)) for n in range(5000)]
    taken = AddRoute(many[4321])
    assert world.do(taken) == "done"
    results = world.do(*(AddRoute(one) for one in many)).split()
    assert (results.count("done"), results[4321]) == (4999, "EEXIST")
    assert len(world.read().routes) == 5001
    assert set(world.do(*(DeleteRoute(one) for one in many)).split()) == {"done"}
    assert world.show() == CONNECTED


# Several routes on one key.


def test_of_several_routes_on_a_key_the_first_counts(world: World) -> None:
    world.do(AddRoute(BLOCK))
    world.person.append(ELSEWHERE)
    actual = world.read()
    assert actual.routes[BLOCK.key] == BLOCK
    assert actual.shadowed == {BLOCK.key: (ELSEWHERE,)}


def test_a_replacement_takes_the_place_of_the_first(world: World) -> None:
    world.do(AddRoute(BLOCK))
    world.person.append(ELSEWHERE)
    assert world.do(ReplaceRoute(blackhole("10.244.104.0/26"), BLOCK)) == "done"
    actual = world.read()
    assert (actual.routes[BLOCK.key], actual.shadowed[BLOCK.key]) == (blackhole("10.244.104.0/26"), (ELSEWHERE,))


def test_what_stands_behind_cannot_be_written_again_to_the_front(world: World) -> None:
    world.do(AddRoute(BLOCK))
    world.person.append(ELSEWHERE, first=True)
    assert world.do(ReplaceRoute(BLOCK, ELSEWHERE)) == "EEXIST"
    assert world.do(DeleteRoute(ELSEWHERE)) == "done"
    assert world.read().routes[BLOCK.key] == BLOCK


# Next hops.


@pytest.mark.parametrize(
    ("hop", "answer"),
    [
        (AWAY, "ENETUNREACH"),
        (Hop("cali1", ip_address("192.168.50.11")), "ENETUNREACH"),
        (Hop("ens33", ip_address("10.9.9.9"), onlink=True), "done"),
        (Hop("ens33", ip_address("192.168.50.10")), "done"),
        (Hop("ens33", ip_address("192.168.50.10"), onlink=True), "EINVAL"),
        (Hop("nosuch"), "ENODEV"),
    ],
    ids=str,
)
def test_a_next_hop_is_on_link_or_says_that_it_need_not_be(world: World, hop: Hop, answer: str) -> None:
    assert world.do(AddRoute(route("10.244.104.0/26", hop))).split(":")[0] == answer


def test_the_kernel_says_why_it_refuses(world: World) -> None:
    world.person.set_down("cali1")
    refusals = world.runner.run(
        world.kernel.apply([AddRoute(route("10.0.0.0/26", AWAY)), AddRoute(pod("10.0.0.1/32"))])
    )
    assert [str(refusal) for refusal in refusals] == [
        "ENETUNREACH (Nexthop has invalid gateway)",
        "ENETDOWN (Device for nexthop is not up)",
    ]


def test_a_blackhole_over_the_gateway_does_not_hide_its_link(world: World) -> None:
    assert world.do(AddRoute(blackhole("192.168.50.0/28")), AddRoute(BLOCK)) == "done done"


def test_an_ipv6_next_hop_off_link_is_refused(world: World) -> None:
    assert world.do(AddRoute(route("fd00::/122", Hop("ens33", ip_address("fd01::2"))))) == "EHOSTUNREACH"


WRAPPED = route("fd00:10:244::/122", Hop("cali1", ip_address("fd00:10:244::1"), onlink=True), metric=1024)
BARE = route("fd00:10:244::/122", Hop("ens33", ip_address("fe80::1")), metric=1024)


def test_an_ipv6_gateway_that_is_onlink_may_be_unreachable_or_behind_the_default_route(world: World) -> None:
    default = route("::/0", Hop("ens33", ip_address("fe80::1")), metric=1024)
    assert world.do(AddRoute(default), AddRoute(WRAPPED)) == "done done"


def test_an_ipv6_gateway_that_is_onlink_is_refused_while_another_device_leads_to_it(world: World) -> None:
    """Unlike in IPv4. With a route of its own the gateway may change sides in place."""
    refusals = world.runner.run(world.kernel.apply([AddRoute(BARE), ReplaceRoute(WRAPPED, BARE)]))
    assert [str(refusal) for refusal in refusals] == [
        "None",
        "EINVAL (Nexthop has invalid gateway or device mismatch)",
    ]
    foothold = pod("fd00:10:244::1/128", metric=1024)
    assert world.do(AddRoute(foothold), ReplaceRoute(WRAPPED, BARE), DeleteRoute(foothold)) == "done done done"
    assert world.read().routes[WRAPPED.key] == WRAPPED


def test_an_ipv4_gateway_that_is_onlink_may_be_reached_through_another_device(world: World) -> None:
    onlink = route("10.244.104.0/26", Hop("cali1", ip_address("10.244.104.1"), onlink=True))
    assert world.do(AddRoute(BLOCK), ReplaceRoute(onlink, BLOCK)) == "done done"


def test_a_source_that_the_node_does_not_have_is_refused(world: World) -> None:
    assert world.do(AddRoute(Route(ip_network("10.0.0.0/26"), (NODE2,), source=ip_address("9.9.9.9")))) == "EINVAL"


def test_a_device_that_is_down_takes_no_route(world: World) -> None:
    world.person.set_down("cali1")
    assert world.do(AddRoute(pod("10.244.166.128/32")), AddRoute(pod("fd00::41/128"))) == "ENETDOWN ENETDOWN"
    assert world.do(RaiseLink("cali1"), AddRoute(pod("10.244.166.128/32"))) == "done done"


# What vanishes without a word.


def test_a_devices_routes_vanish_silently_with_its_fall_and_stay_away(world: World) -> None:
    world.do(AddRoute(BLOCK), AddRoute(pod("10.244.166.128/32")), AddRoute(blackhole("10.244.166.128/26")))
    world.take_changes()
    world.person.set_down("ens33")
    assert world.show() == "10.244.166.128 dev cali1 scope link\nblackhole 10.244.166.128/26 proto bird\n"
    assert routes_among(world.take_changes()) == []
    world.person.set_up("ens33")
    assert world.person.ip_route() == (
        "10.244.166.128 dev cali1 scope link\nblackhole 10.244.166.128/26 proto bird\n" + CONNECTED
    )
    (connected,) = routes_among(world.take_changes())
    assert isinstance(connected, RouteNow)
    assert f"{connected.route}\n" == CONNECTED


def test_a_fallen_devices_ipv6_routes_are_announced_as_gone(world: World) -> None:
    world.do(AddRoute(pod("fd00::41/128")))
    world.take_changes()
    world.person.set_down("cali1")
    assert RouteGone(pod("fd00::41/128", metric=1024)) in routes_among(world.take_changes())
    assert pod("fd00::41/128", metric=1024).key not in world.read().routes


def test_a_route_with_two_ways_stays_while_one_is_left(world: World) -> None:
    both = route("10.0.4.0/24", NODE2, Hop("cali1"))
    world.do(AddRoute(both))
    world.person.set_down("ens33")
    assert world.read().routes[both.key] == both
    world.person.set_down("cali1")
    assert both.key not in world.read().routes


def test_the_last_ipv4_address_takes_every_route_of_its_device_with_it(world: World) -> None:
    world.do(AddRoute(BLOCK), AddRoute(route("10.244.135.0/26", Hop("ens33"))), AddRoute(pod("10.244.166.128/32")))
    world.take_changes()
    world.person.delete_address("ens33", "192.168.50.10/24")
    assert world.show() == "10.244.166.128 dev cali1 scope link\n"
    assert [str(change.route) + "\n" for change in routes_among(world.take_changes()) if hasattr(change, "route")] == [
        CONNECTED
    ]


def test_an_address_takes_the_routes_that_have_it_as_source_with_it(world: World) -> None:
    world.person.add_address("ens33", "192.168.51.10/24")
    sourced = Route(ip_network("10.0.2.0/24"), (NODE2,), source=ip_address("192.168.51.10"))
    through = route("10.0.3.0/24", Hop("ens33", ip_address("192.168.51.1")))
    world.do(AddRoute(sourced), AddRoute(through), AddRoute(BLOCK))
    world.person.delete_address("ens33", "192.168.51.10/24")
    assert world.show() == f"{through}\n{BLOCK}\n{CONNECTED}"


def test_a_device_that_is_deleted_takes_its_routes_along(world: World) -> None:
    world.do(AddRoute(pod("10.244.166.128/32")))
    world.person.delete_link("cali1")
    assert world.show() == CONNECTED
    assert "cali1" not in world.read().links


# Links, addresses, sysctls, and what is told of them.


def test_links_and_addresses_are_read(world: World) -> None:
    world.person.set_down("cali1")
    actual = world.read()
    assert {name: actual.links[name].is_up for name in ("ens33", "cali1")} == {"ens33": True, "cali1": False}
    assert actual.links["ens33"].kind == "veth"
    wanted = IPv4Interface("192.168.50.10/24")
    assert (wanted.ip, 24) in {(one.address, one.prefix_length) for one in actual.addresses if one.device == "ens33"}


def test_every_route_that_changes_is_told_in_the_kernels_order(world: World) -> None:
    world.do(
        AddRoute(BLOCK), ReplaceRoute(ELSEWHERE, BLOCK), DeleteRoute(ELSEWHERE), AddRoute(blackhole("10.0.0.0/26"))
    )
    world.person.append(route("10.0.0.0/26", NODE2))
    assert routes_among(world.take_changes()) == [
        RouteNow(BLOCK, in_place=False),
        RouteNow(ELSEWHERE, in_place=True),
        RouteGone(ELSEWHERE),
        RouteNow(blackhole("10.0.0.0/26"), in_place=False),
        RouteNow(route("10.0.0.0/26", NODE2), in_place=False),
    ]
    assert list(world.take_changes()) == []


def test_a_refused_write_and_a_write_without_effect_are_not_told(world: World) -> None:
    world.do(AddRoute(BLOCK))
    world.take_changes()
    world.do(AddRoute(BLOCK), ReplaceRoute(BLOCK, BLOCK), DeleteRoute(ELSEWHERE))
    assert list(world.take_changes()) == []


def test_a_device_is_told_from_its_birth_to_its_end(world: World) -> None:
    world.person.add_link("cali2")
    world.person.set_up("cali2")
    world.person.delete_link("cali2")
    told = [change for change in world.take_changes() if isinstance(change, LinkNow | LinkGone)]
    life = [change.link.is_up for change in told if isinstance(change, LinkNow) and change.link.name == "cali2"]
    assert (life[0], True in life) == (False, True)
    assert "cali2" in [change.name for change in told if isinstance(change, LinkGone)]


def test_an_addresss_connected_route_has_its_metric_and_goes_with_it(world: World) -> None:
    world.person.add_address("cali1", "10.1.1.1/24", metric=100)
    assert world.show() == "10.1.1.0/24 dev cali1 proto kernel scope link src 10.1.1.1 metric 100\n" + CONNECTED
    world.person.delete_address("cali1", "10.1.1.1/24")
    assert world.show() == CONNECTED


def test_an_address_is_told_when_it_comes_and_when_it_goes(world: World) -> None:
    world.person.add_address("cali1", "10.1.1.1/24")
    world.person.delete_address("cali1", "10.1.1.1/24")
    told = [change for change in world.take_changes() if isinstance(change, AddressNow | AddressGone)]
    assert [type(change) for change in told] == [AddressNow, AddressGone]
    assert {(change.address.device, str(change.address.address)) for change in told} == {("cali1", "10.1.1.1")}


def test_some_sysctls_are_told_when_they_change_and_others_are_not(world: World) -> None:
    told, silent = "net/ipv4/conf/cali1/proxy_arp", "net/ipv4/conf/cali1/route_localnet"
    world.do(WriteSysctl(told, "1"), WriteSysctl(silent, "1"), WriteSysctl(told, "1"))
    assert list(world.take_changes()) == [SettingsChanged("cali1")]
    world.do(WriteSysctl("net/ipv4/ip_forward", "1"))
    assert SettingsChanged("all") in world.take_changes()


def test_a_sysctl_reads_as_it_was_written(world: World) -> None:
    path = "net/ipv4/conf/cali1/proxy_arp"
    assert world.kernel.read_sysctls([path, "net/ipv4/conf/nosuch/proxy_arp"]) == {path: "0"}
    assert world.do(WriteSysctl(path, "1"), WriteSysctl("net/ipv4/conf/nosuch/proxy_arp", "1")) == "done ENOENT"
    assert world.kernel.read_sysctls([path]) == {path: "1"}
