"""What export prints, import makes the same datastore of: every object, address and name."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from calicoctl import migration
from datastore.resource import KINDS, Resource
from datastore.store import Store
from tests.unit.calicoctl.pods import add_pod
from tests.unit.calicoctl.shell import GOLDEN, Shell

MORE = """apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: {name: rack}
spec: {node: node1, peerIP: 172.30.0.99, asNumber: 65001}
---
apiVersion: projectcalico.org/v3
kind: FelixConfiguration
metadata: {name: node.node1}
spec: {mtuIfacePattern: eth0}
---
apiVersion: projectcalico.org/v3
kind: BGPConfiguration
metadata: {name: default}
spec: {asNumber: 64999, listenPort: 1790}
---
apiVersion: projectcalico.org/v3
kind: StagedNetworkPolicy
metadata: {name: later, namespace: prod}
spec: {selector: all()}
---
apiVersion: projectcalico.org/v3
kind: Profile
metadata: {name: k8s-pod-network}
spec: {egress: [{action: Allow}]}
"""


@pytest.fixture
def old() -> Shell:
    shell = Shell()
    assert shell("apply -f -", (GOLDEN / "pools_and_nodes.yaml").read_text()).status == 0
    assert shell("apply -f -", MORE).status == 0
    add_pod(shell, "node1", "a", "10.244.166.128")
    add_pod(shell, "node2", "b", "10.244.166.129")
    assert shell("ipam configure --strictaffinity=true").status == 0
    shell("datastore migrate lock")
    return shell


def contents(shell: Shell) -> dict[str, Resource]:
    """Every object, without what each datastore has of its own; admission gives endpoints their labels."""

    async def work(store: Store) -> dict[str, Resource]:
        items = [item for kind in KINDS for item in (await store.list(kind)).items]
        bare = (replace(item, uid="", revision="", created="") for item in items)
        return {str(item.key): _said(item) for item in bare}

    found: dict[str, Resource] = shell.ask(work)
    return found


def _said(item: Resource) -> Resource:
    spec = {key: value for key, value in item.spec.items() if (item.kind, key) != ("IPAMBlock", "strictAffinity")}
    return replace(item, spec=spec, labels={} if item.kind == "WorkloadEndpoint" else item.labels)


def test_a_datastore_that_was_exported_and_imported_is_the_same(old: Shell) -> None:
    new = Shell()
    assert str(new("datastore migrate import -f -", old("datastore migrate export").out)) == (
        "Datastore locked.\nSuccessfully applied 16 resource(s)\nImporting IPAM resources\n"
        "Successfully applied 5 IPAM resource(s)\n"
        "Datastore information successfully imported. Please refer to the datastore migration documentation for next"
        " steps.\n[rc 0]"
    )
    assert contents(new) == contents(old)


def test_what_was_imported_into_is_locked_and_not_filled_twice(old: Shell) -> None:
    new = Shell()
    text = old("datastore migrate export").out
    new("datastore migrate import -f -", text)
    assert "datastoreReady: false" in new("get clusterinfo -o yaml").out
    before = contents(new)
    assert new("datastore migrate import -f -", text).err == (
        "datastore already has Calico resources: found existing Calico IPPool resource."
        " Import into a datastore that holds none\n"
    )
    assert contents(new) == before


def test_the_text_has_upstreams_three_parts_and_its_kinds_in_upstreams_order(old: Shell) -> None:
    resources, cluster, addresses = old("datastore migrate export").out.split("===\n")
    kinds = [line.removeprefix("kind: ") for line in resources.splitlines() if line.startswith("kind: ")]
    assert kinds == [f"{kind}List" for kind in (*migration.EXPORTED, "Profile", "WorkloadEndpoint")]
    assert resources.count("\n---\n") == len(kinds) and resources.endswith("---\n")
    assert json.loads(cluster)["spec"].keys() == {"clusterGUID", "datastoreReady"}
    assert list(json.loads(addresses)) == ["block_affinities", "blocks", "handles", "config"]
    assert [each["Key"] for each in json.loads(addresses)["handles"]] == [
        "/calico/ipam/v2/handle/k8s-pod-network.a",
        "/calico/ipam/v2/handle/k8s-pod-network.b",
    ]
    assert json.loads(addresses)["config"] == {
        "Key": "/calico/ipam/v2/config",
        "Value": {
            "strict_affinity": True,
            "auto_allocate_blocks": True,
            "kubeVirtVMAddressPersistence": "Enabled",
        },
        "TTL": 0,
    }


def test_what_kubernetes_calls_a_node_is_its_name_wherever_it_is_named(old: Shell) -> None:
    refs = '{"spec":{"orchRefs":[{"nodeName":"k1.example","orchestrator":"k8s"}]}}'
    assert old(f"patch node node1 -p '{refs}'").status == 0
    exported = old("datastore migrate export")
    assert "node node1 " not in exported.err and "[WARNING] node node2 is missing a 'k8s' orchestrator" in exported.err
    new = Shell()
    assert new("datastore migrate import -f -", exported.out).status == 0
    found = contents(new)
    assert {"Node(k1.example)", "Node(node2)", "FelixConfiguration(node.k1.example)"} < set(found)
    assert found["BGPPeer(rack)"].spec["node"] == "k1.example"
    block = found["IPAMBlock(10-244-166-128-26)"].spec
    assert block["affinity"] == "host:k1.example"
    assert [each["secondary"]["node"] for each in block["attributes"]] == ["k1.example", "node2"]
    affinity = found["BlockAffinity(k1.example-10-244-166-128-26)"]
    assert affinity.spec["node"] == "k1.example"
    assert new("ipam check").out.endswith("Check complete; found 0 problems.\n")


def test_the_handle_of_a_tunnels_address_is_renamed_with_its_node() -> None:
    spec = {"handleID": "ipip-tunnel-addr-n1", "block": {"10.0.0.0/26": 1}}
    handle = migration.moved(Resource("IPAMHandle", "ipip-tunnel-addr-n1", spec=spec), {"n1": "K1"})
    assert (handle.name, handle.spec["handleID"]) == ("ipip-tunnel-addr-k1", "ipip-tunnel-addr-K1")


def test_kubernetes_own_policies_and_endpoints_stay_behind(old: Shell) -> None:
    policy = Resource("NetworkPolicy", "knp.default.x", "default", spec={"tier": "default"})
    endpoint = Resource("WorkloadEndpoint", "n-k8s-p-eth0", "default", spec={"orchestrator": "k8s", "node": "node1"})
    for each in (policy, endpoint, Resource("Profile", "kns.default")):
        old.ask(lambda store, each=each: store.create(each))
    text = old("datastore migrate export").out
    assert "knp.default.x" not in text and "n-k8s-p-eth0" not in text and "kns.default" not in text
    assert "node1-cni-a-eth0" in text


def test_only_a_locked_datastore_is_exported(old: Shell) -> None:
    old("datastore migrate unlock")
    assert str(old("datastore migrate export")) == (
        "[stderr] datastore is not locked. Run the `calicoctl datastore migrate lock` command in order to begin"
        " migration\n[rc 1]"
    )


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda text: text.replace("===\n", "---\n", 1), "imported file: - is improperly formatted. Try recreating"),
        (lambda text: text.replace("kind: IPPool\n", "kind: Unknown\n", 1), "unknown resource type (Unknown)"),
        (lambda text: text[:-20], "failed to read IPAM resources: "),
        (lambda text: text.replace("/calico/ipam/v2/handle/", "/elsewhere/"), "no object of ours has this key"),
        (lambda text: text.replace('"kind": "ClusterInformation",', "", 1).replace('"spec": {', '"spec"', 1), "read"),
    ],
)
def test_a_file_that_cannot_be_read_leaves_the_datastore_as_it_was(old: Shell, change: object, why: str) -> None:
    assert callable(change)
    new = Shell()
    shown = new("datastore migrate import -f -", change(old("datastore migrate export").out))
    assert (shown.out, shown.status) == ("", 1)
    assert why in shown.err
    assert contents(new) == {}


def test_a_cluster_without_addresses_is_imported() -> None:
    old, new = Shell(), Shell()
    old("apply -f -", (GOLDEN / "pools_and_nodes.yaml").read_text())
    old("datastore migrate lock")
    assert new("datastore migrate import -f -", old("datastore migrate export").out).status == 0
    assert contents(new) == contents(old)


def policy(name: str, kind: str = "NetworkPolicy", *, called: str = "", tier: str = "") -> Resource:
    annotations = {"projectcalico.org/metadata": json.dumps({"name": called})} if called else {}
    spec = {"selector": "all()", **({"tier": tier} if tier else {})}
    return Resource(kind, name, "prod" if kind == "NetworkPolicy" else "", spec=spec, annotations=annotations)


def test_policies_that_an_older_calico_stored_get_the_names_that_users_know() -> None:
    shell = Shell()
    stored = (
        policy("default.a"),
        policy("default.b", called="b"),
        policy("default.c", called="default.c"),
        policy("security.d", tier="security"),
        policy("default.e", "GlobalNetworkPolicy", tier="default"),
        policy("default.half"),
        policy("half"),
    )

    async def fill(store: Store) -> None:
        for each in stored:
            await store.create(each)

    shell.ask(fill)
    migrate = "datastore migrate-policy-names"
    assert shell(migrate).out == "Policy name migration complete, migrated 4 policies.\n"
    assert sorted(name for name in contents(shell) if "NetworkPolicy" in name) == [
        "GlobalNetworkPolicy(e)",
        "NetworkPolicy(prod/a)",
        "NetworkPolicy(prod/b)",
        "NetworkPolicy(prod/default.c)",
        "NetworkPolicy(prod/half)",
        "NetworkPolicy(prod/security.d)",
    ]
    assert shell(migrate).out == "Policy name migration complete, migrated 0 policies.\n"
