"""v1.Node ⇄ the document of a Calico Node. Pure.

Calico's part of a node stands in its annotations; labels are Kubernetes' and, in an annotation, those that were set
through Calico. A value that cannot be meant is passed over, never an error: the rest of the node still counts.
Source: Calico libcalico-go/lib/backend/k8s/resources/node.go.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address, ip_network
from typing import Any

from datastore.resource import Resource

Object = Mapping[str, Any]
Json = dict[str, Any]

_PREFIX = "projectcalico.org/"
LABELS = _PREFIX + "labels"
ANNOTATIONS = _PREFIX + "annotations"
KUBERNETES_LABELS = _PREFIX + "kube-labels"
"""In the document alone: the labels that are Kubernetes', so that writing it does not make them Calico's."""
INTERFACES = _PREFIX + "Interfaces"
_AS_NUMBER = _PREFIX + "ASNumber"


def _mac(text: str) -> str:
    if len(parts := text.split(":")) != 6 or any(len(part) != 2 for part in parts):
        raise ValueError(text)
    bytes.fromhex("".join(parts))
    return text


_FIELDS: Mapping[str, tuple[tuple[str, ...], Callable[[str], object]]] = {
    "IPv4Address": (("spec", "bgp", "ipv4Address"), IPv4Interface),
    "IPv6Address": (("spec", "bgp", "ipv6Address"), IPv6Interface),
    "IPv4IPIPTunnelAddr": (("spec", "bgp", "ipv4IPIPTunnelAddr"), IPv4Address),
    "RouteReflectorClusterID": (("spec", "bgp", "routeReflectorClusterID"), IPv4Address),
    "IPv4VXLANTunnelAddr": (("spec", "ipv4VXLANTunnelAddr"), IPv4Address),
    "IPv6VXLANTunnelAddr": (("spec", "ipv6VXLANTunnelAddr"), IPv6Address),
    "VXLANTunnelMACAddr": (("spec", "vxlanTunnelMACAddr"), _mac),
    "VXLANTunnelMACAddrV6": (("spec", "vxlanTunnelMACAddrV6"), _mac),
    "IPv4WireguardInterfaceAddr": (("spec", "wireguard", "interfaceIPv4Address"), IPv4Address),
    "IPv6WireguardInterfaceAddr": (("spec", "wireguard", "interfaceIPv6Address"), IPv6Address),
    "WireguardPublicKey": (("status", "wireguardPublicKey"), str),
    "WireguardPublicKeyV6": (("status", "wireguardPublicKeyV6"), str),
}
"""Annotation → its place in the document, and what reads it (raises ValueError)."""


def from_node(node: Object, *, use_pod_cidr: bool = False) -> Resource:
    """``use_pod_cidr``: addresses are host-local's, so the tunnel's is the first of the node's pod CIDR."""
    metadata = node["metadata"]
    annotations: Mapping[str, str] = metadata.get("annotations") or {}
    whole = _fields(annotations)
    spec: Json = whole["spec"]
    if use_pod_cidr and (tunnel := _first_address((node.get("spec") or {}).get("podCIDR") or "")):
        spec.setdefault("bgp", {})["ipv4IPIPTunnelAddr"] = tunnel
    spec["orchRefs"] = [{"nodeName": metadata["name"], "orchestrator": "k8s"}]
    if addresses := _addresses(spec.get("bgp") or {}, node.get("status") or {}):
        spec["addresses"] = addresses
    if interfaces := _interfaces(annotations.get(INTERFACES, "")):
        spec["interfaces"] = interfaces
    status: Json = whole["status"]
    if pod_cidrs := (node.get("spec") or {}).get("podCIDRs"):
        status["podCIDRs"] = list(pod_cidrs)
    kubernetes_labels = metadata.get("labels")
    mark = json.dumps(kubernetes_labels, sort_keys=True, separators=(",", ":"))
    return Resource(
        kind="Node",
        name=metadata["name"],
        spec=spec,
        status=status,
        labels={**_mapping(annotations.get(LABELS, "")), **(kubernetes_labels or {})},
        annotations={**_mapping(annotations.get(ANNOTATIONS, "")), KUBERNETES_LABELS: mark},
        uid=metadata.get("uid") or "",
        created=metadata.get("creationTimestamp") or "",
        revision=metadata.get("resourceVersion") or "",
    )


def patch_of(resource: Resource) -> Json:
    """The merge patch of the node's status that makes it say what the document says; None takes an annotation away.

    Carries revision and uid, so that a rival's write makes it fail.
    """
    wanted: dict[str, str | None] = {_PREFIX + name: _text(resource, path) for name, (path, _) in _FIELDS.items()}
    number = (resource.spec.get("bgp") or {}).get("asNumber")
    wanted[_AS_NUMBER] = None if number is None else str(number)
    interfaces = resource.spec.get("interfaces")
    wanted[INTERFACES] = _compact(interfaces) if interfaces else None
    own = {name: value for name, value in resource.annotations.items() if name != KUBERNETES_LABELS}
    kubernetes = _mapping(resource.annotations.get(KUBERNETES_LABELS, ""))
    labels = {name: value for name, value in resource.labels.items() if name not in kubernetes}
    wanted[ANNOTATIONS] = _compact(dict(sorted(own.items()))) if own else None
    wanted[LABELS] = _compact(dict(sorted(labels.items()))) if labels else None
    metadata: Json = {"annotations": wanted, "resourceVersion": resource.revision}
    if resource.uid:
        metadata["uid"] = resource.uid
    return {"metadata": metadata}


def _fields(annotations: Mapping[str, str]) -> Json:
    whole: Json = {"spec": {}, "status": {}}
    for name, (path, read) in _FIELDS.items():
        if text := annotations.get(_PREFIX + name, ""):
            with suppress(ValueError):
                read(text)
                _put(whole, path, text)
    with suppress(ValueError, KeyError):
        _put(whole, ("spec", "bgp", "asNumber"), _as_number(annotations[_AS_NUMBER]))
    return whole


def _as_number(text: str) -> int:
    """Plain, or as RFC 5396 writes it with a dot."""
    high, dot, low = text.rpartition(".")
    number = (int(high) << 16) + int(low) if dot else int(text)
    if not 0 <= number < 1 << 32:
        raise ValueError(text)
    return number


def _first_address(cidr: str) -> str:
    with suppress(ValueError):
        network = ip_network(cidr)
        if network.version == 4:
            return str(network.network_address + 1)
    return ""


def _addresses(bgp: Object, status: Object) -> list[Json]:
    own = [bgp[name] for name in ("ipv4Address", "ipv6Address") if name in bgp]
    theirs = [each for each in status.get("addresses") or () if each.get("type") in ("InternalIP", "ExternalIP")]
    return [{"address": address, "type": "CalicoNodeIP"} for address in own] + [
        {"address": each["address"], "type": each["type"]} for each in theirs
    ]


def _interfaces(text: str) -> Sequence[Json]:
    try:
        return [{**each, "addresses": list(filter(_is_address, each["addresses"]))} for each in json.loads(text)]
    except (ValueError, TypeError, KeyError):
        return []


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _mapping(text: str) -> Mapping[str, str]:
    with suppress(ValueError):
        found = json.loads(text)
        if isinstance(found, dict):
            return found
    return {}


def _text(resource: Resource, path: tuple[str, ...]) -> str | None:
    here: Any = {"spec": resource.spec, "status": resource.status or {}}
    for step in path:
        here = (here or {}).get(step)
    return here or None


def _put(tree: Json, path: tuple[str, ...], value: object) -> None:
    for step in path[:-1]:
        tree = tree.setdefault(step, {})
    tree[path[-1]] = value


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
