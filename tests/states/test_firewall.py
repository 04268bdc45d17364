"""The firewall's task through faults, other programs' edits, changes of backend, and restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from ipaddress import ip_network
from random import Random

import pytest

from felix.firewall.choose import Backend, IptablesBackend, Mode, Modes, Seen
from felix.firewall.iptables import is_clean, tables_of
from felix.firewall.model import RuleSet, Table
from felix.firewall.reconciler import REFRESH_S, Firewall
from felix.firewall.rules import Encap, Facts, Pool, Tunnel, rules
from tests.models.packet_filters import ModelIptables, ModelMachine
from tests.virtual_time import virtually

POOL = Pool(ip_network("10.244.0.0/16"), nat_outgoing=True)
FACTS = Facts(pools=frozenset({POOL}), hosts=frozenset({ip_network("192.168.50.10/32")}))
RULES = rules(FACTS)
WITH_IPIP = rules(replace(FACTS, tunnels=(Tunnel(Encap.IPIP, "tunl0"),)))
NFT = Modes(Mode.ENABLED)
LEGACY = Modes(Mode.DISABLED, IptablesBackend.LEGACY)
ON_NFT = Modes(Mode.DISABLED, IptablesBackend.NFT)
ALL_MODES = [NFT, LEGACY, ON_NFT]


@asynccontextmanager
async def running(machine: ModelMachine) -> AsyncIterator[Firewall]:
    firewall = Firewall(machine, rng=Random(0))
    task = asyncio.create_task(firewall.run())
    try:
        yield firewall
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def settle(firewall: Firewall, wanted: RuleSet, modes: Modes = NFT) -> None:
    firewall.want(wanted, modes)
    await firewall.settled()
    await asyncio.sleep(1)


async def nothing_differs(machine: ModelMachine, backend: Backend, wanted: RuleSet) -> bool:
    return await machine.writers[backend].write(wanted) == 0


async def is_empty(model: ModelIptables) -> bool:
    return all([is_clean(tables_of(await model.save(version))) for version in (4, 6)])


@virtually
async def test_nothing_is_touched_before_anything_is_wanted() -> None:
    machine = ModelMachine()
    await machine.writers[Backend.NFT].write(RULES)
    async with running(machine) as firewall:
        await asyncio.sleep(2 * REFRESH_S)
        assert firewall.counters.passes == 0
        assert machine.in_force() == {Backend.NFT}


@virtually
async def test_what_is_wanted_is_written_once_and_then_only_looked_at() -> None:
    machine = ModelMachine()
    async with running(machine) as firewall:
        await settle(firewall, RULES)
        await asyncio.sleep(10 * REFRESH_S)
        assert len(machine.nft.transactions) == 1
        assert 8 <= firewall.counters.passes <= 16


@pytest.mark.parametrize("modes", ALL_MODES)
@virtually
async def test_what_others_take_away_comes_back_at_once_or_with_the_next_refresh(modes: Modes) -> None:
    machine = ModelMachine()
    async with running(machine) as firewall:
        await settle(firewall, WITH_IPIP, modes)
        backend = firewall.backend
        assert backend is not None
        machine.nft.tables.clear()
        machine.legacy.chains.clear()
        machine.on_nft.chains.clear()
        for model in (machine.nft, machine.legacy):
            model.changed()
        await asyncio.sleep(1 if modes is not ON_NFT else 2 * REFRESH_S)
        assert machine.in_force() == {backend}
        assert await nothing_differs(machine, backend, WITH_IPIP)


@virtually
async def test_a_rule_that_somebody_edited_under_our_comment_is_made_right() -> None:
    machine = ModelMachine()
    async with running(machine) as firewall:
        await settle(firewall, RULES)
        rule = machine.nft.tables["ip"].rules["raw-cali-PREROUTING"][-1]
        rule["expr"] = [{"accept": None}]
        machine.nft.changed()
        await asyncio.sleep(1)
        assert {"drop": None} in machine.nft.tables["ip"].rules["raw-cali-PREROUTING"][-1]["expr"]


@virtually
async def test_a_foreign_rule_in_our_chains_goes_and_one_in_the_kernels_stays() -> None:
    machine = ModelMachine()
    forward = machine.legacy.table(4, Table.FILTER)["FORWARD"]
    forward.append("-i docker0 -j ACCEPT")
    async with running(machine) as firewall:
        await settle(firewall, RULES, LEGACY)
        machine.legacy.table(4, Table.FILTER)["cali-FORWARD"].insert(0, "-j ACCEPT")
        machine.legacy.table(4, Table.FILTER)["FORWARD"].insert(0, "-i virbr0 -j ACCEPT")
        machine.legacy.changed()
        await asyncio.sleep(1)
        table = machine.legacy.table(4, Table.FILTER)
        assert "-j ACCEPT" not in table["cali-FORWARD"]
        assert [line.split(" --jump")[-1].strip() for line in table["FORWARD"]] == [
            "cali-FORWARD",
            "-i virbr0 -j ACCEPT",
            "-i docker0 -j ACCEPT",
            "ACCEPT",
            "ACCEPT",
        ]


@pytest.mark.parametrize("modes", ALL_MODES)
@virtually
async def test_a_write_that_fails_is_told_and_tried_again_and_leaves_the_old_rules(modes: Modes) -> None:
    machine = ModelMachine()
    faults = {NFT: machine.nft.faults, LEGACY: machine.legacy.faults, ON_NFT: machine.on_nft.faults}[modes]
    async with running(machine) as firewall:
        await settle(firewall, RULES, modes)
        held = machine.in_force()
        faults.fail, faults.why = -1, "/run/xtables.lock is held by process 7 (iptables)"
        firewall.want(WITH_IPIP, modes)
        await asyncio.sleep(60)
        assert firewall.trouble == "/run/xtables.lock is held by process 7 (iptables)"
        assert not firewall.is_settled()
        assert machine.in_force() == held
        assert firewall.counters.failures < 12
        faults.fail = 0
        await asyncio.wait_for(firewall.settled(), 40)
        assert firewall.trouble == ""


@virtually
async def test_a_machine_that_cannot_do_ipv6_has_its_ipv4_rules_in_force_and_says_so() -> None:
    machine = ModelMachine()
    machine.legacy.faults.fail, machine.legacy.faults.only, machine.legacy.faults.why = -1, 6, "no ip6_tables"
    async with running(machine) as firewall:
        firewall.want(RULES, LEGACY)
        await asyncio.sleep(1)
        assert firewall.trouble == "no ip6_tables"
        assert (firewall.is_settled(4), firewall.is_settled(6), firewall.is_settled()) == (True, False, False)


@pytest.mark.parametrize("before", ALL_MODES)
@pytest.mark.parametrize("after", ALL_MODES)
@virtually
async def test_a_change_of_backend_clears_the_others_and_pods_are_never_without(before: Modes, after: Modes) -> None:
    machine = ModelMachine()
    async with running(machine) as firewall:
        await settle(firewall, RULES, before)
        seen: list[bool] = []
        for model in (machine.nft, machine.legacy, machine.on_nft):
            model.listen(lambda: seen.append(bool(machine.in_force())))
        await settle(firewall, RULES, after)
        backend = firewall.backend
        assert backend is not None
        assert all(seen)
        assert machine.in_force() == {backend}
        assert await nothing_differs(machine, backend, RULES)
        if after is NFT:
            assert await is_empty(machine.legacy)
            assert await is_empty(machine.on_nft)
            assert not machine.sets.sets
        assert firewall.trouble == ""


@pytest.mark.parametrize("modes", ALL_MODES)
@pytest.mark.parametrize("calls", range(1, 12))
@virtually
async def test_invariant_10_a_restart_after_any_call_converges(modes: Modes, calls: int) -> None:
    machine = ModelMachine()
    async with running(machine) as firewall:
        await settle(firewall, RULES, LEGACY if modes is NFT else NFT)
        for faults in (machine.nft.faults, machine.legacy.faults, machine.on_nft.faults):
            faults.fail = calls  # the process dies in one of these; what was done stays done
        firewall.want(WITH_IPIP, modes)
        await asyncio.sleep(0.1)
    for faults in (machine.nft.faults, machine.legacy.faults, machine.on_nft.faults):
        faults.fail = 0
    machine.restart()
    async with running(machine) as firewall:
        await settle(firewall, WITH_IPIP, modes)
        backend = firewall.backend
        assert backend is not None
        assert machine.in_force() == {backend}
        assert await nothing_differs(machine, backend, WITH_IPIP)


@virtually
async def test_a_machine_without_any_backend_is_a_trouble_until_one_is_there() -> None:
    machine = ModelMachine(Seen())
    async with running(machine) as firewall:
        firewall.want(RULES)
        await asyncio.sleep(5)
        assert firewall.trouble == "neither nft nor iptables can be used here: install nftables"
        machine.seen = Seen(usable=frozenset({Backend.NFT}))
        await asyncio.wait_for(firewall.settled(), 40)
        assert firewall.backend is Backend.NFT


@virtually
async def test_a_fight_over_a_rule_costs_five_passes_a_second() -> None:
    machine = ModelMachine()
    async with running(machine) as firewall:
        await settle(firewall, RULES)
        before = firewall.counters.passes
        for _ in range(1000):
            machine.nft.tables.pop("ip", None)
            machine.nft.changed()
            await asyncio.sleep(0.01)
        assert firewall.counters.passes - before < 20 + 5 * 10 + 5


@virtually
async def test_where_reading_is_slow_others_changes_are_looked_at_less_often() -> None:
    machine = ModelMachine()
    async with running(machine) as firewall:
        await settle(firewall, RULES)
        machine.nft.reading_s = 0.1
        before = firewall.counters.passes
        for _ in range(1000):
            machine.nft.changed()
            await asyncio.sleep(0.1)
        assert firewall.counters.passes - before <= 100 / (20 * 0.2) + 2
