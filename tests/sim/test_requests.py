"""What a pod costs the datastore: with everything known, three writes and not one read."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from datastore.resource import Key
from tests.sim.cluster import SimCluster
from tests.sim.node import SimNode
from tests.sim.scrape import POOL, QUIET_S
from tests.virtual_time import virtually

CALLS = ("get", "list", "write_many")
"""All writes go through the last here."""


@pytest.fixture(autouse=True)
def _silence() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


async def node_of(cluster: SimCluster) -> SimNode:
    """One node, alone with its datastore and at rest, with a pod."""
    await cluster.prepare(POOL)
    for each in cluster.controllers:
        each.kill()
    node = await cluster.add_node(1)
    await asyncio.sleep(QUIET_S)
    await add(cluster, "first")
    return node


async def add(cluster: SimCluster, name: str) -> None:
    cluster.runtimes["node1"].add(name)
    await asyncio.sleep(QUIET_S)
    assert not cluster.runtimes["node1"].busy


def listened(node: SimNode) -> list[str]:
    """From now on, what felix asks of the datastore, watches aside."""
    assert node.felix is not None
    store, asked = node.felix.store, list[str]()

    def telling(name: str, call: Any) -> Any:
        async def told(*words: Any, **more: Any) -> Any:
            asked.append(f"{name} {_about(words[0])}")
            return await call(*words, **more)

        return told

    for name in CALLS:
        setattr(store, name, telling(name, getattr(store, name)))
    return asked


def _about(word: Any) -> str:
    if isinstance(word, (list, tuple)):
        return "+".join(_about(getattr(write, "resource", write)) for write in word)
    return word if isinstance(word, str) else str(getattr(word, "kind", word))


@virtually
async def test_an_add_with_a_warm_cache_is_one_handle_one_block_and_one_endpoint_and_no_read() -> None:
    cluster = SimCluster(seed=11)
    node = await node_of(cluster)
    asked = listened(node)
    await add(cluster, "second")
    assert asked == ["write_many IPAMHandle", "write_many IPAMBlock", "write_many WorkloadEndpoint"]
    await ended(cluster)


@virtually
async def test_the_first_add_after_a_restart_of_felix_reads_nothing_either() -> None:
    cluster = SimCluster(seed=11)
    node = await node_of(cluster)
    assert node.felix is not None
    node.felix.life.kill()
    node.start_felix()
    await asyncio.sleep(QUIET_S)
    asked = listened(node)
    await add(cluster, "second")
    assert asked == ["write_many IPAMHandle", "write_many IPAMBlock", "write_many WorkloadEndpoint"]
    await ended(cluster)


@virtually
async def test_a_locked_cluster_stops_an_add_at_once_and_an_opened_one_lets_it_through() -> None:
    """What is known to be open is believed; what is known to be locked is asked again."""
    cluster = SimCluster(seed=11)
    node = await node_of(cluster)
    await lock(cluster, ready=False)
    await asyncio.sleep(1)
    asked = listened(node)
    cluster.runtimes["node1"].add("second")
    await asyncio.sleep(1)
    assert cluster.runtimes["node1"].busy and set(asked) == {"get ClusterInformation"}
    await lock(cluster, ready=True)
    await asyncio.sleep(QUIET_S)
    assert not cluster.runtimes["node1"].busy
    await ended(cluster)


async def lock(cluster: SimCluster, *, ready: bool) -> None:
    found = await cluster.store.get(Key("ClusterInformation", "default"))
    await cluster.store.update(replace(found, spec={**found.spec, "datastoreReady": ready}))


async def ended(cluster: SimCluster) -> None:
    for node in cluster.nodes.values():
        cluster.switch_off(node)
        await node.buried()
    for each in cluster.controllers:
        await each.buried()
