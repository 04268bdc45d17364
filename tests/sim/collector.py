"""What a controller does that collects leaks, with the program's own rooms.

Source: Calico kube-controllers/pkg/controllers/node/ipam.go.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress

from datastore.codec import decode
from datastore.resources import IPPool
from datastore.store import Store
from ipam import affinity, gc
from ipam.block import Release
from ipam.facts import Facts
from ipam.records import Records
from ipam.release import Releaser
from ipam.writer import BlockWriter

WallNs = Callable[[], int]


async def collect(store: Store, wall_ns: WallNs, *, live: Collection[str], nodes: Collection[str]) -> None:
    """Release what gc finds, as a controller does that has looked twice. ``live``: handles of pods that are there."""
    records, releaser = Records(store), _releaser(store, wall_ns)
    leaked = gc.leaks((await records.blocks()).values(), lambda _, attribute: attribute.handle in live)
    await releaser.release_addresses([Release(each.address, each.handle, each.sequence) for each in leaked])
    for block in gc.unknown_owners((await records.blocks()).values(), nodes):
        with suppress(affinity.ClaimedByOther):
            await affinity.release(records, block.node, block.cidr)
    idle = gc.idle_handles(await records.handles(), await records.blocks())
    await releaser.release_handles([each.handle for each in idle], are_settled=True)
    for each in gc.dangling_affinities(await records.affinities(node=""), await records.blocks()):
        with suppress(affinity.ClaimedByOther):
            await affinity.release(records, each.node, each.cidr, must_be_empty=True)


def _releaser(store: Store, wall_ns: WallNs) -> Releaser:
    async def read() -> Facts:
        return Facts(pools=tuple(decode(IPPool, item) for item in (await store.list("IPPool")).items))

    return Releaser(store, BlockWriter(Records(store)), facts=read, wall_ns=wall_ns)
