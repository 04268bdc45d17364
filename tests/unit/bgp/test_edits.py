"""What an edit of a neighbour does to its session, and that it does nothing to the others'."""

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address, ip_address
from typing import Any

import pytest

from bgp.filters import read
from bgp.mesh import name_of
from bgp.neighbour import AddPath, Kind, Neighbour, NextHopMode
from tests.speakers import Station, World, all_established, until
from tests.virtual_time import virtually

KEPT, RENEWED, MADE_ANEW = "kept", "renewed, no route is lost", "made anew"

EDITS: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "its kind, which is in its name": (
        {"kind": Kind.NODE, "name": name_of(Kind.NODE, ip_address("10.0.0.2"))},
        KEPT,
    ),
    "who dials": ({"is_passive": False}, KEPT),
    "the port": ({"port": 1790}, KEPT),
    "the keepalive time": ({"keepalive_time_s": 5}, KEPT),
    "the distance": ({"ttl_hops": 1}, KEPT),
    "the gateway": ({"gateway": ip_address("10.0.0.254")}, KEPT),
    "the cluster": ({"cluster_id": IPv4Address("1.0.0.1")}, KEPT),
    "the next hop": ({"next_hop_mode": NextHopMode.SELF}, KEPT),
    "own AS in its paths": ({"allowed_local_as": 1}, KEPT),
    "filters": ({"filters": (read("none", {}),)}, KEPT),
    "the restart time": ({"restart_time_s": 90}, RENEWED),
    "the hold time": ({"hold_time_s": 90}, RENEWED),
    "that notifications are survived": ({"survives_notifications": True}, RENEWED),
    "the greatest number of prefixes": ({"max_prefixes": 9}, KEPT),
    "how many paths are taken and sent": ({"add_path": AddPath.BOTH}, RENEWED),
    "how near its next hops are": ({"needs_near_next_hops": True}, KEPT),
    "that its paths begin with its AS": ({"enforces_first_as": True}, KEPT),
    "that BFD watches it": ({"is_watched": True}, KEPT),
    "the families": ({"versions": (4, 6), "other_address": ip_address("fd00::1")}, MADE_ANEW),
    "the source address": ({"local_address": None}, MADE_ANEW),
}


async def three() -> tuple[World, Station, Station, Station]:
    world = World()
    one, two, third = stations = tuple(world.station(n, f"10.244.{n}.0/26") for n in (1, 2, 3))
    world.mesh(*stations)
    for station in stations:
        await station.start()
    await until(lambda: all_established(stations) and all(len(each.routes) == 2 for each in stations))
    return world, one, two, third


def ups(station: Station, other: Station) -> int:
    (found,) = [each for each in station.speaker.peerings.values() if each.neighbour.address == other.address]
    return found.counters["established"]


def edit(station: Station, other: Station, **changes: Any) -> None:
    station.neighbours = tuple(
        replace(each, **changes) if each.address == other.address else each for each in station.neighbours
    )
    station.apply()


@pytest.mark.parametrize("what", EDITS)
@virtually
async def test_an_edit_resets_the_session_that_must_be_reset_and_no_other(what: str) -> None:
    changes, expected = EDITS[what]
    world, one, two, three_ = await three()
    for station in (one, two, three_):
        station.told.clear()
    notifications = len([data for _, _, data in world.network.crossed if data[18] == 3])
    before, peering = ups(one, two), next(iter(one.speaker.peerings.values()))
    edit(one, two, **changes)
    await until(lambda: all_established((one, two, three_)) and len(one.routes) == len(two.routes) == 2, within_s=20)
    after = next(each for each in one.speaker.peerings.values() if each.neighbour.address == two.address)
    sent = len([data for _, _, data in world.network.crossed if data[18] == 3]) - notifications
    is_same_neighbour = after is peering
    found = KEPT if is_same_neighbour and ups(one, two) == before else RENEWED if is_same_neighbour else MADE_ANEW
    assert (found, bool(sent)) == (expected, expected is MADE_ANEW)
    assert [delta.gone for delta in (*one.told, *two.told) if delta.gone and expected is not MADE_ANEW] == []
    assert ups(one, three_) == ups(two, three_) == ups(three_, one) == 1
    assert three_.told == []


def test_the_table_has_every_field_of_a_neighbour() -> None:
    """The address and the AS numbers are another session's; the node's name is a name; passwords follow below."""
    elsewhere = {"address", "peer_as", "local_as", "node", "password"}
    assert {field for changes, _ in EDITS.values() for field in changes} | elsewhere == set(Neighbour.__slots__)


@virtually
async def test_two_that_get_their_new_password_within_the_hold_time_keep_their_session() -> None:
    _, one, two, three_ = await three()
    edit(one, two, password="new")
    edit(two, one, password="new")
    await until(lambda: all_established((one, two, three_)))
    assert ups(one, two) == ups(two, one) == 1


@virtually
async def test_a_neighbour_dials_with_its_password_only() -> None:
    world = World()
    one, two = world.station(1, "10.244.1.0/26"), world.station(2, "10.244.2.0/26")
    world.mesh(one, two)
    one.neighbours = (replace(one.neighbours[0], password="right"),)
    two.neighbours = (replace(two.neighbours[0], password="wrong"),)
    await one.start()
    await two.start()
    await until(lambda: two.speaker.peerings["Mesh_10_0_0_1"].trouble is not None)
    assert two.state_of(one) in ("Connect", "Active")
    edit(two, one, password="right")
    await until(lambda: all_established((one, two)), within_s=10)


@virtually
async def test_a_neighbour_is_reached_by_the_gateway_that_is_given_for_it() -> None:
    _, one, two, _ = await three()
    edit(one, two, gateway=ip_address("10.0.0.254"))
    await until(lambda: "10.0.0.2/32 via 10.0.0.254" in one.table())
    edit(one, two, gateway=None)
    await until(lambda: "10.0.0.2/32 via 10.0.0.254" not in one.table())


@virtually
async def test_a_keepalive_time_is_kept_from_the_next_session_on() -> None:
    world, one, two, _ = await three()
    edit(one, two, keepalive_time_s=7, restart_time_s=60)
    await until(lambda: all_established((one, two)) and ups(one, two) == 2)
    mark = len(world.network.crossed)
    await until(lambda: len(world.network.crossed) - mark >= 14)
    said = [here for here, there, _ in world.network.crossed[mark:] if {here, there} == {one.address, two.address}]
    assert said.count(one.address) >= 10
