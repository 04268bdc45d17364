"""What a block writer remembers: the newest that it wrote or was told of, and a wrong guess costs one read."""

from __future__ import annotations

from ipaddress import ip_network

from datastore.memory import Memory, MemoryStore
from datastore.plain import run
from datastore.resources import IPAMBlock
from ipam import block as blocks
from ipam.block import Holder
from ipam.records import Records
from ipam.writer import BlockWriter

CIDR = ip_network("10.244.0.0/26")


def taken(block: IPAMBlock, handle: str) -> IPAMBlock:
    found = blocks.take_next(block, Holder(handle, {}))
    assert found is not None
    return found[0]


def test_a_block_that_a_watch_tells_of_is_guessed_unless_a_newer_one_was_written_here() -> None:
    records = Records(MemoryStore(Memory()))
    old = run(records.create_block(blocks.fresh(CIDR, "node1", sequence=7, claimed_at="")))
    new = run(records.write_block(taken(old, "a")))
    writer = BlockWriter(records)
    writer.hear(old)
    assert list(writer.guesses) == [old]
    writer.hear(new)
    writer.hear(old)
    assert list(writer.guesses) == [new]


def test_a_guess_that_is_old_costs_a_read_and_nobody_an_address() -> None:
    records = Records(MemoryStore(Memory()))
    old = run(records.create_block(blocks.fresh(CIDR, "node1", sequence=7, claimed_at="")))
    writer = BlockWriter(records)
    writer.hear(old)
    run(records.write_block(taken(old, "a")))
    run(writer.change(CIDR, lambda found: (taken(found, "b"), True)))
    (block,) = run(records.blocks()).values()
    assert [attribute.handle for _, attribute in blocks.allocations(block)] == ["a", "b"]
