"""Gives addresses to holders, many at once, safely beside every other writer of the datastore.

The order of writes makes every crash harmless: the affinity before the block, the handle before the address. Every
write is a compare-and-swap; a lost race is run again where it is lost, bounded, and never escapes.

Source: Calico libcalico-go/lib/ipam/ipam.go (AutoAssign, AssignIP).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from datastore import names
from datastore.resources import IPAMBlock, IPPool, Use
from datastore.store import StoreError
from ipam import affinity, choose, handles
from ipam import block as blocks
from ipam.block import AlreadyTaken, Holder
from ipam.choose import NoPool, Wish
from ipam.facts import Facts
from ipam.records import TRIES, Contention, Records
from ipam.writer import BlockWriter

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address


class NoAddress(Exception):
    """Every pool that could serve this is full, or the node owns all the blocks it may. For the user: do not retry."""

    def __init__(self, version: int, reasons: Sequence[str]) -> None:
        self.version, self.reasons = version, tuple(reasons)
        super().__init__("; ".join((f"Assigned 0 out of 1 requested IPv{version} addresses", *reasons)))


@dataclass(frozen=True, slots=True)
class Request:
    """One address for one holder. ``max_blocks`` limits the node's blocks further than the configuration does.

    ``is_moving``: what the holder has outside the pools that it names does not serve it any more, so it gets another,
    and keeps the old one until it is done with it.
    """

    holder: Holder
    wish: Wish = field(default_factory=Wish)
    max_blocks: int = 0
    is_moving: bool = False


@dataclass(frozen=True, slots=True)
class Assigned:
    """An address, and the block that it is of. ``is_new`` is False when the holder had it before."""

    address: Address
    block: Network
    is_new: bool = True


Outcome = Assigned | NoAddress | NoPool
"""What became of one request. What concerns all of them (contention, the store away) is raised instead."""


class _Queue:
    """Requests that wish for the same; those still waiting, in order, and what has become of the others."""

    def __init__(self, requests: Sequence[Request]) -> None:
        self.waiting = list(requests)
        self.done: list[tuple[Request, Outcome]] = []
        self.reasons: list[str] = []

    def settle(self, request: Request, outcome: Outcome) -> None:
        self.waiting.remove(request)
        self.done.append((request, outcome))


class Allocator:
    """The addresses of one node. ``facts`` says what is decided on; ``wall_ns`` is the wall clock in nanoseconds."""

    def __init__(
        self,
        records: Records,
        node: str,
        *,
        facts: Callable[[], Awaitable[Facts]],
        wall_ns: Callable[[], int],
        writer: BlockWriter | None = None,
    ) -> None:
        self._records, self._node, self._facts, self._wall_ns = records, node, facts, wall_ns
        self._writer = writer or BlockWriter(records)

    async def assign(self, requests: Sequence[Request]) -> list[Outcome]:
        """One outcome a request, in its place; a holder that has an address of that family gets that one.

        Requests that wish for the same share their writes: one for their handles, one for each block.
        Holders must differ within one family. Raises Contention, Unavailable; then nothing was given, or it is found
        by its handle, and asking again gives the same.
        """
        facts = await self._facts()
        done: list[tuple[Request, Outcome]] = []
        for alike in _alike(requests):
            queue = _Queue(alike)
            await self._serve(queue, alike[0], facts)
            done += queue.done
        outcomes = {id(request): outcome for request, outcome in done}
        return [outcomes[id(request)] for request in requests]

    async def assign_address(self, address: Address, holder: Holder, *, use: Use = Use.WORKLOAD) -> Assigned:
        """Give ``holder`` this address, reserved or not, or see that it has it; claims the block if nobody has.

        Raises AlreadyTaken, NoPool (in no enabled pool, or the pool is not for that use), Contention, Unavailable.
        """
        facts = await self._facts()
        cidr = choose.block_of(address, _pool_with(address, facts, use))
        block = await self._writer.read(cidr) or await self._claim(cidr)
        if block is not None and address in blocks.held_by(block, holder.handle):
            return Assigned(address, cidr, is_new=False)
        if facts.config.strict_affinity and block is not None and block.node != self._node:
            raise NoPool("Block host affinity does not match")
        await handles.count_up(self._records, cidr, holder.handle)
        try:
            done = await self._writer.change(cidr, lambda found: (blocks.take(found, address, holder), True))
        except (AlreadyTaken, Contention):
            await self._uncount(cidr, [holder])
            raise
        if done is None:
            await self._uncount(cidr, [holder])
            raise Contention
        return Assigned(address, cidr)

    # --- a queue, block by block --------------------------------------------------------------------------------

    async def _serve(self, queue: _Queue, like: Request, facts: Facts) -> None:
        try:
            pools = choose.pools_for(like.wish, facts.pools, node=self._node, node_labels=facts.node_labels)
        except NoPool as why:
            return await self._refuse(queue, why)
        limit = choose.block_limit(facts.config.max_blocks_per_host, like.max_blocks)
        async for cidr, is_own in self._blocks_to_try(queue, pools, facts, limit):
            await self._take(queue, cidr, facts, is_own=is_own)
            if not queue.waiting:
                return None
        return await self._refuse(queue, NoAddress(like.wish.version, queue.reasons))

    async def _refuse(self, queue: _Queue, why: NoAddress | NoPool) -> None:
        """Nobody gets a new address; who was given one earlier, and was not told, still has it."""
        for request in list(queue.waiting):
            queue.settle(request, await self._held(request) or why)

    async def _blocks_to_try(
        self, queue: _Queue, pools: Sequence[IPPool], facts: Facts, limit: int
    ) -> AsyncIterator[tuple[Network, bool]]:
        """Blocks that may have room, best first, and whether they are this node's own; claims as it goes."""
        for cidr in self._remembered(pools, facts):
            yield cidr, True
        owned = await self._own_blocks(pools, facts)
        for cidr in owned:
            if await self._has_room(cidr, facts):
                yield cidr, True
        for claimed in range(TRIES):
            if len(owned) + claimed >= limit:
                queue.reasons.append(
                    f"Need to allocate an IPAM block but could not - limit of {limit} blocks reached for this node"
                )
                return
            new = await self._claim_one(pools, facts) if facts.config.auto_allocate_blocks else None
            if new is None:
                break
            yield new, True
        if facts.config.strict_affinity:
            queue.reasons.append("No more free affine blocks and strict affinity enabled")
            return
        for lender in choose.lenders(pools, await self._existing(facts), node=self._node, reserved=facts.reserved):
            yield lender.cidr, False
        queue.reasons.append(f"No IPs available in pools: [{' '.join(str(pool.cidr) for pool in pools)}]")

    async def _take(self, queue: _Queue, cidr: Network, facts: Facts, *, is_own: bool) -> None:
        """Serve as many of those waiting as the block has room for."""
        block = await self._writer.look(cidr)
        room = self._room(block, facts) if block is not None else 0
        takers = await self._counted(queue, cidr, queue.waiting[:room])
        given: dict[int, Address] = {}

        def step(found: IPAMBlock) -> tuple[IPAMBlock, dict[int, Address]]:
            if is_own and found.node != self._node:
                return found, {}
            return _given(self._rested(found, facts), takers, facts) if takers else (found, {})

        try:
            given = await self._writer.change(cidr, step) or {} if takers else {}
        except Contention:
            await self._uncount(cidr, [taker.holder for taker in takers])
            raise
        await self._uncount(cidr, [taker.holder for taker in takers if id(taker) not in given])
        for taker in takers:
            if id(taker) in given:
                queue.settle(taker, Assigned(given[id(taker)], cidr))

    async def _counted(self, queue: _Queue, cidr: Network, wanted: Sequence[Request]) -> list[Request]:
        """Count the handles up; those that already have an address are served with it and left out."""
        existing = await handles.create(self._records, cidr, [request.holder.handle for request in wanted])
        takers = []
        for request in wanted:
            if request.holder.handle in existing:
                if (held := await self._held(request)) is not None:
                    queue.settle(request, held)
                    continue
                await handles.count_up(self._records, cidr, request.holder.handle)
            takers.append(request)
        return takers

    async def _held(self, request: Request) -> Assigned | None:
        """What the holder already has of the family that it asks for."""
        record = await self._records.handle(request.holder.handle)
        for cidr in handles.blocks_of(record) if record is not None else ():
            block = await self._records.block(cidr) if _serves(cidr, request) else None
            for address in blocks.held_by(block, request.holder.handle) if block is not None else ():
                return Assigned(address, cidr, is_new=False)
        return None

    async def _uncount(self, cidr: Network, holders: Sequence[Holder]) -> None:
        """For addresses that were certainly not given. When the store did not answer they may have been, so the handle
        goes on counting them: its next release, or garbage collection, looks.
        """
        if holders:
            with suppress(StoreError, Contention):
                await handles.count_down(self._records, cidr, {holder.handle: 1 for holder in holders})

    # --- this node's blocks -------------------------------------------------------------------------------------

    def _remembered(self, pools: Sequence[IPPool], facts: Facts) -> list[Network]:
        """Own blocks inside ``pools`` that had room when they were last written: nothing is read for them.

        Whether they are still as they were, and this node's, is decided by the write.
        """
        return sorted(
            (
                block.cidr
                for block in self._writer.guesses
                if block.node == self._node
                and choose.pool_of(block.cidr.network_address, facts.pools) in pools
                and self._room(block, facts)
            ),
            key=names.of_cidr,
        )

    async def _own_blocks(self, pools: Sequence[IPPool], facts: Facts) -> list[Network]:
        """The blocks inside ``pools`` that this node owns, in upstream's order, each with its affinity confirmed.

        On the way, empty blocks of pools that no longer select this node are let go of.
        """
        mine = []
        for each in await self._records.affinities(self._node):
            pool = choose.pool_of(each.cidr.network_address, facts.pools)
            if pool in pools and (each.is_confirmed or await self._claim(each.cidr) is not None):
                mine.append(each.cidr)
            elif pool is not None and not pool.disabled and not choose.selects_node(pool, facts.node_labels):
                await self._give_up(each.cidr)
        return sorted(mine, key=names.of_cidr)

    async def _has_room(self, cidr: Network, facts: Facts) -> bool:
        """A block that is full in memory may have got room since: ask the store. One that is gone is made again."""
        guess = await self._writer.look(cidr)
        if guess is not None and self._room(guess, facts):
            return True
        block = await self._writer.read(cidr)
        if block is None or block.node != self._node:
            block = await self._claim(cidr)
        return block is not None and self._room(block, facts) > 0

    def _room(self, block: IPAMBlock, facts: Facts) -> int:
        return blocks.count_free(self._rested(block, facts), facts.reserved)

    def _rested(self, block: IPAMBlock, facts: Facts) -> IPAMBlock:
        return blocks.thaw(block, now=self._now(), cooldown_s=facts.config.cooldown_s)

    async def _existing(self, facts: Facts) -> dict[Network, IPAMBlock]:
        return {cidr: self._rested(block, facts) for cidr, block in (await self._records.blocks()).items()}

    async def _claim_one(self, pools: Sequence[IPPool], facts: Facts) -> Network | None:
        """Make a new block this node's own. None when the pools have no block left."""
        for candidate in choose.candidates(
            pools,
            await self._existing(facts),
            node=self._node,
            reserved=facts.reserved,
            now=self._now(),
            seed=self._wall_ns(),
        ):
            if candidate.reclaim is not None and not await self._reclaim(candidate.reclaim):
                continue
            if await self._claim(candidate.cidr) is not None:
                return candidate.cidr
        return None

    async def _claim(self, cidr: Network) -> IPAMBlock | None:
        """None when another node was faster."""
        try:
            block = await affinity.claim(self._records, self._node, cidr, wall_ns=self._wall_ns)
        except affinity.ClaimedByOther:
            return None
        self._writer.remember(cidr, block)
        return block

    async def _reclaim(self, block: IPAMBlock) -> bool:
        try:
            await affinity.release(self._records, block.node, block.cidr, must_be_empty=True, sequence=block.sequence)
        except (affinity.NotEmpty, affinity.ChangedMeanwhile, affinity.ClaimedByOther):
            return False
        return True

    async def _give_up(self, cidr: Network) -> None:
        with suppress(affinity.NotEmpty, affinity.ClaimedByOther):
            await affinity.release(self._records, self._node, cidr, must_be_empty=True)
            self._writer.remember(cidr, None)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._wall_ns() / 1e9, UTC)


def _alike(requests: Sequence[Request]) -> list[list[Request]]:
    """The requests in groups that wish for the same, each group in order."""
    groups: dict[tuple[Wish, int], list[Request]] = {}
    for request in requests:
        groups.setdefault((request.wish, request.max_blocks), []).append(request)
    return list(groups.values())


def _serves(cidr: Network, request: Request) -> bool:
    """Whether an address of this block is what is asked for."""
    pools = request.wish.pools if request.is_moving else ()
    return cidr.version == request.wish.version and (not pools or any(cidr.network_address in pool for pool in pools))


def _given(block: IPAMBlock, takers: Sequence[Request], facts: Facts) -> tuple[IPAMBlock, dict[int, Address]]:
    given: dict[int, Address] = {}
    for taker in takers:
        taken = blocks.take_next(block, taker.holder, reserved=facts.reserved)
        if taken is None:
            break
        block, given[id(taker)] = taken
    return block, given


def _pool_with(address: Address, facts: Facts, use: Use) -> IPPool:
    pool = choose.pool_of(address, (pool for pool in facts.pools if not pool.disabled))
    if pool is None:
        raise NoPool("The provided IP address is not in a configured pool\n")
    if use not in pool.allowed_uses:
        raise NoPool(f'IP address {address} is in IP pool "{pool.name}", which is not allowed for use {use.value}')
    return pool
