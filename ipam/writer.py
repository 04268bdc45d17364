"""One block at a time: apply a pure change by compare-and-swap, again when a rival was faster.

The blocks that were written last, and those that a watch tells of, are remembered as a guess at what the store holds. A
guess saves the read; the write's revision decides, so a wrong guess costs one read and never an address.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from ipaddress import IPv4Network, IPv6Network
from typing import TypeVar

from datastore.resources import IPAMBlock
from datastore.store import Conflict, Missing
from ipam import block as blocks
from ipam.records import TRIES, Contention, Records

Network = IPv4Network | IPv6Network
T = TypeVar("T")

Change = Callable[[IPAMBlock], tuple[IPAMBlock, T]]
"""A pure change: the block afterwards, and what to tell the caller. The same block means: nothing to write."""


class BlockWriter:
    def __init__(self, records: Records) -> None:
        self._records = records
        self._guess: dict[Network, IPAMBlock] = {}

    @property
    def guesses(self) -> Collection[IPAMBlock]:
        """The blocks that are remembered, as they probably are."""
        return self._guess.values()

    async def look(self, cidr: Network) -> IPAMBlock | None:
        """The block as it probably is."""
        return self._guess.get(cidr) or await self.read(cidr)

    async def read(self, cidr: Network) -> IPAMBlock | None:
        """The block as it is."""
        block = await self._records.block(cidr)
        self.remember(cidr, block)
        return block

    def remember(self, cidr: Network, block: IPAMBlock | None) -> None:
        if block is None:
            self._guess.pop(cidr, None)
        else:
            self._guess[cidr] = block

    def hear(self, block: IPAMBlock) -> None:
        """A watch tells of it. What was written here since is newer."""
        known = self._guess.get(block.cidr)
        if known is None or known.sequence < block.sequence:
            self._guess[block.cidr] = block

    async def change(self, cidr: Network, step: Change[T]) -> T | None:
        """What ``step`` said of the block that was written; None when there is no such block.

        A block that is empty afterwards and that no node owns is deleted. Raises Contention, Unavailable.
        """
        if (guess := self._guess.get(cidr)) is not None:
            changed, said = step(guess)
            if changed is not guess and await self._write(changed):
                return said
        for _ in range(TRIES):
            block = await self.read(cidr)
            if block is None:
                return None
            changed, said = step(block)
            if changed is block or await self._write(changed):
                return said
        raise Contention

    async def _write(self, block: IPAMBlock) -> bool:
        try:
            if block.affinity is None and blocks.is_empty(block):
                await self._records.delete_block(block)
                self.remember(block.cidr, None)
            else:
                self.remember(block.cidr, await self._records.write_block(block))
        except (Conflict, Missing):
            self.remember(block.cidr, None)
            return False
        return True
