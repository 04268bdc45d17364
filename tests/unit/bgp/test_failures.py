"""What becomes of a neighbour when BFD says that its packets no longer come (RFC 5882, RFC 9384)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bgp import looking_glass, metrics
from bgp.bfd.packet import State
from bgp.bfd.watch import SessionStatus
from bgp.speaker import PastLife
from tests.speakers import Station, World, all_established, until
from tests.virtual_time import virtually

RESTARTED = PastLife(has_restarted=True, keeps_forwarding=True)


async def a_watched_pair() -> tuple[World, Station, Station]:
    """Node1 dials nobody, and BFD between the two is Up."""
    world = World()
    one, two = world.station(1, "10.244.1.0/26"), world.station(2, "10.244.2.0/26")
    world.mesh(one, two)
    for station in (one, two):
        station.neighbours = tuple(replace(each, is_watched=True) for each in station.neighbours)
        await station.start()
    await until(lambda: all_established((one, two)) and len(one.routes) == len(two.routes) == 1)
    hears(one, two, State.UP)
    return world, one, two


def hears(station: Station, other: Station, state: State, *, failed: bool = False, independent: bool = True) -> None:
    station.speaker.hear_bfd(SessionStatus(other.address, state, failed, independent, why="nothing is heard"))


def notifications(world: World) -> list[str]:
    """Code and subcode of each that was sent."""
    return [f"{data[19]}/{data[20]}" for _, _, data in world.network.crossed if data[18] == 3]


@virtually
async def test_a_neighbour_that_bfd_lost_loses_its_routes_at_once_and_is_told_why() -> None:
    world, one, two = await a_watched_pair()
    hears(one, two, State.DOWN, failed=True)
    await until(lambda: one.table() == [], within_s=0.01)
    await until(lambda: two.table() == [], within_s=0.01)
    assert notifications(world) == ["6/10"]
    (peering,) = one.speaker.peerings.values()
    assert looking_glass.peers(one.speaker)[0]["lastError"] == "BGP Error: BFD session down"
    assert peering.counters["bfd-down"] == 1


@virtually
async def test_a_neighbour_that_is_still_there_is_back_within_seconds() -> None:
    _, one, two = await a_watched_pair()
    hears(one, two, State.DOWN, failed=True)
    await until(lambda: one.table() == [])
    await until(lambda: len(one.routes) == len(two.routes) == 1, within_s=8)


@virtually
async def test_a_neighbour_whose_machine_has_vanished_is_out_at_once() -> None:
    world, one, two = await a_watched_pair()
    world.network.cut_link(one.address, two.address)
    hears(one, two, State.DOWN, failed=True)
    await until(lambda: one.table() == [], within_s=0.01)


@pytest.mark.parametrize(("independent", "then"), [(True, []), (False, ["10.244.2.0/26 via 10.0.0.2"])])
@virtually
async def test_a_restarting_neighbours_routes_go_only_if_its_bfd_does_not_share_the_restart(
    independent: bool, then: list[str]
) -> None:
    """RFC 5882, 4.3: the C bit says whether silence means more than a restart."""
    _, one, two = await a_watched_pair()
    hears(one, two, State.UP, independent=independent)
    await two.die()
    await until(lambda: one.state_of(two) != "Established")
    assert one.table() == ["10.244.2.0/26 via 10.0.0.2"], "graceful restart"
    hears(one, two, State.DOWN, failed=True, independent=independent)
    await until(lambda: one.table() == then, within_s=0.01)


@virtually
async def test_a_neighbour_whose_bfd_shares_its_restarts_is_cut_off_while_its_session_is_up() -> None:
    _, one, two = await a_watched_pair()
    hears(one, two, State.UP, independent=False)
    hears(one, two, State.DOWN, failed=True, independent=False)
    await until(lambda: one.table() == [], within_s=0.01)


@virtually
async def test_bfd_stays_up_while_the_speaker_restarts_and_no_route_goes() -> None:
    _, one, two = await a_watched_pair()
    await two.die()
    await until(lambda: one.state_of(two) != "Established")
    hears(one, two, State.UP)
    await two.start(RESTARTED)
    await until(lambda: all_established((one, two)))
    assert [delta.gone for delta in one.told if delta.gone] == []


@pytest.mark.parametrize(
    ("before", "after", "failed"),
    [
        (None, State.DOWN, False),
        (None, State.DOWN, True),
        (State.DOWN, State.DOWN, True),
        (State.INIT, State.DOWN, False),
        (State.UP, State.DOWN, False),
        (State.UP, State.UP, False),
    ],
)
@virtually
async def test_a_session_that_never_was_up_or_is_down_by_somebodys_wish_changes_nothing(
    before: State | None, after: State, failed: bool
) -> None:
    world, one, two = await a_watched_pair()
    one.speaker.bfd.clear()
    if before is not None:
        hears(one, two, before)
    hears(one, two, after, failed=failed)
    await until(lambda: True)
    assert (one.state_of(two), len(one.routes), notifications(world)) == ("Established", 1, [])


@virtually
async def test_a_neighbour_that_somebody_shut_down_stays_down() -> None:
    _, one, two = await a_watched_pair()
    (peering,) = one.speaker.peerings.values()
    peering.shut("maintenance")
    hears(one, two, State.DOWN, failed=True)
    assert peering.is_barred
    assert peering.trouble is not None and peering.trouble.text == "maintenance"


@virtually
async def test_bfd_is_shown_for_each_neighbour_that_it_watches() -> None:
    _, one, two = await a_watched_pair()
    assert looking_glass.peers(one.speaker)[0]["bfd"]["state"] == "Up"
    assert looking_glass.peers(two.speaker)[0]["bfd"]["state"] == "Unknown"
    assert 'bgp_peer_bfd_up{peer="10.0.0.2",as="64512"} 1' in metrics.text(looking_glass.status(one.speaker))
    hears(one, two, State.DOWN)
    shown = looking_glass.peers(one.speaker)[0]["bfd"]
    assert (shown["state"], shown["why"]) == ("Down", "nothing is heard")
