"""Which block a new address comes from: pure decisions over what was read.

In order: a block that the node owns; a new one, walking each pool from a start that the node's name decides, so that
nodes rarely race for the same block; an empty block that another node has held for a minute; and, unless affinity is
strict, an address borrowed from another node's block.

Source: Calico libcalico-go/lib/ipam: determinePools, findUsableBlock, randomBlockGenerator.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from datastore import selector
from datastore.resources import Assignment, IPAMBlock, IPPool, Use
from ipam import block as blocks
from ipam.gorand import Rand, fnv1_32
from ipam.reserved import Reserved

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

EMPTY_BLOCK_RECLAIM_AGE = timedelta(minutes=1)
"""Two nodes that fight over a pool's last block must each get to use it: it is not taken back sooner."""

DEFAULT_MAX_BLOCKS_PER_HOST = 20


class NoPool(Exception):
    """No pool may serve this request. For the user."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What an address is wanted for. ``pools`` names pools by CIDR, and then their selectors do not matter."""

    version: int = 4
    use: Use = Use.WORKLOAD
    pools: tuple[Network, ...] = ()
    namespace_labels: tuple[tuple[str, str], ...] = ()


def pools_for(wish: Wish, pools: Iterable[IPPool], *, node: str, node_labels: Mapping[str, str]) -> tuple[IPPool, ...]:
    """The pools that may serve ``wish`` on this node, in order of their names. Raises NoPool, which says why."""
    enabled = sorted(
        (pool for pool in pools if not pool.disabled and pool.cidr.version == wish.version), key=lambda pool: pool.name
    )
    if not enabled:
        raise NoPool("cannot find a qualified ippool")
    selecting = _asked_for(wish, enabled) if wish.pools else _selecting(wish, enabled, node_labels)
    if not selecting:
        raise NoPool(f"no configured Calico pools for node {node}")
    usable = tuple(pool for pool in selecting if wish.use in pool.allowed_uses)
    if not usable:
        raise NoPool(f"cannot find a qualified ippool, no pools match the required use ({wish.use.value})")
    return usable


def _asked_for(wish: Wish, enabled: Sequence[IPPool]) -> list[IPPool]:
    by_cidr = {pool.cidr: pool for pool in enabled}
    for cidr in wish.pools:
        if cidr not in by_cidr:
            raise NoPool(f"the given pool ({cidr}) does not exist, or is not enabled")
    return [by_cidr[cidr] for cidr in wish.pools]


def _selecting(wish: Wish, enabled: Sequence[IPPool], node_labels: Mapping[str, str]) -> list[IPPool]:
    return [
        pool
        for pool in enabled
        if pool.assignment is Assignment.AUTOMATIC
        and selects_node(pool, node_labels)
        and (not pool.namespace_selector or _matches(pool.namespace_selector, dict(wish.namespace_labels)))
    ]


def selects_node(pool: IPPool, node_labels: Mapping[str, str]) -> bool:
    return _matches(pool.node_selector, node_labels)


def _matches(text: str, labels: Mapping[str, str]) -> bool:
    return selector.parse(text).matches(labels)


def pool_of(address: Address, pools: Iterable[IPPool]) -> IPPool | None:
    return next((pool for pool in pools if address in pool.cidr), None)


def block_limit(from_config: int, from_request: int) -> int:
    """How many blocks a node may own: the smaller of the two limits that are set, 20 when neither is."""
    return min((limit for limit in (from_config, from_request) if limit > 0), default=DEFAULT_MAX_BLOCKS_PER_HOST)


def block_of(address: Address, pool: IPPool) -> Network:
    return ip_network((address, pool.block_size), strict=False)


def block_order(pool: IPPool, node: str, *, seed: int | None = None) -> Iterator[Network]:
    """Every block of the pool once, from a start that is the node's own, wrapping around.

    ``seed`` replaces the name's for pools of single-address blocks, where there is nothing to be kept together.
    """
    bits = pool.cidr.max_prefixlen
    size = 1 << (bits - pool.block_size)
    count = 1 << (pool.block_size - pool.cidr.prefixlen)
    start = Rand(fnv1_32(node.encode()) if seed is None else seed).below(count)
    first = int(pool.cidr.network_address)
    make = IPv4Network if pool.cidr.version == 4 else IPv6Network
    for index in range(count):
        yield make((first + (start + index) % count * size, pool.block_size))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A block to claim. ``reclaim`` is the empty block of another node that has to be released first."""

    cidr: Network
    reclaim: IPAMBlock | None = None


def candidates(
    pools: Sequence[IPPool],
    existing: Mapping[Network, IPAMBlock],
    *,
    node: str,
    reserved: Reserved,
    now: datetime,
    seed: int | None = None,
) -> Iterator[Candidate]:
    """The blocks that ``node`` may try to claim, best first; all existing blocks are in ``existing``."""
    empty: list[IPAMBlock] = []
    for pool in pools:
        single = pool.block_size == pool.cidr.max_prefixlen
        for cidr in block_order(pool, node, seed=seed if single else None):
            block = existing.get(cidr)
            if reserved.covers(cidr):
                continue
            if block is None or (block.node == node and blocks.count_free(block, reserved)):
                yield Candidate(cidr)
            elif blocks.is_empty(block) and blocks.count_free(block, reserved):
                empty.append(block)
    yield from (Candidate(block.cidr, reclaim=block) for block in empty if _is_reclaimable(block, now))


def _is_reclaimable(block: IPAMBlock, now: datetime) -> bool:
    if block.claimed_at is None:
        return True
    return now - datetime.fromisoformat(block.claimed_at) >= EMPTY_BLOCK_RECLAIM_AGE


def lenders(
    pools: Sequence[IPPool], existing: Mapping[Network, IPAMBlock], *, node: str, reserved: Reserved
) -> list[IPAMBlock]:
    """Existing blocks, whoever owns them, that still have an address, in the node's order: where to borrow."""
    lending = [block for block in existing.values() if blocks.count_free(block, reserved)]
    return [block for pool in pools for block in _in_order(lending, pool, node)]


def _in_order(some: Iterable[IPAMBlock], pool: IPPool, node: str) -> list[IPAMBlock]:
    start = int(next(block_order(pool, node)).network_address)
    return sorted(
        (block for block in some if block.cidr.network_address in pool.cidr),
        key=lambda block: (int(block.cidr.network_address) - start) % pool.cidr.num_addresses,
    )
