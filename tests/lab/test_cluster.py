"""Nodes that join and leave, a router between them, and two labs side by side."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from lab import cluster, state
from lab.plan import BadWish
from tests.lab.modes import calicoctl
from tests.lab.testbed import Testbed

pytestmark = pytest.mark.root

TABLE = (
    "default via 192.168.50.1 dev ens33 proto static metric 100\n"
    "10.244.104.0/26 via 192.168.50.11 dev ens33 proto bird\n"
    "10.244.135.0/26 via 192.168.50.12 dev ens33 proto bird\n"
    "10.244.166.128 dev cali717821d73f3 scope link\n"
    "blackhole 10.244.166.128/26 proto bird\n"
    "192.168.50.0/24 dev ens33 proto kernel scope link src 192.168.50.10 metric 100\n"
)
DEFAULT_ROUTE = "ip route add default via 192.168.50.1 dev ens33 proto static metric 100"


def test_the_documents_table_comes_out_letter_for_letter(own_lab: Testbed) -> None:
    own_lab.add_pod("node1", "pod1", container="717821d73f3c0ffee")
    for node in ("node2", "node3"):
        own_lab.add_pod(node, "pod")
    own_lab.eventually(lambda: own_lab.routes("node1") == TABLE, what=TABLE)


def test_a_node_that_joins_is_reached_and_one_that_is_deleted_is_forgotten(own_lab: Testbed) -> None:
    node = cluster.add_node(own_lab.lab.name, lambda line: None)
    assert (node.name, node.address) == ("node4", "192.168.50.13/24")
    own_lab.add_pod("node1", "here")
    own_lab.add_pod("node4", "there")
    address = own_lab.address("node4", "there")
    own_lab.eventually(lambda: own_lab.ping("node1", "here", address), what="node4's pod is reached")
    cluster.delete_node(own_lab.lab.name, "node4")
    own_lab.eventually(lambda: "192.168.50.13" not in own_lab.routes("node1"), what="no route to node4")


def test_a_next_hop_behind_a_router_is_reached_through_the_gateway(routed_lab: Testbed) -> None:
    for node in ("node1", "node2", "node3"):
        routed_lab.add_pod(node, "pod")
    for block, gateway in (("10.244.135.0/26", "192.168.50.1"), ("10.244.104.0/26", "192.168.50.11")):
        route = f"{block} via {gateway} dev ens33 proto bird\n"
        routed_lab.eventually(lambda: route in routed_lab.routes("node1"), what=route)  # noqa: B023  # runs in this turn


def test_an_uplink_that_went_down_has_its_routes_again_when_it_comes_back(own_lab: Testbed) -> None:
    with own_lab.pods(("node1", "a"), ("node2", "b")) as (_, b):
        own_lab.eventually(lambda: own_lab.ping("node1", "a", b), what="the pods reach each other")
        table = own_lab.routes("node1")
        own_lab.run("node1", "ip", "link", "set", "ens33", "down")
        assert "via 192.168.50.11" not in own_lab.routes("node1")
        own_lab.run("node1", "ip", "link", "set", "ens33", "up")
        own_lab.run("node1", *DEFAULT_ROUTE.split())
        own_lab.eventually(lambda: own_lab.routes("node1") == table, what="the table is as it was", patience_s=2)
        own_lab.eventually(lambda: own_lab.ping("node1", "a", b), what="the pods reach each other")


def test_the_sessions_of_every_node_are_shown_from_outside_the_nodes(shared_lab: Testbed) -> None:
    sessions = "IPv4 BGP status: 6 of 6 sessions are up\n"
    shared_lab.eventually(lambda: sessions in calicoctl(shared_lab, "node", "status", "--all"), what=sessions)
    assert calicoctl(shared_lab, "get", "caliconodestatuses").splitlines()[1:] == [""]


def test_routes_that_were_flushed_are_back_within_a_second(shared_lab: Testbed) -> None:
    with shared_lab.pods(("node1", "flushed"), ("node2", "target")):
        table = shared_lab.routes("node1")
        shared_lab.run("node1", "ip", "route", "flush", "proto", "bird")
        shared_lab.eventually(lambda: shared_lab.routes("node1") == table, what="all are back", patience_s=1)


def test_a_second_lab_of_the_same_name_is_refused_and_the_first_stays(shared_lab: Testbed) -> None:
    with pytest.raises(BadWish, match="is up already"):
        cluster.up(cluster.Wish(name=shared_lab.lab.name), lambda line: None)
    assert shared_lab.lab.fabric.is_alive


def test_two_labs_live_side_by_side_and_down_removes_only_its_own(shared_lab: Testbed) -> None:
    before = _machine()
    name = f"t{os.getpid()}-second"
    cluster.up(cluster.Wish(name=name, nodes=2), lambda line: None)
    assert name in state.all_names()
    cluster.down(name)
    assert name not in state.all_names()
    assert _machine() == before
    with shared_lab.pods(("node1", "still-here")) as (address,):
        assert shared_lab.ping("node1", "still-here", address) == 1


def _machine() -> list[str]:
    """What a lab must not leave on the machine: links, namespaces, mounts, processes of ours."""
    commands = (["ip", "-o", "link"], ["ip", "netns"], ["findmnt", "-rno", "TARGET"], ["pgrep", "-fc", "calico-node -"])
    return [subprocess.run(each, capture_output=True, text=True, check=False).stdout for each in commands]


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (cluster.Wish(name="Bad Name"), "--name 'Bad Name'"),
        (cluster.Wish(name="t0-no", nodes=0), "a lab has at least one node"),
        (cluster.Wish(name="t0-no", datastore="mongodb"), "there are sqlite, etcd and kubernetes"),
        (cluster.Wish(name="t0-no", vxlan="Allways"), "CALICO_IPV4POOL_VXLAN=Allways: must be Never"),
        (cluster.Wish(name="t0-no", vxlan="Always", ipip="CrossSubnet"), "one of them must be Never"),
        (cluster.Wish(name="t0-no", pool="10.0.0.1/16"), "--pool 10.0.0.1/16"),
    ],
)
def test_a_wish_that_cannot_be_is_refused_and_leaves_nothing(wish: cluster.Wish, said: str) -> None:
    with pytest.raises(BadWish, match=said):
        cluster.up(wish, lambda line: None)
    assert wish.name not in state.all_names()


def test_a_lab_that_fails_half_way_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = _machine()
    name = f"t{os.getpid()}-fails"
    with pytest.raises(Exception, match="calico-node -startup"):
        cluster.up(cluster.Wish(name=name, pool="10.244.0.0/30"), lambda line: None)
    assert name not in state.all_names()
    assert _machine() == before


AS_NOBODY = """
import os, sys
from lab.command import main
os.setuid(65534)
sys.argv = ["lab", "status"]
sys.exit(main())
"""


def test_the_command_line_without_root_is_one_clear_sentence() -> None:
    done = subprocess.run([sys.executable, "-c", AS_NOBODY], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        1,
        "lab: a lab is made of network namespaces, which needs root: run it as root\n",
    )
