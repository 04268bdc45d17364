"""v1.Pod → the document of its WorkloadEndpoint, and the patches that say which addresses a pod has. Pure.

Every scheduled pod that has a network of its own is an endpoint, with addresses or without. What the CNI plugin writes
are three annotations; the rest follows from the pod. They count before the pod's status: the status is the kubelet's,
which learns of a new address, or of none, only later.
Source: Calico libcalico-go/lib/backend/k8s/conversion, resources/workloadendpoint.go.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from typing import Any

from datastore import names
from datastore.resource import Key, Resource

Object = Mapping[str, Any]
Json = dict[str, Any]

_CNI = "cni.projectcalico.org/"
POD_IP = _CNI + "podIP"
POD_IPS = _CNI + "podIPs"
CONTAINER_ID = _CNI + "containerID"
_FLOATING_IPS = _CNI + "floatingIPs"
_SOURCE_PREFIXES = _CNI + "allowedSourcePrefixes"
_AMAZON_IPS = "vpc.amazonaws.com/pod-ips"
_NETWORK_STATUS = "k8s.v1.cni.cncf.io/network-status"
_FINISHED = ("Failed", "Succeeded", "Completed")
_LONGEST_LABEL = 63
_INTERFACE = "eth0"


def pod_of(key: Key) -> str:
    """The pod that a WorkloadEndpoint's name names; "" if it is no Kubernetes pod's."""
    parts = names.endpoint_parts(key.name)
    return parts[2] if len(parts) == 4 and parts[1] == "k8s" else ""


def endpoint_of(node: str, pod: str) -> str:
    """The name of the WorkloadEndpoint that a pod there is."""
    return names.of_endpoint(node, "k8s", pod, _INTERFACE)


def from_pod(pod: Object) -> Resource | None:
    """None for a pod that is no endpoint: not on a node yet, or in its node's own network.

    Raises ValueError, TypeError, KeyError or AttributeError where the pod says what cannot be read.
    """
    metadata, spec = pod["metadata"], pod["spec"]
    node = spec.get("nodeName") or ""
    if not node or spec.get("hostNetwork"):
        return None
    annotations: Mapping[str, str] = metadata.get("annotations") or {}
    namespace, account = metadata["namespace"], spec.get("serviceAccountName") or ""
    networks = _networks(pod, annotations)
    document: Json = {
        "orchestrator": "k8s",
        "node": node,
        "containerID": annotations.get(CONTAINER_ID, ""),
        "pod": metadata["name"],
        "endpoint": _INTERFACE,
        "serviceAccountName": account,
        "ipNetworks": networks,
        "ipNATs": _floating(annotations, networks),
        "profiles": [f"kns.{namespace}", *([f"ksa.{namespace}.{account}"] if account else [])],
        "interfaceName": names.pod_device(namespace, metadata["name"]),
        "ports": _ports(spec),
        "allowSpoofedSourcePrefixes": _source_prefixes(annotations),
    }
    status = annotations.get(_NETWORK_STATUS)
    generated = metadata.get("generateName")
    return Resource(
        kind="WorkloadEndpoint",
        name=endpoint_of(node, metadata["name"]),
        namespace=namespace,
        spec={name: value for name, value in document.items() if value},
        labels=_labels(metadata, namespace, account),
        annotations={} if status is None else {_NETWORK_STATUS: status},
        metadata={"generateName": generated} if generated else {},
        uid=metadata.get("uid") or "",
        created=metadata.get("creationTimestamp") or "",
        revision=metadata.get("resourceVersion") or "",
    )


def patch_in(resource: Resource) -> Json:
    """The pod has these addresses. Only the uid is compared: the kubelet writes pods all the time, and lets nobody
    else add a pod's network meanwhile."""
    networks: Sequence[str] = resource.spec.get("ipNetworks") or ()
    said = {POD_IP: networks[0], POD_IPS: ",".join(networks)} if networks else {}
    if container := resource.spec.get("containerID"):
        said[CONTAINER_ID] = container
    return _patch(said, uid=resource.uid)


def patch_out(*, revision: str, uid: str) -> Json:
    """The pod has no address any more. Which container it had is left to be read."""
    return _patch({POD_IP: "", POD_IPS: ""}, revision=revision, uid=uid)


def _patch(annotations: Mapping[str, str], *, revision: str = "", uid: str = "") -> Json:
    metadata: Json = {"annotations": dict(annotations)}
    if revision:
        metadata["resourceVersion"] = revision
    if uid:
        metadata["uid"] = uid
    return {"metadata": metadata}


def _networks(pod: Object, annotations: Mapping[str, str]) -> list[str]:
    status = pod.get("status") or {}
    if status.get("phase") in _FINISHED:
        return []
    if (of_plugin := _said(annotations, POD_IPS, POD_IP)) is not None:
        found = of_plugin.split(",") if of_plugin else []
    elif of_status := [each["ip"] for each in status.get("podIPs") or ()] or list(filter(None, [status.get("podIP")])):
        found = of_status
    else:
        found = list(filter(None, annotations.get(_AMAZON_IPS, "").split(",")))
    return [str(ip_network(each.strip())) for each in found]


def _said(annotations: Mapping[str, str], *which: str) -> str | None:
    """The first of them that is not empty, "" where there are only empty ones, None where there is none."""
    there = [annotations[name] for name in which if name in annotations]
    return next(filter(None, there), "") if there else None


def _labels(metadata: Object, namespace: str, account: str) -> Mapping[str, str]:
    labels = dict(metadata.get("labels") or {})
    labels["projectcalico.org/namespace"] = namespace
    labels["projectcalico.org/orchestrator"] = "k8s"
    if account and len(account) < _LONGEST_LABEL:
        labels["projectcalico.org/serviceaccount"] = account
    return labels


def _floating(annotations: Mapping[str, str], networks: Sequence[str]) -> list[Json]:
    """Addresses from outside that lead to the pod's own of their family."""
    own = {ip_network(each).version: each.partition("/")[0] for each in networks}
    outside: Sequence[str] = json.loads(annotations.get(_FLOATING_IPS) or "[]")
    pairs = ((own.get(6 if ":" in address else 4), address) for address in outside)
    return [{"internalIP": inside, "externalIP": address} for inside, address in pairs if inside]


def _source_prefixes(annotations: Mapping[str, str]) -> list[str]:
    return [str(ip_network(each, strict=False)) for each in json.loads(annotations.get(_SOURCE_PREFIXES) or "[]")]


def _ports(spec: Object) -> list[Json]:
    """The ports that have a name or stand on the host."""
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    ports = [port for container in containers for port in container.get("ports") or ()]
    return [_port(port) for port in ports if port.get("containerPort") and (port.get("hostPort") or port.get("name"))]


def _port(port: Object) -> Json:
    return {
        "name": port.get("name") or "",
        "protocol": port.get("protocol") or "TCP",
        "port": port["containerPort"],
        "hostPort": port.get("hostPort") or 0,
        "hostIP": port.get("hostIP") or "",
    }
