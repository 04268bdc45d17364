"""What becomes of a user's document before it is stored: defaults filled in, rules checked, both as upstream does.

Pure: what takes other objects to judge is handed in. Documents are canonical (:mod:`datastore.schema.reading`); the
result is what is written. Source: Calico libcalico-go/lib/clientv3, api/pkg/defaults.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from datastore import names
from datastore.schema import table_of
from datastore.schema.reading import canonical
from datastore.store import Rejected
from datastore.unset import DEFAULT_TIER, NAME_ANNOTATION, TIER_LABEL, tier_spec
from datastore.validate import Flaw, Invalid, validated

Document = Mapping[str, Any]

POLICIES = ("NetworkPolicy", "GlobalNetworkPolicy", "StagedNetworkPolicy", "StagedGlobalNetworkPolicy")


def admitted(document: Document) -> dict[str, Any]:
    """The document as it is stored. Raises Rejected (Invalid, with every flaw)."""
    kind = document["kind"]
    filled = _FILLED.get(kind, _as_it_is)(document)
    whole = validated(canonical(table_of(kind), filled))
    return dict(_STAMPED.get(kind, _as_it_is)(whole))


def _as_it_is(document: Document) -> Document:
    return document


def _name(document: Document) -> str:
    return str(document["metadata"].get("name", ""))


# --- before the rules are asked -----------------------------------------------------------------------------------


def _felix(document: Document) -> Document:
    spec = document["spec"]
    fields = {
        "floatingIPs": "Disabled",
        "bpfConnectTimeLoadBalancing": "TCP",
        "bpfHostNetworkedNATWithoutCTLB": "Enabled",
    }
    filled = {**fields, **spec}
    if "bpfConnectTimeLoadBalancingEnabled" in spec:
        is_on = spec["bpfConnectTimeLoadBalancingEnabled"]
        filled["bpfHostNetworkedNATWithoutCTLB"] = "Disabled"
        filled["bpfConnectTimeLoadBalancing"] = "Enabled" if is_on else "Disabled"
    return {**document, "spec": filled}


def _tier(document: Document) -> Document:
    return {**document, "spec": tier_spec(document["spec"])}


def _policy(document: Document) -> Document:
    spec = dict(document["spec"])
    spec["types"] = spec.get("types") or _types_of(spec)
    if spec.get("stagedAction") == "Delete":
        del spec["types"]
    labels = document["metadata"].get("labels") or {}
    labels = {**labels, TIER_LABEL: spec.get("tier") or DEFAULT_TIER}
    return {**document, "metadata": {**document["metadata"], "labels": labels}, "spec": spec}


def _types_of(spec: Document) -> list[str]:
    """What a policy without types is about: what it has rules for, and ingress where it has none."""
    if not spec.get("egress"):
        return ["Ingress"]
    return ["Ingress", "Egress"] if spec.get("ingress") else ["Egress"]


def _controllers(document: Document) -> Document:
    spec = {"prometheusMetricsPort": 9094, **document["spec"]}
    controllers = dict(spec["controllers"])
    if "node" in controllers:
        controllers["node"] = {"leakGracePeriod": "15m0s", **controllers["node"]}
        _check_templates(controllers["node"].get("hostEndpoint", {}).get("templates", ()))
    return {**document, "spec": {**spec, "controllers": controllers}}


def _check_templates(templates: Iterable[Document]) -> None:
    field = "KubeControllersConfiguration.Node.HostEndpoint.Templates"
    seen: set[str] = set()
    for template in templates:
        name = template.get("generateName", "")
        if not name:
            raise Invalid([Flaw(field, "Template name must be specified")])
        if len(name) > 253:
            raise Invalid([Flaw(field, "Template name must be shorter than 253 characters")])
        if name in seen:
            raise Invalid([Flaw(f"{field}.{name}", "Template name must be unique")])
        if not (template.get("interfaceCIDRs") or template.get("interfacePattern")):
            raise Invalid([Flaw(f"{field}.{name}", "InterfaceCIDRs or InterfacePattern must be specified")])
        seen.add(name)


def _endpoint(document: Document) -> Document:
    """The name of a workload endpoint follows from its parts."""
    expected = names.of_endpoint(*_parts(document["spec"]))
    given = _name(document)
    if given and given != expected:
        why = "the WorkloadEndpoint name does not match the primary identifiers assigned in the Spec: expected name"
        raise Invalid([Flaw("Name", f"{why} {expected}", given)])
    return {**document, "metadata": {**document["metadata"], "name": expected}}


_WORKLOAD_FIELD = {"k8s": "pod", "cni": "containerID", "libnetwork": "orchestrator"}


def _parts(spec: Document) -> list[str]:
    if not spec.get("node"):
        raise Invalid([Flaw("node", "field should be assigned")])
    workload = _WORKLOAD_FIELD.get(spec.get("orchestrator", ""), "workload")
    parts = {field: str(spec.get(field, "")) for field in ("node", "orchestrator", workload, "endpoint")}
    for field, value in parts.items():
        if not value:
            raise Invalid([Flaw(field, "field should be assigned", value)])
        if value[0] == "-" or value[-1] == "-":
            where = "begin" if value[0] == "-" else "end"
            raise Invalid([Flaw(field, f"field must not {where} with a '-'", value)])
    return [spec["node"], spec["orchestrator"], parts[workload], parts["endpoint"]]


# --- after the rules have been asked ------------------------------------------------------------------------------


def _stamped_policy(document: Document) -> Document:
    metadata = document["metadata"]
    told = json.dumps({"name": metadata["name"]}, separators=(",", ":"))
    return {
        **document,
        "metadata": {**metadata, "annotations": {**metadata.get("annotations", {}), NAME_ANNOTATION: told}},
    }


def _stamped_endpoint(document: Document) -> Document:
    metadata = document["metadata"]
    labels = {
        **metadata.get("labels", {}),
        "projectcalico.org/namespace": metadata.get("namespace", ""),
        "projectcalico.org/orchestrator": document["spec"].get("orchestrator", ""),
    }
    return {**document, "metadata": {**metadata, "labels": labels}}


_ONLY_IN_DEFAULT = {
    "nodeToNodeMeshEnabled": ("NodeToNodeMeshEnabled", "nodeToNodeMeshEnabled"),
    "asNumber": ("ASNumber", "ASNumber"),
    "serviceLoadBalancerIPs": ("ServiceLoadBalancerIPs", "ServiceLoadBalancerIPs"),
    "serviceExternalIPs": ("ServiceExternalIPs", "ServiceExternalIPs"),
    "serviceClusterIPs": ("ServiceClusterIPs", "ServiceClusterIPs"),
    "nodeMeshPassword": ("NodeMeshPassword", "nodeMeshPassword"),
    "nodeMeshMaxRestartTime": ("NodeMeshMaxRestartTime", "nodeMeshMaxRestartTime"),
}


def _of_all_nodes(document: Document) -> Document:
    """Most of BGPConfiguration is of the whole cluster, and so only in ``default``."""
    flaws = [
        Flaw(f"BGPConfiguration.Spec.{go}", f"Cannot set {called} on a non default BGP Configuration.")
        for field, (go, called) in _ONLY_IN_DEFAULT.items()
        if field in document["spec"]
    ]
    if flaws and _name(document) != "default":
        raise Invalid(flaws)
    return document


def _only_default(called: str) -> Callable[[Document], Document]:
    def check(document: Document) -> Document:
        if _name(document) != "default":
            raise Rejected("", f'Cannot create {called} resource with a name other than "default"')
        return document

    return check


_FILLED: Mapping[str, Callable[[Document], Document]] = {
    **dict.fromkeys(POLICIES, _policy),
    "FelixConfiguration": _felix,
    "KubeControllersConfiguration": _controllers,
    "Tier": _tier,
    "WorkloadEndpoint": _endpoint,
}
_STAMPED: Mapping[str, Callable[[Document], Document]] = {
    **dict.fromkeys(POLICIES, _stamped_policy),
    "BGPConfiguration": _of_all_nodes,
    "IPAMConfiguration": _only_default("an IPAMConfiguration"),
    "KubeControllersConfiguration": _only_default("a Kube Controllers Configuration"),
    "WorkloadEndpoint": _stamped_endpoint,
}
