"""What a pool's mode means for its pods: how large a packet is, who may send, and what becomes of what was there."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from ipaddress import ip_network

import pytest

from lab import cluster, inside, probe, state
from tests.lab.conftest import lab_of
from tests.lab.modes import calicoctl, has_switched, switch
from tests.lab.testbed import Testbed

pytestmark = pytest.mark.root

A, B = ("node1", "mode-a"), ("node2", "mode-b")
IPIP = pytest.param("ipip", 1480, marks=pytest.mark.uml)
ICMP_AND_IP_BYTES = 28
TCP_AND_IP_BYTES = 40


def ready(lab: Testbed, mode: str) -> None:
    lab.eventually(lambda: has_switched(lab, mode), what=f"every node sends {mode}")


@pytest.mark.parametrize(("mode", "mtu"), [("direct", 1500), ("vxlan", 1450), IPIP])
def test_full_packets_of_new_pods_pass_unbroken(own_lab: Testbed, mode: str, mtu: int) -> None:
    with own_lab.pods(("node3", "others-first")):
        switch(own_lab, mode)
        with own_lab.pods(A, B) as (_, b):
            ready(own_lab, mode)
            assert f"mtu {mtu} " in own_lab.run("node1", "ip", "link", "show", "dev", "eth0", pod=A[1])
            assert own_lab.run("node1", "cat", "/var/lib/calico/mtu") == str(mtu)
            assert own_lab.ping(*A, b, size=mtu - ICMP_AND_IP_BYTES, dont_fragment=True) == 1


@pytest.mark.parametrize(("mode", "mtu"), [("vxlan", 1450), IPIP])
def test_pods_that_were_born_with_a_larger_mtu_keep_working_and_are_named(
    own_lab: Testbed, mode: str, mtu: int
) -> None:
    page = "x" * 200_000
    with own_lab.pods(A, B) as (_, b):
        switch(own_lab, mode)
        ready(own_lab, mode)
        server = own_lab.start("node2", lambda ready: probe.serve_page(page, ready), pod=B[1])
        fetched = inside.call(
            own_lab.node("node1").holder,
            lambda: probe.fetch_page(b, patience_s=30),
            netns=own_lab.netns(*A),
            patience_s=60,
        )
        server.stop()
        assert fetched == page
        named = f"pod default/{A[1]} ("
        own_lab.eventually(lambda: named in own_lab.log("node1", "felix"), what="the pod is named in the log")
        assert f"has MTU 1500, the network offers {mtu}" in own_lab.log("node1", "felix")
        told = own_lab.run("node1", "sh", "-c", "calicoctl node status 2>&1")
        assert f"has MTU 1500, the network offers {mtu}: its TCP connections are clamped" in told
        own_lab.eventually(lambda: _clamps(own_lab) == {mtu - TCP_AND_IP_BYTES}, what="connections are told the size")
    own_lab.eventually(lambda: not _clamps(own_lab), what="without such pods nothing is clamped")


def _clamps(lab: Testbed) -> set[int]:
    """The sizes of segments that rules of node1 set, in whichever packet filter is in use."""
    legacy = lab.run("node1", "iptables-legacy-save", may_fail=True)
    current = lab.run("node1", "nft", "list", "ruleset", may_fail=True)
    return {int(size) for size in re.findall(r"(?:--set-mss|maxseg size set) (\d+)", legacy + current)}


def _apply(lab: Testbed, document: dict[str, object]) -> None:
    text = json.dumps({"apiVersion": "projectcalico.org/v3", **document})
    path = state.folder(lab.lab.name) / "document.json"
    path.write_text(text)
    calicoctl(lab, "apply", "-f", str(path))


def test_two_pools_of_different_modes_serve_pods_on_the_same_nodes(own_lab: Testbed) -> None:
    """The first pool has pods and is closed, so that the next ones come from the second."""
    spec = {"cidr": "10.245.0.0/16", "vxlanMode": "Always", "natOutgoing": True}
    with own_lab.pods(A, B) as (_, plain):
        _disable(own_lab, "default-ipv4-ippool")
        _apply(own_lab, {"kind": "IPPool", "metadata": {"name": "second"}, "spec": spec})
        with own_lab.pods(("node1", "mode-c"), ("node2", "mode-d")) as (_, wrapped):
            assert wrapped.startswith("10.245.")
            own_lab.eventually(lambda: _device_to(own_lab, wrapped) == "vxlan.calico", what="the new pool is wrapped")
            assert _device_to(own_lab, plain) == "ens33"
            own_lab.eventually(lambda: own_lab.ping("node1", "mode-c", wrapped), what="pods of the new pool talk")
            assert own_lab.ping(*A, plain) == 1
            assert own_lab.ping(*A, wrapped) == 1


def _disable(lab: Testbed, pool: str) -> None:
    calicoctl(lab, "patch", "ippool", pool, "-p", '{"spec":{"disabled":true}}')


def _device_to(lab: Testbed, address: str) -> str:
    """Through which the block around an address of node2 is reached from node1."""
    block = str(ip_network(f"{address}/26", strict=False))
    line = next((line for line in lab.routes("node1").splitlines() if line.startswith(block)), "")
    return line.partition(" dev ")[2].partition(" ")[0]


def test_a_pool_that_is_deleted_under_its_pods_and_made_again_has_them_back(own_lab: Testbed) -> None:
    """As with Calico the blocks lose their nodes with the pool; the pods keep their addresses."""
    with own_lab.pods(A, B) as (_, b):
        own_lab.eventually(lambda: own_lab.ping(*A, b), what="the pods talk")
        calicoctl(own_lab, "delete", "ippool", "default-ipv4-ippool")
        own_lab.eventually(lambda: "blackhole" not in own_lab.routes("node2"), what="the block has no node any more")
        assert f"{b} dev cali" in own_lab.routes("node2")
        spec = {"cidr": "10.244.0.0/16", "natOutgoing": True}
        _apply(own_lab, {"kind": "IPPool", "metadata": {"name": "again"}, "spec": spec})
        own_lab.eventually(lambda: own_lab.ping(*A, b), what="the pods talk again")


@pytest.fixture
def routed_ipip_lab() -> Iterator[Testbed]:
    yield from lab_of(cluster.Wish(name=f"t{os.getpid()}-routed-ipip", is_routed=True, ipip="Always"))


@pytest.mark.uml
def test_ipip_crosses_a_router_that_knows_no_pod_network(routed_ipip_lab: Testbed) -> None:
    far = ("node3", "mode-far")
    with routed_ipip_lab.pods(A, far) as (_, address):
        routed_ipip_lab.eventually(lambda: routed_ipip_lab.ping(*A, address), what="pods talk across the router")
        assert " via 192.168.51.12 dev tunl0 proto bird onlink\n" in routed_ipip_lab.routes("node1")
