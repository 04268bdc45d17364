"""networking.k8s.io NetworkPolicy → the document of the NetworkPolicy that it means to Calico. Pure.

They are shown among Calico's own with ``knp.default.`` before their names, as Calico up to 3.31 shows them, and are
Kubernetes' to write. Each rule is one of ours for every protocol and peer that it names.
Source: Calico libcalico-go/lib/backend/k8s/conversion/conversion.go (K8sNetworkPolicyToCalico).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_network
from itertools import chain
from typing import Any
from urllib.parse import quote

from datastore.kubernetes.objects import converted_uid
from datastore.policies import OF_KUBERNETES
from datastore.resource import Resource

Object = Mapping[str, Any]
Port = int | str

RESOURCE = "networkpolicies.networking.k8s.io"
_GROUP = "/apis/networking.k8s.io/v1"
_ORDER = 1000
_POD = "projectcalico.org/orchestrator == 'k8s'"
_ANY: tuple[Object, ...] = ({},)


def path(namespace: str = "") -> str:
    """Of all, or of a namespace's."""
    return (
        f"{_GROUP}/namespaces/{quote(namespace, safe='')}/networkpolicies" if namespace else f"{_GROUP}/networkpolicies"
    )


def from_policy(found: Object) -> Resource:
    """Raises ValueError, TypeError, KeyError or AttributeError where it says what cannot be read."""
    metadata, spec = found["metadata"], found.get("spec") or {}
    ingress = [rule for each in spec.get("ingress") or () for rule in _rules(each, "from", "source")]
    egress = [rule for each in spec.get("egress") or () for rule in _rules(each, "to", "destination")]
    asked = spec.get("policyTypes") or ()
    document = {
        "tier": "default",
        "order": _ORDER,
        "ingress": ingress,
        "egress": egress,
        "selector": _selector(spec.get("podSelector"), _POD),
        "types": [each for each in ("Ingress", "Egress") if each in asked] or ["Ingress"],
    }
    return Resource(
        "NetworkPolicy",
        OF_KUBERNETES + metadata["name"],
        metadata["namespace"],
        spec={name: value for name, value in document.items() if value},
        uid=converted_uid(metadata.get("uid") or ""),
        created=metadata.get("creationTimestamp") or "",
        revision=metadata.get("resourceVersion") or "",
    )


def _rules(rule: Object, peers: str, far_end: str) -> Iterator[dict[str, Any]]:
    """Nobody named is everybody, no port is all of them."""
    for protocol, ports in sorted(_ports_by_protocol(rule.get("ports") or ()).items()):
        for peer in rule.get(peers) or _ANY:
            said: dict[str, Any] = {"action": "Allow", "source": {}, "destination": {}}
            if protocol:
                said["protocol"] = protocol
            if ports:
                said["destination"]["ports"] = ports
            said[far_end] = {**_peer(peer), **said[far_end]} if peer else said[far_end]
            yield said


def _ports_by_protocol(named: Sequence[Object]) -> Mapping[str, Sequence[Port]]:
    """A protocol without ports is all of its ports; one that is named so once stays so."""
    if not named:
        return {"": ()}
    found: dict[str, list[Port]] = {}
    whole = {_protocol(each) for each in named if each.get("port") is None}
    for each in named:
        ports = found.setdefault(_protocol(each), [])
        if _protocol(each) not in whole:
            end = each.get("endPort")
            ports.append(each["port"] if end is None else f"{each['port']}:{end}")
    return {protocol: _merged(ports) for protocol, ports in found.items()}


def _protocol(port: Object) -> str:
    return port.get("protocol") or "TCP"


def _merged(ports: Sequence[Port]) -> Sequence[Port]:
    """Numbers that touch become ranges, after the ports that have names."""
    spans = [_span(each) for each in ports]
    named = [each for each, span in zip(ports, spans, strict=True) if not span]
    if len(ports) - len(named) <= 1:
        return ports
    numbers = set(chain.from_iterable(spans))
    starts = sorted(number for number in numbers if number - 1 not in numbers)
    ends = sorted(number for number in numbers if number + 1 not in numbers)
    return named + [low if low == high else f"{low}:{high}" for low, high in zip(starts, ends, strict=True)]


def _span(port: Port) -> range:
    """Empty for a port that has a name."""
    low, _, high = str(port).partition(":")
    return range(int(low), int(high or low) + 1) if low.isdigit() else range(0)


def _peer(peer: Object) -> dict[str, Any]:
    if block := peer.get("ipBlock"):
        nets = {"nets": [_network(block["cidr"])], "notNets": [_network(each) for each in block.get("except") or ()]}
        return {name: value for name, value in nets.items() if value}
    said = {"selector": _selector(peer.get("podSelector"), _POD)}
    if (namespaces := peer.get("namespaceSelector")) is not None:
        said["namespaceSelector"] = _selector(namespaces) or "all()"
    return said


def _network(text: str) -> str:
    return str(ip_network(text, strict=False))


def _selector(selector: Object | None, *first: str) -> str:
    terms = list(first)
    for name, value in sorted(((selector or {}).get("matchLabels") or {}).items()):
        terms.append(f"{name} == '{value}'")
    for each in (selector or {}).get("matchExpressions") or ():
        terms.append(_expression(each["key"], each["operator"], each.get("values") or ()))
    return " && ".join(terms)


def _expression(name: str, operator: str, values: Sequence[str]) -> str:
    listed = ", ".join(f"'{value}'" for value in values)
    match operator:
        case "In":
            return f"{name} in {{ {listed} }}"
        case "NotIn":
            return f"{name} not in {{ {listed} }}"
        case "Exists":
            return f"has({name})"
        case "DoesNotExist":
            return f"! has({name})"
    raise ValueError(f"{operator} is no operator of a selector")
