"""On the real kernel: no address has connections of its last holder when it gets a new one, and others keep theirs."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable, Coroutine, Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from felix import flows
from felix.flows import Flows, look
from tests.lab.namespace import ip, private_network

pytestmark = pytest.mark.root

WEB, OTHER, SERVICE = "10.244.1.5", "10.244.1.6", "10.96.0.10"
BLOCK = ip_network("10.244.1.0/26")
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
    seen = look([ip_address(WEB)])
    assert (seen.forgotten, {str(each) for each in seen.mentioned}) == (4, {WEB, OTHER, SERVICE, "10.99.0.1"})
    assert tracked() == [f"src={OTHER} dst={OTHER} src={OTHER} dst={OTHER}"]
    assert look([ip_address(WEB)]).forgotten == 0


def test_an_ipv6_address_is_forgotten_too(network: None) -> None:
    send("fd00::6", "fd00::5")
    send("fd00::6", "fd00::6")
    assert look([ip_address("fd00::5"), ip_address(WEB)]).forgotten == 1
    assert len(tracked()) == 1


# --- when it is looked --------------------------------------------------------------------------------------------


Scenario = Callable[[Flows, list[set[str]]], Coroutine[Any, Any, None]]


def watched(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs it with Flows whose task runs, and the addresses of each look that was taken."""
    looks: list[set[str]] = []

    def remembering(unwanted: Any) -> Any:
        looks.append({str(each) for each in unwanted})
        return look(unwanted)

    monkeypatch.setattr(flows, "look", remembering)
    monkeypatch.setattr(flows, "REST_S", 0.0)

    async def played() -> None:
        door = Flows()
        task = asyncio.create_task(door.run())
        await scenario(door, looks)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        door.close()

    asyncio.run(played())


def numbered(last: int) -> Any:
    return ip_address(f"10.244.1.{last}")


def test_one_look_does_for_all_addresses_of_a_block_that_have_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("felix.ctmsg.members", lambda body: frozenset({numbered(9)}))

    async def scenario(door: Flows, looks: list[set[str]]) -> None:
        monkeypatch.setattr(flows._Asker, "dump", lambda self, version: iter([b"one connection"]))
        for last in (1, 2, 3):
            await door.begin(numbered(last), BLOCK)
        assert looks == [{"10.244.1.1"}]
        monkeypatch.setattr(flows._Asker, "delete", lambda self, body: True)
        await door.begin(numbered(9), BLOCK)
        assert looks[1:] == [{"10.244.1.9"}]
        assert door.counters.forgotten == 1

    watched(scenario, monkeypatch)


def test_what_ended_is_forgotten_in_the_background_and_need_not_be_looked_at_again(
    network: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(door: Flows, looks: list[set[str]]) -> None:
        await door.begin(ip_address(WEB), BLOCK)
        door.end(ip_address(WEB))
        door.end(ip_address(OTHER))
        async with asyncio.timeout(5):
            await _until(lambda: len(looks) == 2)
        assert looks[1] == {WEB, OTHER}
        async with door._lock:
            pass
        await door.begin(ip_address(WEB), BLOCK)
        await door.begin(ip_address(OTHER), BLOCK)
        assert len(looks) == 2

    watched(scenario, monkeypatch)


def test_an_address_that_ended_a_moment_ago_is_looked_at_before_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(door: Flows, looks: list[set[str]]) -> None:
        await door.begin(ip_address(WEB), BLOCK)
        door.end(ip_address(WEB))
        await door.begin(ip_address(WEB), BLOCK)
        assert looks == [{WEB}, {WEB}]

    watched(scenario, monkeypatch)


def test_a_borrowed_address_is_always_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pods of this node may have talked to its last holder elsewhere."""

    async def scenario(door: Flows, looks: list[set[str]]) -> None:
        await door.begin(ip_address(WEB), None)
        await door.begin(ip_address(OTHER), None)
        assert looks == [{WEB}, {OTHER}]

    watched(scenario, monkeypatch)


def test_what_cannot_be_forgotten_is_counted_and_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows, "_NETLINK_NETFILTER", 31)  # a subsystem that no kernel has

    async def scenario(door: Flows, looks: list[set[str]]) -> None:
        await door.begin(ip_address(WEB), BLOCK)
        await door.begin(ip_address(OTHER), BLOCK)
        assert (len(looks), door.counters.forgotten, door.counters.failures) == (2, 0, 2)

    watched(scenario, monkeypatch)


async def _until(holds: Callable[[], bool]) -> None:
    """The task under test runs on this loop and tells nobody when it looks."""
    for _ in range(500):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError
