"""``calicoctl ipam show``: how full the pools are, who has an address, who borrows, how addresses are given out.

Source: Calico calicoctl/commands/ipam/show.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from calicoctl import box
from calicoctl.addresses import address_of
from calicoctl.failure import Failure
from calicoctl.flags import Flag, Takes
from calicoctl.terminal import Terminal
from calicoctl.usage import CONFIG, Usage
from datastore.resources import AllocationAttribute, IPAMBlock
from datastore.store import Store
from ipam import block as blocks
from ipam import facts
from ipam.block import Address
from ipam.records import Records

USAGE = Usage(
    "",
    "Shows how many addresses of each pool are in use, reserved and free. With a flag: what is known of one address,\n"
    "the blocks of the pools, the addresses that nodes borrow from each other's blocks, or IPAM's settings.",
    "# How full the pools are.\ncalicoctl ipam show\n\n# Who has this address.\ncalicoctl ipam show --ip 10.244.1.5",
    (
        CONFIG,
        Flag("ip", "Who has this address."),
        Flag("show-blocks", "The blocks of each pool as well.", takes=Takes.NOTHING),
        Flag("show-borrowed", "Addresses that are used by a node other than their block's.", takes=Takes.NOTHING),
        Flag("show-configuration", "How addresses are given out.", takes=Takes.NOTHING),
    ),
)


def run(terminal: Terminal) -> None:
    words = terminal.words
    if text := words.text("ip"):
        address = address_of(text)
        terminal.with_store(lambda store: _show_address(terminal, store, address))
    elif words.has("show-blocks"):
        terminal.with_store(lambda store: _show_usage(terminal, store, with_blocks=True))
    elif words.has("show-borrowed"):
        terminal.with_store(lambda store: _show_borrowed(terminal, store))
    elif words.has("show-configuration"):
        terminal.with_store(lambda store: _show_configuration(terminal, store))
    else:
        terminal.with_store(lambda store: _show_usage(terminal, store, with_blocks=False))


def _print(terminal: Terminal, lines: Iterable[str]) -> None:
    for line in lines:
        terminal.write(line)


# --- pools --------------------------------------------------------------------------------------------------------

_COUNTS = ("IPS TOTAL", "IPS IN USE", "IPS RESERVED", "IPS FREE")


async def _show_usage(terminal: Terminal, store: Store, *, with_blocks: bool) -> None:
    from calicoctl.ipam_usage import usage

    known = await facts.read_cluster(store)
    rows: list[list[str]] = []
    for pool in usage(known.pools, known.reserved, (await Records(store).blocks()).values()):
        if pool.whole is not None:
            rows.append(["IP Pool", str(pool.whole.cidr), *_counts(*pool.whole[1:])])
        if with_blocks:
            rows += [["Block", str(block.cidr), *_counts(*block[1:])] for block in pool.blocks]
    _print(terminal, box.lines(["GROUPING", "CIDR", *_COUNTS], rows, right=_COUNTS))


def _counts(total: int, *parts: int) -> list[str]:
    return [f"{total:.5g}", *(f"{part:.5g} ({100 * float(part) / float(total):.0f}%)" for part in parts)]


# --- one address --------------------------------------------------------------------------------------------------


async def _show_address(terminal: Terminal, store: Store, address: Address) -> None:
    holder = await _holder_of(store, address)
    if holder is None:
        terminal.say(f"{address} is not assigned")
        return
    if holder.released_at:
        raise Failure(f"address {address} is in cooldown")
    terminal.say(f"IP {address} is in use")
    terminal.say(f"Handle ID: {blocks.handle_of(holder) or '<none>'}")
    active = list(_owner("Active Owner Attributes", holder.owner))
    _print(terminal, active or ["No Active Owner attributes defined\n"])
    _print(terminal, _owner("Alternate Owner Attributes", holder.rest.get("alternateOwnerAttrs") or {}))


async def _holder_of(store: Store, address: Address) -> AllocationAttribute | None:
    """Also where the pool is gone: the block keeps its addresses until they are given back."""
    from ipam import choose

    records = Records(store)
    pool = choose.pool_of(address, (await facts.read_cluster(store)).pools)
    block = await records.block(choose.block_of(address, pool)) if pool else None
    if block is None:
        block = next((each for cidr, each in (await records.blocks()).items() if address in cidr), None)
    if block is None:
        return None
    index = block.slots[blocks.ordinal_of(block, address)]
    return None if index is None else block.attributes[index]


def _owner(title: str, attributes: Mapping[str, str]) -> Iterator[str]:
    if attributes:
        yield f"{title}:\n"
        for key in sorted(attributes):
            yield f"  {key}: {attributes[key]}\n"


# --- borrowed addresses -------------------------------------------------------------------------------------------


async def _show_borrowed(terminal: Terminal, store: Store) -> None:
    held = [
        (block, blocks.address_at(block, ordinal), block.attributes[index])
        for block in (await Records(store).blocks()).values()
        for ordinal, index in enumerate(block.slots)
        if index is not None
    ]
    rows = [
        _borrowed(*each) for each in held if "node" in each[2].owner and each[2].owner["node"] != _owner_of(each[0])
    ]
    headings = ["IP", "BORROWING-NODE", "BLOCK", "BLOCK OWNER", "TYPE", "ALLOCATED-TO"]
    _print(terminal, box.lines(headings, rows))
    if unclear := sum("node" not in holder.owner for _, _, holder in held):
        terminal.say(
            f"\nNote: found {unclear} IP allocations without an explicit node association."
            " Unable to determine if they are borrowed."
        )


def _owner_of(block: IPAMBlock) -> str:
    """The node of ``host:node``."""
    parts = (block.affinity or "").split(":")
    return parts[1] if len(parts) == 2 else parts[0]


def _borrowed(block: IPAMBlock, address: Address, holder: AllocationAttribute) -> Sequence[str]:
    owner = holder.owner
    namespace = owner.get("namespace", "")
    if "vmi-name" in owner:
        what = ("vmi", f"{namespace}/{owner['vmi-name']}")
    elif "pod" in owner:
        what = ("pod", f"{namespace}/{owner['pod']}")
    else:
        what = (owner.get("type", ""), "")
    return [str(address), owner["node"], str(block.cidr), _owner_of(block), *what]


# --- settings -----------------------------------------------------------------------------------------------------


async def _show_configuration(terminal: Terminal, store: Store) -> None:
    settings = await facts.read_config(store)
    rows = [
        ["StrictAffinity", str(settings.strict_affinity).lower()],
        ["AutoAllocateBlocks", str(settings.auto_allocate_blocks).lower()],
        ["MaxBlocksPerHost", str(settings.max_blocks_per_host)],
        ["KubeVirtVMAddressPersistence", settings.resource.spec.get("kubeVirtVMAddressPersistence") or "Enabled"],
        ["IPCooldownSeconds", str(settings.cooldown_s)],
    ]
    _print(terminal, box.lines(["PROPERTY", "VALUE"], rows))
