"""From flannel to Calico as the documents do it: manifest deleted, configuration moved away, calico.yaml applied.

What flannel leaves on a node when its manifest is deleted is made by hand here: it is all that there is of it then.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster import bed
from tests.cluster.bed import NODES, WEB, RealCluster

pytestmark = [pytest.mark.root, pytest.mark.server]

LEFT_BY_VXLAN = """
ip link add flannel.1 type vxlan id 1 dev ens33 dstport 8472 nolearning
ip addr add 10.244.0.0/32 dev flannel.1
ip link set flannel.1 up
ip route add 10.244.77.0/24 via 10.244.77.0 dev flannel.1 onlink
iptables -t nat -N FLANNEL-POSTRTG
iptables -t nat -A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
iptables -t nat -A FLANNEL-POSTRTG -s 10.244.0.0/16 -j RETURN
iptables -N FLANNEL-FWD
iptables -A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
iptables -A FLANNEL-FWD -s 10.244.0.0/16 -j ACCEPT
echo '{"name":"cbr0","cniVersion":"0.3.1","plugins":[{"type":"flannel"}]}' >/etc/cni/net.d/10-flannel.conflist
"""


@pytest.fixture
def cluster(tmp_path: object) -> Iterator[RealCluster]:
    bed.skip_where_it_cannot_run()
    with bed.real_cluster() as made:
        made.tool("import", str(bed.image(tmp_path)))  # type: ignore[arg-type]
        for node in NODES:
            made.on(node, "sh", "-ec", LEFT_BY_VXLAN)
            made.kubectl("annotate", "node", node, "flannel.alpha.coreos.com/backend-type=vxlan")
        yield made


def test_what_flannel_left_goes_once_its_configuration_is_gone(cluster: RealCluster) -> None:
    cluster.kubectl("apply", "-f", str(bed.MANIFEST))
    cluster.until(cluster.agents_are_ready, "the agents to be ready")
    for node in NODES:
        assert "flannel.1" in cluster.on(node, "ip", "link")
    (agent, _) = cluster.agents()
    installed = cluster.kubectl("-n", "kube-system", "logs", agent, "-c", "install-cni")
    assert "10-flannel.conflist configures flannel: new pods go to Calico, 10-calico.conflist comes first" in installed
    for node in NODES:
        cluster.on(node, "mv", "/etc/cni/net.d/10-flannel.conflist", "/opt/10-flannel.conflist")
    cluster.kubectl("-n", "kube-system", "rollout", "restart", "daemonset/calico-node")
    cluster.until(cluster.agents_are_ready, "the new agents to be ready")
    for node in NODES:
        shown = "".join(cluster.on(node, *words) for words in (("ip", "link"), ("ip", "route"), ("iptables-save",)))
        assert [line for line in shown.splitlines() if "flannel" in line.lower()] == []
        annotations = cluster.get("node", node)["metadata"]["annotations"]
        assert [name for name in annotations if "flannel" in name] == []
    cluster.kubectl("apply", "-f", "-", stdin=WEB)
    cluster.until(lambda: cluster.pods_are_ready("-l", "app=web"), "a web pod on each node")
    assert all("dev cali" in cluster.on(node, "ip", "route") for node in NODES)
