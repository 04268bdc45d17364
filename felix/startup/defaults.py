"""The settings that every cluster has from its first node on, as upstream's start-up writes them. Pure."""

from __future__ import annotations

from datastore.admission import admitted
from datastore.codec import from_json, to_json
from datastore.resource import Resource

_WANTED = (
    Resource("FelixConfiguration", "default", spec={"logSeverityScreen": "Info", "reportingInterval": "0s"}),
    Resource("BGPConfiguration", "default", spec={"logSeverityScreen": "Info"}),
    Resource("IPAMConfiguration", "default", spec={"strictAffinity": False, "autoAllocateBlocks": True}),
)


def of_cluster() -> list[Resource]:
    """Made where they are missing; what is there is never changed."""
    return [_stored(each) for each in _WANTED]


def of_node(name: str) -> Resource:
    """Lets pods talk to their host, unless its own packet filter says otherwise. Not for Kubernetes as datastore."""
    return _stored(Resource("FelixConfiguration", f"node.{name}", spec={"defaultEndpointToHostAction": "Return"}))


def _stored(resource: Resource) -> Resource:
    """With the fields that upstream's client fills in."""
    return from_json(admitted(to_json(resource)))
