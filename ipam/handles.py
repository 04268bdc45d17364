"""Handles: how many addresses a holder has in which block, counted up before the block is written and down after it.

So a count may be too high after a crash, never too low: whoever releases a handle looks into every block where the
holder could have something. A handle that counts nothing is deleted.
Source: Calico libcalico-go/lib/ipam: incrementHandle, decrementHandle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_network

from datastore.resources import IPAMHandle
from datastore.store import Conflict, Exists, Missing, StoreError
from ipam.records import TRIES, Contention, Records, new_handle

Network = IPv4Network | IPv6Network


def blocks_of(handle: IPAMHandle) -> list[Network]:
    return [ip_network(cidr) for cidr in handle.blocks]


def more(handle: IPAMHandle, cidr: Network, count: int) -> IPAMHandle:
    return replace(handle, blocks={**handle.blocks, str(cidr): handle.blocks.get(str(cidr), 0) + count})


def fewer(handle: IPAMHandle, cidr: Network, count: int) -> IPAMHandle:
    """A block whose count reaches nothing goes; so does one that was counted too low."""
    left = handle.blocks.get(str(cidr), 0) - count
    others = {block: held for block, held in handle.blocks.items() if block != str(cidr)}
    return replace(handle, blocks={**others, str(cidr): left} if left > 0 else others)


async def create(records: Records, cidr: Network, wanted: list[str]) -> set[str]:
    """Make a handle with one address in ``cidr`` for each name; returns those that exist, left as they are."""
    results = await records.write_handles([new_handle(handle, {str(cidr): 1}) for handle in wanted])
    existing = set()
    for handle, result in zip(wanted, results, strict=True):
        if isinstance(result, Exists):
            existing.add(handle)
        elif isinstance(result, StoreError):
            raise result
    return existing


async def count_up(records: Records, cidr: Network, handle: str) -> None:
    """One address more in ``cidr``, whether the handle exists or not."""
    await change(records, {handle: lambda found: more(found, cidr, 1)}, make=True)


async def count_down(records: Records, cidr: Network, counts: Mapping[str, int]) -> None:
    """So many addresses fewer in ``cidr`` for each handle; a missing handle has nothing to lose."""
    await change(records, {handle: _fewer(cidr, count) for handle, count in counts.items()})


def _fewer(cidr: Network, count: int) -> Callable[[IPAMHandle], IPAMHandle]:
    return lambda found: fewer(found, cidr, count)


async def change(
    records: Records, changes: Mapping[str, Callable[[IPAMHandle], IPAMHandle]], *, make: bool = False
) -> None:
    """Apply each handle's change by compare-and-swap, all in one write, those that lost a race again."""
    left = dict(changes)
    for _ in range(TRIES):
        if not left:
            return
        found = {handle: await records.handle(handle) for handle in left}
        if make:
            found = {handle: known or new_handle(handle, {}) for handle, known in found.items()}
        changed = {handle: (known, left[handle](known)) for handle, known in found.items() if known is not None}
        writes = {handle: after for handle, (before, after) in changed.items() if after != before}
        results = await records.write_handles(list(writes.values())) if writes else []
        left = {handle: left[handle] for handle, result in zip(writes, results, strict=True) if _lost_race(result)}
    raise Contention


def _lost_race(result: IPAMHandle | StoreError) -> bool:
    if isinstance(result, (Conflict, Exists, Missing)):
        return True
    if isinstance(result, StoreError):
        raise result
    return False
