"""A datastore that is locked, read-only, full or broken: said clearly, not ready, and the dataplane stays."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.testbed import Testbed

pytestmark = pytest.mark.root

A, B = ("node1", "faulty-a"), ("node2", "faulty-b")
CONF = '{"cniVersion": "1.1.0", "name": "k8s-pod-network", "type": "calico"}'


def path_of(lab: Testbed) -> Path:
    return Path(lab.lab.environment["DATASTORE_PATH"])


def readiness(lab: Testbed, node: str) -> str:
    return lab.run(node, "sh", "-c", "calico-node -felix-ready 2>&1", may_fail=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    rival = sqlite3.connect(path, isolation_level=None)
    rival.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        rival.execute("ROLLBACK")
        rival.close()


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


def test_with_the_datastore_locked_add_fails_within_5_s_del_succeeds_and_packets_flow(own_lab: Testbed) -> None:
    with own_lab.pods(A, B, ("node1", "goes")) as (_, b, _gone):
        own_lab.eventually(lambda: own_lab.ping(*A, b), what="the pods reach each other")
        with own_lab.flow(A, B) as flow, locked(path_of(own_lab)):
            status, output, took_s = add(own_lab, "late")
            assert (status, json.loads(output)["code"]) == (1, 11), output
            assert took_s < 6
            gone = _container(own_lab, "goes")
            deleted = own_lab.plugin(
                "node1", CONF, COMMAND="DEL", CONTAINERID=gone, NETNS="", IFNAME="eth0", PATH="/opt/cni/bin"
            )
            assert deleted == (0, "")
        assert flow.lost == 0
        status, output, _ = add(own_lab, "later")
        assert status == 0, output


def _container(lab: Testbed, pod: str) -> str:
    from lab import runtime

    return runtime.find(lab.lab, lab.node("node1"), pod).container


def test_a_broken_datastore_is_said_and_the_tables_stay_also_over_a_restart(own_lab: Testbed) -> None:
    with own_lab.pods(A, B) as (_, b):
        own_lab.eventually(lambda: own_lab.ping(*A, b), what="the pods reach each other")
        table = own_lab.routes("node1")
        path = path_of(own_lab)
        saved = path.with_suffix(".saved")
        shutil.copy2(path, saved)
        with own_lab.flow(A, B) as flow:
            path.write_bytes(b"this is no database" * 1000)
            own_lab.eventually(
                lambda: "not ready" in readiness(own_lab, "node1"), what="felix is not ready", patience_s=20
            )
            own_lab.kill("node1", "bgp")
            own_lab.begin("node1", "bgp")  # it speaks as the last one did
            own_lab.kill("node1", "felix")
            own_lab.begin_unheard("node1", "felix")
            own_lab.eventually(
                lambda: "readiness probe reporting 503" in readiness(own_lab, "node1"), what="felix is there, not ready"
            )
            assert own_lab.routes("node1") == table
        assert flow.lost == 0
        assert "datastore" in own_lab.log("node1", "felix")
        path.unlink()
        shutil.copy2(saved, path)
        for node in ("node1", "node2", "node3"):
            for daemon in ("felix", "bgp"):
                own_lab.kill(node, daemon)
                own_lab.begin(node, daemon)
        assert own_lab.routes("node1") == table
