"""The older kube-flannel.yml of the documents, with nothing but the images' names changed, on real kubelets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from manifests.image import NAME as IMAGE
from tests.cluster import bed
from tests.cluster.bed import NODES, WEB, RealCluster

pytestmark = [pytest.mark.root, pytest.mark.server, pytest.mark.long]

OLDER = ("kube-flannel-ds-amd64", "kube-system")


@pytest.fixture
def older(tmp_path: Path) -> Iterator[tuple[RealCluster, str]]:
    """A cluster, and that manifest with our image's name wherever it had one."""
    bed.skip_where_it_cannot_run()
    archive = bed.image(tmp_path)
    with bed.real_cluster() as made:
        made.tool("import", str(archive))
        yield made, re.sub(r"image: .*", f"image: {IMAGE}", bed.OLDER_FLANNEL.read_text())


def test_the_older_manifest_runs_and_its_backend_is_changed_by_delete_edit_and_apply(
    older: tuple[RealCluster, str],
) -> None:
    """As the documents do it; their programs wait in between, and pods go on."""
    cluster, document = older
    cluster.install(document, *OLDER)
    assert cluster.unanswered() == []
    assert "flannel.1 onlink" in cluster.on("node1", "ip", "route")
    others = {each["metadata"]["name"] for each in cluster.get("daemonset", "-n", "kube-system")["items"]} - {OLDER[0]}
    assert others == {f"kube-flannel-ds-{architecture}" for architecture in ("arm64", "arm", "ppc64le", "s390x")}
    before = [cluster.web(node) for node in NODES]
    with cluster.pinging(before[0][0], before[1][1]) as pings:
        cluster.kubectl("delete", "-f", "-", stdin=document)
        cluster.until(lambda: no_agents(cluster), "the agents to be gone")
        cluster.kubectl("apply", "-f", "-", stdin=document.replace('"Type": "vxlan"', '"Type": "host-gw"'))
        cluster.until(lambda: cluster.agents_are_ready(*OLDER), "the new agents to be ready")
        cluster.until(lambda: "via 192.168.50.11 dev ens33" in cluster.on("node1", "ip", "route"), "host-gw's route")
    assert pings[0].sent - pings[0].received == 0
    assert [cluster.web(node) for node in NODES] == before
    assert cluster.unanswered() == []
    cluster.kubectl("delete", "-f", "-", stdin=WEB)
    cluster.until(lambda: not cluster.get("pods")["items"], "the pods to be gone")
    cluster.kubectl("delete", "-f", "-", stdin=document)
    cluster.until(lambda: no_agents(cluster), "the agents to be gone")
    assert bed.leave_flannel(cluster) == []


def no_agents(cluster: RealCluster) -> bool:
    return not cluster.get("pods", "-n", "kube-system", "-l", "app=flannel")["items"]
