"""What an assignment is decided on besides the blocks: pools, configuration, reservations, the node's labels.

felix has them from its watches; whoever has none reads them with :func:`read`. They may be a moment old: a pool that is
disabled in that moment may still give an address, as upstream's watches allow too. Blocks may not: see allocator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from datastore.codec import V, decode
from datastore.resource import Key, Resource
from datastore.resources import IPAMConfig, IPPool, IPReservation
from datastore.store import Missing, Rejected, Store
from ipam.reserved import Reserved

NO_CONFIG = IPAMConfig(resource=Resource("IPAMConfiguration", "default"))


@dataclass(frozen=True, slots=True)
class Facts:
    pools: tuple[IPPool, ...] = ()
    config: IPAMConfig = NO_CONFIG
    reserved: Reserved = field(default_factory=Reserved)
    node_labels: Mapping[str, str] = field(default_factory=dict)


async def read(store: Store, node: str) -> Facts:
    """Raises Missing when the node is not known: only nodes get addresses."""
    labels = (await store.get(Key("Node", node))).labels
    return replace(await read_cluster(store), node_labels=labels)


async def read_cluster(store: Store) -> Facts:
    """All but the node's labels: enough to take addresses back, for whoever is no node."""
    return Facts(
        pools=tuple(await _readable(store, IPPool, "IPPool")),
        config=await read_config(store),
        reserved=Reserved.of(await _readable(store, IPReservation, "IPReservation")),
    )


async def read_config(store: Store) -> IPAMConfig:
    """The defaults when there is none; reading does not create it."""
    try:
        return decode(IPAMConfig, await store.get(Key("IPAMConfiguration", "default")))
    except Missing:
        return NO_CONFIG


async def _readable(store: Store, kind: type[V], name: str) -> list[V]:
    """One object that cannot be read does not stop the others: it is as if it were not there."""
    found = []
    for item in (await store.list(name)).items:
        try:
            found.append(decode(kind, item))
        except Rejected:
            continue
    return found
