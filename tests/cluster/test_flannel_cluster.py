"""kube-flannel.yml on real kubelets: what a user does with it, in the order of a cluster's life."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.cluster import bed
from tests.cluster.bed import NODES, WEB, RealCluster

pytestmark = [pytest.mark.root, pytest.mark.server, pytest.mark.long]

AGENTS = ("kube-flannel-ds", "kube-flannel")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    """After one apply: agents ready, and a web pod on each node."""
    bed.skip_where_it_cannot_run()
    archive = bed.image(tmp_path_factory.mktemp("image"))
    with bed.real_cluster() as made:
        made.tool("import", str(archive))
        made.install(bed.FLANNEL.read_text(), *AGENTS)
        yield made


def routes(cluster: RealCluster, node: str) -> str:
    return cluster.on(node, "ip", "route")


def test_pods_reach_each_other_by_address_service_and_node_port(cluster: RealCluster) -> None:
    assert cluster.unanswered() == []


def test_every_node_tells_that_its_network_is_up_and_what_the_original_would(cluster: RealCluster) -> None:
    for node in NODES:
        found = cluster.get("node", node)
        conditions = {each["type"]: each for each in found["status"]["conditions"]}
        assert conditions["NetworkUnavailable"]["reason"] == "FlannelIsUp"
        said = found["metadata"]["annotations"]
        assert said["flannel.alpha.coreos.com/backend-type"] == "vxlan"
        assert f"{json.loads(said['flannel.alpha.coreos.com/backend-data'])['VtepMAC']}" in cluster.on(
            node, "ip", "link", "show", "flannel.1"
        )


def test_a_second_apply_changes_nothing(cluster: RealCluster) -> None:
    assert cluster.changed_by(bed.FLANNEL) == []


def test_a_restart_of_all_agents_under_traffic_loses_nothing(cluster: RealCluster) -> None:
    with cluster.pinging(cluster.web("node1")[0], cluster.web("node2")[1]) as pings:
        cluster.kubectl("-n", "kube-flannel", "rollout", "restart", "daemonset/kube-flannel-ds")
        cluster.until(lambda: cluster.agents_are_ready(*AGENTS), "the new agents to be ready")
    assert pings[0].sent - pings[0].received == 0


def test_another_backend_under_traffic_loses_nothing_and_pods_keep_their_addresses(cluster: RealCluster) -> None:
    before = [cluster.web(node) for node in NODES]
    document = bed.FLANNEL.read_text().replace('"Type": "vxlan"', '"Type": "host-gw"')
    with cluster.pinging(before[0][0], before[1][1]) as pings:
        cluster.kubectl("apply", "-f", "-", stdin=document)
        cluster.kubectl("-n", "kube-flannel", "rollout", "restart", "daemonset/kube-flannel-ds")
        cluster.until(lambda: cluster.agents_are_ready(*AGENTS), "the new agents to be ready")
        cluster.until(lambda: "via 192.168.50.11 dev ens33" in routes(cluster, "node1"), "host-gw's route")
    assert pings[0].sent - pings[0].received == 0
    assert [cluster.web(node) for node in NODES] == before
    cluster.until(lambda: "flannel.1" not in cluster.on("node1", "ip", "link"), "the tunnel to be gone")


def test_thirty_pods_come_and_go_and_every_address_is_given_back(cluster: RealCluster) -> None:
    many = WEB.partition("---")[0].replace("kind: DaemonSet", "kind: Deployment").replace("name: web", "name: many")
    many = many.replace("app: web", "app: many").replace("spec:\n", "spec:\n  replicas: 30\n", 1)
    cluster.kubectl("apply", "-f", "-", stdin=many)
    cluster.until(lambda: len(cluster.get("pods", "-l", "app=many")["items"]) == 30, "30 pods")
    cluster.until(lambda: cluster.pods_are_ready("-l", "app=many"), "all of them to be ready")
    cluster.kubectl("delete", "deployment", "many")
    cluster.until(lambda: not cluster.get("pods", "-l", "app=many")["items"], "all of them to be gone")
    web_alone = [[1, 1]] * len(NODES)
    cluster.until(lambda: [kept(cluster, node) for node in NODES] == web_alone, "nothing but the web pods' to be kept")


def kept(cluster: RealCluster, node: str) -> list[int]:
    """How many the plugin and host-local know of."""
    files = cluster.on(node, "ls", "/var/lib/cni/flannel").split()
    addresses = [name for name in cluster.on(node, "ls", "/var/lib/cni/networks/cbr0").split() if name[0] == "1"]
    return [len(files), len(addresses)]


def test_what_is_left_when_it_is_uninstalled_is_nothing(cluster: RealCluster) -> None:
    """The last on this cluster."""
    cluster.kubectl("delete", "-f", "-", stdin=WEB)
    cluster.until(lambda: not cluster.get("pods")["items"], "the pods to be gone")
    cluster.kubectl("delete", "-f", str(bed.FLANNEL))
    assert bed.leave_flannel(cluster) == []
