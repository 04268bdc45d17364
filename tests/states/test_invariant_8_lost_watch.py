"""A lost watch or a stale read never deletes: what may still be true stays."""

from __future__ import annotations

import asyncio

from bgp.learned import Hello, InSync, Snapshot
from felix.fib.model import DeleteRoute
from felix.view import KINDS
from tests.states.cluster_states import DOCUMENT, LEFT_BY_BIRD, PODS_DEVICES, TO_NODE2, TO_NODE3
from tests.states.node import NodeUnderTest
from tests.virtual_time import run


def fresh_node() -> NodeUnderTest:
    return NodeUnderTest(DOCUMENT, pods_devices=PODS_DEVICES)


def test_a_speaker_that_comes_back_knowing_nothing_takes_no_route_until_it_is_in_sync() -> None:
    async def main() -> None:
        node = fresh_node()
        await node.start(DOCUMENT)
        for message in (Hello(), Snapshot(()), Hello(), Snapshot((TO_NODE3,))):
            node.hear(message)
            assert await node.table() == DOCUMENT.table
        node.hear(InSync())
        gone = "10.244.104.0/26 via 192.168.50.11 dev ens33 proto bird\n"
        assert await node.table() == DOCUMENT.table.replace(gone, "")

    run(main())


def test_a_start_without_the_datastore_takes_no_route_however_long_it_lasts() -> None:
    async def main() -> None:
        node = NodeUnderTest(DOCUMENT, pods_devices=PODS_DEVICES, left=LEFT_BY_BIRD)
        before = await node.table()
        await node.start_knowing((), ())
        node.hear(Snapshot((TO_NODE2,)))
        node.hear(InSync())
        await asyncio.sleep(10_000)
        assert await node.table() == before

    run(main())


def test_one_kind_that_is_not_listed_yet_keeps_all_that_follows_from_it() -> None:
    async def main() -> None:
        for missing in KINDS:
            node = NodeUnderTest(DOCUMENT, pods_devices=PODS_DEVICES, left=LEFT_BY_BIRD)
            await node.start_knowing((), [kind for kind in KINDS if kind != missing])
            node.hear(InSync())
            await node.table()
            taken = [op for op in node.kernel.seen if isinstance(op, DeleteRoute)]
            assert not [op for op in taken if not _follows_from_others(op, missing)]

    run(main())


def _follows_from_others(op: DeleteRoute, missing: str) -> bool:
    """Blackholes follow from affinities, pods' routes from endpoints, all else from everything but endpoints."""
    if not op.route.hops:
        return missing != "BlockAffinity"
    if op.route.hops[0].device.startswith("cali"):
        return missing != "WorkloadEndpoint"
    return missing == "WorkloadEndpoint"


def test_changes_that_were_lost_and_a_read_that_fails_take_no_route() -> None:
    async def main() -> None:
        node = fresh_node()
        await node.start(DOCUMENT)
        assert await node.table() == DOCUMENT.table
        node.kernel.seen.clear()
        for _ in range(5):
            node.kernel.lose()
            assert await node.table() == DOCUMENT.table
        assert node.kernel.seen == []

    run(main())
