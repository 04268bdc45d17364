"""The lock of the datastore: while ClusterInformation says that it is not ready, no pod gets or loses an address."""

from __future__ import annotations

from dataclasses import replace

from datastore.codec import decode, encode
from datastore.resource import Key
from datastore.resources import ClusterInformation
from datastore.store import Conflict, Store

_CLUSTER = Key("ClusterInformation", "default")
_TRIES = 5


async def is_locked(store: Store) -> bool:
    """Raises Missing where no cluster was ever initialised."""
    return not decode(ClusterInformation, await store.get(_CLUSTER)).is_ready


async def lock(store: Store) -> None:
    """Raises Missing, and Conflict where others keep writing it."""
    await _set_ready(store, is_ready=False)


async def unlock(store: Store) -> None:
    """Raises Missing, and Conflict where others keep writing it."""
    await _set_ready(store, is_ready=True)


async def _set_ready(store: Store, *, is_ready: bool) -> None:
    for _ in range(_TRIES):
        cluster = decode(ClusterInformation, await store.get(_CLUSTER))
        try:
            await store.update(encode(replace(cluster, is_ready=is_ready)))
            return
        except Conflict:
            continue
    raise Conflict(_CLUSTER)
