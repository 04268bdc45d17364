"""Which device and addresses a node uses."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import pytest

from felix.fib.model import Link
from flannel.backends.backend import Refused
from flannel.uplink import Machine, Wish, choose

MACHINE = Machine(
    links={
        name: Link(name, index, mtu_bytes=1500 - index) for index, name in enumerate(("lo", "eth0", "eth1", "bare"))
    },
    addresses={
        "lo": [],
        "eth0": [ip_address("172.22.1.176"), ip_address("10.0.2.15"), ip_address("2001:db8::1")],
        "eth1": [ip_address("192.168.50.10"), ip_address("2001:db8:1::1")],
        "bare": [],
    },
    defaults={4: "eth0", 6: "eth0"},
    source_of={"192.168.50.1": ip_address("192.168.50.10")},
)


def chosen(machine: Machine = MACHINE, **wish: Any) -> str:
    uplink = choose(machine, Wish(**wish)).uplink
    own = " ".join(str(one) for one in (uplink.address, uplink.address_v6) if one is not None)
    public = " ".join(str(one) for one in (uplink.public, uplink.public_v6) if one is not None)
    return f"{uplink.device} {uplink.mtu_bytes} {own}" + (f" as {public}" if public != own else "")


@pytest.mark.parametrize(
    ("wish", "uplink"),
    [
        ({}, "eth0 1499 172.22.1.176"),
        ({"versions": (6,)}, "eth0 1499 2001:db8::1"),
        ({"versions": (4, 6)}, "eth0 1499 172.22.1.176 2001:db8::1"),
        ({"ifaces": ["eth1"]}, "eth1 1498 192.168.50.10"),
        ({"ifaces": ["eth7", "eth1"]}, "eth1 1498 192.168.50.10"),
        ({"ifaces": ["10.0.2.15"]}, "eth0 1499 10.0.2.15"),
        ({"ifaces": ["2001:db8:1::1"], "versions": (4, 6)}, "eth1 1498 192.168.50.10 2001:db8:1::1"),
        ({"regexes": [r"192\.168\."]}, "eth1 1498 192.168.50.10"),
        ({"regexes": ["^eth1$"]}, "eth1 1498 192.168.50.10"),
        ({"regexes": [r"2001:db8:1:|192\.168"], "versions": (4, 6)}, "eth1 1498 192.168.50.10 2001:db8:1::1"),
        ({"ifaces": ["eth7"], "can_reach": "192.168.50.1"}, "eth1 1498 192.168.50.10"),
        ({"public": IPv4Address("192.168.50.10")}, "eth1 1498 192.168.50.10"),
        ({"ifaces": ["eth0"], "public": IPv4Address("203.0.113.7")}, "eth0 1499 172.22.1.176 as 203.0.113.7"),
        ({"public_v6": IPv6Address("2001:db8:1::1"), "versions": (6,)}, "eth1 1498 2001:db8:1::1"),
    ],
)
def test_the_device_is_found_by_what_the_flags_say(wish: dict[str, Any], uplink: str) -> None:
    assert chosen(**wish) == uplink


def test_the_lines_on_the_way_are_the_documents() -> None:
    assert choose(MACHINE, Wish()).told == (
        "Determining IP address of default interface",
        "Using interface with name eth0 and address 172.22.1.176",
        "Defaulting external address to interface address (172.22.1.176)",
    )


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        ({"ifaces": ["eth7"]}, "Failed to find interface to use that matches the interfaces and/or regexes provided"),
        ({"regexes": ["("]}, "--iface-regex (: "),
        ({"public": IPv4Address("203.0.113.7")}, "no interface with given IP found: 203.0.113.7"),
        ({"ifaces": ["bare"]}, "failed to find IPv4 address for interface bare"),
    ],
)
def test_what_cannot_be_found_is_told_with_what_to_do(wish: dict[str, Any], why: str) -> None:
    with pytest.raises(Refused) as caught:
        chosen(**wish)
    assert str(caught.value).startswith(why)


def test_without_a_default_route_or_with_two_the_device_must_be_named() -> None:
    none = Machine(MACHINE.links, MACHINE.addresses)
    with pytest.raises(Refused, match="there is no default route; name one with --iface"):
        chosen(none)
    two = Machine(MACHINE.links, MACHINE.addresses, {4: "eth0", 6: "eth1"})
    with pytest.raises(Refused, match="v6 default route interface eth1 must be the same with v4 default route"):
        chosen(two, versions=(4, 6))
