"""The tables say what is, however it was told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from bgp.learned import Delta, Hello, InSync, Snapshot
from datastore.resource import Key
from felix.fib import plan
from felix.fib.mirror import Surroundings
from felix.tunnels import Tunnel
from felix.view import KINDS, View
from tests.clusters import affinity, learned, network, node, pod, pool

NODE2, NODE3 = learned("10.244.104.0/26", "192.168.50.11"), learned("10.244.135.0/26", "192.168.50.12")


def announced(view: View) -> list[str]:
    return [f"{dst} via {' '.join(map(str, reach.next_hops))}" for dst, reach in view.announced.items()]


def test_what_is_put_is_there_until_it_is_gone() -> None:
    view = View("node1")
    one = node("node2", "192.168.50.11/24")
    assert view.put(one)
    assert view.nodes == {Key("Node", "node2"): one}
    assert view.gone(Key("Node", "node2"))
    assert not view.gone(Key("Node", "node2"))
    assert view.nodes == {}


def test_a_write_that_changes_nothing_that_is_read_here_changes_nothing() -> None:
    view = View("node1")
    one = node("node2", "192.168.50.11/24")
    view.put(one)
    drawn = view.map_version
    assert not view.put(replace(one, resource=replace(one.resource, revision="77", annotations={"beat": "1"})))
    assert view.map_version == drawn
    assert view.put(replace(one, ipv4=None))
    assert view.map_version > drawn


def test_the_map_is_pools_nodes_and_surroundings_and_nothing_else() -> None:
    view = View("node1")
    changes: list[Callable[[], object]] = [
        lambda: view.put(pool()),
        lambda: view.put(node("node2", "192.168.50.11/24")),
        lambda: view.see(Surroundings()),
        lambda: view.gone(Key("IPPool", "default-ipv4-ippool")),
        lambda: view.put(affinity("node1", "10.244.166.128/26")),
        lambda: view.put(pod("node1", "a", "10.244.166.129/32")),
        lambda: view.hear(Snapshot((NODE2,))),
    ]
    versions = []
    for change in changes:
        change()
        versions.append(view.map_version)
    assert versions == [1, 2, 3, 4, 4, 4, 4]


def test_each_source_is_in_sync_once_its_first_list_was_taken() -> None:
    view = View("node1")
    assert view.in_sync == plan.NOTHING_IN_SYNC
    view.listed("WorkloadEndpoint")
    view.listed("BlockAffinity")
    assert view.in_sync == plan.InSync(pods=True, blocks=True)
    for kind in KINDS:
        view.listed(kind)
    assert view.can_place_remote
    assert view.in_sync == plan.InSync(pods=True, blocks=True)
    view.hear(InSync())
    assert view.in_sync == plan.InSync(pods=True, blocks=True, remote=True)
    view.hold(dict.fromkeys(Tunnel))
    assert view.in_sync == plan.ALL_IN_SYNC


def test_a_speaker_that_starts_anew_deletes_nothing_before_it_is_in_sync() -> None:
    view = View("node1")
    view.hear(Snapshot((NODE2, NODE3)))
    view.hear(InSync())
    view.hear(Hello())
    view.hear(Snapshot(()))
    assert announced(view) == ["10.244.104.0/26 via 192.168.50.11", "10.244.135.0/26 via 192.168.50.12"]
    view.hear(Delta(best=(learned("10.244.104.0/26", "192.168.50.12"),)))
    assert announced(view) == ["10.244.104.0/26 via 192.168.50.12", "10.244.135.0/26 via 192.168.50.12"]
    view.hear(InSync())
    assert announced(view) == ["10.244.104.0/26 via 192.168.50.12"]


def test_a_delta_replaces_and_withdraws() -> None:
    view = View("node1")
    view.hear(Snapshot((NODE2, NODE3)))
    view.hear(Delta(best=(learned("10.244.104.0/26", "1.1.1.1", "1.1.1.2"),), gone=(network("10.244.135.0/26"),)))
    assert announced(view) == ["10.244.104.0/26 via 1.1.1.1 1.1.1.2"]


def test_labels_of_a_node_and_a_pool_that_is_being_deleted_are_news() -> None:
    view = View("node1")
    first = node("node1", "192.168.50.10/24")
    pool_1 = pool()
    assert view.put(first)
    assert view.put(pool_1)
    labelled = replace(first, resource=replace(first.resource, labels={"rack": "b"}))
    going = replace(pool_1, resource=replace(pool_1.resource, metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}))
    assert view.put(labelled)
    assert view.put(going)
    assert not view.put(replace(labelled, resource=replace(labelled.resource, revision="9", annotations={"a": "b"})))
    assert view.nodes[first.resource.key].resource.labels == {"rack": "b"}
