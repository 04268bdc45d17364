"""Who owns a block: the life of an affinity.

    (none) ─create─▶ pending ─block is ours─▶ confirmed ─release─▶ pendingDeletion ─block let go─▶ (none)

The affinity is written before the block and removed after it, so a crash leaves an affinity without a block, which the
next claim continues, and never a block of ours that nobody knows to be ours. Only a confirmed affinity is announced.
A block decides: whose name it carries, that node owns it, and another's affinity to it is stale and goes.

Source: Calico libcalico-go/lib/ipam/ipam_block_reader_writer.go.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network

from datastore.resources import AffinityState, BlockAffinity, IPAMBlock
from datastore.store import Conflict, Exists, Missing
from ipam import block as blocks
from ipam.records import TRIES, Contention, Records

Network = IPv4Network | IPv6Network

WallNs = Callable[[], int]
"""Nanoseconds since the epoch: the wall clock, for what is stored."""


class ClaimedByOther(Exception):
    """Another node owns the block; our affinity to it is gone."""


class NotEmpty(Exception):
    """The block still holds addresses, and it was to be released only when empty."""


class ChangedMeanwhile(Exception):
    """The block was written since the caller looked at it."""


async def claim(records: Records, node: str, cidr: Network, *, wall_ns: WallNs) -> IPAMBlock:
    """Make ``node`` the confirmed owner of the block, and the block itself if need be.

    Whatever an earlier claim or release left half-done is continued. Raises ClaimedByOther, Contention.
    """
    for _ in range(TRIES):
        try:
            affinity = await _pending_or_confirmed(records, node, cidr)
            return await own(records, affinity, wall_ns=wall_ns)
        except (Conflict, Missing, Exists):
            continue
    raise Contention


async def _pending_or_confirmed(records: Records, node: str, cidr: Network) -> BlockAffinity:
    affinity = await records.affinity(node, cidr)
    if affinity is None:
        return await records.create_affinity(node, cidr, AffinityState.PENDING)
    if affinity.is_confirmed:
        return affinity
    return await records.set_affinity(affinity, AffinityState.PENDING)


async def own(records: Records, affinity: BlockAffinity, *, wall_ns: WallNs) -> IPAMBlock:
    """The block of an affinity, made if it is missing, and the affinity confirmed.

    Raises ClaimedByOther when the block is another's (the stale affinity is deleted); Conflict or Missing when somebody
    else changed one of the two: read the affinity again.
    """
    block = await records.block(affinity.cidr)
    if block is None:
        return await _make(records, affinity, wall_ns)
    if block.affinity != f"host:{affinity.node}":
        await records.delete_affinity(affinity)
        raise ClaimedByOther(str(affinity.cidr))
    if affinity.is_confirmed:
        return block
    affinity = await records.set_affinity(affinity, AffinityState.PENDING)
    block = await records.write_block(block)  # whoever is about to release it has read an older one
    await records.set_affinity(affinity, AffinityState.CONFIRMED)
    return block


async def _make(records: Records, affinity: BlockAffinity, wall_ns: WallNs) -> IPAMBlock:
    if affinity.is_confirmed:
        affinity = await records.set_affinity(affinity, AffinityState.PENDING)
    now_ns = wall_ns()
    claimed_at = datetime.fromtimestamp(now_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    wanted = blocks.fresh(affinity.cidr, affinity.node, sequence=now_ns, claimed_at=claimed_at)
    try:
        block = await records.create_block(wanted)
    except Exists:
        return await own(records, affinity, wall_ns=wall_ns)
    await records.set_affinity(affinity, AffinityState.CONFIRMED)
    return block


async def release(
    records: Records, node: str, cidr: Network, *, must_be_empty: bool = False, sequence: int | None = None
) -> None:
    """Let ``node`` go of the block: an empty one is deleted, one in use stays without an owner.

    ``sequence``: only if the block is still the one that was seen with it.
    Raises NotEmpty, ChangedMeanwhile, ClaimedByOther, Contention; nothing to release is no error.
    """
    for _ in range(TRIES):
        affinity = await records.affinity(node, cidr)
        if affinity is None:
            return
        try:
            await _release(records, affinity, must_be_empty, sequence)
            return
        except (Conflict, Missing):
            continue
    raise Contention


async def _release(records: Records, affinity: BlockAffinity, must_be_empty: bool, sequence: int | None) -> None:
    block = await records.block(affinity.cidr)
    if block is None:
        await records.delete_affinity(affinity)
        return
    if sequence is not None and sequence != block.sequence:
        raise ChangedMeanwhile("IPAM block updated since we last read it")
    if block.affinity is not None and block.affinity != f"host:{affinity.node}":
        await records.delete_affinity(affinity)
        raise ClaimedByOther(str(affinity.cidr))
    if must_be_empty and not blocks.is_empty(block):
        raise NotEmpty(str(affinity.cidr))
    affinity = await records.set_affinity(affinity, AffinityState.PENDING_DELETION)
    if blocks.is_empty(block):
        await records.delete_block(block)
    elif block.affinity is not None:
        await records.write_block(blocks.without_owner(block))
    await records.delete_affinity(affinity)
