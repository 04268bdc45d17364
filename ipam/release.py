"""Takes addresses back: by address, with proof that they are still what the caller thinks, or by who holds them.

The block is written before the handle, so that a crash leaves a handle that counts too much, never an address that no
handle knows. Giving back what nobody holds is no error.
Source: Calico libcalico-go/lib/ipam/ipam.go (ReleaseIPs, ReleaseByHandle, ensureConsistentAffinity).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from datastore.resource import Key
from datastore.resources import IPAMBlock, IPAMHandle
from datastore.store import Missing, Store
from ipam import affinity, choose, handles
from ipam import block as blocks
from ipam.block import Release, Released
from ipam.facts import Facts
from ipam.records import Records
from ipam.writer import BlockWriter

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address


class Releaser:
    """``facts`` is what the cluster's addresses are decided on; ``wall_ns`` the wall clock in nanoseconds."""

    def __init__(
        self,
        store: Store,
        writer: BlockWriter,
        *,
        facts: Callable[[], Awaitable[Facts]],
        wall_ns: Callable[[], int],
    ) -> None:
        self._store, self._records, self._writer = store, Records(store), writer
        self._facts, self._wall_ns = facts, wall_ns

    async def release_addresses(self, releases: Iterable[Release]) -> list[Address]:
        """Give addresses back; returns those that nobody held.

        Raises StaleRelease for the first block where a handle or sequence does not match (that block is left as it
        is), Contention, Unavailable.
        """
        facts = await self._facts()
        by_block, not_held = await self._by_block(releases, facts)
        for cidr, group in by_block.items():
            released = await self._writer.change(cidr, self._giving_back(group, facts))
            if released is None:
                not_held += [each.address for each in group]
                continue
            not_held += released.not_held
            await handles.count_down(self._records, cidr, released.by_handle)
            await self._keep_only_if_selected(released.block, facts)
        return not_held

    async def release_handles(self, wanted: Sequence[str], *, are_settled: bool = False) -> int:
        """Give back all that these holders have: one write a block, and one for the handles. Returns how many.

        ``are_settled``: the caller knows that nobody gives these holders an address meanwhile; then what a handle
        counts beyond what it holds is left over from a crash, and goes too.
        Raises Contention, Unavailable; asking again goes on where this stopped.
        """
        facts = await self._facts()
        known = await self._known(wanted)
        gone: dict[str, dict[Network, int]] = {handle: {} for handle in known}
        for cidr in dict.fromkeys(cidr for record in known.values() for cidr in handles.blocks_of(record)):
            holders = [handle for handle, record in known.items() if str(cidr) in record.blocks]
            released = await self._writer.change(cidr, self._giving_up(holders, facts))
            if released is not None:
                for handle, count in released.by_handle.items():
                    gone[handle][cidr] = count
                await self._keep_only_if_selected(released.block, facts)
        await handles.change(
            self._records, {each: _holding_nothing if are_settled else _without(gone[each]) for each in known}
        )
        return sum(count for counts in gone.values() for count in counts.values())

    async def _known(self, wanted: Sequence[str]) -> dict[str, IPAMHandle]:
        found = {handle: await self._records.handle(handle) for handle in dict.fromkeys(wanted)}
        return {handle: record for handle, record in found.items() if record is not None}

    def _giving_back(self, group: Sequence[Release], facts: Facts) -> Callable[[IPAMBlock], tuple[IPAMBlock, Released]]:
        def step(block: IPAMBlock) -> tuple[IPAMBlock, Released]:
            released = blocks.release(block, group, now=self._now(), cooldown_s=facts.config.cooldown_s)
            return released.block, released

        return step

    def _giving_up(self, holders: Sequence[str], facts: Facts) -> Callable[[IPAMBlock], tuple[IPAMBlock, Released]]:
        def step(block: IPAMBlock) -> tuple[IPAMBlock, Released]:
            by_handle: dict[str, int] = {}
            for handle in holders:
                one = blocks.release_handle(block, handle, now=self._now(), cooldown_s=facts.config.cooldown_s)
                block = one.block
                by_handle.update(one.by_handle)
            return block, Released(block, by_handle)

        return step

    async def _by_block(
        self, releases: Iterable[Release], facts: Facts
    ) -> tuple[dict[Network, list[Release]], list[Address]]:
        """The releases of each block, and the addresses that are in no block."""
        grouped: dict[Network, list[Release]] = {}
        strays: list[Address] = []
        existing: Iterable[Network] | None = None
        for each in releases:
            pool = choose.pool_of(each.address, facts.pools)
            if pool is None and existing is None:  # its pool may have been deleted under it
                existing = list(await self._records.blocks())
            cidr = choose.block_of(each.address, pool) if pool else _around(each.address, existing or ())
            if cidr is None:
                strays.append(each.address)
            else:
                grouped.setdefault(cidr, []).append(each)
        return grouped, strays

    async def _keep_only_if_selected(self, block: IPAMBlock, facts: Facts) -> None:
        """An empty block goes when its pool no longer selects the node that owns it."""
        pool = choose.pool_of(block.cidr.network_address, facts.pools)
        if pool is None or not block.node or not blocks.is_empty(block):
            return
        labels = await self._labels_of(block.node)
        if labels is not None and not choose.selects_node(pool, labels):
            with suppress(affinity.NotEmpty, affinity.ClaimedByOther):
                await affinity.release(self._records, block.node, block.cidr, must_be_empty=True)
                self._writer.remember(block.cidr, None)

    async def _labels_of(self, node: str) -> Mapping[str, str] | None:
        try:
            return (await self._store.get(Key("Node", node))).labels
        except Missing:
            return None

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._wall_ns() / 1e9, UTC)


def _around(address: Address, existing: Iterable[Network]) -> Network | None:
    return next((cidr for cidr in existing if address in cidr), None)


def _without(counts: Mapping[Network, int]) -> Callable[[IPAMHandle], IPAMHandle]:
    def step(handle: IPAMHandle) -> IPAMHandle:
        for cidr, count in counts.items():
            handle = handles.fewer(handle, cidr, count)
        return handle

    return step


def _holding_nothing(handle: IPAMHandle) -> IPAMHandle:
    return replace(handle, blocks={})
