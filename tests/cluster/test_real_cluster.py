"""The manifest on real kubelets: what a user does with it, in the order of a cluster's life."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import bed
from tests.cluster.bed import NODES, WEB, RealCluster

pytestmark = [pytest.mark.root, pytest.mark.server]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    """After one apply: agents ready, and a web pod on each node."""
    bed.skip_where_it_cannot_run()
    archive = bed.image(tmp_path_factory.mktemp("image"))
    with bed.real_cluster() as made:
        made.tool("import", str(archive))
        made.on("node1", "mkdir", "/run/NetworkManager")  # as if it ran there
        made.install(bed.MANIFEST.read_text())
        yield made


def test_pods_reach_each_other_by_address_service_and_node_port(cluster: RealCluster) -> None:
    assert cluster.unanswered() == []


def test_network_manager_is_told_to_leave_pods_devices_alone_where_it_runs(cluster: RealCluster) -> None:
    assert "interface-name:cali*" in cluster.on("node1", "cat", "/run/NetworkManager/conf.d/calico.conf")
    assert "NetworkManager" not in cluster.on("node2", "ls", "/run")


def test_a_second_apply_changes_nothing(cluster: RealCluster) -> None:
    assert cluster.changed_by(bed.MANIFEST) == []


def test_the_pool_is_described_as_the_documents_show_it(cluster: RealCluster) -> None:
    said = cluster.kubectl("describe", "ippools")
    spec = dict(line.strip().split(":", 1) for line in said.partition("Spec:\n")[2].splitlines() if ":" in line)
    shown = {name: value.strip() for name, value in spec.items()}
    assert (
        shown.items()
        >= {
            "Block Size": "26",
            "Cidr": "10.244.0.0/16",
            "Ipip Mode": "Never",
            "Nat Outgoing": "true",
            "Node Selector": "all()",
            "Vxlan Mode": "Never",
        }.items()
    )


def test_a_restart_of_all_agents_under_traffic_loses_nothing(cluster: RealCluster) -> None:
    with cluster.pinging(cluster.web("node1")[0], cluster.web("node2")[1]) as pings:
        cluster.kubectl("-n", "kube-system", "rollout", "restart", "daemonset/calico-node")
        cluster.until(cluster.agents_are_ready, "the new agents to be ready")
    assert pings[0].sent - pings[0].received == 0


def test_a_pool_that_changes_its_mode_under_traffic_loses_nothing(cluster: RealCluster) -> None:
    def goes_through_the_tunnel() -> bool:
        return "dev vxlan.calico" in cluster.on("node1", "ip", "route") and "dev vxlan.calico" in cluster.on(
            "node2", "ip", "route"
        )

    patch = ("patch", "ippools.crd.projectcalico.org", "default-ipv4-ippool", "--type=merge", "-p")
    with cluster.pinging(cluster.web("node1")[0], cluster.web("node2")[1]) as pings:
        cluster.kubectl(*patch, '{"spec":{"vxlanMode":"Always"}}')
        cluster.until(goes_through_the_tunnel, "routes through vxlan.calico")
        cluster.kubectl(*patch, '{"spec":{"vxlanMode":"Never"}}')
        cluster.until(lambda: not goes_through_the_tunnel(), "routes beside vxlan.calico")
    assert pings[0].sent - pings[0].received == 0


@pytest.mark.long
def test_an_api_server_that_is_frozen_is_noticed_in_30_s_and_packets_flow(cluster: RealCluster) -> None:
    """Its kernel goes on acknowledging: no connection looks dead."""

    def is_ready() -> bool:
        ask = "busybox wget -q -O /dev/null http://127.0.0.1:9099/readiness && echo yes || echo no"
        return cluster.on("node1", "sh", "-c", ask).strip() == "yes"

    def server(signal: str) -> None:
        cluster.on("control", "sh", "-c", f"kill -{signal} $(cat /run/kube-apiserver.pid)")

    assert is_ready()
    with cluster.pinging(cluster.web("node1")[0], cluster.web("node2")[1]) as pings:
        server("STOP")
        try:
            cluster.until(lambda: not is_ready(), "felix to notice", patience_s=30.0)
        finally:
            server("CONT")
        cluster.until(is_ready, "felix to be in touch again")
    assert pings[0].sent - pings[0].received == 0


def test_an_edit_of_the_manifest_changes_the_pool(cluster: RealCluster, tmp_path: Path) -> None:
    text = bed.MANIFEST.read_text()
    before = '- name: CALICO_IPV4POOL_VXLAN\n              value: "Never"'
    assert before in text
    edited = tmp_path / "calico.yaml"
    edited.write_text(text.replace(before, before.replace("Never", "CrossSubnet")))
    for path, mode in ((edited, "CrossSubnet"), (bed.MANIFEST, "Never")):
        cluster.kubectl("apply", "-f", str(path))
        cluster.until(cluster.agents_are_ready, "the agents of the edited manifest")
        assert cluster.get("ippools", "default-ipv4-ippool")["spec"]["vxlanMode"] == mode


def test_a_node_object_that_is_deleted_and_made_again_gets_traffic_again(cluster: RealCluster) -> None:
    cluster.kubectl("delete", "node", "node2")
    cluster.tool("restart", "node2", "kubelet")
    cluster.until(cluster.nodes_are_ready, "both nodes to be Ready")
    cluster.until(lambda: cluster.pods_are_ready("-l", "app=web"), "the web pods")
    client, (_, address) = cluster.web("node1")[0], cluster.web("node2")
    cluster.until(lambda: "node2" in cluster.inside(client, f"wget -qO- http://{address}/ || true"), "an answer")


def test_an_uninstalled_node_is_as_it_was(cluster: RealCluster) -> None:
    """The last: nothing of ours is there afterwards."""
    patch = '{"spec":{"vxlanMode":"Always"}}'
    cluster.kubectl("patch", "ippools.crd.projectcalico.org", "default-ipv4-ippool", "--type=merge", "-p", patch)
    cluster.until(lambda: "vxlan.calico" in cluster.on("node1", "ip", "link"), "a tunnel")
    cluster.kubectl("delete", "-f", "-", stdin=WEB)
    cluster.kubectl("delete", "-f", str(bed.MANIFEST))
    cluster.kubectl("apply", "-f", str(bed.UNINSTALL))
    cluster.kubectl("-n", "kube-system", "rollout", "status", "daemonset/calico-uninstall", "--timeout=90s")
    cluster.kubectl("delete", "-f", str(bed.UNINSTALL))
    assert [bed.left_of_calico(cluster, node) for node in NODES] == [[], []]
    cluster.until(lambda: not cluster.nodes_are_ready(), "the nodes to miss their network")
