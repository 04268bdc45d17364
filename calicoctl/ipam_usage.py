"""How full the pools are. Pure.

In use is what cannot be given out because somebody has it, or had it a moment ago; reserved is what a reservation
covers, used or not; free is neither. A pool counts all of its space, also where no block has been made yet.
Source: Calico libcalico-go/lib/ipam (GetUtilization, countPoolSpace).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import NamedTuple

from datastore.resources import IPAMBlock, IPPool
from ipam import block as blocks
from ipam.reserved import Reserved

Network = IPv4Network | IPv6Network

LARGEST = 2**63 - 1
"""What upstream counts up to."""


class Use(NamedTuple):
    """Addresses of one pool or block."""

    cidr: Network
    total: int
    in_use: int
    reserved: int
    free: int


class PoolUse(NamedTuple):
    """``whole`` None: these blocks are of no pool."""

    whole: Use | None
    blocks: Sequence[Use]


def usage(pools: Iterable[IPPool], reserved: Reserved, all_blocks: Iterable[IPAMBlock]) -> list[PoolUse]:
    """One for each pool, in order, and one for blocks that belong to none: IPv4 only, as upstream has it."""
    places: list[tuple[Network, list[Use]]] = [(pool.cidr, []) for pool in pools]
    strays: tuple[Network, list[Use]] = (ip_network("0.0.0.0/0"), [])
    for block in all_blocks:
        for cidr, inside in (*places, strays):
            if cidr.version == block.cidr.version and cidr.overlaps(block.cidr):
                inside.append(_of_block(block, reserved))
                break
    found = [PoolUse(_of_pool(cidr, reserved, inside), inside) for cidr, inside in places]
    return [*found, PoolUse(None, strays[1])]


def _of_block(block: IPAMBlock, reserved: Reserved) -> Use:
    total = block.cidr.num_addresses
    return Use(
        block.cidr,
        total,
        in_use=total - len(block.free),
        reserved=reserved.count(block.cidr),
        free=blocks.count_free(block, reserved),
    )


def _of_pool(cidr: Network, reserved: Reserved, inside: Sequence[Use]) -> Use:
    untouched = cidr.num_addresses - reserved.count(cidr, besides=[each.cidr for each in inside])
    return Use(
        cidr,
        min(cidr.num_addresses, LARGEST),
        in_use=sum(each.in_use for each in inside),
        reserved=min(reserved.count(cidr), LARGEST),
        free=min(untouched, LARGEST) + sum(each.free for each in inside),
    )
