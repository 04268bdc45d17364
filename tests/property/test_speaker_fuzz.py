"""Mutated messages to a whole speaker on links in memory: none reaches a guard, and no other session notices."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from bgp.session import State
from tests.property.test_wire_fuzz import OPENING, mutated
from tests.speakers import RawPeer, Station, World, explicit_neighbour, raw_session, until
from tests.unit.bgp.bgp_bytes import USUAL, nlri, open_message, update
from tests.virtual_time import virtually

SEED = 7606
VICTIM = "Global_10_0_0_9"


async def speaker_with_a_steady_peer() -> tuple[Station, RawPeer]:
    one = World().station(1, "10.244.1.0/26")
    one.neighbours = (explicit_neighbour(one, "10.0.0.9"), explicit_neighbour(one, "10.0.0.8"))
    await one.start()
    steady = await raw_session(one, 8, opening=open_message(hold=0, router_id="10.0.0.8"))
    steady.say(update(USUAL, nlri("198.51.100.0/24")))
    await asyncio.sleep(0.1)
    assert one.table() == ["198.51.100.0/24 via 10.0.0.2"]
    return one, steady


async def fuzz(messages: int) -> None:
    """In every state: in turn before the OPEN, after it, and in an established session."""
    random = Random(SEED)
    one, _ = await speaker_with_a_steady_peer()
    victim = one.speaker.peerings[VICTIM]
    sent = 0
    while sent < messages:
        peer = await raw_session(one, 9, opening=b"")
        peer.say(b"" if sent % 7 == 0 else OPENING if sent % 5 == 0 else OPENING + b"\xff" * 16 + b"\0\x13\4")
        for _ in range(40):
            sent += 1
            peer.say(mutated(random))
            await asyncio.sleep(0.001)
            if peer.is_closed or peer.messages_end():
                break
        peer.transport.abort()
        await asyncio.sleep(0.001)
    await until(lambda: victim.state < State.ESTABLISHED)
    assert victim.counters["own-faults"] == 0
    assert one.speaker.peerings["Global_10_0_0_8"].counters["established"] == 1
    assert one.speaker.peerings["Global_10_0_0_8"].state is State.ESTABLISHED
    assert "198.51.100.0/24 via 10.0.0.2" in one.table()


@virtually
async def test_ten_thousand_mutated_messages() -> None:
    await fuzz(10_000)


@pytest.mark.long
@virtually
async def test_a_million_mutated_messages() -> None:
    await fuzz(1_000_000)
