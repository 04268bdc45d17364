"""How each kind is read: where its objects are, what makes a document of one, and which the server can pick. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from urllib.parse import quote

from datastore.kubernetes import network_policies, nodes, objects, pods
from datastore.kubernetes.groups import LEASES_IN, LEASES_OF_OURS, Group, collection, resource_name
from datastore.policies import OF_KUBERNETES
from datastore.resource import Key, Resource
from datastore.store import Missing

UNREADABLE = (ValueError, TypeError, KeyError, AttributeError)
"""What reading an object raises that is not as it should be."""


@dataclass(frozen=True, slots=True)
class View:
    """``resource``: what RBAC calls it. ``read`` gives None for what is none of this kind, and raises UNREADABLE.

    ``node_field``: by which the server finds a node's own, "" where it cannot. ``folder``: where the objects are, if
    not with Calico's. ``only``: just the object of that name. ``prefix``: what our names have before the server's.
    """

    group: Group
    kind: str
    resource: str
    read: Callable[[Mapping[str, Any]], Resource | None]
    node_field: str = ""
    folder: str = ""
    only: str = ""
    prefix: str = ""

    def path(self, namespace: str = "") -> str:
        if self.folder:
            return self.folder
        if self.resource == network_policies.RESOURCE:
            return network_policies.path(namespace)
        if self.kind == "Node":
            return "/api/v1/nodes"
        if self.kind == "WorkloadEndpoint":
            return f"/api/v1/namespaces/{namespace}/pods" if namespace else "/api/v1/pods"
        return collection(self.group, self.kind, LEASES_IN if self.kind == "Lease" else namespace)

    def path_of(self, key: Key) -> str:
        """Raises Missing where the name can be no object's."""
        name = pods.pod_of(key) if self.kind == "WorkloadEndpoint" else key.name.removeprefix(self.prefix)
        if not name:
            raise Missing(key, "malformed WorkloadEndpoint name - unable to determine Pod name")
        return f"{self.path(quote(key.namespace, safe=''))}/{quote(name, safe='')}"

    def key_of(self, found: Mapping[str, Any]) -> Key:
        """Of an object that cannot be read: by as much as names it."""
        metadata = found.get("metadata") or {}
        name, namespace = str(metadata.get("name")), str(metadata.get("namespace") or "")
        if self.kind == "WorkloadEndpoint":
            name = pods.endpoint_of(str((found.get("spec") or {}).get("nodeName") or ""), name)
        return Key(self.kind, self.prefix + name, namespace)

    def selector(self, node: str) -> dict[str, str]:
        """The query by which the server picks what belongs to a node; empty where it cannot, or for all (node "")."""
        if self.only:
            return {"fieldSelector": f"metadata.name={self.only}"}
        return {"fieldSelector": f"{self.node_field}={node}"} if node and self.node_field else {}


def view_of(group: Group, kind: str, *, use_pod_cidr: bool) -> View:
    if kind == "Node":
        return View(group, kind, "nodes", partial(nodes.from_node, use_pod_cidr=use_pod_cidr), "metadata.name")
    if kind == "WorkloadEndpoint":
        return View(group, kind, "pods", pods.from_pod, "spec.nodeName")
    if kind == "Lease":
        return View(Group.V3, kind, resource_name(Group.V3, kind), _lease)
    return View(group, kind, resource_name(group, kind), partial(objects.from_object, group, kind))


OWN_POLICIES = View(
    Group.V3, "NetworkPolicy", network_policies.RESOURCE, network_policies.from_policy, prefix=OF_KUBERNETES
)
"""Kubernetes' own, beside Calico's."""


def _lease(found: Mapping[str, Any]) -> Resource | None:
    """Plain in either group, and for us in no namespace."""
    read = objects.from_object(Group.V3, "Lease", found)
    return replace(read, namespace="") if read.name.startswith(LEASES_OF_OURS) else None
