"""What ``cluster diags`` asks kubectl, and which file each answer goes to. Pure.

Calico's pods are looked for where upstream looks, in namespaces named after it, and in kube-system, where the manifest
without an operator puts them. Secrets are not asked for at all; upstream collects some and blots their contents out.
Source: Calico calicoctl/commands/cluster/diags.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple


class Question(NamedTuple):
    """``path`` is below the archive's folder."""

    about: str
    command: str
    path: str


_ACROSS_NAMESPACES = (
    "configmaps", "daemonsets", "deployments", "endpoints", "endpointslices", "pods", "pv", "pvc", "sc", "services",
    "statefulsets", "jobs", "cronjobs", "events", "networkpolicies.networking.k8s.io",
    "network-attachment-definitions.k8s.cni.cncf.io",
)  # fmt: skip
_OF_THE_CLUSTER = (
    "nodes", "namespaces", "clusterroles", "clusterrolebindings", "customresourcedefinitions",
    "validatingwebhookconfigurations.admissionregistration.k8s.io",
    "mutatingwebhookconfigurations.admissionregistration.k8s.io", "apiservices.apiregistration.k8s.io",
)  # fmt: skip
_ON_A_NODE = {
    "iptables (legacy)": ("iptables-legacy-save -c", "iptables-legacy-save"),
    "iptables (nft)": ("iptables-nft-save -c", "iptables-nft-save"),
    "nftables": ("nft -n -a list ruleset", "nft-ruleset"),
    "ip routes": ("ip route show table all", "ip-route"),
    "ipv6 routes": ("ip -6 route show table all", "ip-route-v6"),
    "ip rule": ("ip rule", "ip-rule"),
    "ip addr": ("ip addr", "ip-addr"),
    "ip link": ("ip link", "ip-link"),
    "ip neigh": ("ip neigh", "ip-neigh"),
    "ipset list": ("ipset list", "ipset-list"),
    "BGP status": ("calicoctl node status", "bgp-status"),
    "tc qdisc": ("tc qdisc show", "tc-qdisc"),
}
_OURS = ("projectcalico", "tigera")
AGENT = "calico-node"
"""The DaemonSet's pods begin like that; its container is called so, or else any of them will do."""

VERSION = Question("Collect kubernetes Client and Server version", "kubectl version -o yaml", "cluster/version.yaml")
NODES = "kubectl get nodes -o json"
PODS = "kubectl get pods --all-namespaces -o json"
DEFINITIONS = "kubectl get customresourcedefinitions -o json"


def of_kubernetes() -> Iterator[Question]:
    for resource in _ACROSS_NAMESPACES:
        yield from _listings(resource, resource, "--all-namespaces", "cluster/kubernetes")
    for resource in _OF_THE_CLUSTER:
        yield from _listings(resource, resource, "", "cluster/kubernetes")


def of_calico(definitions: Iterable[Mapping[str, Any]]) -> Iterator[Question]:
    """Every kind of Calico's that the cluster has. A name alone would be ambiguous where two groups are served."""
    for each in definitions:
        name: str = each["metadata"]["name"]
        if any(word in name for word in _OURS):
            plural, _, group = name.partition(".")
            version = next((said["name"] for said in each["spec"]["versions"] if said.get("storage")), "v1")
            yield from _listings(
                f"Calico {name}", f"{plural}.{version}.{group}", "--all-namespaces", "cluster/crd", name
            )


def _listings(about: str, resource: str, scope: str, folder: str, name: str = "") -> Iterator[Question]:
    for words, output, ending in (("yaml", "yaml", "yaml"), ("wide text", "wide", "txt")):
        command = " ".join(filter(None, ("kubectl get", resource, scope, "-o", output)))
        yield Question(f"Collect {about} ({words})", command, f"{folder}/{name or resource}.{ending}")


# --- pods ---------------------------------------------------------------------------------------------------------


class Pod(NamedTuple):
    namespace: str
    name: str
    node: str
    owner: str
    """Those of one DaemonSet or Deployment share it."""
    restarted: tuple[str, ...]
    """The containers that have a log of a life before this one."""
    container: str
    """Where to run what tells about its node."""


def calicos_pods(listed: Iterable[Mapping[str, Any]]) -> list[Pod]:
    return [pod for pod in map(_pod, listed) if _is_calicos(pod)]


def _pod(found: Mapping[str, Any]) -> Pod:
    metadata, status = found["metadata"], found.get("status") or {}
    containers = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
    restarted = (each["name"] for each in containers if each.get("restartCount") or _ended_before(each))
    owners = metadata.get("ownerReferences") or ({"name": metadata["name"]},)
    spec = found.get("spec") or {}
    named = [each["name"] for each in spec.get("containers") or ()]
    container = AGENT if AGENT in named or not named else named[0]
    node = spec.get("nodeName", "")
    return Pod(metadata["namespace"], metadata["name"], node, owners[0]["name"], tuple(restarted), container)


def _ended_before(container: Mapping[str, Any]) -> bool:
    return bool((container.get("lastState") or {}).get("terminated"))


def _is_calicos(pod: Pod) -> bool:
    if pod.namespace == "kube-system":
        return pod.name.startswith("calico-")
    return "calico" in pod.namespace or "tigera" in pod.namespace


def chosen(pods: Iterable[Pod], nodes: Sequence[str], *, most: int) -> list[Pod]:
    """At most so many of each owner, those on the first of ``nodes`` first."""
    by_owner: dict[tuple[str, str], list[Pod]] = {}
    for pod in pods:
        by_owner.setdefault((pod.namespace, pod.owner), []).append(pod)
    place = {node: at for at, node in enumerate(dict.fromkeys(nodes))}
    return [
        pod
        for several in by_owner.values()
        for pod in sorted(several, key=lambda pod: (place.get(pod.node, len(place)), pod.name))[:most]
    ]


def of_pod(pod: Pod, *, since: str) -> Iterator[Question]:
    folder, where = f"nodes/{pod.node}/{pod.namespace}", f"-n {pod.namespace}"
    logs = f"kubectl logs --since={since} {where} {pod.name} --all-containers"
    yield Question(f"Collect logs for pod {pod.name}", logs, f"{folder}/{pod.name}.log")
    described = f"kubectl {where} describe pods {pod.name}"
    yield Question(f"Collect describe for pod {pod.name}", described, f"{folder}/{pod.name}.txt")
    for container in pod.restarted:
        before = f"kubectl logs --previous --since={since} {where} {pod.name} -c {container}"
        about = f"Collect previous logs for container {container} in pod {pod.name}"
        yield Question(about, before, f"{folder}/{pod.name}.{container}.previous.log")


def of_agent(pod: Pod) -> Iterator[Question]:
    """What the node says of its own networking."""
    for about, (command, name) in _ON_A_NODE.items():
        asked = f"kubectl exec -n {pod.namespace} {pod.name} -c {pod.container} -- {command}"
        yield Question(f"Collect {about} for node {pod.node}", asked, f"nodes/{pod.node}/{name}.txt")
