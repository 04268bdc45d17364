"""An etcd that is there and silent takes no packet. One that is gone: test_outage."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator

import pytest

from lab import cluster, daemons, etcd, runtime, state
from tests.etcd_server import needs_etcd
from tests.lab.testbed import Testbed

pytestmark = [pytest.mark.root, pytest.mark.server]

A, B = ("node1", "etcd-a"), ("node2", "etcd-b")
CONF = '{"cniVersion": "1.1.0", "name": "k8s-pod-network", "type": "calico"}'


@pytest.fixture
def lab() -> Iterator[Testbed]:
    needs_etcd()
    name = f"t{os.getpid()}-etcd"
    made = cluster.up(cluster.Wish(name=name, nodes=2, datastore="etcd"), lambda line: None)
    try:
        yield Testbed(made)
    finally:
        cluster.down(name)


def add(lab: Testbed, container: str) -> tuple[int, str, float]:
    lab.run("node1", "ip", "netns", "add", container)
    began = time.monotonic()
    status, output = lab.plugin(
        "node1",
        CONF,
        COMMAND="ADD",
        CONTAINERID=container,
        NETNS=f"/run/netns/{container}",
        IFNAME="eth0",
        PATH="/opt/cni/bin",
    )
    return status, output, time.monotonic() - began


def test_while_etcd_is_frozen_add_fails_within_5_s_del_succeeds_and_packets_flow(lab: Testbed) -> None:
    with lab.pods(A, B, ("node1", "goes")) as (_, b, freed):
        lab.eventually(lambda: lab.ping(*A, b), what="the pods reach each other")
        table = lab.routes("node2")
        with lab.flow(A, B) as flow:
            etcd.stop(state.folder(lab.lab.name), how=signal.SIGSTOP)
            status, output, took_s = add(lab, "late")
            assert (status, json.loads(output)["code"]) == (1, 11), output
            assert took_s < 5.5
            gone = runtime.find(lab.lab, lab.node("node1"), "goes").container
            deleted = lab.plugin(
                "node1", CONF, COMMAND="DEL", CONTAINERID=gone, NETNS="", IFNAME="eth0", PATH="/opt/cni/bin"
            )
            assert deleted == (0, "")
            for daemon in daemons.NAMES:
                daemons.stop(lab.lab, lab.node("node2"), daemon, how=signal.SIGKILL)
                daemons.start_unheard(lab.lab, lab.node("node2"), daemon)
            assert lab.routes("node2") == table
            etcd.stop(state.folder(lab.lab.name), how=signal.SIGCONT)
            lab.eventually(lambda: add(lab, f"later{time.monotonic_ns()}")[0] == 0, what="pods are added again")
            lab.eventually(
                lambda: "is not assigned" in lab.run("node1", "calicoctl", "ipam", "show", f"--ip={freed}"),
                what="the DEL that was spooled is done",
            )
        assert flow.lost == 0
