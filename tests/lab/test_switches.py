"""A pool changes its mode under traffic: every switch from each mode to each other, and not one packet lost."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from lab import cluster
from tests.lab.conftest import furnished
from tests.lab.modes import calicoctl, circuit, has_switched, switch
from tests.lab.testbed import Testbed

pytestmark = pytest.mark.root

A, B, FAR = ("node1", "switch-a"), ("node2", "switch-b"), ("node3", "switch-far")
HERE = ("direct", "vxlan", "vxlan CrossSubnet")
EVERY = ("direct", "ipip", "ipip CrossSubnet", "vxlan", "vxlan CrossSubnet")


def wait_for(lab: Testbed, mode: str, *, far: tuple[str, ...] = ()) -> None:
    lab.eventually(lambda: has_switched(lab, mode, far=far), what=f"every node sends {mode}")


def walk(lab: Testbed, modes: list[str], *, far: tuple[str, ...] = ()) -> None:
    for mode in modes[1:]:
        switch(lab, mode)
        wait_for(lab, mode, far=far)
        time.sleep(0.3)  # time for what follows a switch (addresses given back, devices removed) to do harm


def removals(changes: list[str], *blocks: str) -> list[str]:
    return [line for line in changes if line.startswith("Deleted") and any(block in line for block in blocks)]


def test_no_switch_of_mode_loses_a_packet_or_deletes_a_route(own_lab: Testbed) -> None:
    with own_lab.pods(A, B, FAR):
        with own_lab.route_monitor("node1") as changes, own_lab.flow(A, B) as flow:
            walk(own_lab, circuit(HERE))
        assert flow.lost == 0
        assert removals(changes, "10.244.104.0/26", "10.244.135.0/26") == []


@pytest.mark.uml
def test_no_switch_among_all_five_modes_loses_a_packet_or_deletes_a_route(own_lab: Testbed) -> None:
    modes = circuit(EVERY)
    assert len(modes) == 21
    with own_lab.pods(A, B, FAR):
        with own_lab.route_monitor("node1") as changes, own_lab.flow(A, B) as flow:
            walk(own_lab, modes)
        assert flow.lost == 0
        assert removals(changes, "10.244.104.0/26", "10.244.135.0/26") == []


@pytest.mark.uml
@pytest.mark.long
def test_between_subnets_no_switch_among_tunnels_loses_a_packet(routed_lab: Testbed) -> None:
    """The router between knows no pod network, so there must be a tunnel at every moment."""
    modes = circuit([mode for mode in EVERY if mode != "direct"])
    switch(routed_lab, modes[0])
    with routed_lab.pods(A, FAR):
        wait_for(routed_lab, modes[0], far=("node3",))
        with routed_lab.flow(A, FAR) as flow:
            walk(routed_lab, modes, far=("node3",))
        assert flow.lost == 0


def test_between_subnets_no_switch_of_tunnels_loses_a_packet(routed_lab: Testbed) -> None:
    """The router between knows no pod network, so there must be a tunnel at every moment."""
    modes = ["vxlan", "vxlan CrossSubnet", "vxlan"]
    switch(routed_lab, "vxlan")
    with routed_lab.pods(A, FAR):
        routed_lab.eventually(lambda: has_switched(routed_lab, "vxlan", far=("node3",)), what="vxlan everywhere")
        with routed_lab.flow(A, FAR) as flow:
            walk(routed_lab, modes, far=("node3",))
        assert flow.lost == 0


def test_a_node_that_sees_the_edit_much_later_loses_nothing(own_lab: Testbed) -> None:
    with own_lab.pods(A, B, FAR), own_lab.flow(A, B) as flow:
        for mode in ("vxlan", "direct", "vxlan"):
            own_lab.pause("node2", "felix")
            switch(own_lab, mode)
            time.sleep(3)
            own_lab.resume("node2", "felix")
            wait_for(own_lab, mode)
    assert flow.lost == 0


def test_with_an_uplink_that_is_strict_about_the_way_back_nothing_is_lost(own_lab: Testbed) -> None:
    """As on CentOS. A node that has not seen the edit sends as before, and is answered the other way."""
    for node in ("node1", "node2"):
        own_lab.run(node, "sh", "-c", "for it in all ens33; do echo 1 > /proc/sys/net/ipv4/conf/$it/rp_filter; done")
    with own_lab.pods(A, B, FAR), own_lab.flow(A, B) as flow:
        for mode in ("vxlan", "direct"):
            own_lab.pause("node2", "felix")
            switch(own_lab, mode)
            time.sleep(1)
            own_lab.resume("node2", "felix")
            wait_for(own_lab, mode)
    assert flow.lost == 0


def test_a_node_that_restarts_in_the_middle_loses_nothing(own_lab: Testbed) -> None:
    with own_lab.pods(A, B, FAR), own_lab.flow(A, B) as flow:
        for mode in ("vxlan", "direct"):
            switch(own_lab, mode)
            for daemon in ("felix", "bgp"):
                own_lab.kill("node2", daemon)
                own_lab.begin("node2", daemon)
            wait_for(own_lab, mode)
    assert flow.lost == 0


def test_an_edit_that_is_taken_back_before_it_is_done_loses_nothing(own_lab: Testbed) -> None:
    with own_lab.pods(A, B, FAR), own_lab.flow(A, B) as flow:
        for _ in range(5):
            switch(own_lab, "vxlan")
            switch(own_lab, "direct")
        own_lab.eventually(lambda: has_switched(own_lab, "direct"), what="every node sends direct")
        own_lab.eventually(lambda: not _tunnels(own_lab), what="no node has a tunnel address")
    assert flow.lost == 0


def _tunnels(lab: Testbed) -> str:
    nodes = calicoctl(lab, "get", "nodes", "-o", "yaml")
    return "".join(line for line in nodes.splitlines() if "TunnelAddr" in line)


def test_while_every_pool_is_never_there_is_no_tunnel_address(own_lab: Testbed) -> None:
    with own_lab.pods(A, B, FAR):
        walk(own_lab, ["direct", "vxlan", "direct"])
        own_lab.eventually(lambda: not _tunnels(own_lab), what="no node has a tunnel address")
        for node in own_lab.lab.nodes:
            assert "vxlan.calico" not in own_lab.run(node.name, "ip", "link")
    assert "vxlan-tunnel-addr" not in calicoctl(own_lab, "ipam", "check")


@pytest.mark.parametrize(
    "harm",
    [
        "link del vxlan.calico",
        "link set vxlan.calico down",
        "link set vxlan.calico mtu 1300",
        "link set vxlan.calico address 66:00:00:00:00:01",
        "addr flush dev vxlan.calico",
        "neigh flush dev vxlan.calico nud permanent",
        "route flush dev vxlan.calico",
    ],
)
def test_a_tunnel_that_was_harmed_by_hand_is_repaired_within_a_second(vxlan_lab: Testbed, harm: str) -> None:
    before = _look(vxlan_lab)
    vxlan_lab.run("node1", "ip", *harm.split())
    vxlan_lab.eventually(lambda: _look(vxlan_lab) == before, what=f"repaired after ip {harm}", patience_s=2)


@pytest.fixture(scope="module")
def ipip_lab() -> Iterator[Testbed]:
    yield from furnished(cluster.Wish(name=f"t{os.getpid()}-ipip", ipip="Always"), "tunl0")


@pytest.mark.uml
@pytest.mark.parametrize(
    "harm", ["link set tunl0 down", "link set tunl0 mtu 1300", "addr flush dev tunl0", "route flush dev tunl0"]
)
def test_tunl0_that_was_harmed_by_hand_is_repaired(ipip_lab: Testbed, harm: str) -> None:
    """Its last address takes its routes with it, silently."""
    before = _look(ipip_lab, "tunl0")
    assert sum(" dev tunl0 " in line for line in before) >= 2
    ipip_lab.run("node1", "ip", *harm.split())
    ipip_lab.eventually(lambda: _look(ipip_lab, "tunl0") == before, what=f"repaired after ip {harm}", patience_s=10)


def _look(lab: Testbed, tunnel: str = "vxlan.calico") -> list[str]:
    """All that stands on the tunnel, without what changes by itself."""
    device = lab.run("node1", "ip", "-d", "-o", "link", "show", may_fail=True)
    addresses = lab.run("node1", "ip", "-4", "-o", "addr", "show", may_fail=True)
    neighbours = lab.run("node1", "ip", "neigh", "show", "nud", "permanent")
    entries = lab.run("node1", "bridge", "fdb", "show", may_fail=True)
    lines = [*device.splitlines(), *addresses.splitlines(), *neighbours.splitlines(), *entries.splitlines()]
    found = [line.partition(": ")[2] or line for line in lines if tunnel in line]
    return [*sorted(found), *sorted(lab.routes("node1").splitlines())]
