"""What monitoring reads of a small cluster: the text of node1's felix and of the controllers that lead."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from datastore.monitoring import exposition
from datastore.resource import Resource
from felix import metrics
from felix.process_usage import read
from tests.sim.cluster import SimCluster
from tests.sim.rest import check_rest
from tests.virtual_time import run

POOL = Resource("IPPool", "blue", spec={"cidr": "10.244.0.0/16", "blockSize": 26, "natOutgoing": True})
QUIET_S = 120.0

Series = dict[str, float]


class Scraped(NamedTuple):
    felix: str
    controllers: str


async def at_rest(cluster: SimCluster) -> None:
    check_rest(cluster)


def scraped(scenario: Callable[[SimCluster], Awaitable[None]] = at_rest, *, nodes: int, pods: int) -> Scraped:
    """After ``scenario``, on a cluster that came to rest with all pods on node1."""

    async def played() -> Scraped:
        cluster = SimCluster(seed=7)
        await cluster.prepare(POOL)
        for number in range(1, nodes + 1):
            await cluster.add_node(number)
        await asyncio.sleep(QUIET_S)
        for number in range(pods):
            cluster.runtimes["node1"].add(f"pod{number}")
        await asyncio.sleep(QUIET_S)
        await scenario(cluster)
        found = _read(cluster)
        await _end(cluster)
        return found

    return run(played())


def _read(cluster: SimCluster) -> Scraped:
    felix = cluster.nodes["node1"].felix
    assert felix is not None
    collectors = [each.collector.metrics() for each in cluster.controllers if each.collector is not None]
    leading = max(collectors, key=lambda text: series_of(text)["tortie_controllers_leads"])
    return Scraped(exposition.text(metrics.families(felix.agent.figures(read()))), leading)


async def _end(cluster: SimCluster) -> None:
    for node in cluster.nodes.values():
        cluster.switch_off(node)
        await node.buried()
    for each in cluster.controllers:
        each.kill()
        await each.buried()


def series_of(text: str) -> Series:
    """Each series, as it is written, and its value."""
    samples = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in samples}


def labels_of(text: str) -> dict[str, frozenset[str]]:
    """The labels that each name has."""
    found: dict[str, frozenset[str]] = {}
    for series in series_of(text):
        name, _, labels = series.partition("{")
        found[name] = frozenset(re.findall(r'(\w+)="', labels))
    return found
