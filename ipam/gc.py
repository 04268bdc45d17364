"""What is left over: pure findings about addresses, handles and affinities that nobody will give back.

A finding is not a verdict: whoever acts on it looks twice, a grace period apart, and releases with the handle and the
sequence that stand here, so that an address given out again meanwhile is never taken from its new holder.

Source: Calico kube-controllers/pkg/controllers/node/ipam.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from datastore.resources import AllocationAttribute, BlockAffinity, IPAMBlock, IPAMHandle
from ipam import block as blocks

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

InUse = Callable[[Address, AllocationAttribute], bool]
"""Whether the holder of an address is alive and has it."""


@dataclass(frozen=True, slots=True)
class Leak:
    """An address whose holder is gone. Release it with exactly this handle and sequence."""

    address: Address
    handle: str
    sequence: int
    owner: Mapping[str, str]


def leaks(all_blocks: Iterable[IPAMBlock], in_use: InUse) -> list[Leak]:
    """Addresses that nobody uses. A holder that uses one of its addresses keeps them all."""
    held = [(block, address, attribute) for block in all_blocks for address, attribute in blocks.allocations(block)]
    alive = {blocks.handle_of(attribute) for _, address, attribute in held if in_use(address, attribute)}
    return [
        Leak(address, blocks.handle_of(attribute), blocks.taken_at(block, address), attribute.owner)
        for block, address, attribute in held
        if not in_use(address, attribute) and not (attribute.handle and blocks.handle_of(attribute) in alive)
    ]


def idle_handles(handles: Iterable[IPAMHandle], all_blocks: Mapping[Network, IPAMBlock]) -> list[IPAMHandle]:
    """Handles that hold no address: left by a crash between the handle's write and the block's."""
    holding = {
        blocks.handle_of(attribute).lower()
        for block in all_blocks.values()
        for _, attribute in blocks.allocations(block)
    }
    return [handle for handle in handles if handle.handle.lower() not in holding]


def dangling_affinities(
    affinities: Iterable[BlockAffinity], all_blocks: Mapping[Network, IPAMBlock]
) -> list[BlockAffinity]:
    """Affinities whose block is missing or another node's: a claim or a release that stopped half-way."""
    return [
        affinity
        for affinity in affinities
        if affinity.cidr not in all_blocks or all_blocks[affinity.cidr].node != affinity.node
    ]


def unknown_owners(all_blocks: Iterable[IPAMBlock], nodes: Iterable[str]) -> list[IPAMBlock]:
    """Blocks of nodes that are not there any more."""
    known = set(nodes)
    return [block for block in all_blocks if block.node and block.node not in known]
