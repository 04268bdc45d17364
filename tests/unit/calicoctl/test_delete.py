"""What goes with what is deleted, and what may not be deleted."""

from __future__ import annotations

from random import Random

import pytest

from datastore.resource import KINDS, Key, Resource
from datastore.store import Store
from tests.models.faulty_store import Crash, Faults, FaultyStore
from tests.unit.calicoctl.pods import add_pod
from tests.unit.calicoctl.shell import GOLDEN, Shell

FOR_A_NODE = """\
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: {name: of-node1}
spec: {node: node1, peerIP: 192.0.2.1, asNumber: 65001}
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: {name: of-node2}
spec: {node: node2, peerIP: 192.0.2.1, asNumber: 65001}
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: of-node1}
spec: {node: node1, interfaceName: eth0}
---
apiVersion: projectcalico.org/v3
kind: FelixConfiguration
metadata: {name: node.node1}
---
apiVersion: projectcalico.org/v3
kind: BGPConfiguration
metadata: {name: node.node1}
"""


@pytest.fixture
def shell() -> Shell:
    shell = Shell()
    assert shell("apply -f -", (GOLDEN / "pools_and_nodes.yaml").read_text()).status == 0
    for container, node, address in (
        ("a", "node1", "10.244.166.128"),
        ("b", "node1", "10.244.166.129"),
        ("c", "node2", "10.244.104.0"),
    ):
        add_pod(shell, node, container, address)
    return shell


def keys(shell: Shell) -> list[str]:
    async def work(store: Store) -> list[str]:
        return [str(each.key) for kind in KINDS for each in (await store.list(kind)).items]

    result: list[str] = shell.ask(work)
    return result


OF_NODE1 = [
    "BGPConfiguration(node.node1)",
    "BGPPeer(of-node1)",
    "BlockAffinity(node1-10-244-166-128-26)",
    "FelixConfiguration(node.node1)",
    "HostEndpoint(of-node1)",
    "IPAMBlock(10-244-166-128-26)",
    "IPAMHandle(k8s-pod-network.a)",
    "IPAMHandle(k8s-pod-network.b)",
    "Node(node1)",
    "WorkloadEndpoint(default/node1-cni-a-eth0)",
    "WorkloadEndpoint(default/node1-cni-b-eth0)",
]


def test_a_node_goes_with_all_that_is_of_it_and_nothing_else(shell: Shell) -> None:
    assert shell("apply -f -", FOR_A_NODE).status == 0
    before = keys(shell)
    assert shell("delete node node1").out == "Successfully deleted 1 'Node' resource(s)\n"
    after = keys(shell)
    assert [key for key in before if key not in after] == OF_NODE1
    assert [key for key in after if key not in before] == []


def test_a_nodes_tunnel_addresses_are_given_back(shell: Shell) -> None:
    add_pod(shell, "node1", "tunnel", "10.244.166.130")
    shell("delete wep node1-cni-tunnel-eth0")
    shell("""patch node node1 -p '{"spec":{"bgp":{"ipv4IPIPTunnelAddr":"10.244.166.130"}}}'""")
    shell("delete node node1")
    assert shell("ipam show --ip 10.244.166.130").out == "10.244.166.130 is not assigned\n"
    assert "IPAMHandle(k8s-pod-network.tunnel)" not in keys(shell)


def test_an_address_that_the_node_lends_stays_with_its_holder(shell: Shell) -> None:
    add_pod(shell, "node2", "borrower", "10.244.166.140")
    shell("delete node node1")
    assert shell("ipam show --ip 10.244.166.140").out.startswith("IP 10.244.166.140 is in use\n")
    assert "BlockAffinity(node1-10-244-166-128-26)" not in keys(shell)


@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.parametrize("at", range(1, 13))
def test_a_node_whose_deletion_was_cut_short_is_deleted_by_deleting_it_again(
    shell: Shell, at: int, is_after: bool
) -> None:
    shell("apply -f -", FOR_A_NODE)
    faults = Faults(Random(0), crash_at=at, crash_after=is_after, longest_delay=0)
    shell.wrap = lambda store: FaultyStore(store, faults)
    with pytest.raises(Crash):
        shell("delete node node1")
    shell.wrap = lambda store: store
    assert shell("delete node node1 --skip-not-exists").status == 0
    left = sorted(set(keys(shell)) & set(OF_NODE1))
    assert all(key.startswith("IPAMHandle") for key in left)
    check = shell("ipam check").out
    assert f"Found {len(left)} handles with no matching IPs" in check
    assert f"found {len(left)} problems" in check


def test_a_node_whose_blocks_others_keep_writing_is_kept_with_the_reason(shell: Shell) -> None:
    faults = Faults(Random(0), conflict_chance=1.0, longest_delay=0)
    shell.wrap = lambda store: FaultyStore(store, faults)
    shown = shell("delete node node1")
    assert shown.err == (
        "Failed to delete 'Node' resource: addresses 10.244.166.128/32, 10.244.166.129/32:"
        " Max retries hit - excessive concurrent IPAM requests\n\n"
    )
    assert set(OF_NODE1) & set(keys(shell)) >= {"Node(node1)", "WorkloadEndpoint(default/node1-cni-a-eth0)"}


def test_what_is_left_of_a_node_that_is_gone_is_removed_all_the_same(shell: Shell) -> None:
    shell.ask(lambda store: store.delete(Key("Node", "node1")))
    shown = shell("delete node node1")
    assert shown.err == "Failed to delete 'Node' resource: resource does not exist: Node(node1) with error: <nil>\n\n"
    assert set(keys(shell)).isdisjoint(OF_NODE1)


def test_a_pool_goes_and_its_blocks_lose_their_nodes_but_no_address_is_taken(shell: Shell) -> None:
    assert shell("delete ippool default-ipv4-ippool").status == 0
    assert not [key for key in keys(shell) if key.startswith("BlockAffinity")]
    assert shell("ipam show --show-blocks").out.splitlines()[-2] == (
        "| Block    | 10.244.166.128/26 |         64 |     2 (3%) |       0 (0%) |          62 (97%) |"
    )
    assert "affinity=<none>" in shell("ipam check").out
    assert shell("ipam show --ip 10.244.104.0").out.startswith("IP 10.244.104.0 is in use\n")


def test_a_pool_with_an_old_revision_is_not_deleted(shell: Shell) -> None:
    old = shell("get ippool small -o yaml").out
    shell("""patch ippool small -p '{"spec":{"natOutgoing":true}}'""")
    shown = shell("delete -f -", old)
    assert shown.err == "Failed to delete 'IPPool' resource: update conflict: IPPool(small)\n\n"
    assert "IPPool(small)" in keys(shell)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("tier kube-admin", "operation Delete is not supported on kube-admin: Cannot delete kube-admin tier"),
        ("tier sec", "operation delete is not supported on sec: Cannot delete a non-empty tier"),
        (
            "profile projectcalico-default-allow",
            "operation Delete is not supported on projectcalico-default-allow:"
            ' The profile "projectcalico-default-allow" is a default provided by Calico and cannot be deleted',
        ),
        ("clusterinfo default", "operation delete is not supported on ClusterInformation"),
        (
            "policy knp.default.x",
            "operation delete is not supported on NetworkPolicy(default/knp.default.x):"
            " kubernetes network policies must be managed through the kubernetes API",
        ),
    ],
)
def test_what_may_not_be_deleted_stays(shell: Shell, words: str, complaint: str) -> None:
    for resource in (
        Resource("Tier", "sec", spec={"order": 1}),
        Resource("GlobalNetworkPolicy", "sec.p", spec={"tier": "sec"}),
        Resource("NetworkPolicy", "knp.default.x", "default"),
    ):
        shell.ask(lambda store, resource=resource: store.create(resource))
    before = keys(shell)
    assert complaint in shell(f"delete {words}").err
    assert keys(shell) == before


def test_of_several_names_those_that_are_there_go(shell: Shell) -> None:
    shown = shell("delete ippool none small")
    assert shown.out == "Successfully deleted 1 'IPPool' resource(s)\n"
    assert (
        shown.err == "Failed to delete 'IPPool' resource: resource does not exist: IPPool(none) with error: <nil>\n\n"
    )
    assert shown.status == 1


def test_what_is_not_there_may_be_left_out(shell: Shell) -> None:
    assert str(shell("delete ippool none small --skip-not-exists")) == (
        "Successfully deleted 2 'IPPool' resource(s)\n[rc 0]"
    )


def test_everything_of_a_file_is_deleted(shell: Shell) -> None:
    shown = shell("delete -f -", (GOLDEN / "pools_and_nodes.yaml").read_text())
    assert str(shown) == "Successfully deleted 6 resource(s)\n[rc 0]"
    assert [key for key in keys(shell) if not key.startswith(("Tier", "ClusterInformation"))] == []
