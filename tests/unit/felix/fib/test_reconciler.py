"""The loop around the plan, on the model kernel and virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_interface, ip_network
from random import Random

import pytest

from felix.fib.journal import Claims, Journal, JournalUnavailable, MemoryJournal
from felix.fib.kernel import KernelUnavailable
from felix.fib.mirror import Surroundings
from felix.fib.model import (
    Actual,
    AddRoute,
    DeleteRoute,
    Desired,
    Hop,
    Op,
    Protocol,
    Refusal,
    ReplaceRoute,
    Route,
    RouteType,
    Scope,
    Why,
    WriteSysctl,
    show,
)
from felix.fib.model_kernel import ModelKernel
from felix.fib.plan import ALL_IN_SYNC, NOTHING_IN_SYNC, InSync
from felix.fib.reconciler import Reconciler
from felix.fib.status import NotSettled, State
from tests.virtual_time import run

POOLS = frozenset({ip_network("10.244.0.0/16")})
WHY = Why("a test")
NODE2 = Hop("ens33", ip_address("192.168.50.11"))
NODE3 = Hop("ens33", ip_address("192.168.50.12"))
UPLINK = ip_interface("192.168.50.10/24")
BLOCK = Route(ip_network("10.244.104.0/26"), (NODE2,))
POD = Route(ip_network("10.244.166.128/32"), (Hop("cali1"),), protocol=Protocol.BOOT, scope=Scope.LINK)
BLACKHOLE = Route(ip_network("10.244.166.128/26"), type=RouteType.BLACKHOLE)
EXTERNAL = Route(ip_network("172.16.0.0/12"), (NODE2,))
CONNECTED = "192.168.50.0/24 dev ens33 proto kernel scope link src 192.168.50.10\n"
PROXY_ARP = "net/ipv4/conf/cali1/proxy_arp"
ROUTE_LOCALNET = "net/ipv4/conf/cali1/route_localnet"


def desired(*routes: Route, pending: Sequence[str] = ()) -> Desired:
    return Desired(
        routes={route.key: (route, WHY) for route in routes},
        pending={ip_network(dst): WHY for dst in pending},
        devices_up={"cali1": WHY},
        sysctls={PROXY_ARP: ("1", WHY), ROUTE_LOCALNET: ("1", WHY)},
    )


class TestKernel(ModelKernel):
    """A node with an uplink and a pod's device, both up. ``is_broken`` takes netlink away."""

    __test__ = False

    def __init__(self) -> None:
        super().__init__()
        self.is_broken = False
        self.log: list[str] = []
        for name in ("ens33", "cali1"):
            self.add_link(name)
            self.set_up(name)
        self.add_address("ens33", UPLINK)

    async def read(self) -> Actual:
        if self.is_broken:
            raise KernelUnavailable("netlink: no buffer space")
        return await super().read()

    async def apply(self, ops: Sequence[Op]) -> Sequence[Refusal | None]:
        if self.is_broken:
            raise KernelUnavailable("netlink: no buffer space")
        self.log += [str(op) for op in ops]
        return await super().apply(ops)

    async def show(self) -> str:
        return show((await super().read()).routes.values())


@asynccontextmanager
async def reconciling(kernel: ModelKernel, journal: Journal | None = None) -> AsyncIterator[Reconciler]:
    reconciler = Reconciler(kernel, journal or MemoryJournal(), rng=Random(1))
    task = asyncio.create_task(reconciler.run())
    try:
        yield reconciler
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled(), task.exception()


def want(reconciler: Reconciler, *routes: Route, in_sync: InSync = ALL_IN_SYNC) -> None:
    reconciler.want(desired(*routes), pools=POOLS, in_sync=in_sync)


async def soon() -> None:
    """Long enough for a pass that is due now; no timer of ours is this short."""
    await asyncio.sleep(0.001)


TABLE = (
    "10.244.104.0/26 via 192.168.50.11 dev ens33 proto bird\n"
    "10.244.166.128 dev cali1 scope link\n"
    "blackhole 10.244.166.128/26 proto bird\n" + CONNECTED
)


def test_what_is_wanted_is_in_the_kernel_when_settled_returns() -> None:
    async def main() -> None:
        kernel = TestKernel()
        async with reconciling(kernel) as reconciler:
            want(reconciler, BLOCK, POD, BLACKHOLE)
            await reconciler.settled([BLOCK.key, POD.key, BLACKHOLE.key])
            assert await kernel.show() == TABLE
            assert kernel.read_sysctls([PROXY_ARP]) == {PROXY_ARP: "1"}

    run(main())


def test_nothing_is_written_again_for_our_own_echo() -> None:
    async def main() -> None:
        kernel = TestKernel()
        async with reconciling(kernel) as reconciler:
            want(reconciler, BLOCK, POD, BLACKHOLE)
            await asyncio.sleep(1000)
            assert len(kernel.log) == 5
            assert reconciler.report().counters.passes < 20  # one each 90 s and a few at the start

    run(main())


def test_what_is_taken_away_by_hand_comes_back_at_once() -> None:
    async def main() -> None:
        kernel = TestKernel()
        async with reconciling(kernel) as reconciler:
            want(reconciler, BLOCK, POD, BLACKHOLE)
            await soon()
            for route in (BLOCK, POD, BLACKHOLE):
                kernel.do(DeleteRoute(route))
            await soon()
            assert await kernel.show() == TABLE

    run(main())


def test_a_route_of_ours_that_was_changed_by_hand_is_set_right_at_once() -> None:
    async def main() -> None:
        kernel = TestKernel()
        async with reconciling(kernel) as reconciler:
            want(reconciler, BLOCK, POD, BLACKHOLE)
            await soon()
            kernel.do(ReplaceRoute(Route(BLOCK.dst, (NODE3,)), BLOCK))
            kernel.do(ReplaceRoute(Route(BLACKHOLE.dst, (NODE3,), protocol=Protocol.BOOT), BLACKHOLE))
            await soon()
            assert await kernel.show() == TABLE

    run(main())


def test_another_programs_route_over_ours_is_a_conflict_until_it_goes() -> None:
    async def main() -> None:
        kernel = TestKernel()
        foreign = Route(BLOCK.dst, (NODE3,), protocol=Protocol.STATIC)
        async with reconciling(kernel) as reconciler:
            want(reconciler, BLOCK)
            await soon()
            kernel.do(ReplaceRoute(foreign, BLOCK))
            await asyncio.sleep(200)
            assert str(foreign) in await kernel.show()
            assert str(reconciler.status(BLOCK.key)) == (
                "conflict: in the way: 10.244.104.0/26 via 192.168.50.12 dev ens33 proto static "
                "(foreign: proto static on ens33 is not how we write)"
            )
            kernel.do(DeleteRoute(foreign))
            await soon()
            assert await kernel.show() == f"{BLOCK}\n{CONNECTED}"

    run(main())


def test_who_waits_for_a_route_that_cannot_come_is_told_why() -> None:
    async def main() -> None:
        kernel = TestKernel()
        kernel.do(AddRoute(Route(BLOCK.dst, (NODE3,), protocol=Protocol.STATIC)))
        off_link = Route(ip_network("10.244.7.0/26"), (Hop("ens33", ip_address("10.9.9.9")),))
        async with reconciling(kernel) as reconciler:
            want(reconciler, BLOCK, POD, off_link)
            await reconciler.settled([POD.key])
            with pytest.raises(NotSettled, match=r"10.244.104.0/26 is not in the kernel: conflict: in the way"):
                await reconciler.settled([BLOCK.key])
            with pytest.raises(NotSettled, match=r"failed: route add .*: ENETUNREACH \(Nexthop has invalid gateway\)"):
                await reconciler.settled([off_link.key])
            assert (reconciler.report().failed, reconciler.report().conflicts) == (1, 1)

    run(main())


def test_who_waits_for_a_device_waits_until_it_is_there() -> None:
    async def main() -> None:
        kernel = TestKernel()
        kernel.delete_link("cali1")
        async with reconciling(kernel) as reconciler:
            want(reconciler, POD)
            waiting = asyncio.create_task(reconciler.settled([POD.key]))
            await asyncio.sleep(10)
            status = reconciler.status(POD.key)
            assert status is not None
            assert (waiting.done(), str(status)) == (False, "pending: device cali1 is not there")
            kernel.add_link("cali1")
            kernel.set_up("cali1")
            await soon()
            assert waiting.done()
            assert kernel.read_sysctls([PROXY_ARP]) == {PROXY_ARP: "1"}

    run(main())


def test_a_pods_device_that_was_taken_down_is_raised_and_has_its_route_again() -> None:
    async def main() -> None:
        kernel = TestKernel()
        async with reconciling(kernel) as reconciler:
            want(reconciler, BLOCK, POD, BLACKHOLE)
            await soon()
            kernel.set_down("cali1")
            await soon()
            assert await kernel.show() == TABLE

    run(main())


def test_an_uplink_is_not_raised_and_its_routes_return_with_it() -> None:
    async def main() -> None:
        kernel = TestKernel()
        async with reconciling(kernel) as reconciler:
            want(reconciler, BLOCK, POD, BLACKHOLE)
            await soon()
            kernel.set_down("ens33")
            await asyncio.sleep(200)
            assert str(reconciler.status(BLOCK.key)) == "pending: device ens33 is down"
            kernel.set_up("ens33")
            await soon()
            assert await kernel.show() == TABLE

    run(main())


def test_a_flush_while_nothing_was_heard_is_undone_as_well() -> None:
    async def main() -> None:
        kernel = TestKernel()
        async with reconciling(kernel) as reconciler:
            want(reconciler, BLOCK, POD, BLACKHOLE)
            await soon()
            for route in (BLOCK, POD, BLACKHOLE):
                kernel.do(DeleteRoute(route))
            kernel.lose()
            await soon()
            assert await kernel.show() == TABLE

    run(main())


@pytest.mark.parametrize(("path", "wait_s"), [(PROXY_ARP, 0.001), (ROUTE_LOCALNET, 100)])
def test_a_sysctl_that_was_changed_by_hand_is_set_right(path: str, wait_s: float) -> None:
    """At once where the kernel tells of it, else by the next refresh."""

    async def main() -> None:
        kernel = TestKernel()
        async with reconciling(kernel) as reconciler:
            want(reconciler, POD)
            await soon()
            kernel.do(WriteSysctl(path, "0"))
            await asyncio.sleep(wait_s)
            assert kernel.read_sysctls([path]) == {path: "1"}

    run(main())


def test_nothing_goes_before_in_sync_and_then_only_ours_does() -> None:
    async def main() -> None:
        kernel = TestKernel()
        foreign = Route(ip_network("10.244.9.0/26"), (NODE3,), protocol=Protocol.STATIC)
        for route in (BLOCK, POD, BLACKHOLE, foreign):
            kernel.do(AddRoute(route))
        before = await kernel.show()
        async with reconciling(kernel) as reconciler:
            want(reconciler, in_sync=NOTHING_IN_SYNC)
            await asyncio.sleep(200)
            assert await kernel.show() == before
            want(reconciler)
            await soon()
            assert await kernel.show() == f"{foreign}\n{CONNECTED}"

    run(main())


def test_a_refused_write_is_tried_again_later_and_later_while_the_others_go_on() -> None:
    async def main() -> None:
        kernel = TestKernel()
        off_link = Route(ip_network("10.244.7.0/26"), (Hop("ens33", ip_address("10.9.9.9")),))
        async with reconciling(kernel) as reconciler:
            want(reconciler, off_link, POD)
            await reconciler.settled([POD.key])
            await asyncio.sleep(10)
            assert 6 <= kernel.log.count(f"route add {off_link}") <= 10
            await asyncio.sleep(300)
            assert 16 <= kernel.log.count(f"route add {off_link}") <= 26

    run(main())


def test_a_refused_write_is_tried_at_once_when_its_device_changes() -> None:
    async def main() -> None:
        kernel = TestKernel()
        off_link = Route(ip_network("10.244.7.0/26"), (Hop("ens33", ip_address("10.9.9.9")),))
        async with reconciling(kernel) as reconciler:
            want(reconciler, off_link)
            await asyncio.sleep(300)
            kernel.add_address("ens33", ip_interface("10.9.9.1/24"))
            await soon()
            assert str(off_link) in await kernel.show()
            assert reconciler.failures == {}

    run(main())


def test_a_removal_waits_for_the_write_that_takes_its_place() -> None:
    async def main() -> None:
        kernel = TestKernel()
        old = Route(BLOCK.dst, (NODE2,), protocol=Protocol.CALICO, metric=1024)
        kernel.do(AddRoute(old))
        off_link = Route(BLOCK.dst, (Hop("ens33", ip_address("10.9.9.9")),))
        async with reconciling(kernel) as reconciler:
            want(reconciler, off_link)
            await asyncio.sleep(100)
            assert await kernel.show() == f"{old}\n{CONNECTED}"
            want(reconciler, BLOCK)
            await soon()
            assert await kernel.show() == f"{BLOCK}\n{CONNECTED}"

    run(main())


def test_a_kernel_that_cannot_be_reached_is_trouble_and_then_all_is_made_good() -> None:
    async def main() -> None:
        kernel = TestKernel()
        kernel.is_broken = True
        async with reconciling(kernel) as reconciler:
            want(reconciler, BLOCK, POD, BLACKHOLE)
            await asyncio.sleep(20)
            assert reconciler.report().trouble == "netlink: no buffer space"
            kernel.is_broken = False
            await asyncio.sleep(40)
            assert reconciler.report().trouble == ""
            assert await kernel.show() == TABLE

    run(main())


def test_a_kernel_that_breaks_while_writes_wait_for_their_next_try_costs_no_storm_of_passes() -> None:
    async def main() -> None:
        kernel = TestKernel()
        async with reconciling(kernel) as reconciler:
            want(reconciler, Route(ip_network("10.244.7.0/26"), (Hop("ens33", ip_address("10.9.9.9")),)))
            await asyncio.sleep(1)
            kernel.is_broken = True
            passes = reconciler.report().counters.passes
            await asyncio.sleep(1000)
            assert reconciler.report().counters.passes - passes < 60

    run(main())


def test_a_removal_that_was_refused_and_is_held_back_now_costs_no_storm_of_passes() -> None:
    class Stubborn(TestKernel):
        def do(self, op: Op) -> Refusal | None:
            return Refusal(1) if isinstance(op, DeleteRoute) and op.route.metric else super().do(op)

    async def main() -> None:
        kernel = Stubborn()
        kernel.do(AddRoute(Route(BLOCK.dst, (NODE2,), metric=1024)))
        async with reconciling(kernel) as reconciler:
            want(reconciler, BLOCK)
            await asyncio.sleep(1)
            want(reconciler, Route(BLOCK.dst, (Hop("ens33", ip_address("10.9.9.9")),), metric=7))
            await asyncio.sleep(1000)
            assert reconciler.report().counters.passes < 250

    run(main())


def test_a_route_that_another_program_put_before_ours_is_a_conflict() -> None:
    async def main() -> None:
        kernel = TestKernel()
        async with reconciling(kernel) as reconciler:
            want(reconciler, BLOCK)
            await soon()
            kernel.append(Route(BLOCK.dst, (NODE3,), protocol=Protocol.BOOT), first=True)
            await soon()
            assert str(reconciler.status(BLOCK.key)).startswith(
                "conflict: in the way: 10.244.104.0/26 via 192.168.50.12"
            )

    run(main())


def test_a_fight_with_another_program_costs_a_few_writes_a_second() -> None:
    class Rival(TestKernel):
        async def apply(self, ops: Sequence[Op]) -> Sequence[Refusal | None]:
            done = await super().apply(ops)
            asyncio.get_running_loop().call_soon(self.do, DeleteRoute(BLOCK))
            return done

    async def main() -> None:
        kernel = Rival()
        async with reconciling(kernel) as reconciler:
            want(reconciler, BLOCK)
            await asyncio.sleep(10)
            assert 40 <= kernel.log.count(f"route add {BLOCK}") <= 80

    run(main())


def test_surroundings_are_told_at_the_start_and_when_they_change_and_ours_are_no_part_of_them() -> None:
    async def main() -> None:
        kernel = TestKernel()
        told: list[str] = []

        def on_surroundings(surroundings: Surroundings) -> None:
            told.append(show(surroundings.routes))

        reconciler = Reconciler(kernel, MemoryJournal(), on_surroundings=on_surroundings, rng=Random(1))
        task = asyncio.create_task(reconciler.run())
        want(reconciler, BLOCK, POD, BLACKHOLE)
        await asyncio.sleep(200)
        assert told == [CONNECTED]
        kernel.do(AddRoute(Route(ip_network("0.0.0.0/0"), (NODE3,), protocol=Protocol.STATIC)))
        kernel.add_link("cali2")
        kernel.set_up("cali2")
        await soon()
        assert told == [CONNECTED, "default via 192.168.50.12 dev ens33 proto static\n" + CONNECTED]
        task.cancel()

    run(main())


# What lies outside the pools, and restarts.


class DistrustfulKernel(TestKernel):
    """Refuses to hold what a process with an empty memory could not recognise."""

    __test__ = False

    def __init__(self, journal: MemoryJournal) -> None:
        super().__init__()
        self._known = journal

    def do(self, op: Op) -> Refusal | None:
        if isinstance(op, AddRoute) and op.route.protocol == Protocol.BIRD:
            claims = self._known.claims
            assert op.route.key in claims.routes or any(op.route.dst.overlaps(pool) for pool in claims.pools)
        return super().do(op)


def test_the_journal_names_a_destination_before_the_kernel_holds_it() -> None:
    async def main() -> None:
        journal = MemoryJournal()
        kernel = DistrustfulKernel(journal)
        async with reconciling(kernel, journal) as reconciler:
            want(reconciler, EXTERNAL, BLOCK)
            await reconciler.settled([EXTERNAL.key, BLOCK.key])
            assert journal.claims == Claims(POOLS, frozenset({EXTERNAL.key}))

    run(main())


class FullJournal(MemoryJournal):
    def record(self, claims: Claims) -> None:
        if claims.routes:
            raise JournalUnavailable("/var/lib/calico/fib.journal: No space left on device")
        super().record(claims)


def test_what_cannot_be_journaled_is_not_written_and_the_rest_is() -> None:
    async def main() -> None:
        kernel = TestKernel()
        async with reconciling(kernel, FullJournal()) as reconciler:
            want(reconciler, EXTERNAL, BLOCK)
            await reconciler.settled([BLOCK.key])
            with pytest.raises(NotSettled, match=r"could not be recognised later: .*No space left"):
                await reconciler.settled([EXTERNAL.key])
            assert await kernel.show() == f"{BLOCK}\n{CONNECTED}"

    run(main())


def test_a_restart_with_an_empty_memory_knows_its_routes_and_removes_what_is_no_longer_wanted() -> None:
    async def main() -> None:
        kernel, journal = TestKernel(), MemoryJournal()
        async with reconciling(kernel, journal) as reconciler:
            want(reconciler, EXTERNAL, BLOCK, POD, BLACKHOLE)
            await reconciler.settled([EXTERNAL.key])
        kernel.log.clear()
        async with reconciling(kernel, journal) as reconciler:
            want(reconciler, POD, BLACKHOLE)
            await asyncio.sleep(400)
            assert kernel.log == [f"route del {EXTERNAL}", f"route del {BLOCK}"]
            assert journal.claims == Claims(POOLS)

    run(main())


def test_a_pool_that_was_deleted_still_tells_whose_its_routes_are_until_the_last_is_gone() -> None:
    async def main() -> None:
        kernel, journal = TestKernel(), MemoryJournal()
        async with reconciling(kernel, journal) as reconciler:
            want(reconciler, BLOCK, POD, BLACKHOLE)
            await reconciler.settled([BLOCK.key])
        async with reconciling(kernel, journal) as reconciler:
            reconciler.want(desired(POD), pools=(), in_sync=ALL_IN_SYNC)
            await asyncio.sleep(400)
            assert await kernel.show() == f"{POD}\n{CONNECTED}"
            assert journal.claims == Claims(POOLS)
            reconciler.want(desired(), pools=(), in_sync=ALL_IN_SYNC)
            await asyncio.sleep(400)
            assert await kernel.show() == CONNECTED
            assert journal.claims == Claims()

    run(main())


def test_the_state_of_every_wanted_route_can_be_asked() -> None:
    async def main() -> None:
        async with reconciling(TestKernel()) as reconciler:
            want(reconciler, BLOCK)
            status = reconciler.status(BLOCK.key)
            assert status is not None
            assert (status.state, status.why) == (State.WANTED, WHY)
            await reconciler.settled([BLOCK.key])
            assert str(reconciler.status(BLOCK.key)) == "in kernel"
            assert reconciler.status(POD.key) is None

    run(main())
