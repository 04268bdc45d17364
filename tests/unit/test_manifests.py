"""What users apply: the objects that the documents list, definitions as the tables say, values ready to be edited."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from datastore.kubernetes.groups import Group
from lab.apiserver import BUILT
from manifests import calico, image
from manifests.crds import FILES, definitions, text

MANIFESTS = Path(__file__).parents[2] / "manifests"
DOCUMENTED = """
bgpconfigurations bgppeers blockaffinities clusterinformations felixconfigurations globalnetworkpolicies
globalnetworksets hostendpoints ipamblocks ipamconfigs ipamhandles ippools kubecontrollersconfigurations
networkpolicies networksets
"""
OTHERS = """
configmap/calico-config clusterrole/calico-kube-controllers clusterrolebinding/calico-kube-controllers
clusterrole/calico-node clusterrolebinding/calico-node daemonset/calico-node serviceaccount/calico-node
deployment/calico-kube-controllers serviceaccount/calico-kube-controllers
"""
"""What kubectl prints in the documents, beside the definitions."""

Json = dict[str, Any]


@pytest.fixture(scope="module")
def applied() -> list[Json]:
    return [each for each in yaml.safe_load_all((MANIFESTS / "calico.yaml").read_text()) if each]


def only(objects: list[Json], kind: str, name: str) -> Json:
    (found,) = [each for each in objects if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def containers(objects: list[Json]) -> Iterator[Json]:
    for each in objects:
        if each["kind"] in ("DaemonSet", "Deployment"):
            spec = each["spec"]["template"]["spec"]
            yield from (*spec.get("initContainers", ()), *spec["containers"])


@pytest.mark.parametrize("group", Group)
def test_the_file_is_what_the_tables_say(group: Group) -> None:
    assert (MANIFESTS / FILES[group]).read_text() == text(group), "run: python manifests/crds.py"


def test_the_one_file_is_its_parts() -> None:
    assert (MANIFESTS / "calico.yaml").read_text() == calico.text(), "run: python manifests/calico.py"


def test_the_objects_that_the_documents_list_are_all_there(applied: list[Json]) -> None:
    names = {f"{each['kind'].lower()}/{each['metadata']['name']}" for each in applied}
    wanted = {f"customresourcedefinition/{plural}.crd.projectcalico.org" for plural in DOCUMENTED.split()}
    assert names >= wanted | set(OTHERS.split())
    assert len(wanted | set(OTHERS.split())) == 24


def test_the_definitions_are_those_of_the_tables(applied: list[Json]) -> None:
    made = [each for each in applied if each["kind"] == "CustomResourceDefinition"]
    assert made == json.loads(json.dumps(definitions(Group.V1)))


def test_all_that_has_a_namespace_is_in_kube_system_but_for_the_right_to_hear_nodes_leases(applied: list[Json]) -> None:
    where = {(each["kind"], each["metadata"].get("namespace", "kube-system")) for each in applied}
    assert {place for place in where if place[1] != "kube-system"} == {
        ("Role", "kube-node-lease"),
        ("RoleBinding", "kube-node-lease"),
    }


def test_the_mode_and_the_network_of_the_pool_are_ready_to_edit() -> None:
    written = (MANIFESTS / "calico.yaml").read_text()
    assert re.search(r'# Enable IPIP\n +- name: CALICO_IPV4POOL_IPIP\n +value: "off"\n', written)
    assert re.search(r'\n +- name: CALICO_IPV4POOL_CIDR\n +value: "10.244.0.0/16"\n', written)
    assert re.search(r'\n  veth_mtu: "0"\n', written)


def test_the_agent_knows_which_edit_of_the_manifest_it_is_of(applied: list[Json]) -> None:
    (agent,) = [each for each in containers(applied) if each["name"] == "calico-node"]
    (generation,) = [each for each in agent["env"] if each["name"] == "POD_TEMPLATE_GENERATION"]
    assert generation["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.labels['pod-template-generation']"


def test_felix_bgp_and_bfd_are_containers_of_one_pod_so_that_each_restarts_alone(applied: list[Json]) -> None:
    spec = only(applied, "DaemonSet", "calico-node")["spec"]["template"]["spec"]
    assert [each["name"] for each in spec["containers"]] == ["calico-node", "bgp", "bfd"]
    assert [each["name"] for each in spec["initContainers"]] == ["install-cni", "upgrade-ipam"]
    assert spec["nodeSelector"] == {"kubernetes.io/os": "linux"}
    assert spec["priorityClassName"] == "system-node-critical"
    assert {"effect": "NoSchedule", "operator": "Exists"} in spec["tolerations"]


def test_every_container_has_probes_or_ends_and_says_what_it_needs(applied: list[Json]) -> None:
    """bfd has none: a probe would take more of the processor than it does, and the kernel ends it if it spins."""
    running = [each for each in containers(applied) if each["name"] not in ("upgrade-ipam", "install-cni")]
    assert [each["name"] for each in running] == ["calico-node", "bgp", "bfd", "calico-kube-controllers"]
    for each in running:
        assert {"resources", "securityContext"} <= each.keys(), each["name"]
        assert each["name"] == "bfd" or {"livenessProbe", "readinessProbe"} <= each.keys(), each["name"]


def test_felix_alone_is_privileged(applied: list[Json]) -> None:
    assert [
        each["name"]
        for each in containers(applied)
        if each["securityContext"].get("allowPrivilegeEscalation") is not False
    ] == ["calico-node"]


def test_there_is_one_image_and_it_is_the_one_that_is_built(applied: list[Json]) -> None:
    assert {each["image"] for each in containers(applied)} == {image.NAME}
    assert {each["imagePullPolicy"] for each in containers(applied)} == {"IfNotPresent"}


def test_a_right_that_nobody_asks_for_is_not_given(applied: list[Json]) -> None:
    rules = [rule for each in applied if each["kind"] in ("ClusterRole", "Role") for rule in each["rules"]]
    assert [rule for rule in rules if "*" in (*rule["resources"], *rule["verbs"], *rule["apiGroups"])] == []
    assert not any(rule["apiGroups"] == [""] and "secrets" in rule["resources"] for rule in rules)


def test_leases_are_held_by_the_controllers_in_their_namespace_and_heard_by_agents_in_the_nodes(
    applied: list[Json],
) -> None:
    rules = [(each, rule) for each in applied for rule in each.get("rules", ()) if "leases" in rule["resources"]]
    assert [(each["kind"], each["metadata"]["namespace"], rule["verbs"]) for each, rule in rules] == [
        ("Role", "kube-node-lease", ["get", "watch"]),
        ("Role", "kube-system", ["get", "create", "update"]),
    ]


# --- kustomize --------------------------------------------------------------------------------------------------------


def built(overlay: str) -> list[Json]:
    kubectl = shutil.which("kubectl") or shutil.which("kubectl", path=str(BUILT))
    if kubectl is None:
        pytest.skip(f"kubectl is neither in PATH nor in {BUILT}")
    done = subprocess.run([kubectl, "kustomize", MANIFESTS / overlay], capture_output=True, text=True, check=True)
    return list(yaml.safe_load_all(done.stdout))


def variables(objects: list[Json], name: str) -> dict[str, str]:
    (found,) = [each for each in containers(objects) if each["name"] == name]
    return {each["name"]: each.get("value", "") for each in found["env"]}


@pytest.mark.server
def test_the_base_is_the_one_file_and_a_disruption_budget(applied: list[Json]) -> None:
    objects = built("base")
    extra = only(objects, "PodDisruptionBudget", "calico-kube-controllers")
    key = str
    assert sorted((each for each in objects if each != extra), key=key) == sorted(applied, key=key)


@pytest.mark.server
def test_the_overlay_ipip_changes_the_pools_mode_alone() -> None:
    before, after = variables(built("base"), "calico-node"), variables(built("overlays/ipip"), "calico-node")
    assert {name: value for name, value in after.items() if before[name] != value} == {"CALICO_IPV4POOL_IPIP": "Always"}


@pytest.mark.server
def test_the_overlay_vxlan_has_no_bgp() -> None:
    objects = built("overlays/vxlan")
    assert variables(objects, "calico-node")["CALICO_IPV4POOL_VXLAN"] == "Always"
    assert {"bgp", "bfd"}.isdisjoint(each["name"] for each in containers(objects))
    assert only(objects, "ConfigMap", "calico-config")["data"]["calico_backend"] == "vxlan"


@pytest.mark.server
def test_the_overlay_v3_has_the_other_group_and_no_name_twice() -> None:
    made = [each for each in built("overlays/v3") if each["kind"] == "CustomResourceDefinition"]
    assert {each["spec"]["group"] for each in made} == {"projectcalico.org"}


@pytest.mark.server
def test_the_overlay_etcd_keeps_nothing_in_kubernetes() -> None:
    objects = built("overlays/etcd")
    assert [each for each in objects if each["kind"] == "CustomResourceDefinition"] == []
    for name in ("upgrade-ipam", "calico-node", "bgp", "calico-kube-controllers"):
        assert variables(objects, name)["DATASTORE_TYPE"] == "etcdv3"
        assert "ETCD_ENDPOINTS" in variables(objects, name)


def test_both_recipes_of_the_image_set_the_same_environment() -> None:
    said = (MANIFESTS / "Containerfile").read_text()
    (line,) = [line for line in said.splitlines() if line.startswith("ENV ")]
    assert line.removeprefix("ENV ").split() == list(image.ENVIRONMENT)
