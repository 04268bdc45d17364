"""Pods with both families, from the plugin to the other node's pod."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

from lab import cluster, inside, probe
from tests.lab.conftest import lab_of
from tests.lab.modes import calicoctl
from tests.lab.testbed import Testbed

pytestmark = pytest.mark.root

A, B = ("node1", "dual-a"), ("node2", "dual-b")
ICMP_AND_IPV6_BYTES = 48


@pytest.fixture(scope="module")
def dual_lab() -> Iterator[Testbed]:
    yield from lab_of(cluster.Wish(name=f"t{os.getpid()}-dual", has_ipv6=True))


def v6_of(lab: Testbed, node: str, pod: str) -> str:
    shown = json.loads(lab.run(node, "ip", "-json", "-6", "address", "show", "dev", "eth0", pod=pod))
    (address,) = [each for each in shown[0]["addr_info"] if each["scope"] == "global"]
    assert address["prefixlen"] == 128
    return str(address["local"])


def test_a_pod_has_an_address_and_a_default_route_of_each_family(dual_lab: Testbed) -> None:
    with dual_lab.pods(A):
        address = v6_of(dual_lab, *A)
        assert address.startswith("fd00:10:244:")
        routes = dual_lab.run("node1", "ip", "-6", "route", pod=A[1])
        assert "default via fe80::ecee:eeff:feee:eeee dev eth0 " in routes
        assert f"{address} dev cali" in dual_lab.run("node1", "ip", "-6", "route")
        assert dual_lab.ping(*A, "fd00:50::10") == 1


def test_pods_of_two_nodes_reach_each_other_by_both_families(dual_lab: Testbed) -> None:
    with dual_lab.pods(A, B) as (_, v4):
        v6 = v6_of(dual_lab, *B)
        dual_lab.eventually(lambda: dual_lab.ping(*A, v4), what="ping by IPv4")
        dual_lab.eventually(lambda: dual_lab.ping(*A, v6), what="ping by IPv6")
        assert dual_lab.ping(*A, v6, size=1500 - ICMP_AND_IPV6_BYTES, dont_fragment=True) == 1
        server = dual_lab.start("node2", lambda ready: probe.serve_page("six", ready), pod=B[1])
        page = inside.call(
            dual_lab.node("node1").holder, lambda: probe.fetch_page(v6), netns=dual_lab.netns(*A), patience_s=20
        )
        server.stop()
        assert page == "six"


def test_node_status_shows_a_session_for_each_family(dual_lab: Testbed) -> None:
    status = dual_lab.run("node1", "calicoctl", "node", "status")
    v6 = status.partition("IPv6 BGP status")[2]
    for peer in ("fd00:50::11", "fd00:50::12"):
        assert [line.split("|")[3].strip() for line in v6.splitlines() if f" {peer} " in line] == ["up"]


def test_what_leaves_the_cluster_by_ipv6_has_the_nodes_address(dual_lab: Testbed) -> None:
    """natOutgoing: the fabric knows no way back to a pod."""
    with dual_lab.pods(A):
        dual_lab.eventually(lambda: dual_lab.ping(*A, "fd00:50::1"), what="the fabric answers")


def test_an_ipv6_pool_turns_to_vxlan_and_back_without_losing_a_packet(dual_lab: Testbed) -> None:
    with dual_lab.pods(A, B):
        v6 = v6_of(dual_lab, *B)
        dual_lab.eventually(lambda: dual_lab.ping(*A, v6), what="pods talk")
        with dual_lab.flow(A, B, to=v6) as flow:
            for mode, device in (("Always", "vxlan-v6.calico"), ("Never", "ens33"), ("Always", "vxlan-v6.calico")):
                _switch(dual_lab, mode, device)
        assert flow.lost == 0
        assert dual_lab.ping(*A, v6, size=1430 - ICMP_AND_IPV6_BYTES, dont_fragment=True) == 1


def _switch(lab: Testbed, mode: str, device: str) -> None:
    patch = json.dumps({"spec": {"vxlanMode": mode}})
    calicoctl(lab, "patch", "ippool", "default-ipv6-ippool", "-p", patch)
    lab.eventually(lambda: _ways(lab) == {device}, what=f"all through {device}")
    lab.eventually(lambda: not _footholds(lab), what="nothing is left of the change")


def _ways(lab: Testbed) -> set[str]:
    """The devices by which nodes reach others' IPv6 blocks."""
    lines = [
        line
        for node in lab.lab.nodes
        for line in lab.run(node.name, "ip", "-6", "route").splitlines()
        if line.startswith("fd00:10:244") and "/122 via " in line
    ]
    return {line.split()[line.split().index("dev") + 1] for line in lines} if len(lines) >= 2 else set()


def _footholds(lab: Testbed) -> list[str]:
    """Routes to a tunnel's address alone."""
    table = lab.run("node1", "ip", "-6", "route").splitlines()
    return [line for line in table if "dev vxlan-v6.calico" in line and "via" not in line and "kernel" not in line]
