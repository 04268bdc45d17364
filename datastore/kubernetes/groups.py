"""Where in the API each kind lives: its path in either of the two groups that hold Calico's objects.

``crd.projectcalico.org/v1`` packs what a client says of an object's metadata into an annotation;
``projectcalico.org/v3`` is plain. A cluster has one of them; where both are served the second may be an aggregated
server over the first, so the first counts. A Lease is Kubernetes' own object, in either case.
Source: Calico libcalico-go/lib/backend/k8s/discovery.go, resources/apigroups.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from datastore.resource import KINDS

CRDS = "manifests/base/crds.yaml"
"""What installs the definitions of the custom resources."""


class Group(Enum):
    V1 = "crd.projectcalico.org/v1"
    V3 = "projectcalico.org/v3"

    @property
    def domain(self) -> str:
        return self.value.partition("/")[0]


VIEWS = ("Node", "Profile", "WorkloadEndpoint")
"""Kinds that are no objects of their own, but what Kubernetes' objects say."""

BUILT_IN = {"Lease": "coordination.k8s.io/v1"}
"""Kinds that Kubernetes has itself."""
LEASES_IN = "kube-system"
LEASES_OF_OURS = "calico-"
"""How their names begin; others' are none of our business."""

WITH_STATUS = ("CalicoNodeStatus", "IPPool", "KubeControllersConfiguration", "Tier")
"""Kinds whose status is written apart from the rest (the status subresource of their definitions)."""


def kind_in(group: Group, kind: str) -> str:
    return "IPAMConfig" if group is Group.V1 and kind == "IPAMConfiguration" else kind


def plural_in(group: Group, kind: str) -> str:
    return "ipamconfigs" if group is Group.V1 and kind == "IPAMConfiguration" else KINDS[kind].plural


def api_version(group: Group, kind: str) -> str:
    return BUILT_IN.get(kind, group.value)


def collection(group: Group, kind: str, namespace: str = "") -> str:
    """The path of all objects of a kind, of one namespace or of all (namespace "")."""
    folder = f"namespaces/{namespace}/" if namespace else ""
    return f"/apis/{api_version(group, kind)}/{folder}{plural_in(group, kind)}"


def resource_name(group: Group, kind: str) -> str:
    """As RBAC rules and definitions name it: ``ippools.crd.projectcalico.org``."""
    return f"{plural_in(group, kind)}.{api_version(group, kind).partition('/')[0]}"


def choose(named: str, served: Mapping[str, Any]) -> Group | None:
    """The group to use; None where the server has neither.

    Args:
        named: what the user asks for (CALICO_API_GROUP), or "".
        served: the server's APIGroupList.
    Raises ValueError where ``named`` is none of the two.
    """
    if named:
        return Group(named)
    versions = {each["groupVersion"] for group in served.get("groups") or () for each in group.get("versions") or ()}
    return next((group for group in (Group.V1, Group.V3) if group.value in versions), None)
