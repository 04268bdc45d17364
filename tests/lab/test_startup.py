"""Start-up on a machine as the documents show it: an uplink with three addresses, docker0, kube-ipvs0, a tunnel."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from datastore.memory import MemoryStore
from datastore.resource import Key
from felix.startup import name, reading, run
from tests.lab.namespace import ip, private_network

pytestmark = pytest.mark.root

ENVIRON = {"NODENAME": "node1", "IP": "autodetect", "CALICO_IPV4POOL_CIDR": "10.244.0.0/16"}


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(name, "NODENAME_FILE", tmp_path / "nodename")
    with private_network():
        ip("link add ens33 type veth peer name far")
        ip("link set far up")
        for address in ("192.168.50.12/24", "192.168.50.10/24", "192.168.50.11/24"):
            ip(f"addr add {address} dev ens33")
        for device, address in (("docker0", "172.17.0.1/16"), ("kube-ipvs0", "10.96.0.1/32")):
            ip(f"link add {device} type bridge")
            ip(f"addr add {address} dev {device}")
        ip("link add vxlan.calico type vxlan id 4096 dstport 4789 dev ens33")
        ip("addr add 10.244.166.128/32 dev vxlan.calico")
        for device in ("ens33", "docker0", "kube-ipvs0", "vxlan.calico"):
            ip(f"link set {device} up")
        ip("route add default via 192.168.50.1 dev ens33")
        yield


async def start(store: MemoryStore, **environ: str) -> str:
    said = await run.start_up(store, {**ENVIRON, **environ}, read_machine=reading.read)
    assert (await store.get(Key("Node", "node1"))).spec["bgp"]["ipv4Address"] in said[0]
    return said[0]


def test_the_uplinks_own_address_is_chosen_and_kept_when_devices_and_addresses_come() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        first = "IPv4 192.168.50.12/24: first-found: ens33 has the default route, and packets leave from it"
        assert await start(store) == first
        ip("link add ens40 type veth peer name far40")
        ip("addr add 10.0.0.1/24 dev ens40")
        ip("addr add 192.168.50.1/24 dev ens33")
        ip("link set ens40 up")
        ip("link set far40 up")
        ip("route replace default via 10.0.0.2 dev ens40")
        kept = "IPv4 192.168.50.12/24: it was chosen before and is still on ens33"
        assert await start(store) == kept
        ip("addr del 192.168.50.12/24 dev ens33")
        gone = "IPv4 10.0.0.1/24: first-found: ens40 has the default route, and packets leave from it"
        assert await start(store) == gone

    asyncio.run(scenario())


def test_can_reach_asks_the_kernel() -> None:
    async def scenario() -> None:
        found = await start(MemoryStore(), IP_AUTODETECTION_METHOD="can-reach=8.8.8.8")
        assert found == "IPv4 192.168.50.12/24: packets to 8.8.8.8 leave from it, on ens33"

    asyncio.run(scenario())


def test_the_machine_is_read_with_all_that_is_decided_on() -> None:
    read = asyncio.run(reading.read([(4, "8.8.8.8"), (6, "2001:db8::1")]))
    assert read.default_devices == ["ens33"]
    assert read.sources == {"8.8.8.8": ip_address("192.168.50.12")}
    assert {link.name for link in read.links if link.is_up} >= {"ens33", "docker0", "kube-ipvs0", "vxlan.calico"}
