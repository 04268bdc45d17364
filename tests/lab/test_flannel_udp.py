"""The udp backend on the real kernel: a TUN device, bare packets in UDP on port 8285, and what is told of some."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.flannel_nodes import PREFIX, Site, eventually, site

pytestmark = [pytest.mark.root, pytest.mark.server]

UDP, VXLAN = '"Type": "udp"', '"Type": "vxlan"'


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path, 2) as made:
        yield made


def reach(two: Site) -> bool:
    return two.nodes[0].pings(two.nodes[1]) and two.nodes[1].pings(two.nodes[0])


def test_two_nodes_reach_each_other_through_one_route_and_a_device(two: Site) -> None:
    two.configure(UDP)
    for node in two.nodes:
        node.start()
    one = two.nodes[0]
    eventually(lambda: reach(two))
    assert one.routes() == ["10.5.0.0/16 dev flannel0"]
    assert one.env["FLANNEL_MTU"] == "1472"
    device = one.device("flannel0")
    assert "mtu 1472" in device
    assert f"inet {one.subnet.partition('/')[0]}/32" in device
    assert two.etcd.value(two.key_of(one)) == '{"PublicIP":"192.168.99.1","PublicIPv6":null}'


def test_the_wire_is_the_bare_packet_between_ports_8285_with_one_hop_less_on_each_side(two: Site) -> None:
    """The far side is this test: what arrives there, and what becomes of its answer."""
    two.configure(UDP)
    one, by_hand = two.nodes
    one.start()
    two.etcd.put(f"{PREFIX}/subnets/10.5.222.0-24", f'{{"PublicIP":"{by_hand.address}"}}')
    with by_hand.where.udp_socket() as wire, one.where.udp_socket() as pod:
        wire.bind((by_hand.address, 8285))
        wire.settimeout(5)
        pod.bind((one.pod, 4242))
        pod.settimeout(5)
        pod.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 64)
        eventually(lambda: "10.5.222.0/24" in one.log)
        eventually(lambda: one.routes() == ["10.5.0.0/16 dev flannel0"])
        pod.sendto(b"hello", ("10.5.222.9", 7))
        packet, sender = wire.recvfrom(2048)
        assert sender == (one.address, 8285)
        assert (packet[0], packet[8], socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])) == (
            0x45,
            63,
            one.pod,
            "10.5.222.9",
        )
        assert packet[28:] == b"hello"
        back = bytearray(packet)
        back[12:16], back[16:20] = packet[16:20], packet[12:16]
        back[20:22], back[22:24] = packet[22:24], packet[20:22]
        wire.sendto(bytes(back), (one.address, 8285))
        assert pod.recvfrom(64) == (b"hello", ("10.5.222.9", 7))


def test_an_address_that_nobody_has_is_told_to_be_unreachable(two: Site) -> None:
    two.configure(UDP)
    one = two.nodes[0]
    one.start()
    eventually(lambda: one.routes())
    told = one.run("ping", "-c", "1", "-W", "2", "-I", one.pod, "10.5.250.1")
    assert f"From {one.subnet.partition('/')[0]}" in told
    assert "Net Unreachable" in told


@pytest.mark.parametrize(("before", "after"), [(UDP, VXLAN), (VXLAN, UDP)], ids=["to vxlan", "to udp"])
def test_a_switch_works_without_a_boot_and_leaves_nothing(two: Site, before: str, after: str) -> None:
    two.configure(before)
    for node in two.nodes:
        node.start()
    eventually(lambda: reach(two))
    two.configure(after)
    for node in two.nodes:
        node.restart()
    eventually(lambda: reach(two))
    old, new = ("flannel0", "flannel.1") if after == VXLAN else ("flannel.1", "flannel0")
    for node in two.nodes:
        eventually(lambda node=node: old not in node.where.ip("-br link"), patience_s=30)  # type: ignore[misc]
        eventually(lambda node=node: all(new in route for route in node.routes()))  # type: ignore[misc]
    assert reach(two)
