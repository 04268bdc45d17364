"""The controllers on a real Kubernetes API server: what a node leaves behind that is deleted as Kubernetes deletes it.

Takes a minute of real time: the grace of a node that is gone cannot be shortened.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from lab import apiserver, cluster, control_plane, namespaces
from lab.daemons import CONTROLLERS
from lab.node import environment_of
from tests.lab.conftest import lab_of
from tests.lab.testbed import Testbed

pytestmark = [
    pytest.mark.root,
    pytest.mark.server,
    pytest.mark.long,
    pytest.mark.skipif(bool(apiserver.missing()), reason=apiserver.missing()),
]

BOUND_S = 60.0


@pytest.fixture
def lab() -> Iterator[Testbed]:
    yield from lab_of(cluster.Wish(name=f"t{os.getpid()}-controllers", nodes=2, datastore="kubernetes"))


def blocks(lab: Testbed) -> list[str]:
    environment = environment_of("", {**lab.lab.environment, **control_plane.admin_environment(lab.lab)})
    words = ["calicoctl", "ipam", "show", "--show-blocks"]
    status, output = namespaces.run_inside(lab.lab.fabric, words, environment=environment)
    assert status == 0, output.decode()
    return [line.split("|")[2].strip() for line in output.decode().splitlines() if line.startswith("| Block")]


def test_what_a_deleted_node_had_is_free_within_a_minute_of_its_pods_end(lab: Testbed) -> None:
    lab.begin("node1", CONTROLLERS)
    lab.add_pod("node1", "stays")
    lab.add_pod("node2", "goes")
    assert blocks(lab) == ["10.244.104.0/26", "10.244.166.128/26"]
    for daemon in ("felix", "bgp"):
        lab.kill("node2", daemon)
    control_plane.remove_node(lab.lab, "node2")
    time.sleep(25)  # longer than the grace of a node that is gone: what keeps the address is the pod
    assert blocks(lab) == ["10.244.104.0/26", "10.244.166.128/26"]
    control_plane.collect_pods(lab.lab, "node2")
    lab.eventually(lambda: blocks(lab) == ["10.244.166.128/26"], what="the node's block is free", patience_s=BOUND_S)
    said = lab.log("node1", CONTROLLERS)
    assert "release address=10.244.104.0 node=node2 handle=k8s-pod-network." in said
    assert "release affinity=10.244.104.0/26 node=node2" in said
