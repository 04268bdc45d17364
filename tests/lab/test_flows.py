"""On the real kernel: connections of an address that is given again are forgotten, and no other's."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from time import perf_counter

import pytest

from felix.flows import Flows, forget
from tests.lab.namespace import ip, private_network

pytestmark = pytest.mark.root

WEB, OTHER, SERVICE = "10.244.1.5", "10.244.1.6", "10.96.0.10"
RULES = f"""
table ip test {{
    chain seen {{ type filter hook output priority 0; ct state new accept; }}
    chain services {{ type nat hook output priority -100; ip daddr {SERVICE} udp dport 53 dnat to {WEB}:53; }}
    chain senders {{ type nat hook postrouting priority 100; ip saddr {OTHER} ip daddr 10.99.0.1 snat to {WEB}; }}
}}
table ip6 test {{
    chain seen {{ type filter hook output priority 0; ct state new accept; }}
}}
"""


@pytest.fixture
def network() -> Iterator[None]:
    """A namespace whose kernel tracks connections, and which has every address that the tests use."""
    with private_network():
        for address in (WEB, OTHER, "10.99.0.1", "fd00::5/128", "fd00::6/128"):
            ip(f"addr add {address} dev lo{' nodad' if ':' in address else ''}")
        ip(f"route add {SERVICE} dev lo")
        try:
            subprocess.run(["nft", "-f", "-"], input=RULES, text=True, check=True, capture_output=True)
        except FileNotFoundError:
            pytest.skip("nft is not installed (Debian: nftables)")
        yield


def send(source: str, destination: str, port: int = 53, *, from_port: int = 4000) -> None:
    family = "AF_INET6" if ":" in source else "AF_INET"
    program = (
        f"import socket; s = socket.socket(socket.{family}, socket.SOCK_DGRAM);"
        f"s.bind(('{source}', {from_port})); s.sendto(b'x', ('{destination}', {port}))"
    )
    subprocess.run(["python3", "-c", program], check=True)


def tracked() -> list[str]:
    """Both tuples of each connection."""
    lines = Path("/proc/thread-self/net/nf_conntrack").read_text().splitlines()
    return sorted(" ".join(word for word in line.split() if word[:4] in ("src=", "dst=")) for line in lines)


def test_connections_from_an_address_to_it_and_translated_to_it_are_forgotten(network: None) -> None:
    send(WEB, OTHER)
    send(OTHER, WEB)
    send(OTHER, SERVICE, from_port=4001)
    send(OTHER, "10.99.0.1", from_port=4002)
    send(OTHER, OTHER, port=99)
    assert len(tracked()) == 5
    assert sum(WEB in line for line in tracked()) == 4
    assert forget(ip_address(WEB)) == 4
    assert tracked() == [f"src={OTHER} dst={OTHER} src={OTHER} dst={OTHER}"]
    assert forget(ip_address(WEB)) == 0


def test_an_ipv6_address_is_forgotten_too(network: None) -> None:
    send("fd00::6", "fd00::5")
    send("fd00::6", "fd00::6")
    assert forget(ip_address("fd00::5")) == 1
    assert len(tracked()) == 1


async def test_what_cannot_be_forgotten_is_counted_and_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("felix.flows._NETLINK_NETFILTER", 31)  # a subsystem that no kernel has
    flows = Flows()
    await flows.forget([ip_address(WEB), ip_address(OTHER)])
    flows.close()
    assert (flows.counters.forgotten, flows.counters.failures) == (0, 2)


def test_among_many_connections_an_address_is_found_quickly(network: None) -> None:
    for port in range(5000, 5040):
        send(OTHER, OTHER, from_port=port)
    send(WEB, OTHER)
    begun = perf_counter()
    assert forget(ip_address(WEB)) == 1
    assert perf_counter() - begun < 0.25
