"""Every state gives its table, whatever was before it and however its events come.

Outputs are a function of what is true now, never of history (invariant 5); and with every single op the kernel looks at
invariants 3 and 4 (:mod:`tests.states.watched_kernel`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random

import pytest

from felix.fib.model import Route
from tests.states.cluster_states import DOCUMENT, EMPTY, LEFT, PODS_DEVICES, STATES
from tests.states.node import NodeUnderTest, State, events
from tests.virtual_time import run

SEEDS = range(4)


def node_in(state: State, left: Iterable[Route] = ()) -> NodeUnderTest:
    return NodeUnderTest(state, pods_devices=PODS_DEVICES, left=left)


def in_order(states: Sequence[State], seed: int) -> list[State]:
    shuffled = list(states)
    Random(seed).shuffle(shuffled)
    return shuffled


async def check(node: NodeUnderTest, state: State) -> None:
    assert await node.table() == state.table, state.name


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.name)
@pytest.mark.parametrize("left", LEFT)
def test_a_node_that_starts_in_a_state_has_its_table(state: State, left: str) -> None:
    async def main() -> None:
        node = node_in(state, () if state.down or state in POOLLESS else LEFT[left])
        await node.start(state)
        await check(node, state)

    run(main())


@pytest.mark.parametrize("direction", [1, -1], ids=["forward", "reversed"])
def test_every_state_in_turn(direction: int) -> None:
    async def main() -> None:
        node = node_in(EMPTY)
        await node.start(EMPTY)
        before = EMPTY
        for state in STATES[::direction]:
            for event in events(before, state):
                event(node)
            await check(node, state)
            before = state

    run(main())


@pytest.mark.parametrize("seed", SEEDS)
def test_every_state_with_its_events_one_by_one_in_any_order(seed: int) -> None:
    async def main() -> None:
        random = Random(seed)
        node = node_in(EMPTY)
        await node.start(EMPTY)
        before = EMPTY
        for state in in_order(STATES, seed):
            happening = events(before, state)
            random.shuffle(happening)
            for event in happening:
                event(node)
                await node.table()
            await check(node, state)
            before = state

    run(main())


@pytest.mark.parametrize("seed", SEEDS)
def test_every_state_with_every_event_twice(seed: int) -> None:
    async def main() -> None:
        node = node_in(EMPTY)
        await node.start(EMPTY)
        before = EMPTY
        for state in in_order(STATES, seed):
            for event in events(before, state):
                event(node)
                event(node)
            await check(node, state)
            before = state

    run(main())


@pytest.mark.parametrize("seed", SEEDS)
def test_states_that_come_so_fast_that_only_the_last_is_seen(seed: int) -> None:
    async def main() -> None:
        node = node_in(EMPTY)
        await node.start(EMPTY)
        before = EMPTY
        for place, state in enumerate(in_order(STATES, seed)):
            for event in events(before, state):
                event(node)
            if place % 3 == 2:
                await check(node, state)
            before = state

    run(main())


@pytest.mark.parametrize("seed", SEEDS)
def test_every_state_that_came_while_felix_was_away(seed: int) -> None:
    async def main() -> None:
        node = node_in(EMPTY)
        await node.start(EMPTY)
        before = EMPTY
        for state in in_order(STATES, seed):
            await node.stop()
            for event in events(before, state):
                event(node)
            await node.start(state)
            await check(node, state)
            before = state

    run(main())


def test_the_documents_table_is_the_first_state() -> None:
    assert DOCUMENT.table.splitlines() == [
        "default via 192.168.50.1 dev ens33 proto static metric 100",
        "10.244.104.0/26 via 192.168.50.11 dev ens33 proto bird",
        "10.244.135.0/26 via 192.168.50.12 dev ens33 proto bird",
        "10.244.166.128 dev cali717821d73f3 scope link",
        "blackhole 10.244.166.128/26 proto bird",
        "172.17.0.0/16 dev docker0 proto kernel scope link src 172.17.0.1",
        "192.168.50.0/24 dev ens33 proto kernel scope link src 192.168.50.10 metric 100",
        "fd01::/64 dev ens33 proto kernel metric 256 pref medium",
    ]


POOLLESS = tuple(state for state in STATES if not any(one.resource.kind == "IPPool" for one in state.resources))
