"""Tables of what each kind's document holds, and how a document is read and written by them.

Pure. One module holds the tables of a few kinds and is loaded when one of them is asked for: a command that shows nodes
does not pay for Felix's 188 settings.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datastore.schema.notation import Struct

_MODULES = {
    "bgp": ("BGPConfiguration", "BGPPeer"),
    "bgp_filter": ("BGPFilter",),
    "cluster": ("ClusterInformation", "KubeControllersConfiguration", "Lease"),
    "endpoints": ("HostEndpoint", "WorkloadEndpoint"),
    "felix": ("FelixConfiguration",),
    "ipam": ("BlockAffinity", "IPAMBlock", "IPAMHandle"),
    "kubernetes_policy": ("StagedKubernetesNetworkPolicy",),
    "nodes": ("CalicoNodeStatus", "Node"),
    "policies": (
        "GlobalNetworkPolicy",
        "GlobalNetworkSet",
        "NetworkPolicy",
        "NetworkSet",
        "Profile",
        "StagedGlobalNetworkPolicy",
        "StagedNetworkPolicy",
        "Tier",
    ),
    "pools": ("IPAMConfiguration", "IPPool", "IPReservation"),
}
_MODULE_OF = {kind: module for module, kinds in _MODULES.items() for kind in kinds}


@cache
def table_of(kind: str) -> Struct:
    """The table of a kind's whole document. Raises KeyError for what is no kind."""
    found: Struct = getattr(import_module(f"datastore.schema.{_MODULE_OF[kind]}"), kind)
    return found
