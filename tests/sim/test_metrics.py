"""What felix tells monitoring: the truth of a small cluster, and a number of series that does not grow with it."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace

import pytest

from datastore.resource import Resource
from felix.fib.model import Protocol
from tests.sim.cluster import SimCluster
from tests.sim.machine import DEFAULT_ROUTE
from tests.sim.scrape import QUIET_S, Series, at_rest, scraped, series_of

Scenario = Callable[[SimCluster], Awaitable[None]]


@pytest.fixture(autouse=True)
def _silence() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def told(*, nodes: int, pods: int, scenario: Scenario = at_rest) -> Series:
    """What node1's felix exports at the end."""
    return series_of(scraped(scenario, nodes=nodes, pods=pods).felix)


def test_a_quiet_cluster_is_told_as_it_is() -> None:
    series = told(nodes=3, pods=2)
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

    series = told(nodes=1, pods=1, scenario=scenario)
    assert series['tortie_felix_routes_drift{state="missing"}'] == 1
    assert series['tortie_felix_routes_drift{state="conflict"}'] == 1


def test_a_datastore_that_does_not_answer_is_told() -> None:
    async def scenario(cluster: SimCluster) -> None:
        cluster.nodes["node1"].store_line.cut()
        await asyncio.sleep(QUIET_S)

    series = told(nodes=1, pods=0, scenario=scenario)
    assert series["tortie_felix_ready"] == 0
    assert series['tortie_felix_part_ready{part="Datastore"}'] == 0
    assert series["tortie_felix_datastore_out_of_touch"] == 9


def test_an_object_that_cannot_be_read_is_told_wherever_felix_speaks_of_itself() -> None:
    said: list[str] = []

    async def scenario(cluster: SimCluster) -> None:
        await cluster.store.create(Resource("IPPool", "broken", spec={"cidr": "10.300.0.0/16"}))
        await asyncio.sleep(QUIET_S)
        felix = cluster.nodes["node1"].felix
        assert felix is not None
        said.append(felix.agent.health.table())
        said.extend(felix.agent.notes.lines())

    series = told(nodes=1, pods=1, scenario=scenario)
    assert series['tortie_felix_objects_unreadable{type="IPPool"}'] == 1
    assert series['tortie_felix_objects_unreadable{type="Node"}'] == 0
    assert series['tortie_felix_part_troubled{part="StoredObjects"}'] == 1
    assert series["tortie_felix_ready"] == 1
    table, note = said
    assert "cannot be read: IPPool(broken).spec.cidr: " in table
    assert note.startswith("IPPool(broken) cannot be read, and counts as it was before, if ever it could be: ")


def test_the_number_of_series_does_not_grow_with_nodes_and_pods() -> None:
    """Each node exports the same few, so that a cluster has as many as it has nodes, times a constant."""
    small, large = told(nodes=1, pods=1), told(nodes=4, pods=70)
    assert small.keys() == large.keys()
    assert len(small) < 150


def test_every_family_says_what_it_is_and_no_name_stands_twice() -> None:
    text = scraped(nodes=1, pods=1).felix
    names = re.findall(r"^# TYPE (\S+) (?:counter|gauge|summary|histogram)$", text, re.MULTILINE)
    assert len(names) == len(set(names)) == text.count("# HELP ")
    assert all(name.startswith(("felix_", "tortie_felix_", "process_")) for name in names)
