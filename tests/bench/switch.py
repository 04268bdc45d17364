"""What it costs to change a pool's mode: ``.venv/bin/python -m tests.bench.switch``. Needs root.

First one node with 2,000 remote blocks on the real kernel: from the edit in the view to the last route acknowledged.
Then whole labs, from the start of ``calicoctl patch`` to the last route of the last node.
"""

from __future__ import annotations

import asyncio
import statistics
import time

from bgp.learned import InSync, Snapshot
from datastore.resources import IPPool
from felix.fib.plan import ALL_IN_SYNC
from felix.tunnels import Tunnel
from felix.view import View
from tests.bench.bench_routes import POOL, block, learned, node_address, node_with_uplink, running
from tests.bench.node import lab_of
from tests.bench.route_events import RouteEvents, heard_on
from tests.clusters import address, node, pool
from tests.clusters import block as ipam_block
from tests.lab.modes import has_switched, switch
from tests.lab.testbed import Testbed

BLOCKS, NODES = 2000, 500
MODES = {"direct": {}, "vxlan": {"vxlanMode": "Always"}}
LABS = (3, 20, 50)


def main() -> None:
    for name, seconds in one_node().items():
        print(f"{f'one node, {BLOCKS:,} blocks of {NODES} nodes, to {name}':<66} {seconds * 1e3:8.1f} ms", flush=True)
    for nodes in LABS:
        seconds = whole_lab(nodes)
        print(f"{f'lab of {nodes} nodes, edit to last route, median of 4':<66} {seconds * 1e3:8.0f} ms", flush=True)


def one_node() -> dict[str, float]:
    """Seconds, by the mode that is switched to; the better of two."""
    with node_with_uplink():
        return asyncio.run(_switches())


async def _switches() -> dict[str, float]:
    best: dict[str, float] = {}
    async with running(NODES) as dataplane:
        view, reconciler = dataplane.view, dataplane.reconciler
        _publish(view)
        view.hear(Snapshot(tuple(learned(BLOCKS, NODES))))
        view.hear(InSync())
        dataplane.changed()
        await reconciler.settled(reconciler.desired.routes)
        assert view.in_sync == ALL_IN_SYNC
        await _device_up(view)
        for name in ("vxlan", "direct") * 2:
            began = time.perf_counter()
            view.put(_pool(name))
            dataplane.changed()
            await reconciler.settled(reconciler.desired.routes)
            best[name] = min(best.get(name, 1e9), time.perf_counter() - began)
    return best


def _publish(view: View) -> None:
    """Everybody has a tunnel address, and so have we; every block has its holder in IPAM too."""
    for n in range(NODES):
        view.put(node(f"node{n}", f"{node_address(n, NODES)}/16", vxlan=str(block(n)[0])))
    for n in range(BLOCKS):
        view.put(ipam_block(f"node{n % NODES}", str(block(n))))
    view.hold({**dict.fromkeys(Tunnel), Tunnel.VXLAN: address("10.255.255.1")})


async def _device_up(view: View) -> None:
    while not ((link := view.surroundings.links.get(Tunnel.VXLAN.device)) and link.is_up):  # noqa: ASYNC110
        await asyncio.sleep(0.01)


def _pool(name: str) -> IPPool:
    return pool(str(POOL), **MODES[name])


def whole_lab(nodes: int) -> float:
    """Seconds."""
    with lab_of(nodes, name="switch") as bed, heard_on(bed.lab.nodes) as events:
        for each in bed.lab.nodes:
            bed.add_pod(each.name, "resident")
        bed.eventually(lambda: has_switched(bed, "direct"), what="direct everywhere", patience_s=60)
        return statistics.median(_one_switch(bed, events, mode) for mode in ("vxlan", "direct") * 2)


def _one_switch(bed: Testbed, events: RouteEvents, mode: str) -> float:
    events.forget()
    began = time.perf_counter()
    switch(bed, mode)
    ended = events.all_written(len(bed.lab.nodes) - 1, patience_s=60)
    bed.eventually(lambda: has_switched(bed, mode), what=mode, patience_s=60)
    return ended - began


if __name__ == "__main__":
    main()
