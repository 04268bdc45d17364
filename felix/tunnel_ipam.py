"""What IPAM holds for this node's tunnels: looked up, taken and given back.

Whatever carries the tunnel's handle is ours, also after a crash and also when another program took it: the handle names
the node. Two things are older than handles or were damaged: a published address that IPAM holds for nobody (no handle,
no attributes) is the node's from that time, and one whose handle record is gone is found by the address.

Source: Calico node/pkg/allocateip (ensureHostTunnelAddress, correctAllocationWithHandle, removeHostTunnelAddr).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol

from datastore.resources import AllocationAttribute, IPAMBlock, IPPool, Use
from datastore.store import Store
from felix.tunnels import Tunnel
from ipam import block as blocks
from ipam import handles
from ipam.allocator import Assigned, Outcome, Request
from ipam.block import AlreadyTaken, Holder, Release
from ipam.choose import NoPool, Wish
from ipam.records import Records

Address = IPv4Address | IPv6Address


class Assigner(Protocol):
    async def assign(self, requests: Sequence[Request]) -> Sequence[Outcome]: ...

    async def assign_address(self, address: Address, holder: Holder, *, use: Use = ...) -> Assigned: ...


class Releasing(Protocol):
    async def release_addresses(self, releases: Iterable[Release]) -> list[Address]: ...

    async def release_handles(self, wanted: Sequence[str], *, are_settled: bool = False) -> int: ...


@dataclass(frozen=True, slots=True)
class Found:
    """``held`` are ours. ``ancient`` is the published address, where nobody holds it by name; ``has_handle`` is true of
    a record that counts nothing, too: a crash may leave one.
    """

    held: tuple[Address, ...] = ()
    ancient: Release | None = None
    has_handle: bool = False

    @property
    def is_nothing(self) -> bool:
        return not self.held and self.ancient is None and not self.has_handle


class TunnelIpam:
    """``node`` is this node's name. All raise StoreError and Contention."""

    def __init__(self, node: str, store: Store, assigner: Assigner, releasing: Releasing) -> None:
        self._node, self._records = node, Records(store)
        self._assigner, self._releasing = assigner, releasing

    async def find(self, tunnel: Tunnel, published: Address | None) -> Found:
        holder = tunnel.holder(self._node)
        record = await self._records.handle(holder.handle)
        cidrs = handles.blocks_of(record) if record is not None else []
        read = [await self._records.block(cidr) for cidr in cidrs]
        held = _held_by(holder, read)
        if published is None or published in held:
            return Found(held, None, record is not None)
        around = [block for block in (await self._records.blocks()).values() if published in block.cidr]
        strays = _held_by(holder, around)
        return Found(tuple(dict.fromkeys((*held, *strays))), _ancient(published, around), record is not None)

    async def take(self, tunnel: Tunnel, pools: Sequence[IPPool], ancient: Release | None = None) -> Address:
        """An address of one of ``pools``: the one that is ours, or the ancient one, or a new one.

        Raises NoAddress, NoPool: nothing can be given now.
        """
        if ancient is not None and any(ancient.address in pool.cidr for pool in pools):
            adopted = await self._adopt(tunnel, ancient)
            if adopted is not None:
                return adopted
        wish = Wish(tunnel.version, Use.TUNNEL, tuple(pool.cidr for pool in pools))
        request = Request(tunnel.holder(self._node), wish, is_moving=True)
        (outcome,) = await self._assigner.assign([request])
        if isinstance(outcome, Assigned):
            return outcome.address
        raise outcome

    async def give_back(self, tunnel: Tunnel, addresses: Iterable[Address], ancient: Release | None = None) -> None:
        """Raises StaleRelease when one of them has become somebody else's: look again."""
        handle = tunnel.holder(self._node).handle
        releases = [Release(address, handle) for address in addresses]
        await self._releasing.release_addresses([*releases, *([ancient] if ancient else [])])

    async def give_back_all(self, tunnel: Tunnel, found: Found) -> None:
        """All of them, and the handle. Raises StaleRelease."""
        await self.give_back(tunnel, found.held, found.ancient)
        await self._releasing.release_handles([tunnel.holder(self._node).handle], are_settled=True)

    async def _adopt(self, tunnel: Tunnel, ancient: Release) -> Address | None:
        """The same address again, by name now. None when somebody was faster."""
        await self._releasing.release_addresses([ancient])
        try:
            holder = tunnel.holder(self._node)
            return (await self._assigner.assign_address(ancient.address, holder, use=Use.TUNNEL)).address
        except (AlreadyTaken, NoPool):
            return None


def _held_by(holder: Holder, some: Iterable[IPAMBlock | None]) -> tuple[Address, ...]:
    return tuple(address for block in some if block is not None for address in blocks.held_by(block, holder.handle))


def _ancient(published: Address, some: Iterable[IPAMBlock]) -> Release | None:
    for block in some:
        for address, attribute in blocks.allocations(block):
            if address == published and _is_nobodys(attribute):
                return Release(address, sequence=blocks.taken_at(block, address))
    return None


def _is_nobodys(attribute: AllocationAttribute) -> bool:
    return not attribute.handle and not attribute.owner
