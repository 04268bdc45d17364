"""v1.Namespace and v1.ServiceAccount → the documents of Profiles, which are read here and never written. Pure.

Source: Calico libcalico-go/lib/backend/k8s/conversion/conversion.go, resources/profile.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from datastore.kubernetes.objects import converted_uid
from datastore.resource import Resource

Object = Mapping[str, Any]

_ALLOW = [{"action": "Allow", "destination": {}, "source": {}}]

DEFAULT_ALLOW = Resource(
    "Profile",
    "projectcalico-default-allow",
    spec={"egress": _ALLOW, "ingress": _ALLOW},
    revision="1",
)
"""What nobody made and is always there."""


def paths_of(name: str) -> tuple[str, str]:
    """The path of the object that a profile is made from, and which of the two it is; two empty texts if of none."""
    prefix, _, rest = name.partition(".")
    if prefix == "kns" and rest:
        return f"/api/v1/namespaces/{rest}", "Namespace"
    namespace, _, account = rest.partition(".")
    if prefix == "ksa" and account:
        return f"/api/v1/namespaces/{namespace or 'default'}/serviceaccounts/{account}", "ServiceAccount"
    return "", ""


def from_namespace(namespace: Object) -> Resource:
    metadata = namespace["metadata"]
    labels = {**(metadata.get("labels") or {}), "projectcalico.org/name": metadata["name"]}
    spec = {"ingress": _ALLOW, "egress": _ALLOW, "labelsToApply": _prefixed("pcns.", labels)}
    return _profile(metadata, f"kns.{metadata['name']}", spec, f"{metadata.get('resourceVersion') or ''}/")


def from_account(account: Object) -> Resource:
    metadata = account["metadata"]
    labels = {**(metadata.get("labels") or {}), "projectcalico.org/name": metadata["name"]}
    name = f"ksa.{metadata['namespace']}.{metadata['name']}"
    spec = {"labelsToApply": _prefixed("pcsa.", labels)}
    return _profile(metadata, name, spec, f"/{metadata.get('resourceVersion') or ''}")


def _prefixed(prefix: str, labels: Mapping[str, str]) -> dict[str, str]:
    return {prefix + name: value for name, value in sorted(labels.items())}


def _profile(metadata: Object, name: str, spec: Mapping[str, Any], revision: str) -> Resource:
    """``revision``: a namespace's and an account's, with a slash between."""
    return Resource(
        "Profile",
        name,
        spec=spec,
        uid=converted_uid(metadata.get("uid") or ""),
        created=metadata.get("creationTimestamp") or "",
        revision=revision,
    )
