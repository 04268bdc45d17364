"""Daemons that end, in any way, at any moment: no packet is lost and nothing is forgotten."""

from __future__ import annotations

import json
import time

import pytest

from tests.lab.testbed import Testbed

pytestmark = pytest.mark.root

CONF = '{"cniVersion": "1.1.0", "name": "k8s-pod-network", "type": "calico"}'
A, B = ("node1", "restart-a"), ("node2", "restart-b")


@pytest.mark.parametrize("daemon", ["felix", "bgp"])
@pytest.mark.parametrize("node", ["node1", "node2"])
def test_a_daemon_killed_twice_in_a_row_loses_no_packet(shared_lab: Testbed, daemon: str, node: str) -> None:
    with shared_lab.pods(A, B):
        tables = [shared_lab.routes(each) for each in ("node1", "node2", "node3")]
        with shared_lab.route_monitor("node1") as changes, shared_lab.flow(A, B) as flow:
            for _ in range(2):
                shared_lab.kill(node, daemon)
                time.sleep(0.3)  # a while without the daemon, so that its absence could show
                shared_lab.begin(node, daemon)
            time.sleep(0.5)
        assert flow.lost == 0
        assert [line for line in changes if "10.244." in line] == []
        assert [shared_lab.routes(each) for each in ("node1", "node2", "node3")] == tables


def test_a_daemon_killed_while_it_starts_loses_no_packet(shared_lab: Testbed) -> None:
    """kill -9 at moments spread over the first 300 ms of a start."""
    from lab import daemons

    with shared_lab.pods(A, B):
        table = shared_lab.routes("node1")
        with shared_lab.flow(A, B) as flow:
            for moment in range(0, 300, 50):
                for name in daemons.NAMES:
                    shared_lab.kill("node1", name)
                    shared_lab.begin_unheard("node1", name)
                time.sleep(moment / 1000)
            for name in daemons.NAMES:
                shared_lab.kill("node1", name)
                shared_lab.begin("node1", name)
        assert flow.lost == 0
        shared_lab.eventually(lambda: shared_lab.routes("node1") == table, what="the table is as it was")


def test_sigterm_ends_both_daemons_within_two_seconds_and_leaves_the_table(shared_lab: Testbed) -> None:
    with shared_lab.pods(A, B):
        table = shared_lab.routes("node1")
        for daemon in ("felix", "bgp"):
            began = time.monotonic()
            shared_lab.stop("node1", daemon)
            assert time.monotonic() - began < 2
        assert shared_lab.routes("node1") == table
        assert shared_lab.ping(*A, shared_lab.address(*B)) == 1
        for daemon in ("felix", "bgp"):
            shared_lab.begin("node1", daemon)


def test_without_felix_add_is_to_be_tried_again_status_fails_and_del_is_done_later(shared_lab: Testbed) -> None:
    shared_lab.run("node1", "ip", "netns", "add", "spooled")
    call = {"CONTAINERID": "spooled1", "NETNS": "/run/netns/spooled", "IFNAME": "eth0", "PATH": "/opt/cni/bin"}
    assert shared_lab.plugin("node1", CONF, COMMAND="ADD", **call)[0] == 0
    shared_lab.stop("node1", "felix")
    status, output = shared_lab.plugin("node1", CONF, COMMAND="ADD", **call)
    assert (status, json.loads(output)["code"]) == (1, 11)
    status, output = shared_lab.plugin("node1", CONF, COMMAND="STATUS", PATH="/opt/cni/bin")
    assert (status, json.loads(output)["code"]) == (1, 50)
    assert shared_lab.plugin("node1", CONF, COMMAND="DEL", **call) == (0, "")
    assert "calispooled1" in shared_lab.routes("node1")
    shared_lab.begin("node1", "felix")
    shared_lab.eventually(lambda: "calispooled1" not in shared_lab.routes("node1"), what="the spooled DEL is done")
    assert shared_lab.run("node1", "ls", "/var/lib/calico/cni-deleted").strip() == ""
    shared_lab.run("node1", "ip", "netns", "del", "spooled")


def test_a_pod_added_while_the_speaker_is_away_is_reached_once_it_is_back(own_lab: Testbed) -> None:
    own_lab.kill("node1", "bgp")
    with own_lab.pods(A, B) as (_, b):
        own_lab.begin("node1", "bgp")
        own_lab.eventually(lambda: own_lab.ping(*A, b), what="the pods reach each other")


def test_a_restarted_felix_keeps_the_tables_while_the_speaker_is_away(own_lab: Testbed) -> None:
    with own_lab.pods(A, B):
        own_lab.eventually(lambda: own_lab.ping(*A, own_lab.address(*B)), what="the pods reach each other")
        table = own_lab.routes("node1")
        own_lab.kill("node1", "bgp")
        own_lab.kill("node1", "felix")
        own_lab.begin("node1", "felix")
        time.sleep(0.5)  # time enough for a wrong sweep
        assert own_lab.routes("node1") == table
        own_lab.begin("node1", "bgp")
        own_lab.eventually(lambda: own_lab.routes("node1") == table, what="the table is as it was")
