"""Network policies, tiers, profiles and sets: the rules that hold whoever enforces them.

Source: Calico validator.go (validateRule, validateEntityRule, validateNetworkPolicySpec ...), the CRDs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

from datastore.addresses import read_cidr
from datastore.schema.go_text import text_of
from datastore.schema.notation import Struct
from datastore.schema.policies import StagedGlobalNetworkPolicySpec, StagedNetworkPolicySpec
from datastore.schema.rules import HTTPMatch, HTTPPath, ServiceMatch
from datastore.validate import Room
from datastore.validate.checks import LABEL_FORMAT, NAME_FORMAT
from datastore.validate.claims import Claim
from datastore.validate.flaw import Flaw
from datastore.validate.metadata import (
    LONGEST_LABEL,
    LONGEST_NAME,
    check_annotations,
    check_labels,
    check_policy_name,
    too_long,
)
from datastore.validate.ports import check_port, check_protocol, has_ports, is_named

Json = Mapping[str, Any]

_POLICY_NAME = re.compile(rf"{LABEL_FORMAT}(\.{LABEL_FORMAT})?|(?:knp|ossg)\.default\.{NAME_FORMAT}")
_GLOBAL_POLICY_NAME = re.compile(rf"({LABEL_FORMAT}\.)?{LABEL_FORMAT}")
_TIER_NAME = re.compile(LABEL_FORMAT)

_NUMBERS_NEED_A_PROTOCOL = "rules with numeric port or port range must set protocol to TCP or UDP or SCTP"
_PORTS_NEED_A_PROTOCOL = "rules that specify ports must set protocol to TCP or UDP or SCTP"
_CATCH_ALL = ("0.0.0.0/0", "::/0")

# --- one rule -----------------------------------------------------------------------------------------------------


def _check_rule(rule: Json) -> Iterable[Flaw]:
    yield from _check_ports(rule)
    yield from _check_families(rule)


def _check_ports(rule: Json) -> Iterable[Flaw]:
    protocol = rule.get("protocol")
    for half in ("source", "destination"):
        for field in ("ports", "notPorts"):
            ports = rule.get(half, {}).get(field, [])
            name = f"{half.capitalize()}.{field[0].upper()}{field[1:]}"
            if protocol is None and not all(map(is_named, ports)):
                yield Flaw(name, _NUMBERS_NEED_A_PROTOCOL, ports)
            elif protocol is not None and ports and not has_ports(protocol):
                yield Flaw(name, _PORTS_NEED_A_PROTOCOL, ports)


def _check_families(rule: Json) -> Iterable[Flaw]:
    """One rule is about one family, whichever of its four lists says so."""
    seen: set[int] = set()
    source = rule.get("source", {})
    for half in ("source", "destination"):
        for field, name in (("nets", "Nets"), ("notNets", "NotNets")):
            nets = rule.get(half, {}).get(field, [])
            where = f"{half.capitalize()}.{name}"
            families: set[int] = set()
            for net in nets:
                yield from _check_net(net, where, families, is_negated=field == "notNets")
            if "ipVersion" in rule and families - {rule["ipVersion"]}:
                yield Flaw(where, "rule IP version doesn't match CIDR version", source.get("nets", []))
            if families and len(families | seen) > 1:
                yield Flaw(where, "rule contains both IPv4 and IPv6 CIDRs", nets)
            seen |= families


def _check_net(net: str, where: str, families: set[int], *, is_negated: bool) -> Iterable[Flaw]:
    try:
        _, network = read_cidr(net)
    except ValueError:
        yield Flaw(where, "invalid CIDR", net)
        return
    families.add(network.version)
    if is_negated and str(network) in _CATCH_ALL and (network.version == 6 or net == str(network)):
        yield Flaw(where, "catch-all CIDR in negation creates logical contradiction (matches no traffic)", net)


def _check_entity(entity: Json) -> Iterable[Flaw]:
    selector = entity.get("namespaceSelector", "")
    if "global(" in selector and re.sub(r"\s", "", selector) != "global()":
        yield Flaw("NamespaceSelector field", "global() cannot be combined with other selectors", selector)


def _check_http(http: Json) -> Iterable[Flaw]:
    methods = http.get("methods", [])
    if len(set(methods)) != len(methods):
        yield Flaw("Methods", f"Invalid methods (duplicates): [{' '.join(methods)}]", methods)
    paths = http.get("paths", [])
    if why := next(filter(None, map(_path_flaw, paths)), ""):
        yield Flaw("Paths", why, [text_of(HTTPPath, path) for path in paths])


def _path_flaw(path: Json) -> str:
    exact, prefix = path.get("exact", ""), path.get("prefix", "")
    if exact and prefix:
        return "Invalid path match. Both 'exact' and 'prefix' are set"
    wanted = exact or prefix
    if not wanted:
        return "Invalid path match. Either 'exact' or 'prefix' must be set"
    if not wanted.startswith("/") or any(each in wanted for each in "? #"):
        return f"Invalid path {wanted}. (must start with `/` and not contain `?` or `#`"
    return ""


# --- a policy -----------------------------------------------------------------------------------------------------


def _check_policy(document: Json) -> Iterable[Flaw]:
    yield from check_policy_name(document, _POLICY_NAME, longest=LONGEST_NAME)
    yield from _check_rules(document["spec"], "NetworkPolicySpec", "rule")


def _check_global_policy(document: Json) -> Iterable[Flaw]:
    yield from check_policy_name(document, _GLOBAL_POLICY_NAME, longest=LONGEST_NAME)
    yield from _check_global_rules(document["spec"])


def _check_global_rules(spec: Json) -> Iterable[Flaw]:
    yield from _check_rules(spec, "GlobalNetworkPolicySpec", "rules")
    served = chain(
        (rule.get("destination", {}) for rule in spec.get("egress", ())),
        (rule.get("source", {}) for rule in spec.get("ingress", ())),
    )
    for entity in served:
        if "services" in entity and not entity["services"].get("namespace"):
            yield Flaw("Namespace", "must specify a namespace", "")


def _check_rules(spec: Json, name: str, egress_word: str) -> Iterable[Flaw]:
    yield from _check_types(spec.get("types", []), f"{name}.Types")
    for rule in spec.get("egress", ()):
        if "services" in rule.get("source", {}):
            yield Flaw("Services", "not allowed in egress rule source", _services_text(rule["source"]))
        if "http" in rule:
            yield Flaw("HTTP", f"not allowed in egress {egress_word}", f"&{text_of(HTTPMatch, rule['http'])}")
    for rule in spec.get("ingress", ()):
        if "services" in rule.get("destination", {}):
            yield Flaw("Services", "not allowed in ingress rule destination", _services_text(rule["destination"]))


def _check_types(types: list[str], field: str) -> Iterable[Flaw]:
    seen: set[str] = set()
    for each in types:
        if each in seen:
            yield Flaw(field, f"'{each}' type specified more than once", types)
        seen.add(each)


def _services_text(entity: Json) -> str:
    return f"&{text_of(ServiceMatch, entity['services'])}"


# --- what is staged, and the others -------------------------------------------------------------------------------


def _check_staged_policy(document: Json) -> Iterable[Flaw]:
    yield from check_policy_name(document, _POLICY_NAME, longest=LONGEST_NAME)
    spec = document["spec"]
    if spec.get("stagedAction") == "Delete":
        yield from _check_deletion(spec, StagedNetworkPolicySpec)
    else:
        yield from _check_rules(spec, "NetworkPolicySpec", "rule")


def _check_staged_global_policy(document: Json) -> Iterable[Flaw]:
    yield from check_policy_name(document, _GLOBAL_POLICY_NAME, longest=LONGEST_NAME)
    spec = document["spec"]
    if spec.get("stagedAction") == "Delete":
        yield from _check_deletion(spec, StagedGlobalNetworkPolicySpec)
    else:
        yield from _check_global_rules(spec)


def _check_deletion(spec: Json, table: Struct) -> Iterable[Flaw]:
    if set(spec) - {"stagedAction", "tier"}:
        why = "Spec fields, except Tier, should all be zero-value if stagedAction is Delete"
        yield Flaw(table.name, why, text_of(table, spec))


def _check_staged_kubernetes_policy(document: Json) -> Iterable[Flaw]:
    metadata, spec = document["metadata"], document["spec"]
    yield from too_long(metadata.get("name", ""), LONGEST_NAME)
    yield from check_annotations(metadata)
    yield from check_labels(metadata)
    if spec.get("stagedAction") == "Delete" and any(spec[field] for field in spec if field != "stagedAction"):
        why = "Spec fields should all be zero-value if stagedAction is Delete"
        from datastore.schema.kubernetes_policy import StagedKubernetesNetworkPolicySpec as Spec

        yield Flaw(Spec.name, why, text_of(Spec, spec))


def _check_tier(document: Json) -> Iterable[Flaw]:
    yield from check_policy_name(document, _TIER_NAME, longest=LONGEST_LABEL)


def _check_set(document: Json) -> Iterable[Flaw]:
    reserved = "projectcalico.org/namespace"
    if reserved in (document["metadata"].get("labels") or {}):
        yield Flaw("Metadata.Labels (label)", f"{reserved} is not a valid label name", reserved)


# --- what must hold between fields --------------------------------------------------------------------------------

_ICMP: tuple[int | str, ...] = ("ICMP", 1)
_ICMP_V6: tuple[int | str, ...] = ("ICMPv6", 58)


def _not_global(selector: str) -> Claim:
    return Claim(
        lambda holder: "global(" not in holder.get(selector, ""),
        "global() can only be used in an EntityRule namespaceSelector",
    )


def _of_version(field: str, protocol: tuple[int | str, ...], version: int) -> Claim:
    return Claim(
        lambda rule: rule.get(field) not in protocol or rule.get("ipVersion", version) == version,
        f"protocol {protocol[0]} requires ipVersion {version}",
    )


def _none_of(*fields: str) -> Claim:
    """A service decides by itself which addresses it means."""
    told = "/".join(field[0].upper() + field[1:] for field in fields)
    return Claim(
        lambda entity: "services" not in entity or not any(entity.get(field) for field in fields),
        f"cannot specify {told} and Services on the same rule",
    )


def _no_ports_with_services(rule: Json) -> bool:
    destination = rule.get("destination", {})
    return "services" not in destination or not (destination.get("ports") or destination.get("notPorts"))


_RULE = (
    Claim(
        lambda rule: "http" not in rule or rule.get("protocol", "TCP") in ("TCP", 6),
        "rules with HTTP match must have protocol TCP or unset",
    ),
    Claim(lambda rule: rule["action"] == "Allow" or "http" not in rule, "HTTP match is only valid on Allow rules"),
    Claim(_no_ports_with_services, "ports and notPorts cannot be specified with services"),
    Claim(
        lambda rule: "icmp" not in rule or rule.get("protocol") in (*_ICMP, *_ICMP_V6),
        "ICMP fields require protocol to be ICMP or ICMPv6",
    ),
    _of_version("protocol", _ICMP, 4),
    _of_version("protocol", _ICMP_V6, 6),
    _of_version("notProtocol", _ICMP, 4),
    _of_version("notProtocol", _ICMP_V6, 6),
)
_ENTITY = (
    _not_global("selector"),
    _none_of("namespaceSelector"),
    Claim(
        lambda entity: "services" not in entity or "serviceAccounts" not in entity,
        "cannot specify ServiceAccounts and Services on the same rule",
    ),
    Claim(
        lambda entity: "services" not in entity or bool(entity["services"].get("name")),
        "services must specify a service name",
    ),
    _none_of("selector", "notSelector"),
    _none_of("nets", "notNets"),
)
_POLICY = (_not_global("selector"), _not_global("serviceAccountSelector"))
_GLOBAL_POLICY = (
    Claim(
        lambda spec: not (spec.get("doNotTrack") and spec.get("preDNAT")), "preDNAT and doNotTrack cannot both be true"
    ),
    Claim(lambda spec: not (spec.get("preDNAT") and spec.get("egress")), "preDNAT policy cannot have any egress rules"),
    Claim(
        lambda spec: not (spec.get("preDNAT") and "Egress" in spec.get("types", ())),
        "preDNAT policy cannot have 'Egress' type",
    ),
    Claim(
        lambda spec: bool(spec.get("applyOnForward")) or not (spec.get("doNotTrack") or spec.get("preDNAT")),
        "applyOnForward must be true if either preDNAT or doNotTrack is true",
    ),
    *_POLICY,
    _not_global("namespaceSelector"),
)
_WELL_KNOWN_TIERS = {
    "kube-admin": (1_000, "Pass"),
    "kube-baseline": (10_000_000, "Pass"),
    "default": (1_000_000, "Deny"),
}


def _acts(name: str, action: str) -> Claim:
    return Claim(
        lambda tier: tier["metadata"].get("name") != name or tier["spec"].get("defaultAction") == action,
        f"The '{name}' tier must have default action '{action}'",
    )


def _stands(name: str, order: int) -> Claim:
    return Claim(
        lambda tier: tier["metadata"].get("name") != name or tier["spec"].get("order") == order,
        f"{name} tier order must be {order}",
    )


_TIER = (
    *(_acts(name, action) for name, (_, action) in _WELL_KNOWN_TIERS.items()),
    *(_stands(name, _WELL_KNOWN_TIERS[name][0]) for name in ("default", "kube-admin", "kube-baseline")),
)

ROOM = Room(
    checks={
        "v3.Rule": _check_rule,
        "v3.EntityRule": _check_entity,
        "v3.HTTPMatch": _check_http,
        "v3.RuleMetadata": check_annotations,
        "v3.NetworkPolicy": _check_policy,
        "v3.GlobalNetworkPolicy": _check_global_policy,
        "v3.StagedNetworkPolicy": _check_staged_policy,
        "v3.StagedGlobalNetworkPolicy": _check_staged_global_policy,
        "v3.StagedKubernetesNetworkPolicy": _check_staged_kubernetes_policy,
        "v3.Tier": _check_tier,
        "v3.NetworkSet": _check_set,
        "v3.GlobalNetworkSet": _check_set,
        "numorstring.Port": check_port,
        "numorstring.Protocol": check_protocol,
    },
    claims={
        "v3.Rule": _RULE,
        "v3.EntityRule": _ENTITY,
        "v3.ICMPFields": (
            Claim(lambda icmp: "code" not in icmp or "type" in icmp, "ICMP code specified without an ICMP type"),
        ),
        "v3.NetworkPolicySpec": _POLICY,
        "v3.StagedNetworkPolicySpec": _POLICY,
        "v3.GlobalNetworkPolicySpec": _GLOBAL_POLICY,
        "v3.StagedGlobalNetworkPolicySpec": _GLOBAL_POLICY,
        "v3.Tier": _TIER,
    },
)
