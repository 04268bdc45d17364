"""The IPAM objects in the store: where each lives, and typed reads and compare-and-swap writes of them.

Nothing is decided here. Every write carries the revision that was read, so a rival's write in between is a Conflict,
which the caller answers by reading again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network

from datastore import names
from datastore.codec import V, decode, encode
from datastore.resource import Key, Resource
from datastore.resources import AffinityState, BlockAffinity, IPAMBlock, IPAMHandle
from datastore.store import Create, Delete, Missing, Store, StoreError, Update, Write
from ipam import block as blocks

Network = IPv4Network | IPv6Network

TRIES = 100
"""How often a lost race is run again before it is called contention; upstream's number."""


class Contention(Exception):
    """The races went on for too long. The caller may try again later."""

    def __init__(self) -> None:
        super().__init__("Max retries hit - excessive concurrent IPAM requests")


class Records:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def block(self, cidr: Network) -> IPAMBlock | None:
        return await self._read(IPAMBlock, Key("IPAMBlock", names.of_cidr(cidr)))

    async def blocks(self) -> dict[Network, IPAMBlock]:
        listing = await self._store.list("IPAMBlock")
        found = (decode(IPAMBlock, item) for item in listing.items)
        return {block.cidr: block for block in found}

    async def create_block(self, block: IPAMBlock) -> IPAMBlock:
        """Raises Exists."""
        return decode(IPAMBlock, await self._store.create(encode(block)))

    async def write_block(self, block: IPAMBlock) -> IPAMBlock:
        """The block as it now stands in the store, its sequence raised. Raises Conflict, Missing."""
        return decode(IPAMBlock, await self._store.update(encode(blocks.written(block))))

    async def delete_block(self, block: IPAMBlock) -> None:
        await self._delete(block.resource)

    async def affinity(self, node: str, cidr: Network) -> BlockAffinity | None:
        return await self._read(BlockAffinity, Key("BlockAffinity", names.of_affinity(node, cidr)))

    async def affinities(self, node: str) -> list[BlockAffinity]:
        listing = await self._store.list("BlockAffinity", node=node)
        found = (decode(BlockAffinity, item) for item in listing.items)
        return [affinity for affinity in found if not affinity.is_deleted]

    async def create_affinity(self, node: str, cidr: Network, state: AffinityState) -> BlockAffinity:
        """Raises Exists."""
        resource = Resource(
            "BlockAffinity", names.of_affinity(node, cidr), labels=names.affinity_labels(node, cidr), spec={}
        )
        wanted = BlockAffinity(resource=resource, node=node, cidr=cidr, state=state)
        return decode(BlockAffinity, await self._store.create(encode(wanted)))

    async def set_affinity(self, affinity: BlockAffinity, state: AffinityState) -> BlockAffinity:
        """Raises Conflict, Missing."""
        return decode(BlockAffinity, await self._store.update(encode(replace(affinity, state=state))))

    async def delete_affinity(self, affinity: BlockAffinity) -> None:
        await self._delete(affinity.resource)

    async def handle(self, handle: str) -> IPAMHandle | None:
        return await self._read(IPAMHandle, Key("IPAMHandle", names.of_handle(handle)))

    async def handles(self) -> list[IPAMHandle]:
        return [decode(IPAMHandle, item) for item in (await self._store.list("IPAMHandle")).items]

    async def write_handles(self, wanted: Sequence[IPAMHandle]) -> list[IPAMHandle | StoreError]:
        """Create those without a revision, update the others, delete those that hold nothing any more."""
        results = await self._store.write_many([_handle_write(handle) for handle in wanted])
        return [decode(IPAMHandle, each) if isinstance(each, Resource) else each for each in results]

    async def _read(self, kind: type[V], key: Key) -> V | None:
        try:
            return decode(kind, await self._store.get(key))
        except Missing:
            return None

    async def _delete(self, resource: Resource) -> None:
        """Compare-and-delete. Raises Conflict, Missing."""
        await self._store.delete(resource.key, revision=resource.revision, uid=resource.uid)


def new_handle(handle: str, held: Mapping[str, int]) -> IPAMHandle:
    return IPAMHandle(resource=Resource("IPAMHandle", names.of_handle(handle)), handle=handle, blocks=held)


def _handle_write(handle: IPAMHandle) -> Write:
    resource = encode(handle)
    if not resource.revision:
        return Create(resource)
    if not handle.blocks:
        return Delete(resource.key, revision=resource.revision, uid=resource.uid)
    return Update(resource)
