"""Objects that Calico wrote, as documents and back: nothing is lost, and nothing is written that it would not write."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from datastore import names
from datastore.codec import decode
from datastore.kubernetes import nodes, pods
from datastore.kubernetes.groups import Group
from datastore.kubernetes.objects import converted_uid, from_object, is_deleted, to_object
from datastore.resource import Key, Resource
from datastore.resources import BlockAffinity, IPAMBlock, Node, WorkloadEndpoint

GOLDEN = Path(__file__).parents[3] / "golden" / "kubernetes"
Object = Mapping[str, Any]


def stored(group: Group) -> list[Object]:
    name = "crd_v1.json" if group is Group.V1 else "projectcalico_v3.json"
    found: list[Object] = json.loads((GOLDEN / name).read_text())
    return found


def named(group: Group, kind: str, name: str) -> Object:
    return next(each for each in stored(group) if (each["kind"], each["metadata"]["name"]) == (kind, name))


def kind_of(found: Object) -> str:
    return "IPAMConfiguration" if found["kind"] == "IPAMConfig" else str(found["kind"])


CUSTOM = [
    pytest.param(group, each, id=f"{group.name} {each['kind']} {each['metadata']['name']}")
    for group in Group
    for each in stored(group)
    if each["apiVersion"] != "v1"
]


@pytest.mark.parametrize(("group", "found"), CUSTOM)
def test_a_custom_resource_that_is_read_and_written_is_the_same(group: Group, found: Object) -> None:
    written = to_object(group, from_object(group, kind_of(found), found))
    of_the_server = {"generation": found["metadata"]["generation"]}
    assert {**written, "metadata": {**written["metadata"], **of_the_server}} == found


def test_a_user_sees_the_metadata_in_the_annotation_and_not_the_annotation() -> None:
    resource = from_object(Group.V1, "BlockAffinity", named(Group.V1, "BlockAffinity", "knode1-10-244-195-128-26"))
    assert resource.annotations == {}
    assert sorted(resource.labels) == [
        "projectcalico.org/affinity-type",
        "projectcalico.org/hostname-hash",
        "projectcalico.org/ip-version",
    ]
    assert decode(BlockAffinity, resource).node == "knode1"
    assert not decode(BlockAffinity, resource).is_deleted


def test_the_uid_that_a_user_sees_is_another_than_the_objects() -> None:
    assert converted_uid("30316465-6365-4463-ad63-3564622d3638") == "0c8c26a6-c6a6-44c6-adc6-ac2646b46c1c"
    assert converted_uid("0c8c26a6-c6a6-44c6-adc6-ac2646b46c1c") == "30316465-6365-4463-ad63-3564622d3638"
    assert converted_uid("no uid") == "no uid"


def test_labels_of_the_user_go_into_the_annotation_alone_and_calicos_own_also_onto_the_object() -> None:
    labels = {"mine": "1", "projectcalico.org/tier": "t"}
    written = to_object(Group.V1, Resource("IPPool", "p", labels=labels, annotations={"note": "ü"}))
    assert written["metadata"]["labels"] == {"projectcalico.org/tier": "t"}
    assert written["metadata"]["annotations"] == {
        "projectcalico.org/metadata": '{"labels":{"mine":"1","projectcalico.org/tier":"t"},"annotations":{"note":"ü"}}'
    }


def test_a_policy_keeps_its_name_and_one_of_an_older_calico_loses_its_prefix() -> None:
    written = to_object(Group.V1, Resource("NetworkPolicy", "np", "prod"))
    assert written["metadata"]["annotations"]["projectcalico.org/metadata"] == '{"name":"np"}'
    old = {**written, "metadata": {**written["metadata"], "name": "default.np", "annotations": {}}}
    unpacked = {**old, "metadata": {**old["metadata"], "annotations": {"projectcalico.org/metadata": "{}"}}}
    assert from_object(Group.V1, "NetworkPolicy", unpacked).name == "np"


def test_an_object_that_kubectl_made_is_read_too() -> None:
    found = {
        "kind": "IPPool",
        "metadata": {"name": "p", "labels": {"a": "b"}, "uid": ""},
        "spec": {"cidr": "10.0.0.0/8"},
    }
    resource = from_object(Group.V1, "IPPool", found)
    assert (resource.labels, resource.spec) == ({"a": "b"}, {"cidr": "10.0.0.0/8"})


def test_owners_are_named_as_the_group_names_them() -> None:
    uid = "30316465-6365-4463-ad63-3564622d3638"
    owner = {"apiVersion": "projectcalico.org/v3", "kind": "Tier", "name": "t", "uid": uid}
    resource = Resource("IPPool", "p", metadata={"ownerReferences": [owner]})
    written = to_object(Group.V1, resource)
    packed = json.loads(written["metadata"]["annotations"]["projectcalico.org/metadata"])
    assert packed["ownerReferences"][0] == {
        **owner,
        "apiVersion": "crd.projectcalico.org/v1",
        "uid": converted_uid(uid),
    }
    assert from_object(Group.V1, "IPPool", written).metadata == resource.metadata


def test_fields_that_a_definition_demands_are_written_and_not_shown() -> None:
    block = Resource("IPAMBlock", "10-0-0-0-26", spec={"cidr": "10.0.0.0/26"})
    written = to_object(Group.V1, block)
    assert written["spec"] == {"cidr": "10.0.0.0/26", "deleted": False, "strictAffinity": False}
    assert from_object(Group.V1, "IPAMBlock", written).spec == block.spec
    affinity = to_object(Group.V1, Resource("BlockAffinity", "a", spec={"node": "n"}))
    assert affinity["spec"]["deleted"] == "false"
    assert to_object(Group.V3, Resource("BlockAffinity", "a", spec={"node": "n"}))["spec"]["deleted"] is False


def test_what_calico_marked_as_deleted_is_seen_in_either_form() -> None:
    assert is_deleted({"spec": {"deleted": "true"}})
    assert is_deleted({"spec": {"deleted": True}})
    assert not is_deleted({"spec": {"deleted": "false"}})


def test_a_block_is_read_as_address_management_needs_it() -> None:
    found = named(Group.V1, "IPAMBlock", "10-244-195-128-26")
    block = decode(IPAMBlock, from_object(Group.V1, "IPAMBlock", found))
    assert (block.node, block.sequence, len(block.free)) == ("knode1", 1795327771050870730, 62)


# --- nodes -----------------------------------------------------------------------------------------------------------


def annotated(found: Object, patch: Object) -> dict[str, str]:
    """The node's annotations once the patch is merged into them."""
    merged = {**found["metadata"].get("annotations", {}), **patch["metadata"]["annotations"]}
    return {name: value for name, value in merged.items() if value is not None}


NODES = [
    pytest.param(each, id=f"{group.name} {each['metadata']['name']}")
    for group in Group
    for each in stored(group)
    if each["kind"] == "Node"
]


@pytest.mark.parametrize("found", NODES)
def test_a_node_that_is_read_and_written_is_the_same(found: Object) -> None:
    patch = nodes.patch_of(nodes.from_node(found))
    assert annotated(found, patch) == found["metadata"]["annotations"]
    assert patch["metadata"]["resourceVersion"] == found["metadata"]["resourceVersion"]


def test_a_node_is_read_from_its_annotations() -> None:
    node = decode(Node, nodes.from_node(named(Group.V1, "Node", "knode2")))
    assert (str(node.ipv4), str(node.vxlan_tunnel_address), node.as_number) == ("172.30.0.2/24", "10.244.69.193", 64999)
    assert nodes.from_node(named(Group.V1, "Node", "knode3")).annotations == {"projectcalico.org/kube-labels": "null"}


def test_a_node_has_the_labels_of_kubernetes_and_writes_back_only_its_own() -> None:
    found = {
        "metadata": {
            "name": "n",
            "labels": {"zone": "a"},
            "annotations": {"projectcalico.org/labels": '{"rack":"7"}', "theirs": "stays"},
        }
    }
    node = nodes.from_node(found)
    assert node.labels == {"rack": "7", "zone": "a"}
    assert annotated(found, nodes.patch_of(node)) == found["metadata"]["annotations"]


def test_what_a_node_says_wrongly_is_passed_over() -> None:
    wrong = {
        "IPv4Address": "no address",
        "IPv4VXLANTunnelAddr": "10.0.0.1",
        "ASNumber": "many",
        "Interfaces": "{",
        "labels": "[]",
        "VXLANTunnelMACAddr": "66:xx",
    }
    annotations = {f"projectcalico.org/{name}": value for name, value in wrong.items()}
    node = nodes.from_node({"metadata": {"name": "n", "annotations": annotations}})
    assert node.spec == {
        "ipv4VXLANTunnelAddr": "10.0.0.1",
        "orchRefs": [{"nodeName": "n", "orchestrator": "k8s"}],
    }


def test_an_address_that_is_taken_away_goes_from_the_node() -> None:
    found = named(Group.V1, "Node", "knode1")
    node = nodes.from_node(found)
    without = {name: value for name, value in node.spec.items() if name != "ipv4VXLANTunnelAddr"}
    written = nodes.patch_of(Resource("Node", "knode1", spec=without, annotations=node.annotations, labels=node.labels))
    assert written["metadata"]["annotations"]["projectcalico.org/IPv4VXLANTunnelAddr"] is None


def test_with_host_local_addresses_the_tunnel_has_the_first_of_the_pod_cidr() -> None:
    node = nodes.from_node(named(Group.V1, "Node", "knode1"), use_pod_cidr=True)
    assert node.spec["bgp"]["ipv4IPIPTunnelAddr"] == "10.245.1.1"


# --- pods ------------------------------------------------------------------------------------------------------------


def pod(**changes: Any) -> dict[str, Any]:
    found = {**named(Group.V1, "Pod", "p2"), **changes}
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


def networks(found: Object) -> list[str]:
    resource = pods.from_pod(found)
    assert resource is not None
    return [str(each) for each in decode(WorkloadEndpoint, resource).networks]


def test_a_pod_is_an_endpoint() -> None:
    resource = pods.from_pod(named(Group.V1, "Pod", "p2"))
    assert resource is not None
    assert resource.key == Key("WorkloadEndpoint", "knode1-k8s-p2-eth0", "default")
    assert resource.spec == {
        "orchestrator": "k8s",
        "node": "knode1",
        "containerID": "kcid2",
        "pod": "p2",
        "endpoint": "eth0",
        "ipNetworks": ["10.244.195.129/32"],
        "profiles": ["kns.default"],
        "interfaceName": names.pod_device("default", "p2"),
    }
    assert resource.labels["projectcalico.org/orchestrator"] == "k8s"


def test_a_pod_without_a_node_or_in_its_nodes_network_is_none() -> None:
    assert pods.from_pod(pod(spec={})) is None
    assert pods.from_pod(pod(spec={"nodeName": "n", "hostNetwork": True})) is None


def test_what_the_plugin_wrote_counts_before_what_the_kubelet_says() -> None:
    """The kubelet may not know yet of the pod's new address, or that its last one is gone."""
    late = {"podIPs": [{"ip": "10.0.0.9"}], "podIP": "10.0.0.9"}
    assert networks(pod(status=late)) == ["10.244.195.129/32"]
    released = pod(status=late)
    released["metadata"]["annotations"] |= {pods.POD_IP: "", pods.POD_IPS: ""}
    assert networks(released) == []
    other_plugin = pod(status=late)
    other_plugin["metadata"]["annotations"] = {}
    assert networks(other_plugin) == ["10.0.0.9/32"]


def test_a_pod_that_has_ended_has_no_address() -> None:
    assert networks(pod(status={"phase": "Succeeded", "podIP": "10.0.0.9"})) == []


def test_an_endpoints_name_names_its_pod() -> None:
    assert pods.pod_of(Key("WorkloadEndpoint", "node--1-k8s-my--pod-eth0", "x")) == "my-pod"
    assert pods.pod_of(Key("WorkloadEndpoint", "node1-cni-abc-eth0", "x")) == ""


def test_a_patch_says_the_addresses_and_another_takes_them_away() -> None:
    resource = pods.from_pod(named(Group.V1, "Pod", "p2"))
    assert resource is not None
    annotations = named(Group.V1, "Pod", "p2")["metadata"]["annotations"]
    assert pods.patch_in(resource)["metadata"] == {"annotations": annotations, "uid": resource.uid}
    gone = {**annotations, **pods.patch_out(revision="", uid="")["metadata"]["annotations"]}
    assert gone == {**named(Group.V1, "Pod", "p1")["metadata"]["annotations"], pods.CONTAINER_ID: "kcid2"}


def test_named_ports_and_ports_of_the_host_are_the_endpoints() -> None:
    containers = [
        {
            "ports": [
                {"containerPort": 80, "name": "http"},
                {"containerPort": 81},
                {"containerPort": 53, "hostPort": 53, "protocol": "UDP"},
            ]
        }
    ]
    resource = pods.from_pod(pod(spec={"nodeName": "n", "containers": containers, "serviceAccountName": "sa"}))
    assert resource is not None
    assert [(each["name"], each["protocol"], each["port"], each["hostPort"]) for each in resource.spec["ports"]] == [
        ("http", "TCP", 80, 0),
        ("", "UDP", 53, 53),
    ]
    assert resource.spec["profiles"] == ["kns.default", "ksa.default.sa"]
