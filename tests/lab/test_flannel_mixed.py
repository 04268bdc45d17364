"""Ours and the original in one network: the program that FLANNELD names beside ours, each backend, both ways.

Without FLANNELD the far side is made by hand: a lease as the original writes it, and a kernel set up as it would.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.flannel_nodes import OURS, PREFIX, FlannelNode, Flow, Site, eventually, site

pytestmark = [pytest.mark.root, pytest.mark.server]

BACKENDS = {
    "vxlan": '"Type": "vxlan"',
    "direct": '"Type": "vxlan", "DirectRouting": true',
    "host-gw": '"Type": "host-gw"',
}
EACH = pytest.mark.parametrize("backend", BACKENDS.values(), ids=BACKENDS)


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path, 2) as made:
        yield made


@pytest.fixture
def original() -> tuple[str, ...]:
    program = os.environ.get("FLANNELD", "")
    if not program or shutil.which(program) is None:
        pytest.skip("FLANNELD names no program: set it to the original's flanneld")
    return (program,)


@pytest.mark.parametrize("backend", [*BACKENDS.values(), '"Type": "udp"'], ids=[*BACKENDS, "udp"])
def test_a_node_of_the_original_and_one_of_ours_reach_each_other(
    two: Site, original: tuple[str, ...], backend: str
) -> None:
    two.configure(backend)
    one, other = two.nodes
    one.start()
    other.start(program=original)
    eventually(two.is_whole)
    eventually(two.all_reach_all)


@EACH
def test_a_node_that_changes_between_the_two_loses_no_packet(
    two: Site, original: tuple[str, ...], backend: str
) -> None:
    two.configure(backend)
    one, other = two.nodes
    other.start(program=original)
    one.start()
    eventually(two.is_whole)
    before = look(two)
    with Flow(one, other) as flow, Flow(other, one) as back:
        for program in (OURS, original, OURS):
            other.restart(program=program)
    assert (flow.lost, back.lost) == (0, 0)
    assert look(two) == before


def look(two: Site) -> list[object]:
    """Ours keeps the tunnel's entries also where it sends directly; in all else the two are alike."""
    return [(node.routes(), node.mac(), node.env) for node in two.nodes]


SUBNET, MAC = "10.5.222.0/24", "02:00:00:00:02:22"


def device_of(node: FlannelNode) -> str:
    how = f"type vxlan id 1 local {node.address} dev eth0 dstport 8472 nolearning"
    return f"link add flannel.1 address {MAC} mtu 1450 {how}"


def lease_of(address: str, mac: str) -> str:
    data = f'{{"VNI":1,"VtepMAC":"{mac}"}}'
    return f'{{"PublicIP":"{address}","PublicIPv6":null,"BackendType":"vxlan","BackendData":{data}}}'


def test_a_peer_that_is_made_by_hand_as_the_original_would_is_reached(two: Site) -> None:
    two.configure('"Type": "vxlan"')
    one, by_hand = two.nodes
    one.start()
    where = by_hand.where
    base = one.subnet.partition("/")[0]
    for command in (
        device_of(by_hand),
        "addr add 10.5.222.0/32 dev flannel.1",
        "link set flannel.1 up",
        f"neigh replace {base} lladdr {one.mac()} dev flannel.1 nud permanent",
        f"route replace {one.subnet} via {base} dev flannel.1 onlink",
        "link add cni0 type bridge",
        "link set cni0 up",
        "addr add 10.5.222.1/24 dev cni0",
    ):
        where.ip(command)
    by_hand.run("bridge", "fdb", "replace", one.mac(), "dev", "flannel.1", "dst", one.address)
    two.etcd.put(f"{PREFIX}/subnets/{SUBNET.replace('/', '-')}", lease_of(by_hand.address, MAC))
    eventually(lambda: SUBNET in one.state())
    assert " 2 received" in one.run("ping", "-c", "2", "-i", "0.1", "-W", "1", "-I", one.pod, "10.5.222.1")
    assert " 2 received" in by_hand.run("ping", "-c", "2", "-i", "0.1", "-W", "1", "-I", "10.5.222.1", one.pod)


def test_what_the_original_left_is_taken_over_without_a_write(two: Site) -> None:
    """Its device, route, neighbour and forwarding entry, in its own shapes: the kernel's MAC is published."""
    two.configure('"Type": "vxlan"')
    one = two.nodes[0]
    for command in (
        device_of(one),
        "addr add 10.5.7.0/32 dev flannel.1",
        "link set flannel.1 up",
        "neigh replace 10.5.8.0 lladdr 02:00:00:00:00:08 dev flannel.1 nud permanent",
        "route replace 10.5.8.0/24 via 10.5.8.0 dev flannel.1 onlink",
        "neigh replace 10.5.9.0 lladdr 02:00:00:00:00:09 dev flannel.1 nud permanent",
        "route replace 10.5.9.0/24 via 10.5.9.0 dev flannel.1 onlink",
    ):
        one.where.ip(command)
    for number in (8, 9):
        mac, node = f"02:00:00:00:00:0{number}", f"192.168.99.{number}"
        one.run("bridge", "fdb", "replace", mac, "dev", "flannel.1", "dst", node)
    two.etcd.put(f"{PREFIX}/subnets/10.5.8.0-24", lease_of("192.168.99.8", "02:00:00:00:00:08"))
    two.etcd.put(f"{PREFIX}/subnets/10.5.7.0-24", lease_of(one.address, MAC))
    kept = [line for line in one.state().splitlines() if "10.5.8." in line or "00:00:08" in line]
    index = one.device().partition(":")[0]
    one.start()
    assert (one.subnet, one.mac(), one.device().partition(":")[0]) == ("10.5.7.0/24", MAC, index)
    eventually(lambda: "10.5.9." not in one.state() and ":00:09" not in one.state())
    assert one.state().splitlines() == kept
