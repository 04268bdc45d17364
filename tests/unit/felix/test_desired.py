"""What a view comes to: routes, what waits, devices and sysctls, each with its reason."""

from __future__ import annotations

import pytest

from bgp.learned import InSync, LearnedRoute, Snapshot
from felix.desired import desire
from felix.fib.mirror import Surroundings
from felix.fib.model import Desired, Route
from felix.tunnels import Tunnel, derived_mac
from felix.view import KINDS, Listed, View
from tests.clusters import address, affinity, block, foreign, learned, node, pod, pool, surroundings

NODES = (node("node1", "192.168.50.10/24"), node("node2", "192.168.50.11/24"), node("node3", "192.168.51.12/24"))
TO_NODE2, TO_NODE3 = learned("10.244.104.0/26", "192.168.50.11"), learned("10.244.135.0/26", "192.168.51.12")


def view_of(*resources: Listed, told: tuple[LearnedRoute, ...] = (), around: Surroundings | None = None) -> View:
    view = View("node1")
    for one in (*NODES, *resources):
        view.put(one)
    for kind in KINDS:
        view.listed(kind)
    view.hear(Snapshot(told))
    view.hear(InSync())
    view.see(around or surroundings())
    return view


def reasons(desired: Desired) -> list[str]:
    return [f"{route}  # {why}" for route, why in desired.routes.values()]


def waits(desired: Desired) -> list[str]:
    return [f"{dst}  # {why}" for dst, why in desired.pending.items()]


def test_every_route_says_why_it_is_wanted() -> None:
    view = view_of(
        pool(),
        affinity("node1", "10.244.166.128/26"),
        pod("node1", "coredns", "10.244.166.128/32", device="cali717821d73f3"),
        told=(TO_NODE2, learned("172.16.0.0/12", "192.168.50.254", peer="192.168.50.254")),
    )
    assert reasons(desire(view)) == [
        "10.244.104.0/26 via 192.168.50.11 dev ens33 proto bird"
        "  # pool default-ipv4-ippool, node node2, bgp 192.168.50.11",
        "172.16.0.0/12 via 192.168.50.254 dev ens33 proto bird  # outside the pools, bgp 192.168.50.254",
        "blackhole 10.244.166.128/26 proto bird  # own block, affinity node1-10-244-166-128-26",
        "10.244.166.128 dev cali717821d73f3 scope link  # pod default/coredns",
    ]


def test_what_cannot_be_sent_waits_and_says_for_what() -> None:
    by_blocks = pool("10.246.0.0/16", "wrapped", vxlanMode="Always")
    view = view_of(
        pool(),
        by_blocks,
        block("node9", "10.246.0.64/26"),
        told=(TO_NODE3, learned("192.168.50.0/24", "192.168.50.11")),
    )
    desired = desire(view)
    assert reasons(desired) == []
    assert waits(desired) == [
        "10.244.135.0/26  # pool default-ipv4-ippool, node node3, bgp 192.168.51.12: "
        "no route to next hop 192.168.51.12",
        "192.168.50.0/24  # this node is connected to it: "
        "192.168.50.0/24 dev ens33 proto kernel scope link src 192.168.50.10 metric 100",
        "10.246.0.64/26  # node node9 has no address",
    ]


def test_of_two_sources_the_pool_picks_one() -> None:
    told = (learned("10.244.104.0/26", "192.168.50.77"),)
    by_bgp = desire(view_of(pool(), block("node2", "10.244.104.0/26"), told=told))
    assert reasons(by_bgp) == [
        "10.244.104.0/26 via 192.168.50.77 dev ens33 proto bird  # pool default-ipv4-ippool, bgp 192.168.50.77"
    ]
    by_blocks = desire(view_of(pool(vxlanMode="CrossSubnet"), block("node2", "10.244.104.0/26"), told=told))
    assert reasons(by_blocks) == [
        "10.244.104.0/26 via 192.168.50.11 dev ens33 proto bird"
        "  # pool default-ipv4-ippool, vxlanMode CrossSubnet, same subnet, node node2, its block"
    ]


def test_a_next_hop_off_link_goes_by_the_gateway_that_leads_to_it() -> None:
    around = surroundings(foreign("0.0.0.0/0", "192.168.50.1"))
    desired = desire(view_of(pool(), told=(TO_NODE3,), around=around))
    assert [str(route) for route, _ in desired.routes.values()] == [
        "10.244.135.0/26 via 192.168.50.1 dev ens33 proto bird"
    ]


def test_of_several_that_have_a_destination_the_nearest_wins() -> None:
    view = view_of(
        pool(),
        affinity("node1", "10.244.104.0/26"),
        pod("node1", "near", "10.244.104.7/32", device="cali1"),
        told=(TO_NODE2, learned("10.244.104.7/32", "192.168.50.11")),
    )
    assert [str(route) for route, _ in desire(view).routes.values()] == [
        "blackhole 10.244.104.0/26 proto bird",
        "10.244.104.7 dev cali1 scope link",
    ]


@pytest.mark.parametrize("state", ["pending", "pendingDeletion"])
def test_a_block_that_is_not_confirmed_has_no_blackhole(state: str) -> None:
    assert reasons(desire(view_of(pool(), affinity("node1", "10.244.166.128/26", state)))) == []


def test_other_nodes_pods_and_affinities_are_not_ours() -> None:
    view = view_of(pool(), affinity("node2", "10.244.104.0/26"), pod("node2", "far", "10.244.104.1/32"))
    assert reasons(desire(view)) == []
    assert desire(view).devices_up == {}


def test_before_the_pools_are_known_only_what_is_local_is_wanted() -> None:
    view = View("node1")
    view.put(pod("node1", "coredns", "10.244.166.128/32", device="cali1"))
    view.hear(Snapshot((TO_NODE2,)))
    view.see(surroundings())
    assert [str(route) for route, _ in desire(view).routes.values()] == ["10.244.166.128 dev cali1 scope link"]


def test_a_pods_device_must_be_up_and_has_upstreams_sysctls() -> None:
    desired = desire(view_of(pod("node1", "both", "10.244.166.128/32", "fd00::1/128", device="cali1")))
    assert {device: str(why) for device, why in desired.devices_up.items()} == {"cali1": "pod default/both"}
    assert {path: value for path, (value, _) in desired.sysctls.items()} == {
        "net/ipv4/ip_forward": "1",
        "net/ipv4/conf/cali1/route_localnet": "1",
        "net/ipv4/neigh/cali1/proxy_delay": "0",
        "net/ipv4/conf/cali1/proxy_arp": "1",
        "net/ipv4/conf/cali1/forwarding": "1",
        "net/ipv6/conf/all/forwarding": "1",
        "net/ipv6/conf/cali1/accept_ra": "0",
        "net/ipv6/conf/cali1/proxy_ndp": "1",
        "net/ipv6/conf/cali1/forwarding": "1",
    }


def test_a_device_that_is_being_made_is_raised_by_nobody_else() -> None:
    """Its endpoint may be heard of before it is prepared."""
    view = view_of(pod("node1", "web", "10.244.166.128/32", device="cali1"))
    view.unfinished.add("cali1")
    assert desire(view).devices_up == {}
    view.unfinished.discard("cali1")
    assert list(desire(view).devices_up) == ["cali1"]


def test_two_equal_next_hops_make_one_route_with_two_ways() -> None:
    told = (learned("172.16.0.0/12", "192.168.50.253", "192.168.50.254", "192.168.51.9"),)
    ((route, _),) = desire(view_of(told=told)).routes.values()
    assert isinstance(route, Route)
    assert str(route) == (
        "172.16.0.0/12 proto bird nexthop via 192.168.50.253 dev ens33 weight 1 "
        "nexthop via 192.168.50.254 dev ens33 weight 1"
    )


# Tunnels.

RECEIVERS = (
    node("node1", "192.168.50.10/24"),
    node("node2", "192.168.50.11/24", ipip="10.244.104.0", vxlan="10.244.104.0"),
    node("node3", "192.168.51.12/24", ipip="10.244.135.0", vxlan="10.244.135.0"),
)
BOTH_UP = surroundings(foreign("0.0.0.0/0", "192.168.50.1"), tunnels=("tunl0", "vxlan.calico"))


def test_an_ipip_pool_gives_the_documents_routes() -> None:
    view = view_of(pool(ipipMode="Always"), *RECEIVERS, told=(TO_NODE2, TO_NODE3), around=BOTH_UP)
    assert reasons(desire(view)) == [
        "10.244.104.0/26 via 192.168.50.11 dev tunl0 proto bird onlink"
        "  # pool default-ipv4-ippool, ipipMode Always, node node2, bgp 192.168.50.11",
        "10.244.135.0/26 via 192.168.51.12 dev tunl0 proto bird onlink"
        "  # pool default-ipv4-ippool, ipipMode Always, node node3, bgp 192.168.51.12",
    ]


def test_across_subnets_only_the_far_node_is_reached_through_the_tunnel() -> None:
    view = view_of(pool(ipipMode="CrossSubnet"), *RECEIVERS, told=(TO_NODE2, TO_NODE3), around=BOTH_UP)
    assert [str(route) for route, _ in desire(view).routes.values()] == [
        "10.244.104.0/26 via 192.168.50.11 dev ens33 proto bird",
        "10.244.135.0/26 via 192.168.51.12 dev tunl0 proto bird onlink",
    ]


def test_a_vxlan_pool_gives_upstreams_routes_borrowed_addresses_as_their_own() -> None:
    view = view_of(
        pool(vxlanMode="Always"), *RECEIVERS, block("node2", "10.244.104.0/26", borrowed={5: "node3"}), around=BOTH_UP
    )
    assert [str(route) for route, _ in desire(view).routes.values()] == [
        "10.244.104.0/26 via 10.244.104.0 dev vxlan.calico onlink mtu 1450",
        "10.244.104.5 via 10.244.135.0 dev vxlan.calico onlink mtu 1450",
    ]


def test_two_pools_of_different_modes_live_on_one_node() -> None:
    view = view_of(
        pool(ipipMode="Always"),
        pool("10.245.0.0/16", "wrapped", vxlanMode="Always"),
        pool("10.246.0.0/16", "plain"),
        *RECEIVERS,
        block("node2", "10.245.0.0/26"),
        told=(TO_NODE2, learned("10.246.0.0/26", "192.168.50.11")),
        around=BOTH_UP,
    )
    assert {str(route).split(" proto")[0] for route, _ in desire(view).routes.values()} == {
        "10.244.104.0/26 via 192.168.50.11 dev tunl0",
        "10.245.0.0/26 via 10.244.104.0 dev vxlan.calico onlink mtu 1450",
        "10.246.0.0/26 via 192.168.50.11 dev ens33",
    }


def test_a_tunnel_device_is_wanted_as_soon_as_its_address_is_held() -> None:
    view = view_of(pool(vxlanMode="Always"), pool("10.245.0.0/16", "p2", ipipMode="Always"), *RECEIVERS)
    assert (desire(view).tunnels, desire(view).lenient) == ({}, {})
    view.hold({Tunnel.IPIP: address("10.245.166.128"), Tunnel.VXLAN: address("10.244.166.128"), Tunnel.VXLAN_V6: None})
    desired = desire(view)
    assert {name: (str(device.address), device.mtu_bytes) for name, (device, _) in desired.tunnels.items()} == {
        "tunl0": ("10.245.166.128", 1480),
        "vxlan.calico": ("10.244.166.128", 1450),
    }
    assert list(desired.lenient) == ["ens33"]
    vxlan, why = desired.tunnels["vxlan.calico"]
    assert str(why) == "pool default-ipv4-ippool may be reached through it"
    assert (vxlan.mac, str(vxlan.vxlan)) == (
        derived_mac("node1", Tunnel.VXLAN),
        "id 4096 local 192.168.50.10 dev ens33 dstport 4789 nolearning",
    )
    assert sorted(map(str, vxlan.entries)) == sorted(
        line
        for name, published, local in (
            ("node2", "10.244.104.0", "192.168.50.11"),
            ("node3", "10.244.135.0", "192.168.51.12"),
        )
        for line in (
            f"fdb {derived_mac(name, Tunnel.VXLAN)} dev vxlan.calico dst {local}",
            f"neigh {published} dev vxlan.calico lladdr {derived_mac(name, Tunnel.VXLAN)}",
        )
    )


def test_a_device_that_is_not_needed_any_more_stays_while_others_may_send_through_it() -> None:
    nobody = dict.fromkeys(Tunnel)
    view = view_of(pool(), *RECEIVERS, around=BOTH_UP)
    view.hold(nobody)
    devices = desire(view).tunnels
    assert {name: (device.address, str(why)) for name, (device, why) in devices.items()} == {
        "tunl0": (None, "other nodes may still send through it"),
        "vxlan.calico": (None, "other nodes may still send through it"),
    }
    quiet = view_of(pool(), around=BOTH_UP)
    quiet.hold(nobody)
    assert desire(quiet).tunnels == {}


def test_a_tunnel_device_that_is_down_is_not_raised_for_others() -> None:
    view = view_of(pool(), *RECEIVERS)
    view.hold(dict.fromkeys(Tunnel))
    assert desire(view).tunnels == {}
