"""What may happen to a block: pure functions from one IPAMBlock to the next.

The rules that keep it correct: every address is either free (in ``free``, once) or held (``slots`` points at who holds
it), never both; free addresses are given out from the head of ``free`` and come back at its tail, so that an address
rests as long as possible; every write raises ``sequence`` (:func:`written`), and ``taken_at`` remembers the sequence at
which an address was given out, so that a release decided on old data can be told from one decided on new.

Source: Calico libcalico-go/lib/ipam/ipam_block.go; the stored form is :class:`datastore.resources.IPAMBlock`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from datastore import names
from datastore.resource import Resource
from datastore.resources import AllocationAttribute, IPAMBlock
from ipam.reserved import Reserved

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

NOTHING_RESERVED = Reserved()
WINDOWS_RESERVED_HANDLE = "windows-reserved-ipam-handle"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who gets an address: the handle it is released by, and what is known of the owner (pod, namespace, node ...)."""

    handle: str
    owner: Mapping[str, str] = field(default_factory=dict)


class AlreadyTaken(Exception):
    """The address that was asked for by name is held by somebody."""


class StaleRelease(Exception):
    """The release was decided on data that is no longer true: the address has another holder, or had one since."""


@dataclass(frozen=True, slots=True)
class Release:
    """One address to give back. ``handle`` and ``sequence``, where given, must be those it is held with."""

    address: Address
    handle: str = ""
    sequence: int | None = None


@dataclass(frozen=True, slots=True)
class Released:
    """The block afterwards, how many addresses each handle gave back, and which were not held by anybody."""

    block: IPAMBlock
    by_handle: Mapping[str, int]
    not_held: tuple[Address, ...] = ()


def fresh(cidr: Network, node: str, *, sequence: int, claimed_at: str) -> IPAMBlock:
    """A block that ``node`` has just claimed, all free.

    ``sequence`` must be larger than any that this block ever had (upstream: the wall clock in nanoseconds), so that a
    block deleted and made again is not taken for the old one.
    """
    size = cidr.num_addresses
    resource = Resource("IPAMBlock", names.of_cidr(cidr), spec={"strictAffinity": False})
    return IPAMBlock(
        resource=resource,
        cidr=cidr,
        affinity=f"host:{node}",
        claimed_at=claimed_at,
        slots=(None,) * size,
        free=tuple(range(size)),
        sequence=sequence,
    )


def written(block: IPAMBlock) -> IPAMBlock:
    """The block as it goes to the store."""
    return replace(block, sequence=block.sequence + 1)


def address_at(block: IPAMBlock, ordinal: int) -> Address:
    return block.cidr[ordinal]


def ordinal_of(block: IPAMBlock, address: Address) -> int:
    """Raises ValueError when the address is not of this block."""
    if address not in block.cidr:
        raise ValueError(f"{address} is not in block {block.cidr}")
    return int(address) - int(block.cidr.network_address)


def take_next(
    block: IPAMBlock, holder: Holder, *, reserved: Reserved = NOTHING_RESERVED
) -> tuple[IPAMBlock, Address] | None:
    """Give ``holder`` the free address that has rested longest. None when none is left that is not reserved."""
    for place, ordinal in enumerate(block.free):
        address = address_at(block, ordinal)
        if not reserved.has(address):
            return _take(block, place, holder), address
    return None


def take(block: IPAMBlock, address: Address, holder: Holder) -> IPAMBlock:
    """Give ``holder`` this address, reserved or not. Raises AlreadyTaken."""
    ordinal = ordinal_of(block, address)
    if block.slots[ordinal] is not None or ordinal not in block.free:
        raise AlreadyTaken(f"{address} is already assigned in block {block.cidr}")
    return _take(block, block.free.index(ordinal), holder)


def _take(block: IPAMBlock, place: int, holder: Holder) -> IPAMBlock:
    ordinal = block.free[place]
    attributes, index = _with_attribute(block.attributes, AllocationAttribute(holder.handle, holder.owner))
    return replace(
        block,
        slots=(*block.slots[:ordinal], index, *block.slots[ordinal + 1 :]),
        free=(*block.free[:place], *block.free[place + 1 :]),
        attributes=attributes,
        taken_at={**block.taken_at, ordinal: block.sequence},
    )


def _with_attribute(
    attributes: tuple[AllocationAttribute, ...], wanted: AllocationAttribute
) -> tuple[tuple[AllocationAttribute, ...], int]:
    if wanted in attributes:
        return attributes, attributes.index(wanted)
    return (*attributes, wanted), len(attributes)


def release(block: IPAMBlock, releases: Iterable[Release], *, now: datetime, cooldown_s: int = 0) -> Released:
    """Give addresses back; a duplicate counts once. Raises StaleRelease, and then nothing is released.

    With a cooldown they stay held, by nobody, until ``now`` + ``cooldown_s`` (see :func:`thaw`).
    """
    wanted = {each.address: each for each in releases}
    held, not_held = [], []
    by_handle: dict[str, int] = {}
    for each in wanted.values():
        ordinal = ordinal_of(block, each.address)
        holder = _holder_for(block, ordinal, each)
        if holder is None:
            not_held.append(each.address)
            continue
        held.append(ordinal)
        handle = handle_of(holder)
        if handle:
            by_handle[handle] = by_handle.get(handle, 0) + 1
    return Released(_let_go(block, held, now, cooldown_s), by_handle, tuple(not_held))


def release_handle(block: IPAMBlock, handle: str, *, now: datetime, cooldown_s: int = 0) -> Released:
    """Give back every address that ``handle`` holds here."""
    held = [
        ordinal
        for ordinal, index in enumerate(block.slots)
        if index is not None and handle_of(block.attributes[index]) == handle
    ]
    return Released(_let_go(block, held, now, cooldown_s), {handle: len(held)} if held else {})


def _holder_for(block: IPAMBlock, ordinal: int, wish: Release) -> AllocationAttribute | None:
    if wish.sequence is not None and wish.sequence != block.taken_at.get(ordinal, 0):
        raise StaleRelease(f"{wish.address}: given out at {block.taken_at.get(ordinal, 0)}, not at {wish.sequence}")
    index = block.slots[ordinal]
    if index is None or block.attributes[index].released_at:
        return None
    holder = block.attributes[index]
    if wish.handle and handle_of(holder) != wish.handle:
        raise StaleRelease(f"{wish.address}: held by {handle_of(holder)!r}, not by {wish.handle!r}")
    return holder


def _let_go(block: IPAMBlock, ordinals: list[int], now: datetime, cooldown_s: int) -> IPAMBlock:
    if not ordinals:
        return block
    if cooldown_s <= 0:
        return _freed(block, set(ordinals))
    cooling = AllocationAttribute(released_at=now.strftime("%Y-%m-%dT%H:%M:%SZ"))
    attributes, index = _with_attribute(block.attributes, cooling)
    slots = list(block.slots)
    for ordinal in ordinals:
        slots[ordinal] = index
    taken_at = {**block.taken_at, **dict.fromkeys(ordinals, block.sequence)}
    resting = replace(block, slots=tuple(slots), attributes=attributes, taken_at=taken_at)
    return thaw(_without_unused_attributes(resting), now=now, cooldown_s=cooldown_s)


def thaw(block: IPAMBlock, *, now: datetime, cooldown_s: int) -> IPAMBlock:
    """Free what was released at least ``cooldown_s`` ago. The same block when there is nothing to free."""
    cold = {index for index, attribute in enumerate(block.attributes) if _has_rested(attribute, now, cooldown_s)}
    return _freed(block, {ordinal for ordinal, index in enumerate(block.slots) if index in cold}) if cold else block


def _has_rested(attribute: AllocationAttribute, now: datetime, cooldown_s: int) -> bool:
    if not attribute.released_at:
        return False
    return (now - datetime.fromisoformat(attribute.released_at)).total_seconds() >= cooldown_s


def _freed(block: IPAMBlock, ordinals: set[int]) -> IPAMBlock:
    slots = tuple(None if ordinal in ordinals else index for ordinal, index in enumerate(block.slots))
    return _without_unused_attributes(
        replace(
            block,
            slots=slots,
            free=(*block.free, *sorted(ordinals)),
            taken_at={at: sequence for at, sequence in block.taken_at.items() if at not in ordinals},
        )
    )


def _without_unused_attributes(block: IPAMBlock) -> IPAMBlock:
    used = sorted({index for index in block.slots if index is not None})
    if len(used) == len(block.attributes):
        return block
    renumbered = {old: new for new, old in enumerate(used)}
    return replace(
        block,
        attributes=tuple(block.attributes[index] for index in used),
        slots=tuple(None if index is None else renumbered[index] for index in block.slots),
    )


def without_owner(block: IPAMBlock) -> IPAMBlock:
    """The block when its node lets go of it while addresses are still held."""
    return replace(block, affinity=None, claimed_at=None)


def handle_of(attribute: AllocationAttribute) -> str:
    """Its handle; old migrations left a carriage return and more in some."""
    return attribute.handle.split("\r", 1)[0]


def is_empty(block: IPAMBlock) -> bool:
    """Nobody holds an address; those that Windows keeps for itself do not count."""
    return all(
        index is None or block.attributes[index].handle.lower() == WINDOWS_RESERVED_HANDLE for index in block.slots
    )


def count_free(block: IPAMBlock, reserved: Reserved = NOTHING_RESERVED) -> int:
    """How many addresses could still be given out unasked."""
    if not reserved.touches(block.cidr):
        return len(block.free)
    return sum(not reserved.has(address_at(block, ordinal)) for ordinal in block.free)


def held_by(block: IPAMBlock, handle: str) -> tuple[Address, ...]:
    return tuple(address for address, attribute in allocations(block) if handle_of(attribute) == handle)


def allocations(block: IPAMBlock) -> list[tuple[Address, AllocationAttribute]]:
    """Every address that somebody holds, in order; those that are cooling down are not held."""
    return [
        (address_at(block, ordinal), block.attributes[index])
        for ordinal, index in enumerate(block.slots)
        if index is not None and not block.attributes[index].released_at
    ]


def taken_at(block: IPAMBlock, address: Address) -> int:
    return block.taken_at.get(ordinal_of(block, address), 0)


def flaws(block: IPAMBlock) -> list[str]:
    """What is wrong with the block's structure, in words; nothing for a sound one."""
    size = block.cidr.num_addresses
    found = []
    if len(block.slots) != size:
        found.append(f"has {len(block.slots)} allocation slots, not {size}")
    for index in sorted({i for i in block.slots if i is not None and not 0 <= i < len(block.attributes)}):
        found.append(f"an allocation points at attribute {index}, which does not exist")
    for index in sorted(set(range(len(block.attributes))) - set(block.slots)):
        found.append(f"attribute {index} is not used by any allocation")
    if len(set(block.free)) != len(block.free):
        found.append("an address is free twice")
    if any(not 0 <= ordinal < size for ordinal in block.free):
        found.append("a free address is outside the block")
    elif any(block.slots[ordinal] is not None for ordinal in block.free if ordinal < len(block.slots)):
        found.append("an address is free and allocated")
    if len(block.free) + sum(index is not None for index in block.slots) != size:
        found.append("free and allocated addresses do not add up to the block's size")
    return found
