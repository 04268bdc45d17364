"""Tunnels come to be as they are wanted, in an order that loses nothing: the plan, carried out on the model kernel."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from felix.fib.model import AddRoute, Desired, Hop, Op, Protocol, Route, Why
from felix.fib.model_kernel import ModelKernel
from felix.fib.owner import Ownership
from felix.fib.plan import ALL_IN_SYNC, InSync, plan
from felix.fib.tunnel import Entry, Forwarding, MakeTunnel, Neighbour, SetEntry, TunnelDevice, Vxlan

WHY = Why("a test")
OWNERSHIP = Ownership(networks=frozenset({ip_network("10.244.0.0/16")}))
MAC, NEW_MAC = "66:2d:bf:44:a6:8b", "66:2d:bf:44:a6:99"
VTEP, NODE2, NODE3 = (ip_address(text) for text in ("10.244.104.0", "192.168.50.11", "192.168.50.12"))
IPIP = TunnelDevice("tunl0", 1480, ip_address("10.244.166.128"))
VXLAN = TunnelDevice(
    "vxlan.calico",
    1450,
    ip_address("10.244.166.128"),
    "66:f9:37:c3:7e:94",
    Vxlan(4096, 4789, ip_address("192.168.50.10"), "ens33"),
    frozenset({Neighbour("vxlan.calico", VTEP, MAC), Forwarding("vxlan.calico", MAC, NODE2)}),
)
BLOCK = ip_network("10.244.104.0/26")
BY_IPIP = Route(BLOCK, (Hop("tunl0", NODE2, onlink=True),))
BY_VXLAN = Route(BLOCK, (Hop("vxlan.calico", VTEP, onlink=True),), protocol=Protocol.BOOT, mtu_bytes=1450)
DIRECT = Route(BLOCK, (Hop("ens33", NODE2),))


@pytest.fixture
def kernel() -> ModelKernel:
    """An uplink, and the tunl0 that the ipip module makes: down."""
    kernel = ModelKernel()
    kernel.add_link("ens33")
    kernel.set_up("ens33")
    kernel.add_address("ens33", ip_interface("192.168.50.10/24"))
    kernel.do(MakeTunnel(TunnelDevice("tunl0", 1480)))
    kernel.set_down("tunl0")
    return kernel


def wish(*tunnels: TunnelDevice, routes: tuple[Route, ...] = ()) -> Desired:
    return Desired(
        routes={route.key: (route, WHY) for route in routes},
        tunnels={tunnel.name: (tunnel, WHY) for tunnel in tunnels},
    )


def passes(kernel: ModelKernel, desired: Desired, in_sync: InSync = ALL_IN_SYNC) -> list[list[str]]:
    """What each pass does, until one has nothing to do. Nothing is refused."""
    done: list[list[str]] = []
    while ops := _ops(kernel, desired, in_sync):
        assert len(done) < 10, done
        assert [kernel.do(op) for op in ops] == [None] * len(ops)
        done.append([str(op) for op in ops])
    return done


def _ops(kernel: ModelKernel, desired: Desired, in_sync: InSync) -> tuple[Op, ...]:
    return plan(desired, asyncio.run(kernel.read()), ownership=OWNERSHIP, in_sync=in_sync).ops


def test_ipip_is_raised_and_given_its_address_before_its_routes(kernel: ModelKernel) -> None:
    assert passes(kernel, wish(IPIP, routes=(BY_IPIP,))) == [
        ["link set tunl0 up", "addr add 10.244.166.128/32 dev tunl0"],
        ["route add 10.244.104.0/26 via 192.168.50.11 dev tunl0 proto bird onlink"],
    ]


def test_vxlan_is_made_then_filled_then_routed_through(kernel: ModelKernel) -> None:
    assert passes(kernel, wish(VXLAN, routes=(BY_VXLAN,))) == [
        ["link add vxlan.calico type vxlan id 4096 local 192.168.50.10 dev ens33 dstport 4789 nolearning"],
        [
            "addr add 10.244.166.128/32 dev vxlan.calico",
            f"set fdb {MAC} dev vxlan.calico dst 192.168.50.11",
            f"set neigh 10.244.104.0 dev vxlan.calico lladdr {MAC}",
            "route add 10.244.104.0/26 via 10.244.104.0 dev vxlan.calico onlink mtu 1450",
        ],
    ]


def test_on_the_way_back_each_thing_goes_after_what_needed_it(kernel: ModelKernel) -> None:
    passes(kernel, wish(VXLAN, routes=(BY_VXLAN,)))
    mute = replace(VXLAN, address=None, entries=frozenset())
    assert passes(kernel, wish(mute, routes=(DIRECT,))) == [
        ["route replace 10.244.104.0/26 via 192.168.50.11 dev ens33 proto bird"],
        [
            f"del neigh 10.244.104.0 dev vxlan.calico lladdr {MAC}",
            "addr del 10.244.166.128/32 dev vxlan.calico",
        ],
        [f"del fdb {MAC} dev vxlan.calico dst 192.168.50.11"],
    ]
    assert passes(kernel, wish(routes=(DIRECT,))) == [["link del vxlan.calico"]]


def test_tunl0_stays_and_only_addresses_of_pools_leave_it(kernel: ModelKernel) -> None:
    passes(kernel, wish(IPIP, routes=(BY_IPIP,)))
    kernel.add_address("tunl0", ip_interface("172.31.0.1/32"))
    assert passes(kernel, wish(routes=(DIRECT,)))[1:] == [["addr del 10.244.166.128/32 dev tunl0"]]


def test_a_new_address_comes_before_the_old_one_goes(kernel: ModelKernel) -> None:
    passes(kernel, wish(IPIP, routes=(BY_IPIP,)))
    moved = replace(IPIP, address=ip_address("10.244.166.200"))
    assert passes(kernel, wish(moved, routes=(BY_IPIP,))) == [
        ["addr add 10.244.166.200/32 dev tunl0"],
        ["addr del 10.244.166.128/32 dev tunl0"],
    ]


def test_a_peer_that_moved_is_found_at_its_new_place_before_the_old_one_is_forgotten(kernel: ModelKernel) -> None:
    passes(kernel, wish(VXLAN, routes=(BY_VXLAN,)))
    entries: frozenset[Entry] = frozenset(
        {Neighbour("vxlan.calico", VTEP, NEW_MAC), Forwarding("vxlan.calico", NEW_MAC, NODE3)}
    )
    assert passes(kernel, wish(replace(VXLAN, entries=entries), routes=(BY_VXLAN,))) == [
        [
            f"set fdb {NEW_MAC} dev vxlan.calico dst 192.168.50.12",
            f"set neigh 10.244.104.0 dev vxlan.calico lladdr {NEW_MAC}",
        ],
        [f"del fdb {MAC} dev vxlan.calico dst 192.168.50.11"],
    ]


@pytest.mark.parametrize(
    ("drift", "repair"),
    [
        ("ip link set vxlan.calico down", "link set vxlan.calico up"),
        ("ip link set vxlan.calico mtu 1400", "link set vxlan.calico mtu 1450"),
        ("ip neigh del", f"set neigh 10.244.104.0 dev vxlan.calico lladdr {MAC}"),
        ("ip addr del", "addr add 10.244.166.128/32 dev vxlan.calico"),
    ],
)
def test_what_drifts_is_repaired_in_place(kernel: ModelKernel, drift: str, repair: str) -> None:
    desired = wish(VXLAN, routes=(BY_VXLAN,))
    passes(kernel, desired)
    by_hand(kernel, drift)
    assert passes(kernel, desired)[0][0] == repair
    assert passes(kernel, desired) == []


def by_hand(kernel: ModelKernel, what: str) -> None:
    match what.split():
        case ["ip", "link", "set", device, "down"]:
            kernel.set_down(device)
        case ["ip", "link", "set", device, "mtu", mtu]:
            kernel._change_link(device, mtu_bytes=int(mtu))
        case ["ip", "neigh", "del"]:
            kernel._delete_entry(Neighbour("vxlan.calico", VTEP, MAC))
        case _:
            kernel.delete_address("vxlan.calico", ip_interface("10.244.166.128/32"))


def test_a_device_that_was_made_otherwise_is_made_anew(kernel: ModelKernel) -> None:
    passes(kernel, wish(VXLAN))
    other = replace(VXLAN, vxlan=Vxlan(4096, 4790, ip_address("192.168.50.10"), "ens33"))
    assert passes(kernel, wish(other))[0] == [
        "link del vxlan.calico",
        "link add vxlan.calico type vxlan id 4096 local 192.168.50.10 dev ens33 dstport 4790 nolearning",
    ]


def test_a_device_whose_parent_is_not_there_waits(kernel: ModelKernel) -> None:
    absent = replace(VXLAN, vxlan=Vxlan(4096, 4789, ip_address("192.168.50.10"), "ens44"))
    assert passes(kernel, wish(absent)) == []


def test_strange_entries_and_addresses_on_our_devices_go(kernel: ModelKernel) -> None:
    desired = wish(VXLAN)
    passes(kernel, desired)
    kernel.do(SetEntry(Forwarding("vxlan.calico", NEW_MAC, NODE3)))
    kernel.add_address("vxlan.calico", ip_interface("10.9.9.9/32"))
    assert passes(kernel, desired) == [
        [f"del fdb {NEW_MAC} dev vxlan.calico dst 192.168.50.12", "addr del 10.9.9.9/32 dev vxlan.calico"]
    ]


def test_nothing_goes_before_it_is_known_which_tunnels_are_needed(kernel: ModelKernel) -> None:
    passes(kernel, wish(VXLAN, routes=(BY_VXLAN,)))
    unknown = replace(ALL_IN_SYNC, tunnels=False)
    assert passes(kernel, wish(routes=(BY_VXLAN,)), unknown) == []


def test_a_device_that_a_foreign_route_needs_stays(kernel: ModelKernel) -> None:
    passes(kernel, wish(VXLAN))
    foreign = Route(ip_network("172.16.0.0/12"), (Hop("vxlan.calico", VTEP, onlink=True),), protocol=Protocol.STATIC)
    assert kernel.do(AddRoute(foreign)) is None
    assert passes(kernel, wish()) == []
