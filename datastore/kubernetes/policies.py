"""How many network policies the server has, Kubernetes' own among them: a page of one, and what remains."""

from __future__ import annotations

from collections.abc import Mapping

from datastore.kubernetes import network_policies
from datastore.kubernetes.client import Client
from datastore.kubernetes.groups import Group, collection, resource_name
from datastore.kubernetes.trouble import Asked
from datastore.policies import KINDS
from datastore.resource import Key

OWN = "Kubernetes NetworkPolicy"


async def count(client: Client, group: Group) -> Mapping[str, int]:
    """Raises StoreError."""
    found = {kind: await _count(client, collection(group, kind), resource_name(group, kind)) for kind in KINDS}
    return {OWN: await _count(client, network_policies.path(), network_policies.RESOURCE), **found}


async def _count(client: Client, path: str, resource: str) -> int:
    page = await client.ask("GET", path, Asked("list", resource, Key(resource, "")), query={"limit": "1"})
    return len(page["items"]) + int(page["metadata"].get("remainingItemCount") or 0)
