"""The overlays on real kubelets, each on a cluster of its own: nodes Ready, pods reach each other, calicoctl works."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster import bed
from tests.cluster.bed import NODES, WEB, RealCluster

pytestmark = [pytest.mark.root, pytest.mark.server, pytest.mark.long]

OVERLAYS = bed.PROJECT / "manifests" / "overlays"
ETCD = "http://192.168.50.1:12379"
"""Where the overlay etcd finds one: beside Kubernetes' own, on the control plane."""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bed.skip_where_it_cannot_run()
    return bed.image(tmp_path_factory.mktemp("image"))


@contextmanager
def applied(archive: Path, overlay: Path) -> Iterator[RealCluster]:
    with bed.real_cluster() as made:
        made.tool("import", str(archive))
        if overlay.name == "etcd":
            _start_etcd(made)
        made.kubectl("apply", "-k", str(overlay))
        made.until(made.nodes_are_ready, "every node to be Ready")
        made.until(made.agents_are_ready, "the agents to be ready")
        made.kubectl("apply", "-f", "-", stdin=WEB)
        made.until(lambda: made.pods_are_ready("-l", "app=web"), "a web pod on each node")
        yield made


def _start_etcd(cluster: RealCluster) -> None:
    peer = "http://127.0.0.1:12380"
    words = f"--data-dir=/tmp/etcd --listen-client-urls={ETCD} --advertise-client-urls={ETCD} --listen-peer-urls={peer}"
    own = f"--initial-advertise-peer-urls={peer} --initial-cluster=default={peer}"
    cluster.on("control", "sh", "-c", f"nohup etcd {words} {own} >/tmp/etcd.log 2>&1 & sleep 0")
    cluster.kubectl("-n", "kube-system", "create", "secret", "generic", "calico-etcd-secrets")


def pods_reach_each_other(cluster: RealCluster) -> bool:
    client, service = cluster.web("node1")[0], cluster.get("service", "web")["spec"]["clusterIP"]
    for node in NODES:
        assert cluster.inside(client, f"wget -qO- http://{cluster.web(node)[1]}/") == f"{node}\n"
    return {cluster.inside(client, f"wget -qO- http://{service}/").strip() for _ in range(20)} == set(NODES)


def calicoctl(cluster: RealCluster, *words: str) -> str:
    """In the agent's own pod, where the datastore is known; with what is on standard error."""
    script = " ".join(words)
    agent = cluster.agents()[0]
    return cluster.kubectl(
        "-n", "kube-system", "exec", agent, "-c", "calico-node", "--", "sh", "-c", f"calicoctl {script} 2>&1"
    )


def test_vxlan_without_bgp(archive: Path) -> None:
    with applied(archive, OVERLAYS / "vxlan") as cluster:
        assert pods_reach_each_other(cluster)
        assert "dev vxlan.calico" in cluster.on("node1", "ip", "route")
        assert "Always" in calicoctl(cluster, "get", "ippools", "-o", "wide")
        assert "The BGP backend process (BIRD) is not running." in calicoctl(cluster, "node", "status")
        assert "found 0 problems" in calicoctl(cluster, "ipam", "check")


def test_the_group_v3(archive: Path) -> None:
    with applied(archive, OVERLAYS / "v3") as cluster:
        assert pods_reach_each_other(cluster)
        assert "projectcalico.org/v3" in cluster.kubectl("describe", "ippools")
        assert "crd.projectcalico.org" not in cluster.kubectl("get", "crds", "-o", "name")
        assert "node-to-node mesh | up" in calicoctl(cluster, "node", "status")
        assert "found 0 problems" in calicoctl(cluster, "ipam", "check")


def test_ipip_on_a_kernel_that_has_none_is_said_and_pods_reach_each_other_without(archive: Path) -> None:
    with applied(archive, OVERLAYS / "ipip") as cluster:
        assert pods_reach_each_other(cluster)
        assert "Always" in calicoctl(cluster, "get", "ippools", "-o", "wide")
        if "tunl0" in cluster.on("node1", "ip", "link"):
            assert "dev tunl0" in cluster.on("node1", "ip", "route")
            return
        said = "tunl0, which pool default-ipv4-ippool asks for, cannot be made"
        assert said in calicoctl(cluster, "node", "status")
        assert said in cluster.kubectl("get", "events", "-A", "-o", "wide")


def test_etcd_as_the_datastore(archive: Path, tmp_path: Path) -> None:
    overlay = tmp_path / "etcd"
    overlay.mkdir()
    (overlay / "kustomization.yaml").write_text(
        "apiVersion: kustomize.config.k8s.io/v1beta1\n"
        "kind: Kustomization\n"
        f"resources: [{os.path.relpath(OVERLAYS / 'etcd', overlay)}]\n"
        "patches:\n"
        "- patch: |\n"
        "    apiVersion: v1\n"
        "    kind: ConfigMap\n"
        "    metadata: {name: calico-config, namespace: kube-system}\n"
        f"    data: {{etcd_endpoints: '{ETCD}', etcd_ca: '', etcd_cert: '', etcd_key: ''}}\n"
    )
    with applied(archive, overlay) as cluster:
        assert pods_reach_each_other(cluster)
        assert "projectcalico" not in cluster.kubectl("get", "crds", "-o", "name")
        assert "node-to-node mesh | up" in calicoctl(cluster, "node", "status")
        assert "found 0 problems" in calicoctl(cluster, "ipam", "check")
