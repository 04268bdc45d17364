"""Ends of sessions: notifications that are survived (RFC 8538), too many prefixes, a shutdown with a text."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tests.speakers import RawPeer, Station, World, explicit_neighbour, raw_session
from tests.unit.bgp.bgp_bytes import FOUR_OCTET, IPV4_UNICAST, USUAL, capability, message, nlri, open_message, update
from tests.virtual_time import virtually

FORWARDING = "00010180"
GRACEFUL = capability(64, bytes.fromhex("0078" + FORWARDING))
GRACEFUL_AND_MORE = capability(64, bytes.fromhex("4078" + FORWARDING))
ROUTE = "198.51.100.0/24 via 10.0.0.2"


async def station_with(graceful: bytes, **more: Any) -> tuple[Station, RawPeer]:
    one = World().station(1)
    one.neighbours = (replace(explicit_neighbour(one, "10.0.0.9"), is_passive=True, **more),)
    await one.start()
    peer = await again(one, graceful)
    peer.say(update(USUAL, nlri("198.51.100.0/24")))
    await asyncio.sleep(0.1)
    assert one.table() == [ROUTE]
    return one, peer


async def again(one: Station, graceful: bytes) -> RawPeer:
    return await raw_session(
        one, 9, opening=open_message(router_id="10.0.0.9", parameters=IPV4_UNICAST + FOUR_OCTET + graceful)
    )


@pytest.mark.parametrize(
    ("offers", "graceful", "said", "stays"),
    [
        (True, GRACEFUL_AND_MORE, b"\x06\x04", True),
        (True, GRACEFUL_AND_MORE, b"\x04\x00", True),
        (True, GRACEFUL_AND_MORE, b"\x06\x09\x06\x02", False),
        (True, GRACEFUL, b"\x06\x04", False),
        (False, GRACEFUL_AND_MORE, b"\x06\x04", False),
    ],
    ids=["RFC 8538 4", "RFC 8538 4, hold timer", "RFC 8538 3.1, hard reset", "RFC 4724 4.2", "not offered"],
)
@virtually
async def test_routes_stay_over_a_notification_where_both_sides_said_so(
    offers: bool, graceful: bytes, said: bytes, stays: bool
) -> None:
    one, peer = await station_with(graceful, survives_notifications=offers)
    peer.say(message(3, said))
    await asyncio.sleep(0.1)
    assert one.table() == ([ROUTE] if stays else [])
    await asyncio.sleep(121)
    assert one.table() == []


@virtually
async def test_what_we_end_for_good_is_a_hard_reset_to_who_would_keep_our_routes() -> None:
    one, peer = await station_with(GRACEFUL_AND_MORE, survives_notifications=True)
    one.neighbours = ()
    one.apply()
    await asyncio.sleep(0.1)
    assert peer.heard.endswith(message(3, b"\x06\x09\x06\x03"))


@virtually
async def test_a_session_whose_hold_timer_expires_keeps_its_routes_where_both_sides_said_so() -> None:
    one, peer = await station_with(GRACEFUL_AND_MORE, survives_notifications=True, hold_time_s=9)
    await asyncio.sleep(10)
    assert peer.messages()[-1] == "NOTIFICATION 4/0"
    assert one.table() == [ROUTE]


@virtually
async def test_a_neighbour_that_announces_too_much_is_sent_away_for_a_minute() -> None:
    one, peer = await station_with(GRACEFUL, max_prefixes=2)
    peer.say(update(USUAL, nlri("10.1.0.0/26")))
    await asyncio.sleep(0.1)
    assert len(one.routes) == 2
    peer.say(update(USUAL, nlri("10.2.0.0/26")))
    await asyncio.sleep(0.1)
    assert peer.messages()[-1] == "NOTIFICATION 6/1"
    assert one.table() == []
    assert (await again(one, GRACEFUL)).is_closed
    await asyncio.sleep(60)
    assert not (await again(one, GRACEFUL)).is_closed


@virtually
async def test_a_neighbour_that_is_shut_down_hears_why_and_stays_away_until_it_may_come_again() -> None:
    one, peer = await station_with(GRACEFUL)
    (peering,) = one.speaker.peerings.values()
    peering.shut("new cables until noon")
    await asyncio.sleep(0.1)
    assert peer.heard.endswith(message(3, b"\x06\x02\x15new cables until noon"))
    assert one.table() == []
    await asyncio.sleep(3600)
    assert (await again(one, GRACEFUL)).is_closed
    peering.open_again()
    assert not (await again(one, GRACEFUL)).is_closed
