"""The kernel's own ipip driver, which upstream's tunnel is made of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import inside, namespaces, probe
from lab.namespaces import Holder
from lab.node import run_ip
from tests.lab.testbed import Testbed

pytestmark = [pytest.mark.root, pytest.mark.uml]


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[tuple[Holder, Holder]]:
    """Two machines on one cable, 10.0.0.1 and 10.0.0.2; each has a block behind a tunnel address of its own."""
    held = [namespaces.hold(name, lambda: None, tmp_path / name) for name in ("left", "right")]
    left, right = held
    try:
        run_ip(left, [f"link add eth0 type veth peer name eth0 netns {right.pid}"])
        for holder, mine, other in ((left, 1, 2), (right, 2, 1)):
            run_ip(holder, _tunnel_end(mine, other))
        yield left, right
    finally:
        for holder in held:
            namespaces.end(holder)


def _tunnel_end(mine: int, other: int) -> list[str]:
    return [
        "link set eth0 up",
        f"address add 10.0.0.{mine}/24 dev eth0",
        "link set tunl0 up",
        f"address add 192.168.{mine}.1/32 dev tunl0",
        f"route add 192.168.{other}.0/26 via 10.0.0.{other} dev tunl0 onlink",
    ]


def test_a_new_network_namespace_has_the_tunnel_device_of_the_kernel(ends: tuple[Holder, Holder]) -> None:
    _, shown = namespaces.run_inside(ends[0], ["ip", "link", "show", "tunl0"], environment={"PATH": "/sbin:/usr/sbin"})
    assert "tunl0@NONE: <NOARP,UP,LOWER_UP> mtu 1480" in shown.decode()
    assert "link/ipip 0.0.0.0 brd 0.0.0.0" in shown.decode()


def test_a_packet_crosses_in_a_packet_between_the_two_machines(ends: tuple[Holder, Holder]) -> None:
    left, right = ends
    wire = inside.start(right, lambda ready: probe.capture("eth0", ready))
    answered = inside.call(left, lambda: probe.ping("192.168.2.1"))
    wire.stop()
    assert answered == 1
    assert wire.result() == [
        "IP 10.0.0.1 > 10.0.0.2: IPIP, length 104 [IP 192.168.1.1 > 192.168.2.1: ICMP, length 84]",
        "IP 10.0.0.2 > 10.0.0.1: IPIP, length 104 [IP 192.168.2.1 > 192.168.1.1: ICMP, length 84]",
    ]


def test_a_lab_of_three_nodes_works_on_this_kernel(shared_lab: Testbed) -> None:
    with shared_lab.pods(("node1", "a"), ("node2", "b"), ("node3", "c")) as addresses:
        for node, pod in (("node1", "a"), ("node2", "b"), ("node3", "c")):
            for address in addresses:
                shared_lab.eventually(lambda: shared_lab.ping(node, pod, address), what=f"{pod} reaches {address}")  # noqa: B023  # runs in this turn
