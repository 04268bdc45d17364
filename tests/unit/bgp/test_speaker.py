"""Whole speakers on links in memory and virtual time: ExaBGP's codec, our states and tables, all but the sockets."""

import asyncio
import logging
from dataclasses import replace
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Any

import pytest

from bgp.export import Announcement
from bgp.ownership import Ownership
from bgp.rib import MOST_ROUTES
from bgp.session import HOLD_TIME_S, OPEN_HOLD_TIME_S, State
from bgp.speaker import PastLife
from tests.memory_network import DELAY_S
from tests.speakers import (
    RawPeer,
    Station,
    World,
    all_established,
    explicit_neighbour,
    raw_session,
    until,
)
from tests.unit.bgp.bgp_bytes import (
    EMPTY_PATH,
    IPV4_UNICAST,
    KEEPALIVE,
    LOCAL_PREF,
    NEXT_HOP,
    ORIGIN,
    USUAL,
    attribute,
    capability,
    message,
    nlri,
    open_message,
    path,
    update,
)
from tests.virtual_time import virtually


async def pair() -> tuple[World, Station, Station]:
    """Two nodes with a block each, up and in agreement."""
    world = World()
    one, two = world.station(1, "10.244.1.0/26"), world.station(2, "10.244.2.0/26")
    world.mesh(one, two)
    await one.start()
    await two.start()
    await until(lambda: all_established((one, two)) and bool(one.routes) and bool(two.routes))
    return world, one, two


async def station_with_peer(*, peer_as: int = 64512) -> tuple[Station, RawPeer]:
    """node1, and a BGPPeer at 10.0.0.9 that a test speaks for."""
    world = World()
    one = world.station(1, "10.244.1.0/26")
    one.neighbours = (explicit_neighbour(one, "10.0.0.9", peer_as=peer_as),)
    await one.start()
    parameters = IPV4_UNICAST + capability(65, peer_as.to_bytes(4, "big"))
    peer = await raw_session(one, 9, opening=open_message(my_as=peer_as, router_id="10.0.0.9", parameters=parameters))
    assert one.speaker.peerings["Global_10_0_0_9"].state is State.ESTABLISHED
    return one, peer


def counted(one: Station, name: str = "Global_10_0_0_9") -> dict[str, int]:
    return dict(one.speaker.rib.tally(name).refusals)


# Coming up.


@virtually
async def test_two_nodes_learn_each_others_blocks() -> None:
    _, one, two = await pair()
    assert one.table() == ["10.244.2.0/26 via 10.0.0.2"]
    assert two.table() == ["10.244.1.0/26 via 10.0.0.1"]


@virtually
async def test_only_the_greater_address_dials() -> None:
    world, *_ = await pair()
    diallers = {pipe.here for pipe in world.network.pipes[::2]}
    assert diallers == {ip_address("10.0.0.2")}


@virtually
async def test_a_mesh_comes_up_in_one_second_whoever_starts_last() -> None:
    world = World()
    stations = [world.station(n, f"10.244.{n}.0/26", f"10.244.{n}.64/26") for n in range(1, 9)]
    world.mesh(*stations)
    for station in stations:
        await station.start()
        await asyncio.sleep(7.3)
    await until(lambda: all(len(each.routes) == 14 for each in stations), within_s=1.1)


@virtually
async def test_routes_come_and_go_with_the_exports() -> None:
    world, one, two = await pair()
    one.blocks = ("10.244.1.64/26",)
    two.speaker.judge_by(world.ownership_of("node2"))
    one.apply()
    await asyncio.sleep(0.01)
    assert two.table() == ["10.244.1.64/26 via 10.0.0.1"]


@virtually
async def test_a_route_waits_for_the_datastore_to_say_whose_it_is() -> None:
    world, one, two = await pair()
    one.blocks = ("10.244.1.0/26", "10.244.7.0/26")
    one.apply()
    await asyncio.sleep(1)
    assert two.table() == ["10.244.1.0/26 via 10.0.0.1"]
    two.speaker.judge_by(world.ownership_of("node2"))
    await asyncio.sleep(0.01)
    assert two.table() == ["10.244.1.0/26 via 10.0.0.1", "10.244.7.0/26 via 10.0.0.1"]


@virtually
async def test_applying_the_same_again_sends_nothing() -> None:
    world, one, two = await pair()
    before = len(world.network.crossed)
    for _ in range(5):
        one.apply()
        two.apply()
    await asyncio.sleep(10)
    assert len(world.network.crossed) == before


@virtually
async def test_an_idle_session_says_a_keepalive_every_eighty_seconds_and_nothing_else() -> None:
    world, one, _ = await pair()
    before = len(world.network.crossed)
    await asyncio.sleep(801)
    crossed = world.network.crossed[before:]
    assert len(crossed) == 20
    assert {data for _, _, data in crossed} == {KEEPALIVE}
    assert one.table() == ["10.244.2.0/26 via 10.0.0.2"]


@virtually
async def test_exabgp_makes_and_reads_every_message() -> None:
    """Every message that crosses was built by ExaBGP's Message and taken apart by ExaBGP's class for its type."""
    from exabgp.bgp.message import Message

    made, read = list[bytes](), list[tuple[int, bytes]]()
    undo = [_listen_in(Message, "_message", lambda result, *_: made.append(bytes(result)))]
    for kind, klass in list(Message.registered_message.items()):
        undo.append(_listen_in(klass, "unpack_message", lambda _, body, k=kind: read.append((int(k), bytes(body)))))
    try:
        world, one, two = await pair()
        one.blocks = ()
        one.apply()
        await asyncio.sleep(100)
        two.speaker.peerings["Mesh_10_0_0_1"].established.request_refresh()  # type: ignore[union-attr]
        await asyncio.sleep(1)
        two.neighbours = ()
        two.apply()
        await asyncio.sleep(1)
    finally:
        for restore in undo:
            restore()
    crossed = [data for _, _, data in world.network.crossed]
    assert {data[18] for data in crossed} == {1, 2, 3, 4, 5}
    assert [data for data in crossed if data not in made] == []
    assert [data for data in crossed if (data[18], data[19:]) not in read] == []


def _listen_in(klass: Any, name: str, note: Any) -> Any:
    """Have ``note`` called with the result and the first argument of each call; how to undo it."""
    original = klass.__dict__.get(name)
    bound = getattr(klass, name)

    if isinstance(original, classmethod):

        def heard_by_class(cls: Any, body: bytes, *rest: Any) -> Any:
            note(None, body)
            return original.__func__(cls, body, *rest)

        setattr(klass, name, classmethod(heard_by_class))
    else:

        def heard(self: Any, body: bytes) -> Any:
            result = bound(self, body)
            note(result, body)
            return result

        setattr(klass, name, heard)
    return lambda: setattr(klass, name, original) if original is not None else delattr(klass, name)


# Losing a neighbour.


@virtually
async def test_a_killed_neighbours_routes_stay_until_it_is_back_and_no_packet_misses_them() -> None:
    """Invariant 10: a restart at any instruction converges to the same state."""
    _, one, two = await pair()
    before = len(one.told)
    for _ in range(2):
        await two.die()
        await asyncio.sleep(20)
        assert one.state_of(two) != "Established"
        assert one.table() == ["10.244.2.0/26 via 10.0.0.2"]
        await two.start(PastLife(has_restarted=True, keeps_forwarding=True))
        await until(lambda: all_established((one, two)))
        await asyncio.sleep(5)
    assert one.told[before:] == []
    assert two.table() == ["10.244.1.0/26 via 10.0.0.1"]


@virtually
async def test_what_a_restarted_neighbour_no_longer_announces_is_swept_at_end_of_rib() -> None:
    _, one, two = await pair()
    await two.die()
    two.blocks, two.are_exports_known = (), False
    await two.start(PastLife(has_restarted=True, keeps_forwarding=True))
    await until(lambda: all_established((one, two)))
    await asyncio.sleep(30)
    assert one.table() == ["10.244.2.0/26 via 10.0.0.2"]
    two.are_exports_known = True
    two.apply()
    await asyncio.sleep(0.01)
    assert one.table() == []


@virtually
async def test_a_neighbour_that_never_says_end_of_rib_is_not_waited_for_longer_than_its_restart_time() -> None:
    _, one, two = await pair()
    await two.die()
    two.blocks, two.are_exports_known = (), False
    await two.start(PastLife(has_restarted=True, keeps_forwarding=True))
    await until(lambda: all_established((one, two)))
    assert 119 < await until(lambda: not one.routes, step_s=0.1) < 121


@virtually
async def test_a_neighbour_that_does_not_come_back_loses_its_routes_after_its_restart_time() -> None:
    _, one, two = await pair()
    await two.die()
    assert 119 < await until(lambda: not one.routes, step_s=0.1) < 121


@virtually
async def test_a_neighbour_that_lost_its_forwarding_state_loses_its_routes_at_once() -> None:
    _, one, two = await pair()
    await two.die()
    two.blocks, two.are_exports_known = (), False
    await asyncio.sleep(3)
    await two.start(PastLife(has_restarted=True, keeps_forwarding=False))
    assert one.table() == ["10.244.2.0/26 via 10.0.0.2"]
    await until(lambda: all_established((one, two)))
    await asyncio.sleep(0.001)
    assert one.table() == []


@virtually
async def test_a_neighbour_that_restarts_twice_before_it_is_back_is_handled() -> None:
    _, one, two = await pair()
    await two.die()
    await asyncio.sleep(5)
    two.are_exports_known = False
    await two.start(PastLife(has_restarted=True, keeps_forwarding=True))
    await until(lambda: all_established((one, two)))
    await asyncio.sleep(1)
    await two.die()
    await asyncio.sleep(5)
    assert one.table() == ["10.244.2.0/26 via 10.0.0.2"]
    two.are_exports_known = True
    await two.start(PastLife(has_restarted=True, keeps_forwarding=True))
    await until(lambda: all_established((one, two)))
    await asyncio.sleep(200)
    assert one.table() == ["10.244.2.0/26 via 10.0.0.2"]


@pytest.mark.parametrize("moment_s", [0.0005 * n for n in range(12)])
@virtually
async def test_killed_a_second_time_before_it_has_said_all_a_neighbour_loses_no_route(moment_s: float) -> None:
    """At each moment of the second process's first milliseconds, in which it comes up and announces."""
    _, one, two = await pair()
    before = len(one.told)
    for life_s in (moment_s, 1.0):
        await two.die()
        await asyncio.sleep(0.3)
        await two.start(PastLife(has_restarted=True, keeps_forwarding=True))
        await asyncio.sleep(life_s)
    await until(lambda: all_established((one, two)))
    assert one.told[before:] == []
    assert one.table() == ["10.244.2.0/26 via 10.0.0.2"]


@virtually
async def test_a_neighbour_that_restarts_without_end_does_not_keep_a_route_without_end() -> None:
    _, one, two = await pair()
    await two.die()
    two.blocks, two.are_exports_known = (), False
    for _ in range(13):
        await two.start(PastLife(has_restarted=True, keeps_forwarding=True))
        await asyncio.sleep(5)
        await two.die()
        await asyncio.sleep(5)
    assert one.table() == []


@virtually
async def test_a_removed_neighbour_is_told_and_drops_our_routes_at_once() -> None:
    _, one, two = await pair()
    one.neighbours = ()
    one.apply()
    await asyncio.sleep(0.01)
    assert one.table() == []
    assert two.table() == []
    trouble = two.speaker.peerings["Mesh_10_0_0_1"].trouble
    assert trouble is not None
    assert (trouble.cause.value, trouble.code, trouble.subcode) == ("Received", 6, 3)


@virtually
async def test_a_silent_neighbour_is_given_up_after_the_hold_time_and_not_before() -> None:
    world, one, two = await pair()
    world.network.cut_link(one.address, two.address)
    await asyncio.sleep(HOLD_TIME_S * 2 / 3 - 1)
    assert one.table() == ["10.244.2.0/26 via 10.0.0.2"]
    waited = await until(lambda: one.state_of(two) != "Established", step_s=0.1)
    assert HOLD_TIME_S - 81 < waited + HOLD_TIME_S * 2 / 3 - 1 <= HOLD_TIME_S
    assert one.table() == []


@virtually
async def test_a_link_that_comes_back_in_time_is_not_noticed() -> None:
    world, one, two = await pair()
    world.network.cut_link(one.address, two.address)
    await asyncio.sleep(60)
    world.network.mend_link(one.address, two.address)
    await asyncio.sleep(600)
    assert all_established((one, two))


@virtually
async def test_a_neighbour_that_dials_again_replaces_its_old_session_without_a_word() -> None:
    """RFC 4724, 5: its host crashed and nobody told us; the new process is there before the hold time is over."""
    world, one, two = await pair()
    world.network.cut_link(one.address, two.address)
    await two.die()
    await asyncio.sleep(1)
    world.network.mend_link(one.address, two.address)
    assert one.state_of(two) == "Established"
    before = len(world.network.crossed)
    await two.start(PastLife(has_restarted=True, keeps_forwarding=True))
    await until(lambda: all_established((one, two)))
    assert one.table() == ["10.244.2.0/26 via 10.0.0.2"]
    assert [data for _, _, data in world.network.crossed[before:] if data[18] == 3] == []


@virtually
async def test_without_graceful_restart_a_second_connection_is_refused() -> None:
    one, first = await station_with_peer()
    second = await raw_session(one, 9, opening=open_message(router_id="10.0.0.9"))
    assert second.messages() == ["OPEN", "NOTIFICATION 6/7"]
    assert not first.is_closed
    assert one.speaker.peerings["Global_10_0_0_9"].state is State.ESTABLISHED


@virtually
async def test_two_that_both_dial_end_with_one_session_and_never_lose_it() -> None:
    world = World()
    one, two = world.station(1, "10.244.1.0/26"), world.station(2, "10.244.2.0/26")
    one.neighbours = (explicit_neighbour(one, two),)
    two.neighbours = (explicit_neighbour(two, one),)
    await one.start()
    await two.start()
    await until(lambda: all_established((one, two)), within_s=1)
    await asyncio.sleep(1000)
    ups = [peering.counters["established"] for each in (one, two) for peering in each.speaker.peerings.values()]
    assert ups == [1, 1]
    assert one.table() == ["10.244.2.0/26 via 10.0.0.2"]


@virtually
async def test_a_change_of_the_as_number_makes_a_new_session() -> None:
    world, one, two = await pair()
    for station in (one, two):
        station.local_as = 64999
    world.mesh(one, two)
    one.apply()
    two.apply()
    await asyncio.sleep(0.01)
    opens = [data for _, _, data in world.network.crossed if data[18] == 1]
    assert [data[20:22].hex() for data in opens] == ["fc00", "fc00", "fde7", "fde7"]
    await until(lambda: all_established((one, two)) and bool(one.routes) and bool(two.routes), within_s=10)


@virtually
async def test_a_neighbour_that_is_to_be_dialled_from_now_on_is_dialled() -> None:
    world = World()
    one, two = world.station(1, "10.244.1.0/26"), world.station(2, "10.244.2.0/26")
    world.mesh(one, two)
    two.neighbours = (replace(two.neighbours[0], is_passive=True),)
    await one.start()
    await two.start()
    await asyncio.sleep(10)
    assert not one.routes
    two.neighbours = (replace(two.neighbours[0], is_passive=False),)
    two.apply()
    await until(lambda: bool(one.routes) and bool(two.routes), within_s=1)


@virtually
async def test_a_hundred_thousand_routes_of_one_peer_are_bounded() -> None:
    one, peer = await station_with_peer()
    attributes = ORIGIN + EMPTY_PATH + NEXT_HOP + LOCAL_PREF
    for at in range(0, MOST_ROUTES + 700, 700):
        prefixes = (0x0B000000 + 256 * number for number in range(at, at + 700))
        peer.say(update(attributes, b"".join(b"\x18" + prefix.to_bytes(4, "big")[:3] for prefix in prefixes)))
    await asyncio.sleep(1)
    tally = one.speaker.rib.tally("Global_10_0_0_9")
    assert (tally.received, tally.left_out > 0, len(one.routes)) == (MOST_ROUTES, True, MOST_ROUTES)
    assert one.speaker.peerings["Global_10_0_0_9"].state is State.ESTABLISHED
    peer.say(update(withdrawn=b"".join(b"\x18" + bytes((11, 0, number)) for number in range(256))))
    await asyncio.sleep(0.1)
    assert one.speaker.rib.tally("Global_10_0_0_9").received == MOST_ROUTES - 256


# After our own start.


@virtually
async def test_in_sync_is_told_when_every_neighbour_said_end_of_rib() -> None:
    _, one, two = await pair()
    await until(lambda: one.in_sync_at is not None and two.in_sync_at is not None, within_s=1)


@virtually
async def test_a_neighbour_that_never_comes_up_holds_in_sync_back_for_the_restart_time() -> None:
    world = World()
    one, two, gone = world.station(1, "10.244.1.0/26"), world.station(2, "10.244.2.0/26"), world.station(3)
    world.mesh(one, two, gone)
    await one.start()
    await two.start()
    await until(lambda: one.in_sync_at is not None, step_s=0.1)
    assert one.in_sync_at == pytest.approx(120)


@virtually
async def test_without_neighbours_it_is_in_sync_at_once() -> None:
    one = World().station(1, "10.244.1.0/26")
    await one.start()
    assert one.in_sync_at == 0.0


@virtually
async def test_while_the_datastore_is_away_nothing_is_in_sync_however_long_that_takes() -> None:
    """Invariant 4: what the last process left is not swept before in-sync."""
    _, _, two = await pair()
    await two.die()
    two.is_settled = two.are_exports_known = False
    await two.start(PastLife(has_restarted=True, keeps_forwarding=True))
    await asyncio.sleep(3600)
    assert two.in_sync_at is None
    assert two.table() == ["10.244.1.0/26 via 10.0.0.1"]
    two.is_settled = two.are_exports_known = True
    two.apply()
    assert two.in_sync_at is not None


@virtually
async def test_the_restart_bit_is_set_only_while_a_restarted_process_recovers() -> None:
    world, one, two = await pair()

    def last_open_of(station: Station) -> bytes:
        return [data for here, _, data in world.network.crossed if here == station.address and data[18] == 1][-1]

    assert "40060078" in last_open_of(two).hex()
    await two.die()
    await two.start(PastLife(has_restarted=True, keeps_forwarding=True))
    await until(lambda: all_established((one, two)))
    assert "40068078" in last_open_of(two).hex()
    await one.die()
    await one.start()
    await until(lambda: all_established((one, two)))
    assert "40060078" in last_open_of(two).hex()


# Strangers and bad peers.


@virtually
async def test_an_unknown_peer_is_refused_and_counted() -> None:
    _, one, _ = await pair()
    stranger = await raw_session(one, 77, opening=b"")
    assert stranger.is_closed
    assert stranger.heard == b""
    assert one.speaker.strangers == {"10.0.0.77": 1}


@virtually
async def test_a_node_that_announces_what_is_not_its_own_changes_no_route() -> None:
    _, one, two = await pair()
    lies = ["10.244.1.0/26", "0.0.0.0/0", "10.244.9.0/26", "10.244.2.5/32"]
    two.speaker.apply(wanted_with(two, {ip_network(text): Announcement() for text in ["10.244.2.0/26", *lies]}))
    await asyncio.sleep(0.01)
    assert one.table() == ["10.244.2.0/26 via 10.0.0.2"]
    assert counted(one, "Mesh_10_0_0_2") == {"own-block": 1, "default-route": 1, "not-a-block": 1, "not-holder": 1}


def wanted_with(station: Station, exports: Any) -> Any:
    from bgp.neighbour import ListenAt
    from bgp.speaker import Wanted

    return Wanted(station.address, station.neighbours, exports, True, True, ListenAt(179))


MALFORMED = [
    update(attribute(1, b"\x05") + EMPTY_PATH + NEXT_HOP + LOCAL_PREF, nlri("192.0.2.0/24")),
    update(ORIGIN + NEXT_HOP + LOCAL_PREF, nlri("192.0.2.0/24")),
    update(ORIGIN + EMPTY_PATH + LOCAL_PREF, nlri("192.0.2.0/24")),
    update(ORIGIN + path(0) + NEXT_HOP + LOCAL_PREF, nlri("192.0.2.0/24")),
    update(USUAL + attribute(10, bytes(3), flags=0x80), nlri("192.0.2.0/24")),
    update(USUAL + attribute(99, b"?"), nlri("192.0.2.0/24")),
    update(ORIGIN + path(64512) + NEXT_HOP + LOCAL_PREF, nlri("192.0.2.0/24")),
    update(ORIGIN + EMPTY_PATH + attribute(3, bytes((127, 0, 0, 1))) + LOCAL_PREF, nlri("192.0.2.0/24")),
    update(ORIGIN + EMPTY_PATH + attribute(3, bytes((10, 0, 0, 1))) + LOCAL_PREF, nlri("192.0.2.0/24")),
    update(USUAL, nlri("10.244.1.0/26")),
    update(USUAL, nlri("127.0.0.0/8")),
]


@virtually
async def test_malformed_and_refused_updates_change_no_route_and_keep_the_session() -> None:
    one, peer = await station_with_peer()
    peer.say(update(USUAL, nlri("198.51.100.0/24")))
    for each in MALFORMED:
        peer.say(each)
    await asyncio.sleep(0.1)
    assert one.table() == ["198.51.100.0/24 via 10.0.0.2"]
    peering = one.speaker.peerings["Global_10_0_0_9"]
    assert peering.state is State.ESTABLISHED
    assert peering.established is not None
    assert peering.established.counters["malformed"] == 6
    assert counted(one) == {"loop": 1, "next-hop": 2, "own-block": 1, "martian": 1}


ENDS = [
    ("1/1", message(4, b"", marker=bytes(16))),
    ("1/2", message(4, b"", length=18)),
    ("1/3", message(9, b"")),
    ("3/10", update(USUAL, b"\x21\x0a\x01\x00\x00\x00")),
    ("3/1", message(2, b"\x00\x00\x00\xff")),
    ("7/1", message(5, bytes(3))),
]


@pytest.mark.parametrize(("expected", "data"), ENDS, ids=[case[0] for case in ENDS])
@virtually
async def test_what_cannot_be_read_ends_that_session_with_its_error(expected: str, data: bytes) -> None:
    one, peer = await station_with_peer()
    peer.say(update(USUAL, nlri("198.51.100.0/24")))
    peer.say(data)
    await asyncio.sleep(0.1)
    assert peer.messages()[-1] == f"NOTIFICATION {expected}"
    assert one.table() == []
    assert one.speaker.peerings["Global_10_0_0_9"].counters["malformed"] == 1


@virtually
async def test_an_open_in_the_midst_ends_the_session() -> None:
    _, peer = await station_with_peer()
    peer.say(open_message(router_id="10.0.0.9"))
    await asyncio.sleep(0.1)
    assert peer.messages()[-1] == "NOTIFICATION 5/3"


@virtually
async def test_an_update_before_its_time_ends_the_connection() -> None:
    one, _ = await station_with_peer()
    two = one.world.station(2)
    two.neighbours = (explicit_neighbour(two, "10.0.0.8"),)
    await two.start()
    peer = await raw_session(two, 8, opening=b"")
    peer.say(update(USUAL, nlri("198.51.100.0/24")))
    await asyncio.sleep(0.1)
    assert peer.messages() == ["OPEN", "NOTIFICATION 5/1"]


@virtually
async def test_a_fault_of_our_own_ends_one_session_and_not_the_process() -> None:
    class Broken(dict[Any, Any]):
        def get(self, *_: object) -> Any:
            raise ZeroDivisionError("our own mistake")

    world, one, two = await pair()
    three = world.station(3, "10.244.3.0/26")
    world.mesh(one, two, three)
    await three.start()
    one.apply()
    two.apply()
    one.speaker.judge_by(world.ownership_of("node1"))
    await until(lambda: all_established((one, three)) and "10.244.3.0/26" in "".join(one.table()), within_s=10)
    view = world.ownership_of("node1")
    logging.disable(logging.CRITICAL)
    try:
        one.speaker.rib._ownership = Ownership(view.nodes, Broken(), own_addresses=view.own_addresses)
        two.blocks = ("10.244.2.0/26", "10.244.2.64/26")
        two.apply()
        await asyncio.sleep(0.01)
    finally:
        logging.disable(logging.NOTSET)
    assert one.speaker.peerings["Mesh_10_0_0_2"].counters["own-faults"] == 1
    assert one.state_of(three) == "Established"
    assert one.table() == ["10.244.3.0/26 via 10.0.0.3"]


@virtually
async def test_a_peer_that_does_not_read_costs_one_difference_and_is_given_up_in_the_end() -> None:
    one, peer = await station_with_peer()
    (pipe,) = [pipe for pipe in one.world.network.pipes if pipe.here == IPv4Address("10.0.0.9")]
    pipe.freeze()
    for generation in range(100):
        one.speaker.apply(wanted_with(one, dict.fromkeys(MANY, Announcement(generation))))
        await asyncio.sleep(0.1)
        peer.say(KEEPALIVE)
    waiting = sum(map(len, pipe._unread))
    assert waiting < 600_000
    peer_speaks = asyncio.create_task(keep_alive(peer))
    peering = one.speaker.peerings["Global_10_0_0_9"]
    assert await until(lambda: not peering.established, within_s=1000, step_s=0.1) > 400
    peer_speaks.cancel()
    assert peering.trouble is not None
    assert peering.trouble.code == 8


MANY = [ip_network(f"10.{n // 256}.{n % 256}.0/24") for n in range(5000)]


async def keep_alive(peer: RawPeer) -> None:
    while True:
        await asyncio.sleep(60)
        peer.say(KEEPALIVE)


@virtually
async def test_a_peer_that_reads_again_gets_the_latest_and_not_the_history() -> None:
    one, peer = await station_with_peer()
    (pipe,) = [pipe for pipe in one.world.network.pipes if pipe.here == IPv4Address("10.0.0.9")]
    pipe.freeze()
    for generation in range(1, 100):
        one.speaker.apply(wanted_with(one, dict.fromkeys(MANY, Announcement(generation))))
        await asyncio.sleep(0)
    heard_before = len(peer.heard)
    pipe.thaw()
    await asyncio.sleep(1)
    assert b"\x40\x05\x04" + (99).to_bytes(4, "big") in peer.heard
    assert len(peer.heard) - heard_before < 700_000


@virtually
async def test_a_refresh_is_answered_with_everything() -> None:
    _, peer = await station_with_peer()
    heard_before = len(peer.messages())
    peer.say(message(5, b"\x00\x01\x00\x01"))
    await asyncio.sleep(0.1)
    assert peer.messages()[heard_before:] == ["UPDATE"]


@virtually
async def test_a_cease_is_followed_by_the_end_of_the_stream() -> None:
    one, peer = await station_with_peer()
    one.neighbours = ()
    one.apply()
    await asyncio.sleep(3)
    assert peer.messages()[-1] == "NOTIFICATION 6/3"
    assert peer.is_closed


@virtually
async def test_the_end_of_the_process_says_nothing() -> None:
    one, peer = await station_with_peer()
    before = peer.messages()
    await one.die()
    await asyncio.sleep(1)
    assert peer.is_closed
    assert peer.messages() == before


@virtually
async def test_a_port_that_somebody_else_has_is_tried_again() -> None:
    world = World()
    one, two = world.station(1, "10.244.1.0/26"), world.station(2, "10.244.2.0/26")
    world.mesh(one, two)
    other = await world.network.host(one.address).listen(RawPeer, addresses=(), port=179)
    await one.start()
    await two.start()
    await asyncio.sleep(12)
    assert not all_established((one, two))
    other.close()
    await until(lambda: all_established((one, two)), within_s=OPEN_HOLD_TIME_S + 10, step_s=0.1)


@virtually
async def test_a_dial_takes_two_crossings_and_a_session_six() -> None:
    """From the start of the last of two to the first route, in crossings of the link: nothing is waited for."""
    world = World()
    one, two = world.station(1, "10.244.1.0/26"), world.station(2, "10.244.2.0/26")
    world.mesh(one, two)
    await one.start()
    await asyncio.sleep(1)
    await two.start()
    assert await until(lambda: bool(two.routes) and bool(one.routes)) <= 2 * DELAY_S + 4 * DELAY_S + 0.001
