"""Custom resource ⇄ document. Pure, and exact: a document that is read and written again is the same object.

In ``crd.projectcalico.org/v1`` the annotation ``projectcalico.org/metadata`` holds the metadata that the user sees, as
JSON; of labels and annotations only Calico's own also stand on the object, where label selectors find them. The uid
that users see is the object's with the bits of each byte reversed (but for the version's and the variant's byte), so
that nobody takes one object for the other. ``projectcalico.org/v3`` has none of this.

Fields that the definitions demand and that say nothing (``deleted``, ``strictAffinity``) are added when an object is
written and left out when it is read.
Source: Calico libcalico-go/lib/backend/k8s/resources/resources.go, ipam_*.go, conversion/conversion.go.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from datastore.kubernetes.groups import Group, api_version, kind_in
from datastore.resource import Resource

Object = Mapping[str, Any]

PACKED = "projectcalico.org/metadata"
IPAM = ("BlockAffinity", "IPAMBlock", "IPAMHandle")
"""Written by Calico's address management, which does not pack a creation time."""
_POLICIES = ("GlobalNetworkPolicy", "NetworkPolicy", "StagedGlobalNetworkPolicy", "StagedNetworkPolicy")
_OWN_DOMAINS = ("projectcalico.org/", "operator.tigera.io/")
_OF_THE_SERVER = (
    "name", "namespace", "uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "selfLink",
    "labels", "annotations",
)  # fmt: skip
_DEMANDED: Mapping[str, Mapping[str, bool]] = {
    "BlockAffinity": {"deleted": False},
    "IPAMBlock": {"deleted": False, "strictAffinity": False},
    "IPAMHandle": {"deleted": False},
}
_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_KEPT_BYTES = (6, 8)


def converted_uid(uid: str) -> str:
    """The uid that the user sees of the object's, and the other way round. What is no uid stays as it is."""
    try:
        raw = UUID(uid).bytes
    except ValueError:
        return uid
    return str(UUID(bytes=bytes(byte if at in _KEPT_BYTES else _BITS[byte] for at, byte in enumerate(raw))))


def stored_uid(group: Group, uid: str) -> str:
    """The object's own uid."""
    return converted_uid(uid) if group is Group.V1 and uid else uid


def from_object(group: Group, kind: str, found: Object) -> Resource:
    """Raises ValueError, TypeError, KeyError or AttributeError where it is no object of that kind."""
    metadata = found["metadata"]
    seen = _unpacked(metadata, found) if group is Group.V1 else metadata
    return Resource(
        kind=kind,
        name=seen["name"],
        namespace=metadata.get("namespace") or "",
        spec=_read_spec(kind, found.get("spec") or {}),
        status=found.get("status"),
        labels=_texts(seen.get("labels")),
        annotations=_texts(seen.get("annotations")),
        metadata={name: value for name, value in seen.items() if name not in _OF_THE_SERVER},
        uid=converted_uid(metadata.get("uid") or "") if group is Group.V1 else metadata.get("uid") or "",
        created=seen.get("creationTimestamp") or metadata.get("creationTimestamp") or "",
        revision=metadata.get("resourceVersion") or "",
    )


def to_object(group: Group, resource: Resource) -> dict[str, Any]:
    """What to send: without ``revision`` to create it, with it to replace what has it."""
    metadata = _packed(resource) if group is Group.V1 else _plain(resource)
    if resource.revision:
        metadata["resourceVersion"] = resource.revision
    if resource.uid:
        metadata["uid"] = stored_uid(group, resource.uid)
    whole: dict[str, Any] = {
        "apiVersion": api_version(group, resource.kind),
        "kind": kind_in(group, resource.kind),
        "metadata": metadata,
        "spec": _written_spec(group, resource),
    }
    if resource.status is not None:
        whole["status"] = resource.status
    return whole


def is_deleted(found: Object) -> bool:
    """Calico marks what it is about to delete; whoever meets the mark treats the object as gone."""
    return (found.get("spec") or {}).get("deleted") in (True, "true")


# --- metadata --------------------------------------------------------------------------------------------------------


def _unpacked(metadata: Object, found: Object) -> dict[str, Any]:
    """The metadata that the user sees, without what only the server says."""
    annotations = dict(_texts(metadata.get("annotations")))
    text = annotations.pop(PACKED, None)
    if text is None:
        return dict(metadata)
    said = json.loads(text)
    owners = [_owner(each, of=Group.V1, to=Group.V3) for each in said.get("ownerReferences") or ()]
    return {
        **said,
        "name": said.get("name") or _unprefixed(metadata["name"], found),
        "labels": {**_texts(metadata.get("labels")), **_texts(said.get("labels"))},
        "annotations": {**annotations, **_texts(said.get("annotations"))},
        **({"ownerReferences": owners} if owners else {}),
    }


def _unprefixed(name: str, found: Object) -> str:
    """Until 3.31 policies of the default tier were stored as ``default.NAME``."""
    if found.get("kind") in _POLICIES and ((found.get("spec") or {}).get("tier") or "default") == "default":
        return name.removeprefix("default.")
    return name


def _packed(resource: Resource) -> dict[str, Any]:
    """The object's metadata, with the user's in its annotation, in the order of Go's ObjectMeta."""
    owners = [_owner(each, of=Group.V3, to=Group.V1) for each in resource.metadata.get("ownerReferences") or ()]
    said = {
        "name": resource.name if resource.kind in _POLICIES else "",
        "generateName": resource.metadata.get("generateName"),
        "creationTimestamp": "" if resource.kind in IPAM else resource.created,
        "labels": dict(sorted(resource.labels.items())),
        "annotations": {name: value for name, value in sorted(resource.annotations.items()) if name != PACKED},
        "ownerReferences": owners,
        **{name: value for name, value in resource.metadata.items() if name not in ("generateName", "ownerReferences")},
    }
    text = json.dumps({name: value for name, value in said.items() if value}, separators=(",", ":"), ensure_ascii=False)
    metadata: dict[str, Any] = {"name": resource.name, "annotations": {**_own(resource.annotations), PACKED: text}}
    if labels := _own(resource.labels):
        metadata["labels"] = labels
    if resource.namespace:
        metadata["namespace"] = resource.namespace
    if resource.created:
        metadata["creationTimestamp"] = resource.created
    return metadata


def _plain(resource: Resource) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": resource.name}
    for name, value in (
        ("namespace", resource.namespace),
        ("creationTimestamp", resource.created),
        ("labels", dict(resource.labels)),
        ("annotations", dict(resource.annotations)),
    ):
        if value:
            metadata[name] = value
    return {**metadata, **resource.metadata}


def _owner(owner: Object, *, of: Group, to: Group) -> Object:
    """An owner of Calico's is named as the group names it: api version and uid. Old data names either."""
    if owner.get("apiVersion") not in (of.value, Group.V3.value):
        return owner
    return {**owner, "apiVersion": to.value, "uid": converted_uid(owner.get("uid") or "")}


def _own(texts: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in texts.items() if any(domain in name for domain in _OWN_DOMAINS)}


def _texts(raw: Any) -> Mapping[str, str]:
    """Raises AttributeError where there is something else."""
    return dict((raw or {}).items())


# --- spec ------------------------------------------------------------------------------------------------------------


def _read_spec(kind: str, spec: Mapping[str, Any]) -> Mapping[str, Any]:
    demanded = _DEMANDED.get(kind)
    if demanded is None:
        return dict(spec.items())
    flags = {name: spec[name] in (True, "true") for name in demanded if name in spec}
    return {name: value for name, value in {**spec, **flags}.items() if not (name in flags and value is False)}


def _written_spec(group: Group, resource: Resource) -> Mapping[str, Any]:
    spec = {**_DEMANDED.get(resource.kind, {}), **resource.spec}
    if resource.kind == "BlockAffinity" and group is Group.V1:
        spec["deleted"] = "true" if spec["deleted"] in (True, "true") else "false"
    return spec
