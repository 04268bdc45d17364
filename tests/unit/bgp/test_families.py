"""IPv4 and IPv6 unicast in one session: each goes its own way, and neither waits for the other."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import replace
from ipaddress import ip_address

from bgp.neighbour import Neighbour
from tests.speakers import RawPeer, Station, World, all_established, explicit_neighbour, raw_session, until
from tests.unit.bgp.bgp_bytes import (
    EMPTY_PATH,
    FOUR_OCTET,
    IPV4_UNICAST,
    LOCAL_PREF,
    ORIGIN,
    USUAL,
    attribute,
    capability,
    message,
    nlri,
    open_message,
    update,
)
from tests.virtual_time import virtually

IPV6_UNICAST = capability(1, struct.pack("!HBB", 2, 0, 1))
REFRESHES = capability(2) + capability(70)
BOTH = IPV4_UNICAST + IPV6_UNICAST + FOUR_OCTET + REFRESHES
GRACEFUL_IN_IPV6 = capability(64, bytes.fromhex("0078" + "00020180"))
LONG_PREFIX = b"\x10\xfd\x01"
LONG = attribute(14, b"\0\2\1\x10" + ip_address("fd00::9").packed + b"\0" + LONG_PREFIX, flags=0x80)
END_OF_LONG = update(b"\x90\x0f\0\3\0\2\1")


def both(neighbour: Neighbour, number: int) -> Neighbour:
    return replace(neighbour, versions=(4, 6), other_address=ip_address(f"fd00::{number}"))


async def two_of_both() -> tuple[Station, Station]:
    world = World()
    one = world.station(1, "10.244.1.0/26", "fd00:10:1::/122")
    two = world.station(2, "10.244.2.0/26", "fd00:10:2::/122")
    one.neighbours = (both(explicit_neighbour(one, two), 1),)
    two.neighbours = (both(explicit_neighbour(two, one), 2),)
    await one.start()
    await two.start()
    await until(lambda: all_established((one, two)))
    return one, two


async def ours_and_a_peer(opening: bytes) -> tuple[Station, RawPeer]:
    one = World().station(1, "10.244.1.0/26", "fd00:10:1::/122")
    one.neighbours = (both(explicit_neighbour(one, "10.0.0.9"), 1),)
    await one.start()
    peer = await raw_session(one, 9, opening=opening)
    await asyncio.sleep(0.1)
    return one, peer


@virtually
async def test_routes_of_both_families_go_both_ways() -> None:
    one, two = await two_of_both()
    await until(lambda: len(one.routes) == len(two.routes) == 2)
    assert one.table() == ["10.244.2.0/26 via 10.0.0.2", "fd00:10:2::/122 via fd00::2"]
    assert two.table() == ["10.244.1.0/26 via 10.0.0.1", "fd00:10:1::/122 via fd00::1"]
    one.blocks = ("10.244.1.0/26",)
    one.apply()
    await until(lambda: two.table() == ["10.244.1.0/26 via 10.0.0.1"])


@virtually
async def test_a_peer_that_speaks_one_of_them_is_told_that_one() -> None:
    one, peer = await ours_and_a_peer(open_message(router_id="10.0.0.9", parameters=IPV4_UNICAST + FOUR_OCTET))
    assert peer.messages() == ["OPEN", "KEEPALIVE", "UPDATE", "UPDATE"]
    assert b"\x1a\x0a\xf4\x01\x00" in peer.heard
    assert ip_address("fd00::1").packed not in peer.heard
    peer.say(update(ORIGIN + EMPTY_PATH + LOCAL_PREF + LONG) + update(USUAL, nlri("10.1.0.0/26")))
    await asyncio.sleep(0.1)
    assert one.table() == ["10.1.0.0/26 via 10.0.0.2"]


@virtually
async def test_end_of_rib_is_said_for_each_family_and_waited_for_in_each() -> None:
    one, peer = await ours_and_a_peer(open_message(router_id="10.0.0.9", parameters=BOTH))
    assert peer.heard.endswith(update() + END_OF_LONG)
    peer.say(update())
    await asyncio.sleep(0.1)
    assert one.in_sync_at is None
    peer.say(END_OF_LONG)
    await asyncio.sleep(0.1)
    assert one.in_sync_at is not None


@virtually
async def test_a_refresh_is_answered_in_its_family_alone() -> None:
    _, peer = await ours_and_a_peer(open_message(router_id="10.0.0.9", parameters=BOTH))
    before = len(peer.messages())
    peer.say(message(5, b"\0\2\0\1"))
    await asyncio.sleep(0.1)
    assert peer.messages()[before:] == ["ROUTE-REFRESH", "UPDATE", "ROUTE-REFRESH"]
    assert peer.heard.endswith(message(5, b"\0\2\2\1"))


@virtually
async def test_the_sweep_after_a_refresh_takes_its_family_alone() -> None:
    one, peer = await ours_and_a_peer(open_message(router_id="10.0.0.9", parameters=BOTH))
    peer.say(update(USUAL, nlri("10.1.0.0/26")) + update(ORIGIN + EMPTY_PATH + LOCAL_PREF + LONG))
    peer.say(message(5, b"\0\2\1\1") + message(5, b"\0\2\2\1"))
    await asyncio.sleep(0.1)
    assert one.table() == ["10.1.0.0/26 via 10.0.0.2"]


@virtually
async def test_over_a_restart_only_the_families_that_were_listed_stay() -> None:
    one, peer = await ours_and_a_peer(open_message(router_id="10.0.0.9", parameters=BOTH + GRACEFUL_IN_IPV6))
    peer.say(update(USUAL, nlri("10.1.0.0/26")) + update(ORIGIN + EMPTY_PATH + LOCAL_PREF + LONG))
    await asyncio.sleep(0.1)
    assert len(one.routes) == 2
    peer.transport.abort()
    await asyncio.sleep(0.1)
    assert one.table() == ["fd01::/16 via fd00::9"]
