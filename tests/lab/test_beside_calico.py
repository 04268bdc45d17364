"""The original's CNI plugin and IPAM on the nodes of ours: the program that CALICO_CNI names, in one etcd with felix.

Its pods are wired by it and kept by felix, in the same blocks as ours, and either plugin deletes what the other added.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from lab import cluster, runtime
from tests.etcd_server import needs_etcd
from tests.lab.modes import calicoctl
from tests.lab.testbed import Testbed

pytestmark = [pytest.mark.root, pytest.mark.server]

OURS, KEPT = "/opt/cni/bin/calico", "/opt/cni/calico.ours"
NODES = ("node1", "node2")


@dataclass
class Mixed:
    bed: Testbed
    original: str

    def use_theirs(self, node: str) -> None:
        for name in ("calico", "calico-ipam"):
            self.bed.run(node, "cp", self.original, f"/opt/cni/bin/{name}")
        self._configure(node, {"etcd_endpoints": self.bed.lab.environment["ETCD_ENDPOINTS"], "nodename": node})

    def use_ours(self, node: str) -> None:
        self.bed.run(node, "cp", KEPT, OURS)
        self._configure(node, {})

    def keep_ours(self, node: str) -> None:
        self.bed.run(node, "cp", OURS, KEPT)

    def add(self, node: str, name: str) -> str:
        """A plain container; its address."""
        (given,) = self.bed.add_pod(node, name, container=name)["ips"]
        return str(given["address"]).split("/")[0]

    def problems(self) -> str:
        return calicoctl(self.bed, "ipam", "check").splitlines()[-1]

    def _configure(self, node: str, more: dict[str, str]) -> None:
        plugin = {
            "type": "calico",
            "ipam": {"type": "calico-ipam"},
            "log_level": "error",
            "log_file_path": "/dev/null",
            **more,
        }
        whole = {"name": "k8s-pod-network", "cniVersion": "0.3.1", "plugins": [plugin]}
        self.bed.run(node, "sh", "-c", f"cat > {runtime.CONFLIST}", stdin=json.dumps(whole))


@pytest.fixture
def mixed() -> Iterator[Mixed]:
    needs_etcd()
    original = shutil.which(os.environ.get("CALICO_CNI", ""))
    if original is None:
        pytest.skip("CALICO_CNI names no program: set it to the original's CNI plugin")
    name = f"t{os.getpid()}-mixed"
    made = cluster.up(cluster.Wish(name=name, nodes=2, datastore="etcd"), lambda line: None)
    try:
        site = Mixed(Testbed(made), original)
        for node in NODES:
            site.keep_ours(node)
        yield site
    finally:
        cluster.down(name)


def test_pods_of_either_plugin_reach_each_other_and_each_deletes_the_others(mixed: Mixed) -> None:
    bed, ours = mixed.bed, mixed.add("node1", "ours1")
    for node in NODES:
        mixed.use_theirs(node)
    theirs = [mixed.add(node, f"theirs-{node}") for node in NODES]
    bed.eventually(lambda: all(bed.ping("node1", "ours1", each) for each in theirs), what=f"ours reaches {theirs}")
    assert bed.ping("node2", "theirs-node2", ours)
    assert f"{theirs[0]} dev calitheirs-node scope link\n" in bed.routes("node1")
    bed.del_pod("node1", "ours1")
    for node in NODES:
        mixed.use_ours(node)
        bed.del_pod(node, f"theirs-{node}")
    assert "cali" not in bed.routes("node1") + bed.routes("node2")
    assert mixed.problems() == "Check complete; found 0 problems."


def test_addresses_that_both_take_at_once_are_all_different(mixed: Mixed) -> None:
    mixed.use_theirs("node2")
    with ThreadPoolExecutor(max_workers=8) as runtimes:
        given = list(runtimes.map(lambda n: mixed.add(NODES[n % 2], f"pod{n}"), range(80)))
    assert len(set(given)) == len(given)
    assert mixed.problems() == "Check complete; found 0 problems."
