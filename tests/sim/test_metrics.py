"""What felix tells monitoring: the truth of a small cluster, and a number of series that does not grow with it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from datastore.resource import Resource
from felix import exposition, metrics
from felix.fib.model import Protocol
from felix.process_usage import read
from tests.sim.cluster import SimCluster
from tests.sim.machine import DEFAULT_ROUTE
from tests.sim.node import SimNode
from tests.sim.rest import check_rest
from tests.virtual_time import run

POOL = Resource("IPPool", "blue", spec={"cidr": "10.244.0.0/16", "blockSize": 26, "natOutgoing": True})
QUIET_S = 120.0

Series = dict[str, float]


@pytest.fixture(autouse=True)
def _silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logging.root.manager.disable", 50)


def told(scenario: Callable[[SimCluster], Awaitable[None]], *, nodes: int, pods: int) -> Series:
    """What node1's felix exports at the end."""

    async def played() -> Series:
        cluster = SimCluster(seed=7)
        await cluster.prepare(POOL)
        for number in range(1, nodes + 1):
            await cluster.add_node(number)
        await asyncio.sleep(QUIET_S)
        for number in range(pods):
            cluster.runtimes["node1"].add(f"pod{number}")
        await asyncio.sleep(QUIET_S)
        await scenario(cluster)
        found = scraped(cluster.nodes["node1"])
        for node in cluster.nodes.values():
            cluster.switch_off(node)
            await node.buried()
        for each in cluster.controllers:
            each.kill()
            await each.buried()
        return found

    return run(played())


def scraped(node: SimNode) -> Series:
    assert node.felix is not None
    text = exposition.text(metrics.families(node.felix.agent.figures(read())))
    samples = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in samples}


async def nothing_more(cluster: SimCluster) -> None:
    check_rest(cluster)


def test_a_quiet_cluster_is_told_as_it_is() -> None:
    series = told(nothing_more, nodes=3, pods=2)
    expected = {
        'felix_host{host="node1"}': 1,
        "felix_resync_state": 2,
        "felix_cluster_num_hosts": 3,
        "felix_active_local_endpoints": 2,
        'felix_route_table_num_routes{table="IPv4:254"}': 3,
        'felix_route_table_num_ifaces{table="IPv4:254"}': 2,
        "felix_int_dataplane_failures": 0,
        'tortie_felix_routes_wanted{ip_version="4"}': 3,
        'tortie_felix_routes_actual{ip_version="4"}': 3,
        'tortie_felix_routes_drift{state="missing"}': 0,
        'tortie_felix_routes_drift{state="unwanted"}': 0,
        'tortie_felix_cni_seconds_count{command="ADD"}': 2,
        'tortie_felix_cni_failures_total{command="ADD"}': 0,
        'tortie_felix_ipam_blocks{ippool="blue"}': 1,
        'tortie_felix_ipam_in_use{ippool="blue"}': 2,
        'tortie_felix_ipam_free{ippool="blue"}': 62,
        'tortie_felix_part_ready{part="Datastore"}': 1,
        "tortie_felix_ready": 1,
        "tortie_felix_datastore_out_of_touch": 0,
    }
    assert {name: series[name] for name in expected} == expected
    assert series["process_resident_memory_bytes"] > 1e6
    assert series["felix_int_dataplane_apply_time_seconds_count"] == series["tortie_felix_passes_total"] > 2
    assert series['felix_calc_graph_updates_processed{type="Node"}'] >= 3


def test_a_route_that_nobody_can_write_is_drift() -> None:
    """A foreign one has its key: ours stays out, and that is told."""

    async def scenario(cluster: SimCluster) -> None:
        node = cluster.nodes["node1"]
        pod = next(route for route in cluster.ours(node) if route.hops and route.hops[0].device.startswith("cali"))
        elsewhere = replace(pod, hops=DEFAULT_ROUTE.hops, protocol=Protocol.STATIC, scope=DEFAULT_ROUTE.scope)
        node.machine.add_foreign(elsewhere, over=pod)
        await asyncio.sleep(QUIET_S)

    series = told(scenario, nodes=1, pods=1)
    assert series['tortie_felix_routes_drift{state="missing"}'] == 1
    assert series['tortie_felix_routes_drift{state="conflict"}'] == 1


def test_a_datastore_that_does_not_answer_is_told() -> None:
    async def scenario(cluster: SimCluster) -> None:
        cluster.nodes["node1"].store_line.cut()
        await asyncio.sleep(QUIET_S)

    series = told(scenario, nodes=1, pods=0)
    assert series["tortie_felix_ready"] == 0
    assert series['tortie_felix_part_ready{part="Datastore"}'] == 0
    assert series["tortie_felix_datastore_out_of_touch"] == 8


def test_the_number_of_series_does_not_grow_with_nodes_and_pods() -> None:
    """Each node exports the same few, so that a cluster has as many as it has nodes, times a constant."""
    small, large = told(nothing_more, nodes=1, pods=1), told(nothing_more, nodes=4, pods=70)
    assert small.keys() == large.keys()
    assert len(small) < 150


def test_every_family_says_what_it_is_and_no_name_stands_twice() -> None:
    async def scenario(cluster: SimCluster) -> None:
        node = cluster.nodes["node1"]
        assert node.felix is not None
        found.append(exposition.text(metrics.families(node.felix.agent.figures(None))))

    found: list[str] = []
    told(scenario, nodes=1, pods=1)
    names = re.findall(r"^# TYPE (\S+) (?:counter|gauge|summary|histogram)$", found[0], re.MULTILINE)
    assert len(names) == len(set(names)) == found[0].count("# HELP ")
    assert all(name.startswith(("felix_", "tortie_felix_")) for name in names)
