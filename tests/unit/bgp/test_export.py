"""What this node announces."""

from collections.abc import Iterable
from ipaddress import ip_network

from bgp.export import exports
from datastore.resources import BlockAffinity, IPPool
from tests.unit.bgp.cluster import affinity, pool

DEFAULT = pool("default", "10.244.0.0/16")
MINE = affinity("node1", "10.244.166.128/26")


def announced(
    *confirmed: str, affinities: Iterable[BlockAffinity] = (MINE,), pools: Iterable[IPPool] = (DEFAULT,)
) -> list[str]:
    fib = frozenset(ip_network(text) for text in confirmed)
    return [str(dst) for dst in exports(node="node1", affinities=affinities, pools=pools, confirmed=fib)]


def test_a_confirmed_block_whose_blackhole_is_in_the_fib_is_announced() -> None:
    assert announced("10.244.166.128/26") == ["10.244.166.128/26"]


def test_invariant_9_a_node_announces_only_what_it_has_confirmed() -> None:
    """Neither without the FIB nor without the datastore's confirmation."""
    assert announced() == []
    for state in ("pending", "pendingDeletion"):
        assert announced("10.244.166.128/26", affinities=[affinity("node1", "10.244.166.128/26", state)]) == []
    assert announced("10.244.166.128/26", affinities=[affinity("node2", "10.244.166.128/26")]) == []


def test_an_affinity_without_a_state_is_old_data_and_confirmed() -> None:
    assert announced("10.244.166.128/26", affinities=[affinity("node1", "10.244.166.128/26", "")]) == [
        "10.244.166.128/26"
    ]


def test_a_pod_inside_an_own_block_is_reached_by_the_block() -> None:
    assert announced("10.244.166.128/26", "10.244.166.130/32") == ["10.244.166.128/26"]


def test_a_pod_whose_blocks_blackhole_is_still_missing_is_announced_by_itself() -> None:
    assert announced("10.244.166.130/32") == ["10.244.166.130/32"]


def test_a_borrowed_address_is_announced_by_itself() -> None:
    assert announced("10.244.104.9/32") == ["10.244.104.9/32"]


def test_an_address_outside_every_pool_is_not_announced() -> None:
    assert announced("172.16.0.9/32") == []


def test_a_block_whose_pool_is_gone_is_still_announced() -> None:
    assert announced("10.244.166.128/26", pools=[]) == ["10.244.166.128/26"]


def test_local_pref_is_the_inverted_metric_of_the_kernels_route() -> None:
    fib = frozenset({ip_network("10.244.166.128/26")})
    found = exports(node="node1", affinities=[MINE], pools=[DEFAULT], confirmed=fib)
    assert [each.local_pref for each in found.values()] == [2147482623]
    found = exports(node="node1", affinities=[MINE], pools=[DEFAULT], confirmed=fib, priority=512)
    assert [each.local_pref for each in found.values()] == [2147483135]


def test_both_families_are_announced() -> None:
    six = affinity("node1", "fd00:10:244::/122")
    assert announced("10.244.166.128/26", "fd00:10:244::/122", affinities=[MINE, six]) == [
        "10.244.166.128/26",
        "fd00:10:244::/122",
    ]
