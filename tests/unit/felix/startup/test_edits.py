"""calico.yaml is edited and applied again: the pool follows, unless a person has said otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from datastore.codec import decode, encode
from datastore.memory import MemoryStore
from datastore.resource import Key, Resource
from datastore.resources import IPPool
from felix.startup.edits import ANNOTATION, GENERATION, Plan, asked, plan

Environ = Mapping[str, str]


def decided(environ: Environ, generation: int, *stored: Resource) -> Plan:
    words = {f"CALICO_IPV4POOL_{name}": value for name, value in environ.items()}
    known = [decode(IPPool, each) for each in stored]
    return plan(asked({**words, GENERATION: str(generation)}, 4), known)


def made(generation: int = 1, **environ: str) -> Resource:
    (pool,) = decided({"CIDR": "10.244.0.0/16", "IPIP": "off", **environ}, generation).creates
    return pool


def edited(pool: Resource, **spec: Any) -> Resource:
    return Resource(pool.kind, pool.name, spec={**pool.spec, **spec}, annotations=pool.annotations)


def shown(found: Plan) -> list[str]:
    lines = [f"create {each.name} {each.spec['cidr']}" for each in found.creates]
    for each in found.updates:
        lines.append(f"update {each.name} ipip={each.spec['ipipMode']} disabled={each.spec.get('disabled', False)}")
    return lines


ALWAYS = {"CIDR": "10.244.0.0/16", "IPIP": "Always"}
MOVED = {"CIDR": "192.168.0.0/16", "IPIP": "off"}


def test_a_newer_generation_switches_the_pool_and_says_so() -> None:
    found = decided(ALWAYS, 2, made())
    assert shown(found) == ["update default-ipv4-ippool ipip=Always disabled=False"]
    assert found.lines == ["pool default-ipv4-ippool: ipipMode was Never and is Always, by CALICO_IPV4POOL_IPIP"]


def test_the_generation_that_wrote_it_and_older_ones_change_nothing() -> None:
    (always,) = decided(ALWAYS, 2, made()).updates
    same = decided(ALWAYS, 2, always)
    assert (shown(same), same.lines) == ([], [])
    late = decided({"CIDR": "10.244.0.0/16", "IPIP": "off"}, 1, always)
    assert shown(late) == []
    assert late.lines == [
        "pool default-ipv4-ippool keeps ipipMode Always, which generation 2 of the DaemonSet wrote; "
        "CALICO_IPV4POOL_IPIP says Never, but this pod is of generation 1"
    ]


def test_what_a_person_has_set_wins_and_both_values_are_told_with_the_command() -> None:
    found = decided(ALWAYS, 2, edited(made(), ipipMode="CrossSubnet"))
    assert shown(found) == []
    assert found.lines == [
        "pool default-ipv4-ippool keeps ipipMode CrossSubnet, as somebody has set it; CALICO_IPV4POOL_IPIP says Always."
        ' To take that: calicoctl patch ippool default-ipv4-ippool -p \'{"spec":{"ipipMode":"Always"}}\''
    ]


def test_it_is_told_at_every_start_also_by_pods_of_the_same_generation() -> None:
    (always,) = decided(ALWAYS, 2, made()).updates
    assert len(decided(ALWAYS, 2, edited(always, ipipMode="Never")).lines) == 1


def test_a_person_who_has_set_what_is_wanted_now_stands_in_no_ones_way() -> None:
    (adopted,) = decided(ALWAYS, 2, edited(made(), ipipMode="Always")).updates
    assert shown(decided({"CIDR": "10.244.0.0/16", "IPIP": "CrossSubnet"}, 3, adopted)) == [
        "update default-ipv4-ippool ipip=CrossSubnet disabled=False"
    ]


def test_pools_that_start_up_did_not_make_are_never_touched() -> None:
    foreign = Resource("IPPool", "default-ipv4-ippool", spec=made().spec)
    found = decided(ALWAYS, 9, foreign)
    assert shown(found) == []
    assert found.lines[0].startswith("pool default-ipv4-ippool keeps ipipMode Never, as somebody has set it; ")
    other = Resource("IPPool", "mine", spec={"cidr": "10.9.0.0/16"})
    found = decided(ALWAYS, 9, other)
    assert (shown(found), found.lines) == ([], [])


@pytest.mark.parametrize("note", ["", "{", "[]", '{"generation":"x","spec":{}}'])
def test_a_note_that_somebody_has_broken_makes_the_pool_theirs(note: str) -> None:
    broken = Resource("IPPool", "default-ipv4-ippool", spec=made().spec, annotations={ANNOTATION: note})
    assert shown(decided(ALWAYS, 9, broken)) == []


def test_another_network_is_another_pool_and_the_old_one_gives_nothing_more() -> None:
    found = decided(MOVED, 2, made())
    assert shown(found) == [
        "create default-ipv4-ippool-192-168-0-0-16 192.168.0.0/16",
        "update default-ipv4-ippool ipip=Never disabled=True",
    ]
    assert found.lines == [
        "pool default-ipv4-ippool-192-168-0-0-16 created: CALICO_IPV4POOL_CIDR says 192.168.0.0/16 now",
        "pool default-ipv4-ippool 10.244.0.0/16 is disabled: pods keep their addresses, new ones are of 192.168.0.0/16",
    ]


def test_going_back_to_the_old_network_takes_its_pool_again() -> None:
    found = decided(MOVED, 2, made())
    back = decided(ALWAYS, 3, *found.creates, *found.updates)
    assert shown(back) == [
        "update default-ipv4-ippool ipip=Always disabled=False",
        "update default-ipv4-ippool-192-168-0-0-16 ipip=Never disabled=True",
    ]
    assert "pool default-ipv4-ippool 10.244.0.0/16 is enabled again" in back.lines


def test_a_network_that_overlaps_another_pool_is_not_taken() -> None:
    other = Resource("IPPool", "mine", spec={"cidr": "192.168.7.0/24"})
    found = decided(MOVED, 2, made(), other)
    assert shown(found) == []
    assert found.lines == ["CALICO_IPV4POOL_CIDR=192.168.0.0/16 is not taken: it overlaps pool mine 192.168.7.0/24"]


def test_a_pool_that_a_person_has_changed_is_not_disabled_for_another_network() -> None:
    found = decided(MOVED, 2, edited(made(), natOutgoing=False))
    assert shown(found) == []
    assert (
        found.lines[-1]
        == "CALICO_IPV4POOL_CIDR=192.168.0.0/16 is not taken, because pool default-ipv4-ippool was changed"
    )


def test_a_network_that_start_up_chose_itself_stays_when_the_machines_differ() -> None:
    pool = decided({}, 1).creates[0]
    assert shown(decided({"IPIP": "Always"}, 2, pool)) == ["update default-ipv4-ippool ipip=Always disabled=False"]


def test_another_block_size_is_for_another_network() -> None:
    found = decided({"CIDR": "10.244.0.0/16", "BLOCK_SIZE": "28"}, 2, made())
    assert found.lines == [
        "pool default-ipv4-ippool keeps blocks of /26: CALICO_IPV4POOL_BLOCK_SIZE=28 is for another network"
    ]


def test_without_a_daemonset_nothing_is_ever_changed() -> None:
    assert shown(decided(ALWAYS, 0, made(generation=0))) == []


def test_many_nodes_of_two_generations_come_to_one_end() -> None:
    """Whatever the order: the newest generation's word stands."""

    async def start(store: MemoryStore, environ: Environ, generation: int) -> None:
        from felix.startup.run import _write_pools

        words = {f"CALICO_IPV4POOL_{name}": value for name, value in environ.items()}
        await _write_pools(store, asked({**words, GENERATION: str(generation)}, 4))

    async def scenario() -> None:
        store = MemoryStore()
        await store.create(made())
        old = {"CIDR": "10.244.0.0/16", "IPIP": "off"}
        await asyncio.gather(*(start(store, *each) for each in [(old, 1), (ALWAYS, 2), (old, 1), (ALWAYS, 2)] * 5))
        pool = await store.get(Key("IPPool", "default-ipv4-ippool"))
        assert pool.spec["ipipMode"] == "Always"
        assert encode(decode(IPPool, pool)) == pool

    asyncio.run(scenario())
    assert GENERATION == "POD_TEMPLATE_GENERATION"


def test_a_mode_that_is_switched_off_is_still_shown() -> None:
    (always,) = decided(ALWAYS, 2, made()).updates
    (off,) = decided({"CIDR": "10.244.0.0/16", "IPIP": "off"}, 3, always).updates
    assert (off.spec["ipipMode"], off.spec["vxlanMode"]) == ("Never", "Never")
