"""An edit of the datastore resets the sessions that it must, and no others."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from datastore.codec import Typed
from tests.unit.bgp.cluster import bgp_filter, configuration, node, peer, pool
from tests.unit.bgp.living_cluster import NODES, meshed, nodes
from tests.virtual_time import virtually

Pair = tuple[int, int]
NONE: Callable[[Pair], bool] = lambda pair: False  # noqa: E731
ALL: Callable[[Pair], bool] = lambda pair: True  # noqa: E731
OF_NODE_3: Callable[[Pair], bool] = lambda pair: 3 in pair  # noqa: E731
TO_NODE_3 = peer("to3", node="node1", peerIP="10.0.0.3", asNumber=64512)


@dataclass(frozen=True)
class Edit:
    """``after`` is the whole datastore. ``resets``: of which pairs the session goes; ``loses``: whether routes do."""

    after: list[Typed]
    resets: Callable[[Pair], bool] = NONE
    loses: bool = False


def with_node_3(**more: Any) -> list[Typed]:
    return [node("node3", "10.0.0.3/24", **more) if each.resource.name == "node3" else each for each in nodes()]


EDITS = {
    "the port": Edit([*nodes(), configuration(listenPort=1790)]),
    "one node's port": Edit([*nodes(), configuration("node.node3", listenPort=1790)]),
    "where it is listened": Edit([*nodes(), configuration(bindMode="NodeIP")]),
    "how much is logged": Edit([*nodes(), configuration(logSeverityScreen="Debug")]),
    "interfaces to be ignored": Edit([*nodes(), configuration(ignoredInterfaces=["docker0"])]),
    "communities": Edit(
        [*nodes(), configuration(prefixAdvertisements=[{"cidr": "10.244.0.0/16", "communities": ["65000:7"]}])]
    ),
    "the priority": Edit([*nodes(), configuration(ipv4NormalRoutePriority=512)]),
    "services": Edit([*nodes(), configuration(serviceLoadBalancerIPs=[{"cidr": "10.96.0.0/16"}])]),
    "a pool that is not exported": Edit(
        [*nodes(), pool("default", "10.244.0.0/16", disableBGPExport=True)], loses=True
    ),
    "a filter that nobody uses": Edit([*nodes(), bgp_filter("f", importV4=[{"action": "Reject"}])]),
    "a node's label": Edit(with_node_3(labels={"rack": "1"})),
    "a new node": Edit([*nodes(), node("node6", "10.0.0.6/24")]),
    "a peer that nobody answers at": Edit([*nodes(), peer("tor", peerIP="10.0.0.254", asNumber=65000)]),
    "an explicit peering instead of the mesh's": Edit([*nodes(), TO_NODE_3]),
    "the restart time": Edit([*nodes(), configuration(nodeMeshMaxRestartTime="90s")], resets=ALL),
    "the AS": Edit([*nodes(), configuration(asNumber=64999)], resets=ALL, loses=True),
    "one node's AS": Edit(with_node_3(asNumber=64999), resets=OF_NODE_3, loses=True),
}


@pytest.mark.parametrize("what", EDITS)
@virtually
async def test_an_edit_of_the_datastore_resets_the_sessions_that_it_must(what: str) -> None:
    edit = EDITS[what]
    cluster = await meshed()
    before = cluster.sessions()
    cluster.apply(*edit.after)
    await asyncio.sleep(30)
    after = cluster.sessions()
    changed = {pair for pair in before if after.get(pair) != before[pair]}
    assert all(after[pair][0].established for pair in before)
    assert changed == {pair for pair in before if edit.resets(pair)}
    assert bool(cluster.gone()) is edit.loses
    assert what == "a pool that is not exported" or cluster.is_whole()
    assert len(before) == len(NODES) * (len(NODES) - 1)
