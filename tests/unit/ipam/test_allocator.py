"""What Calico's own tests ask of its allocator, asked of ours (libcalico-go/lib/ipam/ipam_test.go)."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from datastore.memory import MemoryStore
from datastore.resource import Key, Resource
from datastore.resources import AffinityState
from datastore.store import Store
from ipam import affinity, facts
from ipam import block as blocks
from ipam.allocator import Allocator, Assigned, NoAddress, Outcome, Request
from ipam.block import AlreadyTaken, Holder, Release, StaleRelease
from ipam.choose import NoPool, Wish
from ipam.records import Records
from ipam.release import Releaser
from ipam.writer import BlockWriter


class Cluster:
    """A store with pools and nodes, and the allocators of its nodes. Its clock moves only by hand."""

    def __init__(self) -> None:
        self.store: Store = MemoryStore()
        self.records = Records(self.store)
        self.now_s = 1_700_000_000

    async def pool(self, cidr: str, name: str = "", **spec: Any) -> None:
        named = name or f"pool-{cidr.replace('/', '-').replace('.', '-').replace(':', '-')}"
        await self.store.create(Resource("IPPool", named, spec={"cidr": cidr, **spec}))

    async def node(self, name: str, **labels: str) -> None:
        await self.store.create(Resource("Node", name, labels=labels))

    async def configure(self, **spec: Any) -> None:
        await self.store.create(Resource("IPAMConfiguration", "default", spec=spec))

    def wall_ns(self) -> int:
        return self.now_s * 10**9

    def allocator(self, node: str) -> Allocator:
        return Allocator(self.records, node, facts=lambda: facts.read(self.store, node), wall_ns=self.wall_ns)

    def releaser(self, node: str) -> Releaser:
        writer = BlockWriter(self.records)
        return Releaser(self.store, writer, facts=lambda: facts.read(self.store, node), wall_ns=self.wall_ns)

    async def take(self, node: str, count: int, *, prefix: str = "", **request: Any) -> list[Outcome]:
        holders = [Holder(f"{prefix or node}-{number}", {"node": node}) for number in range(count)]
        return await self.allocator(node).assign([Request(holder, **request) for holder in holders])

    async def owned(self, node: str) -> list[str]:
        return sorted(str(each.cidr) for each in await self.records.affinities(node))


def in_cluster(scenario: Callable[[Cluster], Awaitable[None]]) -> None:
    asyncio.run(_run(scenario))


async def _run(scenario: Callable[[Cluster], Awaitable[None]]) -> None:
    await scenario(Cluster())


def count(outcomes: list[Outcome]) -> int:
    addresses = [outcome.address for outcome in outcomes if isinstance(outcome, Assigned)]
    assert len(set(addresses)) == len(addresses)
    return len(addresses)


def refusals(outcomes: list[Outcome]) -> set[str]:
    return {str(outcome) for outcome in outcomes if not isinstance(outcome, Assigned)}


@pytest.mark.parametrize(
    ("cidr", "size", "wanted", "given"),
    [
        ("192.168.1.0/24", 26, 1, 1),
        ("192.168.1.0/24", 26, 256, 256),
        ("192.168.1.0/24", 26, 257, 256),
        ("192.168.1.0/28", 30, 16, 16),
        ("192.168.1.0/24", 32, 1, 1),
        ("192.168.0.0/16", 20, 1, 1),
        ("fd80:24e2:f998:72d6::/120", 122, 256, 256),
        ("fd80:24e2:f998:72d6::/120", 128, 1, 1),
        ("fd80::/110", 116, 1, 1),
    ],
)
def test_a_pool_gives_as_many_addresses_as_it_has(cidr: str, size: int, wanted: int, given: int) -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.pool(cidr, blockSize=size)
        await cluster.node("test-host")
        wish = Wish(version=ip_network(cidr).version)
        outcomes = await cluster.take("test-host", wanted, wish=wish)
        assert count(outcomes) == given
        full = {"Assigned 0 out of 1 requested IPv4 addresses; No IPs available in pools: [192.168.1.0/24]"}
        assert refusals(outcomes) == (full if given < wanted else set())

    in_cluster(scenario)


@pytest.mark.parametrize("limit", [1, 2])
def test_a_node_owns_no_more_blocks_than_it_may(limit: int) -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.pool("192.168.1.0/24")
        await cluster.node("test-host")
        outcomes = await cluster.take("test-host", 256, max_blocks=limit)
        assert count(outcomes) == 64 * limit
        said = f"Need to allocate an IPAM block but could not - limit of {limit} blocks reached for this node"
        assert refusals(outcomes) == {f"Assigned 0 out of 1 requested IPv4 addresses; {said}"}

    in_cluster(scenario)


def test_twenty_blocks_are_the_limit_where_nobody_sets_one() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.pool("10.0.0.0/16", blockSize=30)
        await cluster.node("n")
        assert count(await cluster.take("n", 100)) == 80

    in_cluster(scenario)


def test_a_node_borrows_when_no_block_is_left() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.pool("10.0.0.0/25", blockSize=26)
        await cluster.node("host-a")
        await cluster.node("host-b")
        await cluster.take("host-a", 1)
        await cluster.take("host-b", 1)
        outcomes = await cluster.take("host-a", 64, prefix="more")
        assert count(outcomes) == 64
        (own,) = await cluster.owned("host-a")
        inside = Counter(each.address in ip_network(own) for each in outcomes if isinstance(each, Assigned))
        assert inside == {True: 63, False: 1}

    in_cluster(scenario)


def test_strict_affinity_forbids_borrowing() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.pool("192.168.1.0/26")
        await cluster.configure(strictAffinity=True)
        await cluster.node("host-a")
        await cluster.node("host-b")
        assert count(await cluster.take("host-a", 64)) == 64
        outcomes = await cluster.take("host-b", 1)
        said = "No more free affine blocks and strict affinity enabled"
        assert refusals(outcomes) == {f"Assigned 0 out of 1 requested IPv4 addresses; {said}"}

    in_cluster(scenario)


def test_a_holder_gets_the_same_address_again_also_when_every_pool_is_full_or_gone() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.pool("192.168.1.0/26", "only")
        await cluster.node("n")
        first = await cluster.take("n", 64)
        again = await cluster.take("n", 64)
        assert [each.address for each in again] == [each.address for each in first]  # type: ignore[union-attr]
        assert not any(each.is_new for each in again)  # type: ignore[union-attr]
        await cluster.store.delete(Key("IPPool", "only"))
        assert (await cluster.take("n", 1))[0].address == first[0].address  # type: ignore[union-attr]

    in_cluster(scenario)


def test_an_address_can_be_asked_for_by_name_once() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.pool("192.168.1.0/24")
        await cluster.node("n")
        allocator = cluster.allocator("n")
        wanted = ip_address("192.168.1.0")
        given = await allocator.assign_address(wanted, Holder("a"))
        assert (given.address, str(given.block)) == (wanted, "192.168.1.0/26")
        assert await cluster.owned("n") == ["192.168.1.0/26"]
        assert not (await allocator.assign_address(wanted, Holder("a"))).is_new
        with pytest.raises(AlreadyTaken):
            await allocator.assign_address(wanted, Holder("b"))
        assert await cluster.records.handle("b") is None
        with pytest.raises(NoPool, match="not in a configured pool"):
            await allocator.assign_address(ip_address("1.1.1.1"), Holder("c"))

    in_cluster(scenario)


def test_an_address_of_another_nodes_block_is_refused_only_when_affinity_is_strict() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.pool("192.168.1.0/24")
        await cluster.node("a")
        await cluster.node("b")
        await cluster.allocator("a").assign_address(ip_address("192.168.1.0"), Holder("a"))
        await cluster.allocator("b").assign_address(ip_address("192.168.1.1"), Holder("b"))
        await cluster.configure(strictAffinity=True)
        with pytest.raises(NoPool, match="Block host affinity does not match"):
            await cluster.allocator("b").assign_address(ip_address("192.168.1.2"), Holder("c"))

    in_cluster(scenario)


def test_a_reserved_address_is_not_given_unasked() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.pool("192.168.1.0/26")
        await cluster.node("n")
        await cluster.store.create(
            Resource("IPReservation", "r", spec={"reservedCIDRs": ["192.168.1.0/30", "192.168.1.63/32"]})
        )
        given = await cluster.take("n", 64)
        assert count(given) == 59
        assert (await cluster.allocator("n").assign_address(ip_address("192.168.1.1"), Holder("x"))).is_new

    in_cluster(scenario)


def test_released_addresses_are_free_again_and_an_unknown_one_is_reported() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.pool("192.168.1.0/24")
        await cluster.node("n")
        given = [each.address for each in await cluster.take("n", 66) if isinstance(each, Assigned)]
        releaser = cluster.releaser("n")
        unknown = [ip_address("1.1.1.1"), ip_address("192.168.1.255")]
        assert (
            await releaser.release_addresses([Release(each) for each in [*given, given[0], *unknown]])
            == unknown[:1] + unknown[1:]
        )
        assert await cluster.records.handles() == []
        assert all(blocks.is_empty(block) for block in (await cluster.records.blocks()).values())

    in_cluster(scenario)


def test_a_release_decided_on_old_data_is_refused() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.pool("192.168.1.0/26", blockSize=32)
        await cluster.node("n")
        (first,) = await cluster.take("n", 1)
        assert isinstance(first, Assigned)
        block = await cluster.records.block(first.block)
        assert block is not None
        seen = Release(first.address, "n-0", blocks.taken_at(block, first.address))
        releaser = cluster.releaser("n")
        assert await releaser.release_handles(["n-0"]) == 1
        await cluster.allocator("n").assign_address(first.address, Holder("n-0"))
        with pytest.raises(StaleRelease):
            await releaser.release_addresses([seen])

    in_cluster(scenario)


def test_an_empty_block_stays_with_its_node_until_the_pool_no_longer_selects_it() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.pool("192.168.1.0/24", "p", nodeSelector="rack == 'a'")
        await cluster.node("n", rack="a")
        await cluster.take("n", 1)
        await cluster.releaser("n").release_handles(["n-0"])
        assert len(await cluster.owned("n")) == 1
        await cluster.take("n", 1)
        pool = await cluster.store.get(Key("IPPool", "p"))
        changed = {**pool.spec, "nodeSelector": "rack == 'b'"}
        await cluster.store.update(Resource("IPPool", "p", spec=changed, revision=pool.revision))
        await cluster.releaser("n").release_handles(["n-0"])
        assert await cluster.owned("n") == []
        assert await cluster.records.blocks() == {}

    in_cluster(scenario)


def test_an_empty_block_of_another_node_is_taken_over_after_a_minute() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.pool("192.168.1.0/26")
        await cluster.configure(strictAffinity=True)
        await cluster.node("a")
        await cluster.node("b")
        await cluster.take("a", 1)
        await cluster.releaser("a").release_handles(["a-0"])
        assert count(await cluster.take("b", 1)) == 0
        cluster.now_s += 61
        assert count(await cluster.take("b", 1)) == 1
        assert (await cluster.owned("a"), await cluster.owned("b")) == ([], ["192.168.1.0/26"])

    in_cluster(scenario)


def test_a_block_without_an_owner_goes_with_its_last_address() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.pool("192.168.1.0/26")
        await cluster.node("n")
        await cluster.take("n", 2)
        await affinity.release(cluster.records, "n", ip_network("192.168.1.0/26"))
        assert await cluster.owned("n") == []
        releaser = cluster.releaser("n")
        await releaser.release_handles(["n-0"])
        assert len(await cluster.records.blocks()) == 1
        await releaser.release_handles(["n-1"])
        assert await cluster.records.blocks() == {}

    in_cluster(scenario)


def test_an_affinity_that_was_left_pending_is_confirmed_by_the_next_assignment() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.pool("192.168.1.0/24")
        await cluster.node("n")
        await cluster.records.create_affinity("n", ip_network("192.168.1.64/26"), AffinityState.PENDING)
        (given,) = await cluster.take("n", 1)
        assert isinstance(given, Assigned)
        assert str(given.block) == "192.168.1.64/26"
        assert [each.is_confirmed for each in await cluster.records.affinities("n")] == [True]

    in_cluster(scenario)


def test_a_stale_affinity_to_another_nodes_block_is_removed() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.pool("192.168.1.0/24")
        await cluster.node("a")
        await cluster.node("b")
        (given,) = await cluster.take("a", 1)
        assert isinstance(given, Assigned)
        await cluster.records.create_affinity("b", given.block, AffinityState.PENDING)
        assert count(await cluster.take("b", 1)) == 1
        assert str(given.block) not in await cluster.owned("b")

    in_cluster(scenario)


def test_a_cooldown_keeps_an_address_from_the_next_holder() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.pool("192.168.1.0/30", blockSize=30)
        await cluster.configure(ipCooldownSeconds=30)
        await cluster.node("n")
        await cluster.take("n", 4)
        await cluster.releaser("n").release_handles(["n-0"])
        assert count(await cluster.take("n", 1, prefix="new")) == 0
        cluster.now_s += 31
        assert count(await cluster.take("n", 1, prefix="new")) == 1

    in_cluster(scenario)


def test_a_request_that_no_pool_may_serve_is_refused_with_the_reason() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.node("n")
        (outcome,) = await cluster.take("n", 1)
        assert isinstance(outcome, NoPool)
        assert str(outcome) == "cannot find a qualified ippool"
        await cluster.pool("192.168.1.0/24", nodeSelector="!all()")
        assert refusals(await cluster.take("n", 1)) == {"no configured Calico pools for node n"}

    in_cluster(scenario)


def test_no_address_names_the_pools() -> None:
    assert NoAddress(4, ["No IPs available in pools: [10.0.0.0/26]"]).reasons == (
        "No IPs available in pools: [10.0.0.0/26]",
    )


def test_a_holder_that_moves_gets_another_address_and_keeps_the_one_it_has() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.node("node1")
        await cluster.pool("10.0.0.0/24")
        await cluster.pool("10.1.0.0/24")
        allocator = cluster.allocator("node1")
        old = Wish(pools=(ip_network("10.0.0.0/24"),))
        new = Wish(pools=(ip_network("10.1.0.0/24"),))
        (first,) = await allocator.assign([Request(Holder("h"), old)])
        (stays,) = await allocator.assign([Request(Holder("h"), new)])
        assert isinstance(first, Assigned)
        assert isinstance(stays, Assigned)
        assert stays.address == first.address
        moved = [await allocator.assign([Request(Holder("h"), new, is_moving=True)]) for _ in range(2)]
        addresses = {each.address for (each,) in moved if isinstance(each, Assigned)}
        assert len(addresses) == 1
        assert all(address in ip_network("10.1.0.0/24") for address in addresses)
        assert await cluster.releaser("node1").release_handles(["h"]) == 2

    in_cluster(scenario)
