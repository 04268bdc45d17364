"""What every cluster's datastore holds before anything else: its identity, and the three tiers.

Written by whoever writes first, a node's start-up or calicoctl; two that write at once write the same.
Source: Calico libcalico-go/lib/clientv3/client.go (EnsureInitialized).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from datastore.codec import decode, encode
from datastore.resource import Key, Resource
from datastore.resources import ClusterInformation
from datastore.store import Conflict, Exists, Missing, Store

TIERS = (("default", 1_000_000, "Deny"), ("kube-admin", 1_000, "Pass"), ("kube-baseline", 10_000_000, "Pass"))

_TRIES = 10


async def initialise(store: Store, *, new_guid: Callable[[], str], cluster_type: str = "") -> None:
    """Make what is missing, change nothing that is there but the cluster's type, which grows.

    The version of Calico is never written: upstream's tools refuse to work beside one that is not theirs.
    ``new_guid`` gives 32 hexadecimal digits. Raises Unavailable.
    """
    await _identify(store, new_guid, cluster_type)
    for name, order, action in TIERS:
        tier = Resource("Tier", name, spec={"order": order, "defaultAction": action}, status={})
        await _create_if_missing(store, tier)


async def _identify(store: Store, new_guid: Callable[[], str], cluster_type: str) -> None:
    for _ in range(_TRIES):
        try:
            found = await store.get(Key("ClusterInformation", "default"))
        except Missing:
            fresh = ClusterInformation(
                resource=Resource("ClusterInformation", "default"), guid=new_guid(), type=cluster_type, is_ready=True
            )
            await _create_if_missing(store, encode(fresh))
            continue
        known = decode(ClusterInformation, found)
        wanted = replace(known, guid=known.guid or new_guid(), type=_joined(known.type, cluster_type))
        if wanted == known:
            return
        try:
            await store.update(encode(wanted))
            return
        except (Conflict, Missing):
            continue
    raise Conflict(Key("ClusterInformation", "default"))


def _joined(known: str, more: str) -> str:
    """Both lists of words, each word once, in order of appearance."""
    return ",".join(dict.fromkeys(word for word in [*known.split(","), *more.split(",")] if word))


async def _create_if_missing(store: Store, resource: Resource) -> None:
    try:
        await store.create(resource)
    except Exists:
        return
