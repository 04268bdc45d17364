"""Writes the definitions of the custom resources: ``python manifests/crds.py``.

What a field may hold is said once, in datastore/schema; here it becomes OpenAPI, as a structural schema that the API
server checks and prunes by. Names, required fields, short names and status subresources are Calico's, so that what
either program has written is the other's too.
Source: Calico manifests/v1_crd_projectcalico_org.yaml; Kubernetes apiextensions.k8s.io/v1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from datastore.kubernetes.groups import BUILT_IN, VIEWS, WITH_STATUS, Group, kind_in, plural_in, resource_name
from datastore.resource import KINDS, Kind
from datastore.schema import notation, table_of
from manifests import pool_rules

Json = dict[str, Any]

FILES = {Group.V1: "base/crds.yaml", Group.V3: "overlays/v3/crds.yaml"}
_HEADER = "# Written by manifests/crds.py from datastore/schema; do not edit.\n"

_REQUIRED = {
    "BlockAffinity": ("cidr", "deleted", "node", "state"),
    "IPAMBlock": ("allocations", "attributes", "cidr", "strictAffinity", "unallocated"),
    "IPAMConfiguration": ("autoAllocateBlocks", "strictAffinity"),
    "IPAMHandle": ("block", "handleID"),
    "IPPool": ("cidr",),
    "KubeControllersConfiguration": ("controllers",),
}
_SHORT_NAMES = {
    "BGPConfiguration": ("bgpconfig", "bgpconfigs"),
    "BlockAffinity": ("affinity", "affinities"),
    "ClusterInformation": ("clusterinfo", "clusterinfos"),
    "FelixConfiguration": ("felixconfig", "felixconfigs"),
    "GlobalNetworkPolicy": ("gnp", "cgnp"),
    "GlobalNetworkSet": ("gns",),
    "HostEndpoint": ("hep", "heps"),
    "IPAMConfiguration": ("ipamconfig", "ipamconfigs"),
    "IPPool": ("ipp", "ipps", "pool", "pools"),
    "KubeControllersConfiguration": ("kcc", "kccs"),
    "NetworkPolicy": ("cnp", "caliconetworkpolicy"),
    "NetworkSet": ("netset", "netsets"),
    "StagedGlobalNetworkPolicy": ("sgnp",),
    "StagedKubernetesNetworkPolicy": ("sknp",),
    "StagedNetworkPolicy": ("scnp", "snp"),
}
_COLUMNS = {
    "IPPool": {"CIDR": "cidr", "VXLAN": "vxlanMode", "IPIP": "ipipMode", "NAT": "natOutgoing"},
    "BGPPeer": {"Node": "node", "Peer IP": "peerIP", "Peer ASN": "asNumber"},
    "BlockAffinity": {"CIDR": "cidr", "Node": "node", "Type": "type"},
    "IPAMBlock": {"CIDR": "cidr", "Affinity": "affinity"},
    "IPAMHandle": {"ID": "handleID"},
    "ClusterInformation": {"Ready": "datastoreReady", "Types": "clusterType"},
    "Tier": {"Order": "order", "DefaultAction": "defaultAction"},
}
_RULES = {"IPPool": pool_rules.OF_SPEC}
_FIELD_RULES = {"IPPool": pool_rules.OF_FIELDS}
_INT_OR_STRING = {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True}
_SPECIAL: dict[str, Json] = {
    "v1.Time": {"type": "string", "format": "date-time"},
    "v1.Duration": {"type": "string"},
    "numorstring.ASNumber": {"type": "integer", "format": "int64", "minimum": 0, "maximum": 4294967295},
    "numorstring.Port": _INT_OR_STRING,
    "numorstring.Protocol": _INT_OR_STRING,
    "numorstring.DSCP": _INT_OR_STRING,
    "intstr.IntOrString": _INT_OR_STRING,
}


def definition(group: Group, kind: Kind) -> Json:
    plural, name = plural_in(group, kind.name), kind_in(group, kind.name)
    names: Json = {"kind": name, "listKind": f"{name}List", "plural": plural, "singular": name.lower()}
    version: Json = {"name": group.value.rpartition("/")[2], "served": True, "storage": True}
    version["schema"] = {"openAPIV3Schema": _whole(group, kind)}
    if kind.name in WITH_STATUS:
        version["subresources"] = {"status": {}}
    if group is Group.V3:
        if kind.name in _SHORT_NAMES:
            names["shortNames"] = list(_SHORT_NAMES[kind.name])
        if kind.name in _COLUMNS:
            version["additionalPrinterColumns"] = _columns(kind.name)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": resource_name(group, kind.name)},
        "spec": {
            "group": group.domain,
            "names": names,
            "scope": "Namespaced" if kind.is_namespaced else "Cluster",
            "versions": [version],
        },
    }


def definitions(group: Group) -> list[Json]:
    return [definition(group, kind) for name, kind in sorted(KINDS.items()) if name not in (*VIEWS, *BUILT_IN)]


def text(group: Group) -> str:
    documents = yaml.dump_all(definitions(group), Dumper=_Plain, sort_keys=False, width=120)
    return _HEADER + documents


def _columns(kind: str) -> list[Json]:
    fields = {field.name: field for field in _spec_of(kind).fields}
    columns = [
        {"name": title, "type": _schema(fields[name].shape).get("type", "string"), "jsonPath": f".spec.{name}"}
        for title, name in _COLUMNS[kind].items()
    ]
    return [*columns, {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}]


def _spec_of(kind: str) -> notation.Struct:
    shape = next(field.shape for field in table_of(kind).fields if field.name == "spec")
    assert isinstance(shape, notation.Struct)
    return shape


def _whole(group: Group, kind: Kind) -> Json:
    spec = _schema(_spec_of(kind.name))
    if kind.name in _REQUIRED:
        spec["required"] = list(_REQUIRED[kind.name])
    if kind.name in _RULES:
        spec["x-kubernetes-validations"] = _RULES[kind.name]
    for name, rules in _FIELD_RULES.get(kind.name, {}).items():
        spec["properties"][name]["x-kubernetes-validations"] = rules
    if group is Group.V1 and kind.name == "BlockAffinity":
        spec["properties"]["deleted"] = {"type": "string", "enum": ["true", "false", ""]}
    properties: Json = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": spec,
    }
    status = next((field.shape for field in table_of(kind.name).fields if field.name == "status"), None)
    if status is not None:
        properties["status"] = _schema(status)
    return {"type": "object", "properties": properties}


def _schema(shape: notation.Shape) -> Json:
    match shape:
        case notation.Boolean():
            return {"type": "boolean"}
        case notation.Text():
            return _text(shape)
        case notation.Number(go, low, high, allowed):
            whole: Json = {"type": "integer", "format": "int32" if go == "int32" else "int64"}
            whole |= {"minimum": low} if low is not None else {}
            whole |= {"maximum": high} if high is not None else {}
            return whole | ({"enum": list(allowed)} if allowed else {})
        case notation.Decimal():
            return {"type": "number"}
        case notation.Special(go, pattern):
            return {**_SPECIAL[go], **({"pattern": pattern} if pattern else {})}
        case notation.Anything():
            return {"x-kubernetes-preserve-unknown-fields": True}
        case notation.Each():
            return _list(shape)
        case notation.Mapping(value):
            return {"type": "object", "additionalProperties": _schema(value)}
        case notation.Struct():
            return _object(shape)


def _text(shape: notation.Text) -> Json:
    allowed = [each for each in shape.allowed if not shape.narrower or each in shape.narrower]
    whole: Json = {"type": "string"}
    for name, value in (
        ("enum", allowed),
        ("minLength", shape.shortest),
        ("maxLength", shape.longest),
        ("pattern", shape.pattern),
        ("format", shape.form),
    ):
        if value:
            whole[name] = value
    return whole


def _list(shape: notation.Each) -> Json:
    items = _schema(shape.item)
    whole: Json = {"type": "array", "items": {**items, "nullable": True} if shape.is_pointer else items}
    whole |= {"minItems": shape.least} if shape.least else {}
    return whole | ({"maxItems": shape.most} if shape.most is not None else {})


def _object(shape: notation.Struct) -> Json:
    properties = {field.name: _field(field) for field in shape.fields}
    whole: Json = {"type": "object", "properties": properties}
    required = [field.name for field in shape.fields if field.is_required]
    whole |= {"required": required} if required else {}
    whole |= {"minProperties": shape.least} if shape.least else {}
    return whole | ({"maxProperties": shape.most} if shape.most is not None else {})


def _field(field: notation.Field) -> Json:
    whole = _schema(field.shape)
    return whole | ({"default": field.default} if field.default is not None else {})


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


if __name__ == "__main__":
    for each, file in FILES.items():
        (Path(__file__).parent / file).write_text(text(each))
