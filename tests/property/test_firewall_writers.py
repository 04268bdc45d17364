"""Whatever is wanted, and whatever was there before: one write makes it so, the next finds nothing to do."""

from __future__ import annotations

import asyncio
from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st

from felix.firewall.choose import Backend
from felix.firewall.model import NOTHING, RuleSet, Table
from felix.firewall.nft_json import parse, plan
from felix.firewall.rules import Encap, Facts, HostAction, Options, Pool, Tunnel, rules
from tests.models.packet_filters import ModelMachine

NETWORKS = st.sampled_from([*map(ip_network, ("10.0.0.0/8", "10.244.0.0/16", "10.244.0.0/26", "192.168.5.1/32"))])
NETWORKS6 = st.sampled_from([*map(ip_network, ("fd00::/8", "fd00:1::/64", "fd00:1::7/128"))])
ANY_NETWORK = NETWORKS | NETWORKS6
TUNNELS = st.sampled_from(
    [
        Tunnel(Encap.IPIP, "tunl0"),
        Tunnel(Encap.VXLAN, "vxlan.calico"),
        Tunnel(Encap.VXLAN, "vxlan.calico", port=8472, has_address=False),
        Tunnel(Encap.VXLAN, "vxlan-v6.calico", version=6),
    ]
)
OPTIONS = st.builds(
    Options,
    has_ipv6=st.booleans(),
    nat_ports=st.none() | st.just((1024, 2048)),
    nat_spares_hosts=st.booleans(),
    host_action=st.sampled_from(HostAction),
    rejects=st.booleans(),
    inserts_first=st.booleans(),
    pods_may_send_ipip=st.booleans(),
)
RULE_SETS = st.just(NOTHING) | st.builds(
    Facts,
    pools=st.frozensets(st.builds(Pool, ANY_NETWORK, st.booleans())),
    hosts=st.frozensets(ANY_NETWORK),
    vxlan_members=st.frozensets(ANY_NETWORK),
    tunnels=st.lists(TUNNELS, unique=True).map(tuple),
    free_sources=st.dictionaries(st.sampled_from(["cali1", "cali2"]), st.lists(ANY_NETWORK).map(tuple)),
    clamp=st.dictionaries(st.sampled_from(["cali1", "tunl0"]), st.integers(500, 9000)),
    options=OPTIONS,
).map(rules)
FOREIGN = ["-i docker0 -j ACCEPT", '-m comment --comment "calico is not cali:" -j DROP']


@given(st.lists(RULE_SETS, min_size=1, max_size=4), st.sampled_from(Backend))
def test_after_any_history_one_write_is_enough_and_the_result_is_as_if_written_afresh(
    history: list[RuleSet], backend: Backend
) -> None:
    machine, fresh = asyncio.run(_written(history, backend)), asyncio.run(_written(history[-1:], backend))
    assert machine.nft.tables == fresh.nft.tables
    assert _ours(machine) == _ours(fresh)
    assert machine.sets.sets == fresh.sets.sets


@given(st.lists(RULE_SETS, min_size=1, max_size=4))
def test_foreign_rules_keep_their_bytes_and_their_order(history: list[RuleSet]) -> None:
    machine = ModelMachine()
    for table in Table:
        for chain in machine.legacy.table(4, table).values():
            chain.extend(FOREIGN)
    asyncio.run(_write(machine, history, Backend.IPTABLES_LEGACY))
    for table in Table:
        for name, chain in machine.legacy.table(4, table).items():
            if not name.startswith("cali-"):
                assert [line for line in chain if '"cali:' not in line] == FOREIGN


@given(RULE_SETS)
def test_what_nft_lists_after_a_write_parses_to_what_was_rendered(wanted: RuleSet) -> None:
    machine = asyncio.run(_written([wanted], Backend.NFT))
    for family, name in zip(wanted.families, ("ip", "ip6"), strict=True):
        listed = parse(asyncio.run(_list(machine, name)))
        assert dict(listed.sets) == dict(family.sets)
        assert plan(family, listed, listed.forms) == []


async def _written(history: list[RuleSet], backend: Backend) -> ModelMachine:
    machine = ModelMachine()
    await _write(machine, history, backend)
    return machine


async def _write(machine: ModelMachine, history: list[RuleSet], backend: Backend) -> None:
    for wanted in history:
        await machine.writers[backend].write(wanted)
        assert await machine.writers[backend].write(wanted) == 0


async def _list(machine: ModelMachine, family: str) -> list[dict[str, object]]:
    return list(await machine.nft.list(family))


def _ours(machine: ModelMachine) -> dict[object, dict[str, list[str]]]:
    models = {"legacy": machine.legacy, "on nft": machine.on_nft}
    return {
        (name, *key): found
        for name, model in models.items()
        for key, chains in model.chains.items()
        if (found := {chain: rules_ for chain, rules_ in chains.items() if rules_ or chain.startswith("cali-")})
    }
