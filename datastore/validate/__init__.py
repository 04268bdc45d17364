"""Whether a document may be stored: upstream's rules and upstream's wording.

Three sources, in the order in which upstream asks them: Calico's own validators (fields, then structs), the CRD's
bounds of each field, the CRD's rules between fields. Pure. What takes other objects to judge (pools that overlap, a
peer's filters) is asked by whoever writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from datastore.schema import table_of
from datastore.schema.reading import with_defaults
from datastore.validate import claims, fields, limits, metadata
from datastore.validate.flaw import Flaw, Invalid

if TYPE_CHECKING:
    from datastore.validate.claims import Claims
    from datastore.validate.fields import Check

__all__ = ["Flaw", "Invalid", "validated"]

_MODULES = {
    "bgp": ("BGPConfiguration", "BGPFilter", "BGPPeer"),
    "cluster": ("ClusterInformation", "KubeControllersConfiguration"),
    "endpoints": ("CalicoNodeStatus", "HostEndpoint", "Node", "WorkloadEndpoint"),
    "felix": ("FelixConfiguration",),
    "policies": (
        "GlobalNetworkPolicy",
        "GlobalNetworkSet",
        "NetworkPolicy",
        "NetworkSet",
        "Profile",
        "StagedGlobalNetworkPolicy",
        "StagedKubernetesNetworkPolicy",
        "StagedNetworkPolicy",
        "Tier",
    ),
    "pools": ("BlockAffinity", "IPAMBlock", "IPAMConfiguration", "IPAMHandle", "IPPool", "IPReservation"),
}
_MODULE_OF = {kind: module for module, kinds in _MODULES.items() for kind in kinds}
_WITHOUT_CRD = ("Node", "Profile", "WorkloadEndpoint")
"""Views of Kubernetes' own objects: no CRD says anything of them."""


class Room(NamedTuple):
    """The rules of some kinds, by the Go name of the struct that they speak of."""

    checks: Mapping[str, Check]
    claims: Claims


@cache
def _room_of(kind: str) -> Room:
    found: Room = import_module(f"datastore.validate.{_MODULE_OF[kind]}").ROOM
    return Room({"v1.ObjectMeta": metadata.check, **found.checks}, found.claims)


def validated(document: Mapping[str, Any]) -> dict[str, Any]:
    """A canonical document with its kind's defaults. Raises Invalid."""
    kind = document["kind"]
    table, room = table_of(kind), _room_of(kind)
    whole = dict(document)
    flaws = list(fields.flaws_of(table, whole, room.checks))
    by_definition: list[Flaw] = []
    if kind not in _WITHOUT_CRD:
        whole = with_defaults(table, whole)
        by_definition += limits.flaws_of(table, whole)
        by_definition += claims.flaws_of(table, whole, room.claims)
    if flaws or by_definition:
        raise Invalid(_named(flaws, kind), _named(by_definition, kind), whole=whole)
    return whole


def _named(flaws: Iterable[Flaw], kind: str) -> list[Flaw]:
    """A flaw of the whole document is of its kind."""
    return [flaw if flaw.field else flaw._replace(field=kind) for flaw in flaws]
