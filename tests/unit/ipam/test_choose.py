"""Which block a new address comes from, on values alone."""

from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from itertools import islice
from typing import Any

import pytest

from datastore.codec import decode
from datastore.resource import Resource
from datastore.resources import IPAMBlock, IPPool, Use
from ipam import block as blocks
from ipam import choose
from ipam.block import Holder
from ipam.choose import NoPool, Wish
from ipam.reserved import Reserved

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def pool(cidr: str = "10.244.0.0/16", name: str = "default", **spec: Any) -> IPPool:
    return decode(IPPool, Resource("IPPool", name, spec={"cidr": cidr, **spec}))


def block(cidr: str, node: str, *, used: int = 0, claimed_at: str = "2026-01-01T00:00:00Z") -> IPAMBlock:
    made = blocks.fresh(ip_network(cidr), node, sequence=1, claimed_at=claimed_at)
    for number in range(used):
        result = blocks.take_next(made, Holder(f"h{number}"))
        assert result is not None
        made = result[0]
    return made


@pytest.mark.parametrize(
    ("node", "first"), [("node1", "10.244.166.128/26"), ("node2", "10.244.104.0/26"), ("node3", "10.244.135.0/26")]
)
def test_a_nodes_first_block_is_the_one_that_calico_would_give_it(node: str, first: str) -> None:
    assert str(next(choose.block_order(pool(), node))) == first


def test_node1s_first_ipv6_block_is_the_one_that_calico_would_give_it() -> None:
    order = choose.block_order(pool("fd00:10:244::/64"), "node1")
    assert str(next(order)) == "fd00:10:244:0:c11:b42f:f17e:a680/122"


@pytest.mark.parametrize(
    ("cidr", "size"),
    [("10.10.0.0/24", 26), ("fd80::/120", 122), ("10.10.0.0/16", 20), ("fd80::/110", 116), ("10.10.0.0/24", 32)],
)
def test_the_order_visits_every_block_of_a_pool_once(cidr: str, size: int) -> None:
    visited = list(choose.block_order(pool(cidr, blockSize=size), "node-1", seed=7))
    assert sorted(visited) == list(ip_network(cidr).subnets(new_prefix=size))


def test_the_order_wraps_around() -> None:
    order = list(choose.block_order(pool(), "node1"))
    assert [str(cidr) for cidr in islice(order, 1, 3)] == ["10.244.166.192/26", "10.244.167.0/26"]
    assert str(order[-1]) == "10.244.166.64/26"


def serving(enabled: list[IPPool], labels: dict[str, str] | None = None, **wish: Any) -> list[str]:
    return [found.name for found in choose.pools_for(Wish(**wish), enabled, node="n", node_labels=labels or {})]


def test_pools_serve_in_order_of_their_names() -> None:
    assert serving([pool("10.2.0.0/16", "b"), pool("10.1.0.0/16", "a")]) == ["a", "b"]


def test_a_pools_selector_decides_unless_the_pool_is_asked_for() -> None:
    red = pool("10.1.0.0/16", "red", nodeSelector="rack == 'red'")
    assert serving([red], {"rack": "red"}) == ["red"]
    assert serving([red], pools=(ip_network("10.1.0.0/16"),)) == ["red"]
    with pytest.raises(NoPool, match="no configured Calico pools for node n"):
        serving([red])


def test_a_manual_pool_serves_only_who_asks_for_it() -> None:
    manual = pool("10.1.0.0/16", "m", assignmentMode="Manual")
    assert serving([manual, pool()]) == ["default"]
    assert serving([manual, pool()], pools=(ip_network("10.1.0.0/16"),)) == ["m"]


def test_a_namespace_selector_is_matched_on_the_namespaces_labels() -> None:
    blue = pool("10.1.0.0/16", "blue", namespaceSelector="team == 'blue'")
    assert serving([blue, pool()]) == ["default"]
    assert serving([blue, pool()], namespace_labels=(("team", "blue"),)) == ["blue", "default"]


def test_a_disabled_pool_never_serves() -> None:
    with pytest.raises(NoPool, match=r"the given pool \(10\.244\.0\.0/16\) does not exist, or is not enabled"):
        serving([pool(disabled=True), pool("10.9.0.0/16", "x")], pools=(ip_network("10.244.0.0/16"),))


def test_a_pool_for_another_use_does_not_serve() -> None:
    with pytest.raises(NoPool, match=r"no pools match the required use \(Workload\)"):
        serving([pool(allowedUses=["Tunnel"])])
    assert serving([pool(allowedUses=["Tunnel"])], use=Use.TUNNEL) == ["default"]


def candidates(pools: list[IPPool], existing: list[IPAMBlock], *reserved: str) -> list[str]:
    found = choose.candidates(
        pools,
        {each.cidr: each for each in existing},
        node="n",
        reserved=Reserved(map(ip_network, reserved)),
        now=NOW,
        seed=1,
    )
    return [f"{each.cidr}{' of ' + each.reclaim.node if each.reclaim else ''}" for each in found]


SMALL = pool("10.0.0.0/25", blockSize=27)


def test_blocks_of_other_nodes_and_reserved_ones_are_passed_over() -> None:
    existing = [block("10.0.0.0/27", "other", used=1), block("10.0.0.32/27", "n", used=32)]
    assert candidates([SMALL], existing, "10.0.0.64/26") == []
    assert sorted(candidates([SMALL], existing, "10.0.0.64/27")) == ["10.0.0.96/27"]


def test_an_own_block_with_room_is_a_candidate_again() -> None:
    assert "10.0.0.32/27" in candidates([SMALL], [block("10.0.0.32/27", "n", used=31)])


def test_an_empty_block_of_another_node_comes_last_and_only_after_a_minute() -> None:
    rested = block("10.0.0.0/27", "other")
    recent = block("10.0.0.32/27", "other", claimed_at="2026-01-01T23:59:30Z")
    used = [block("10.0.0.64/27", "other", used=1), block("10.0.0.96/27", "other", used=1)]
    assert candidates([SMALL], [rested, recent, *used]) == ["10.0.0.0/27 of other"]


def test_lenders_are_blocks_with_room_in_the_nodes_own_order() -> None:
    existing = [block("10.0.0.0/27", "a", used=32), block("10.0.0.32/27", "b"), block("10.0.0.96/27", "c")]
    order = [str(cidr) for cidr in choose.block_order(SMALL, "n")]
    lending = choose.lenders([SMALL], {each.cidr: each for each in existing}, node="n", reserved=Reserved())
    assert [str(each.cidr) for each in lending] == [cidr for cidr in order if cidr in ("10.0.0.32/27", "10.0.0.96/27")]


@pytest.mark.parametrize(("config", "request_", "limit"), [(0, 0, 20), (4, 0, 4), (0, 3, 3), (4, 3, 3), (4, 9, 4)])
def test_the_smaller_block_limit_counts(config: int, request_: int, limit: int) -> None:
    assert choose.block_limit(config, request_) == limit


def test_the_block_of_an_address_has_its_pools_block_size() -> None:
    assert str(choose.block_of(ip_address("10.0.0.77"), SMALL)) == "10.0.0.64/27"
