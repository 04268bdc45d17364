"""What ``datastore migrate export`` writes and ``import`` reads: a whole datastore as one text. Pure.

The form is upstream's: three parts, with ``===`` between them. First the resources that users know, as YAML, kind by
kind; then the ClusterInformation, as JSON; then IPAM's records, as JSON: as they are in etcd, key and value. Versions,
identities and times of creation stay behind. A node comes under the name that Kubernetes has for it, and so does all
that names it.

Source: Calico calicoctl/commands/datastore/migrate export.go, migrateipam.go. Unlike upstream, what BGPPeers and
HostEndpoints say of a node is renamed as well, staged policies come from all namespaces, and endpoints and profiles
that are not Kubernetes' own are taken along where there are any: no Kubernetes would make them again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from calicoctl.failure import Failure
from datastore import etcd_layout, names
from datastore.addresses import read_cidr
from datastore.resource import Resource
from datastore.store import Rejected

EXPORTED = (
    "IPPool", "BGPPeer", "Tier", "GlobalNetworkPolicy", "StagedGlobalNetworkPolicy", "GlobalNetworkSet", "HostEndpoint",
    "KubeControllersConfiguration", "NetworkPolicy", "StagedNetworkPolicy", "StagedKubernetesNetworkPolicy",
    "NetworkSet", "Node", "BGPConfiguration", "FelixConfiguration", "IPReservation", "BGPFilter",
)  # fmt: skip
"""In upstream's order: a tier stands before its policies."""
NOT_OF_KUBERNETES = ("Profile", "WorkloadEndpoint")
"""Exported where they are no view of what Kubernetes has."""
SEPARATOR = "===\n"

_TUNNEL_HANDLES = ("ipip-tunnel-addr-", "vxlan-tunnel-addr-", "wireguard-tunnel-addr-")
_ACTIONS = (
    "defaultEndpointToHostAction", "iptablesFilterAllowAction", "iptablesMangleAllowAction", "iptablesFilterDenyAction",
)  # fmt: skip
_KUBERNETES_PROFILES = ("kns.", "ksa.", "projectcalico-default-allow")

Names = Mapping[str, str]
"""What each node is called from now on."""


def is_of_kubernetes(resource: Resource) -> bool:
    """Whether Kubernetes makes it, or what it is a view of."""
    if resource.kind == "Profile":
        return resource.name.startswith(_KUBERNETES_PROFILES)
    return resource.kind == "WorkloadEndpoint" and resource.spec.get("orchestrator") == "k8s"


def name_in_kubernetes(node: Resource) -> str:
    """ "" where the node says none."""
    references = node.spec.get("orchRefs") or ()
    return next((each.get("nodeName") or "" for each in references if each.get("orchestrator") == "k8s"), "")


# --- under other names --------------------------------------------------------------------------------------------


def moved(resource: Resource, renamed: Names) -> Resource:
    """The object without what only its datastore knows, and with nodes called as ``renamed`` says."""
    bare = replace(resource, uid="", revision="", created="")
    move = _MOVED.get(resource.kind)
    return move(bare, renamed) if move else bare


def _node(node: Resource, renamed: Names) -> Resource:
    return replace(node, name=renamed.get(node.name, node.name))


def _with_node(resource: Resource, renamed: Names) -> Resource:
    node = resource.spec.get("node") or ""
    return replace(resource, spec={**resource.spec, "node": renamed[node]}) if node in renamed else resource


def _settings(resource: Resource, renamed: Names) -> Resource:
    """Those named ``node.NAME`` are one node's."""
    node = resource.name.removeprefix("node.")
    return resource if node == resource.name else replace(resource, name=f"node.{renamed.get(node, node)}")


def _felix(resource: Resource, renamed: Names) -> Resource:
    """Actions that were written by hand long ago are in any case."""
    actions = {name: resource.spec[name].capitalize() for name in _ACTIONS if resource.spec.get(name)}
    return _settings(replace(resource, spec={**resource.spec, **actions}), renamed)


def _block(block: Resource, renamed: Names) -> Resource:
    spec = dict(block.spec)
    owner = str(spec.get("affinity") or "").removeprefix("host:")
    if owner in renamed:
        spec["affinity"] = f"host:{renamed[owner]}"
    spec["attributes"] = [_attribute(each, renamed) for each in spec.get("attributes") or ()]
    return replace(block, spec=spec)


def _attribute(attribute: Mapping[str, Any], renamed: Names) -> dict[str, Any]:
    changed = dict(attribute)
    if handle := changed.get("handle_id"):
        changed["handle_id"] = _handle_id(handle, renamed)
    for owner in ("secondary", "alternateOwnerAttrs"):
        if (said := changed.get(owner)) and said.get("node") in renamed:
            changed[owner] = {**said, "node": renamed[said["node"]]}
    return changed


def _handle_id(handle: str, renamed: Names) -> str:
    """Handles of tunnel addresses are named after their node."""
    for prefix in _TUNNEL_HANDLES:
        node = handle.removeprefix(prefix)
        if node != handle:
            return prefix + renamed.get(node, node)
    return handle


def _handle(handle: Resource, renamed: Names) -> Resource:
    called = _handle_id(handle.spec.get("handleID") or handle.name, renamed)
    return replace(handle, name=names.of_handle(called), spec={**handle.spec, "handleID": called})


def _affinity(affinity: Resource, renamed: Names) -> Resource:
    node = renamed.get(affinity.spec["node"], affinity.spec["node"])
    _, cidr = read_cidr(affinity.spec["cidr"])
    return replace(
        affinity,
        name=names.of_affinity(node, cidr),
        labels=names.affinity_labels(node, cidr),
        spec={**affinity.spec, "node": node},
    )


_MOVED: Mapping[str, Callable[[Resource, Names], Resource]] = {
    "Node": _node,
    "BGPPeer": _with_node,
    "HostEndpoint": _with_node,
    "BGPConfiguration": _settings,
    "FelixConfiguration": _felix,
    "IPAMBlock": _block,
    "IPAMHandle": _handle,
    "BlockAffinity": _affinity,
}

# --- addresses ----------------------------------------------------------------------------------------------------

_IPAM = {"block_affinities": "BlockAffinity", "blocks": "IPAMBlock", "handles": "IPAMHandle"}
"""An affinity before its block, as IPAM itself writes them."""
_CONFIG = "config"
IPAM_KINDS = (*_IPAM.values(), "IPAMConfiguration")


def ipam_document(records: Iterable[Resource]) -> dict[str, Any]:
    """The third part. Raises Rejected for a record that has no place in etcd."""
    by_kind: dict[str, list[dict[str, Any]]] = {kind: [] for kind in IPAM_KINDS}
    for record in records:
        by_kind[record.kind].append(_entry(record))
    whole: dict[str, Any] = {part: by_kind[kind] for part, kind in _IPAM.items() if by_kind[kind]}
    if configuration := by_kind["IPAMConfiguration"]:
        whole[_CONFIG] = configuration[0]
    return whole


def _entry(record: Resource) -> dict[str, Any]:
    value = json.loads(etcd_layout.value_of(record))
    return {"Key": etcd_layout.key_for(record).decode(), "Value": value, "TTL": 0}


def ipam_records(whole: Any) -> Iterator[Resource]:
    """What the third part holds. Raises Failure for what is no record."""
    if not isinstance(whole, dict):
        raise _unreadable("it is not a JSON object")
    for part in _IPAM:
        for entry in whole.get(part) or ():
            yield _record(entry)
    if entry := whole.get(_CONFIG):
        yield _record(entry)


def _record(entry: Any) -> Resource:
    try:
        key, value = entry["Key"], json.dumps(entry["Value"])
        return moved(etcd_layout.read(key.encode(), value.encode(), revision=""), {})
    except (etcd_layout.Unreadable, Rejected, LookupError, TypeError, AttributeError, ValueError) as error:
        raise _unreadable(str(error)) from None


def _unreadable(why: str) -> Failure:
    return Failure(f"failed to read IPAM resources: {why}")


# --- the text -----------------------------------------------------------------------------------------------------


class Archive(NamedTuple):
    """The three parts as they stand in the file: YAML, and twice JSON."""

    resources: str
    cluster: str
    addresses: str


def archive_of(text: str, called: str) -> Archive:
    """Raises Failure for what no export wrote."""
    parts: Sequence[str] = text.split(SEPARATOR)
    if len(parts) != 3:
        why = f"imported file: {called} is improperly formatted. Try recreating with 'calicoctl export'"
        raise Failure(f"error while reading migration file: {why}")
    return Archive(*parts)
