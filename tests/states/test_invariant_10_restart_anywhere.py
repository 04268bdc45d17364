"""A restart at any instruction converges to the same state: felix is killed after every number of ops."""

from __future__ import annotations

import pytest

from tests.states.cluster_states import (
    BORROWED,
    DOCUMENT,
    DUAL_STACK,
    EMPTY,
    EXTERNAL,
    LEFT_BY_FELIX,
    MOVED_HERE,
    NODE_DELETED,
    PODS_DEVICES,
)
from tests.states.node import NodeUnderTest, State, events
from tests.virtual_time import run

WAYS = [
    (EMPTY, DOCUMENT),
    (DOCUMENT, MOVED_HERE),
    (MOVED_HERE, BORROWED),
    (BORROWED, NODE_DELETED),
    (EXTERNAL, EMPTY),
    (DUAL_STACK, EXTERNAL),
]


@pytest.mark.parametrize(("before", "after"), WAYS, ids=lambda state: state.name)
def test_felix_is_killed_after_any_op_and_again_and_all_is_well(before: State, after: State) -> None:
    async def main() -> None:
        for ops in range(100):
            if not await _dies_after(ops, before, after):
                assert ops > 1
                return
        raise AssertionError("felix never came to an end of its work")

    run(main())


async def _dies_after(ops: int, before: State, after: State) -> bool:
    """Whether so many ops were not enough; either way a restart must end in the table."""
    node = NodeUnderTest(before, pods_devices=PODS_DEVICES, left=LEFT_BY_FELIX if before is DOCUMENT else ())
    await node.start(before)
    assert await node.table() == before.table
    node.kernel.ops_until_death = ops
    for event in events(before, after):
        event(node)
    was_killed = await node.is_dead()
    if not was_killed:
        await node.stop()
    node.kernel.ops_until_death = 1
    await node.start(after)
    await node.is_dead()
    node.kernel.ops_until_death = None
    await node.start(after)
    assert await node.table() == after.table
    await node.stop()
    return was_killed
