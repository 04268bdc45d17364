"""The document: what the store holds, whatever its kind.

A Resource is upstream's ``projectcalico.org/v3`` object, taken apart no further than every driver needs: identity, the
metadata that the store itself keeps, and ``spec`` / ``status`` as JSON. Fields that nobody here knows are simply there,
so a newer Calico's data passes through unharmed.

The mappings are never changed in place; a change is a new Resource.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

Json = Mapping[str, Any]
"""A JSON object. Treated as immutable."""

API_VERSION = "projectcalico.org/v3"


@dataclass(frozen=True, slots=True)
class Kind:
    """What every driver must know of a kind. ``plural`` is upstream's, in etcd's keys and in URLs."""

    name: str
    plural: str
    is_namespaced: bool = False


_KINDS = (
    Kind("BGPConfiguration", "bgpconfigurations"),
    Kind("BGPFilter", "bgpfilters"),
    Kind("BGPPeer", "bgppeers"),
    Kind("BlockAffinity", "blockaffinities"),
    Kind("CalicoNodeStatus", "caliconodestatuses"),
    Kind("ClusterInformation", "clusterinformations"),
    Kind("FelixConfiguration", "felixconfigurations"),
    Kind("GlobalNetworkPolicy", "globalnetworkpolicies"),
    Kind("GlobalNetworkSet", "globalnetworksets"),
    Kind("HostEndpoint", "hostendpoints"),
    Kind("IPAMBlock", "ipamblocks"),
    Kind("IPAMConfiguration", "ipamconfigurations"),
    Kind("IPAMHandle", "ipamhandles"),
    Kind("IPPool", "ippools"),
    Kind("IPReservation", "ipreservations"),
    Kind("KubeControllersConfiguration", "kubecontrollersconfigurations"),
    Kind("Lease", "leases"),
    Kind("NetworkPolicy", "networkpolicies", is_namespaced=True),
    Kind("NetworkSet", "networksets", is_namespaced=True),
    Kind("Node", "nodes"),
    Kind("Profile", "profiles"),
    Kind("StagedGlobalNetworkPolicy", "stagedglobalnetworkpolicies"),
    Kind("StagedKubernetesNetworkPolicy", "stagedkubernetesnetworkpolicies", is_namespaced=True),
    Kind("StagedNetworkPolicy", "stagednetworkpolicies", is_namespaced=True),
    Kind("Tier", "tiers"),
    Kind("WorkloadEndpoint", "workloadendpoints", is_namespaced=True),
)
KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _KINDS}


@dataclass(frozen=True, slots=True, order=True)
class Key:
    kind: str
    name: str
    namespace: str = ""

    def __str__(self) -> str:
        """``IPPool(default-ipv4-ippool)`` or ``NetworkPolicy(prod/np1)``, as upstream prints it."""
        return f"{self.kind}({self.namespace}/{self.name})" if self.namespace else f"{self.kind}({self.name})"


@dataclass(frozen=True, slots=True)
class Resource:
    """One stored object.

    ``revision`` is an opaque string given by the store: compare it for equality, hand it back, never order it.
    ``created`` is RFC 3339 in UTC, wall clock. ``metadata`` holds what else stands in the object's metadata
    (finalizers, ownerReferences, generateName ...).
    """

    kind: str
    name: str
    namespace: str = ""
    spec: Json = field(default_factory=dict)
    status: Json | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    metadata: Json = field(default_factory=dict)
    uid: str = ""
    created: str = ""
    revision: str = ""

    @property
    def key(self) -> Key:
        return Key(self.kind, self.name, self.namespace)

    def stamped(self, *, revision: str, uid: str, created: str) -> Resource:
        """The same object with what the store gave it."""
        return replace(self, revision=revision, uid=uid, created=created)


_NODE_FIELD = ("BlockAffinity", "WorkloadEndpoint", "HostEndpoint", "CalicoNodeStatus")


def node_of(resource: Resource) -> str:
    """The node that an object belongs to, or "". What a watch's node filter compares.

    A block belongs to the host of its affinity; a Node to itself.
    """
    if resource.kind == "Node":
        return resource.name
    if resource.kind == "IPAMBlock":
        affinity = str(resource.spec.get("affinity") or "")
        return affinity.removeprefix("host:") if affinity.startswith("host:") else ""
    if resource.kind in _NODE_FIELD:
        return str(resource.spec.get("node") or "")
    return ""
