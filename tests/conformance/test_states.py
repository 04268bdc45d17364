"""RFC 4271, 8, with RFC 6608: what must not come in a state, timers, collisions, and the ends of connections."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from tests.conformance.peer import Peer, connected, established, four_octet
from tests.conformance.router import ADDRESS, EXTERNAL, INTERNAL, RESTARTING, TIMED, Router, wait_until
from tests.unit.bgp.bgp_bytes import IPV4_UNICAST, KEEPALIVE, capability, message, open_message, update

pytestmark = pytest.mark.root

REFRESH = message(5, b"\0\1\0\1")
OTHER_REFRESH = message(5, b"\0\x19\0\x41")

OPEN_SENT = [
    ("KEEPALIVE", KEEPALIVE, "5/1 04"),
    ("UPDATE", update(), "5/1 02"),
    ("bad UPDATE", message(2, b"\xff\xff\0\0"), "5/1 02"),
    ("ROUTE-REFRESH", REFRESH, "5/1 05"),
    ("ROUTE-REFRESH of a family that is not spoken", OTHER_REFRESH, "5/1 05"),
    ("NOTIFICATION", message(3, b"\6\2"), "end"),
    ("NOTIFICATION of a bad version", message(3, b"\2\1\0\3"), "end"),
]
OPEN_CONFIRM = [
    ("UPDATE", update(), "5/2 02"),
    ("ROUTE-REFRESH", REFRESH, "5/2 05"),
    ("NOTIFICATION", message(3, b"\6\2"), "end"),
]


@pytest.mark.parametrize(("data", "expected"), [case[1:] for case in OPEN_SENT], ids=[case[0] for case in OPEN_SENT])
def test_what_must_not_come_in_open_sent(router: Router, data: bytes, expected: str) -> None:
    """RFC 6608, 4."""
    with connected(router, EXTERNAL) as peer:
        peer.say(data)
        assert peer.ending() == expected


@pytest.mark.parametrize(
    ("data", "expected"), [case[1:] for case in OPEN_CONFIRM], ids=[case[0] for case in OPEN_CONFIRM]
)
def test_what_must_not_come_in_open_confirm(router: Router, data: bytes, expected: str) -> None:
    """RFC 6608, 4."""
    with connected(router, EXTERNAL) as peer:
        peer.say(peer.opening(), data)
        assert peer.ending() == expected


def test_a_second_open_in_open_confirm(router: Router) -> None:
    """RFC 4271, 8.2.2, event 19; RFC 6608."""
    with connected(router, EXTERNAL) as peer:
        peer.say(peer.opening(), peer.opening())
        assert peer.ending() == "5/2 01"


def test_a_second_open_in_established(router: Router) -> None:
    """RFC 4271, 8.2.2, event 19; RFC 6608."""
    with established(router, EXTERNAL) as peer:
        peer.say(peer.opening())
        assert peer.ending() == "5/3 01"


def test_a_session_is_one_keepalive_away_from_an_open(router: Router) -> None:
    """RFC 4271, 8.2.2: OpenConfirm until a KEEPALIVE has come."""
    with connected(router, EXTERNAL) as peer:
        peer.say(peer.opening())
        assert [peer.next_kind(), peer.next_kind()] == ["OPEN", "KEEPALIVE"]
        assert router.state(EXTERNAL) == "OpenConfirm"
        peer.say(KEEPALIVE)
        wait_until(lambda: router.state(EXTERNAL) == "Established")


@pytest.mark.parametrize("in_pieces", [1, 7, 18, 19, 20])
def test_messages_may_come_in_pieces_of_any_size(router: Router, in_pieces: int) -> None:
    """RFC 4271, 4: TCP has no messages."""
    with connected(router, EXTERNAL) as peer:
        data = peer.opening() + KEEPALIVE
        for at in range(0, len(data), in_pieces):
            peer.say(data[at : at + in_pieces])
        assert [peer.next_kind(), peer.next_kind()] == ["OPEN", "KEEPALIVE"]
        peer.read_until_end_of_rib()


def test_a_notification_ends_a_session_and_its_routes_at_once(router: Router) -> None:
    """RFC 4271, 6.7 and 8.2.2, event 25."""
    with established(router, EXTERNAL) as peer:
        peer.announce("203.0.113.0/24")
        peer.say(message(3, b"\6\4"))
        assert peer.ending() == "end"
    wait_until(lambda: not router.best("203.0.113.0/24"))


@pytest.mark.parametrize("body", [b"\0\0", b"\xff\xff", b"\6\xff" + bytes(4000), b"\3\1" + b"\xff" * 40, b"\4\0"])
def test_any_notification_is_read(router: Router, body: bytes) -> None:
    """RFC 4271, 6.4: an error in one is not answered."""
    with established(router, EXTERNAL) as peer:
        peer.say(message(3, body))
        assert peer.ending() == "end"


def test_an_end_of_the_stream_ends_a_session_and_its_routes(router: Router) -> None:
    """RFC 4271, 8.2.2, event 18."""
    with established(router, EXTERNAL) as peer:
        peer.announce("203.0.113.0/24")
        peer.sock.shutdown(socket.SHUT_WR)
        wait_until(lambda: not router.best("203.0.113.0/24"))


def test_a_reset_connection_ends_a_session_and_its_routes(router: Router) -> None:
    """RFC 4271, 8.2.2, event 18."""
    with established(router, EXTERNAL) as peer:
        peer.announce("203.0.113.0/24")
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        wait_until(lambda: not router.best("203.0.113.0/24"))


# Timers. RFC 4271 gives a hold timer 3 seconds at least, which these take side by side.

HOLD_S = 3


def silent(peer: Peer) -> float:
    return ends_after(peer.establish(hold=HOLD_S))


def silent_in_open_confirm(peer: Peer) -> float:
    peer.say(peer.opening(hold=HOLD_S))
    return ends_after(peer)


def half_a_message(peer: Peer) -> float:
    peer.establish(hold=HOLD_S)
    begun = time.monotonic()
    for octet in KEEPALIVE[:18]:
        peer.say(bytes((octet,)))
        time.sleep(0.1)
    return ends_after(peer, begun)


def saying(data: bytes) -> Callable[[Peer], float]:
    def say_in_the_midst(peer: Peer) -> float:
        peer.establish(hold=HOLD_S)
        begun = time.monotonic()
        time.sleep(HOLD_S / 2)
        peer.say(data)
        return ends_after(peer, begun)

    return say_in_the_midst


def ends_after(peer: Peer, begun: float | None = None) -> float:
    begun = time.monotonic() if begun is None else begun
    assert peer.ending() == "4/0"
    return time.monotonic() - begun


TIMERS: Sequence[tuple[str, Callable[[Peer], float], float]] = (
    ("RFC 4271 6.5 it fires", silent, HOLD_S),
    ("RFC 4271 8.2.2 OpenConfirm, event 10", silent_in_open_confirm, HOLD_S),
    ("RFC 4271 8.2.2 octets of a message do not restart it", half_a_message, HOLD_S),
    ("RFC 4271 8.2.2 event 26, KEEPALIVE restarts it", saying(KEEPALIVE), HOLD_S * 1.5),
    ("RFC 4271 8.2.2 event 27, UPDATE restarts it", saying(update()), HOLD_S * 1.5),
    ("RFC 4271 8.2.2 event 27, without routes too", saying(update(b"\xc0\x63\x01?")), HOLD_S * 1.5),
    ("RFC 4271 8.2.2 ROUTE-REFRESH does not", saying(REFRESH), HOLD_S),
)


@pytest.fixture(scope="module")
def hold_times(router: Router) -> Mapping[str, float]:
    def measure(case: tuple[str, Callable[[Peer], float], float], address: str) -> float:
        with connected(router, address) as peer:
            return case[1](peer)

    with ThreadPoolExecutor(len(TIMERS)) as threads:
        found = threads.map(measure, TIMERS, TIMED)
        return {case[0]: taken_s for case, taken_s in zip(TIMERS, found, strict=True)}


@pytest.mark.parametrize(("name", "expected_s"), [(name, s) for name, _, s in TIMERS], ids=[case[0] for case in TIMERS])
def test_a_hold_timer_fires_on_time_and_never_early(
    hold_times: Mapping[str, float], name: str, expected_s: float
) -> None:
    assert expected_s - 0.02 <= hold_times[name] < expected_s + 0.7


def test_keepalives_come_every_third_of_the_hold_time(router: Router) -> None:
    """RFC 4271, 4.4 and 10."""
    with established(router, EXTERNAL, hold=3) as peer:
        times = []
        for _ in range(3):
            peer.say(KEEPALIVE)
            assert peer.next_kind() == "KEEPALIVE"
            times.append(time.monotonic())
        assert all(0.7 <= later - earlier <= 1.1 for earlier, later in pairwise(times))


def test_a_hold_time_of_zero_means_neither_keepalives_nor_an_end(router: Router) -> None:
    """RFC 4271, 4.4."""
    with established(router, EXTERNAL, hold=0) as peer:
        peer.sock.settimeout(0.5)
        with pytest.raises(TimeoutError):
            peer.next()
        assert router.state(EXTERNAL) == "Established"


# Collisions.


def test_a_second_connection_of_an_established_peer_is_refused(router: Router) -> None:
    """RFC 4271, 6.8: the newly created one is closed with Cease."""
    with established(router, EXTERNAL) as first:
        first.announce("203.0.113.0/24")
        second = router.elsewhere.socket(socket.SOCK_STREAM)
        second.settimeout(3)
        second.bind((EXTERNAL, 0))
        second.connect((ADDRESS, 179))
        again = type(first)(router, EXTERNAL, second)
        again.say(again.opening())
        assert again.ending() == "6/7"
        assert router.state(EXTERNAL) == "Established"
        assert router.received(EXTERNAL, "203.0.113.0/24") == "accepted"
        second.close()


@pytest.mark.parametrize(("identifier", "survivor"), [("10.0.0.0", "older"), ("10.0.0.255", "newer")])
def test_of_two_connections_that_a_peer_has_made_the_older_counts_as_ours(
    router: Router, identifier: str, survivor: str
) -> None:
    """RFC 4271, 6.8: it exists in OpenConfirm when the OPEN of the newer comes."""
    opening = open_message(my_as=65003, router_id=identifier, parameters=IPV4_UNICAST + four_octet(65003))
    with connected(router, EXTERNAL) as older:
        older.say(opening)
        assert [older.next_kind(), older.next_kind()] == ["OPEN", "KEEPALIVE"]
        second = router.elsewhere.socket(socket.SOCK_STREAM)
        second.settimeout(3)
        second.bind((EXTERNAL, 0))
        second.connect((ADDRESS, 179))
        newer = Peer(router, EXTERNAL, second)
        assert newer.next_kind() == "OPEN"
        newer.say(opening)
        stays, goes = (older, newer) if survivor == "older" else (newer, older)
        assert goes.ending() == "6/7"
        stays.say(KEEPALIVE)
        wait_until(lambda: router.state(EXTERNAL) == "Established")
        newer.close()


GRACEFUL = capability(64, b"\0\x78\0\1\1\x80")


def test_a_second_connection_takes_the_place_of_a_session_with_graceful_restart(router: Router) -> None:
    """RFC 4724, 5: the peer has restarted; the old one is closed without a word and its routes stay."""
    with established(router, RESTARTING, GRACEFUL) as first:
        first.announce("203.0.113.0/24")
        second = router.elsewhere.socket(socket.SOCK_STREAM)
        second.settimeout(3)
        second.bind((RESTARTING, 0))
        second.connect((ADDRESS, 179))
        assert first.ending() == "end"
        again = type(first)(router, RESTARTING, second)
        again.establish(capability(64, b"\x80\x78\0\1\1\x80"))
        assert router.received(RESTARTING, "203.0.113.0/24") == "accepted"
        again.say(update())
        wait_until(lambda: not router.received(RESTARTING, "203.0.113.0/24"))
        second.close()


@dataclass
class Listening:
    """A peer that the router dials, which may dial it as well."""

    router: Router
    address: str
    server: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        self.server = self.router.elsewhere.socket(socket.SOCK_STREAM)
        self.server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.server.bind((self.address, 179))
        self.server.listen()
        self.server.settimeout(8)


@pytest.mark.parametrize(("identifier", "survivor"), [("10.0.0.0", "dialled"), ("10.0.0.255", "accepted")])
def test_of_two_connections_that_collide_the_greater_identifiers_stays(
    router: Router, identifier: str, survivor: str
) -> None:
    """RFC 4271, 6.8: the connection that the speaker with the greater identifier has made."""
    dialled_address = "10.0.0.9"
    listening = Listening(router, dialled_address)
    router.config["neighbours"] = [*router.config["neighbours"], {"peerIP": dialled_address, "asNumber": 65009}]
    router.apply()
    try:
        theirs, _ = listening.server.accept()  # the router dialled
        theirs.settimeout(5)
        ours = router.elsewhere.socket(socket.SOCK_STREAM)
        ours.settimeout(5)
        ours.bind((dialled_address, 0))
        ours.connect((ADDRESS, 179))
        opening = open_message(my_as=65009, router_id=identifier, parameters=IPV4_UNICAST + four_octet(65009))
        dialled, accepted = Peer(router, dialled_address, theirs), Peer(router, dialled_address, ours)
        for peer in (dialled, accepted):
            assert peer.next_kind() == "OPEN"
        dialled.say(opening)
        accepted.say(opening)
        stays, goes = (dialled, accepted) if survivor == "dialled" else (accepted, dialled)
        assert goes.ending() == "6/7"
        assert stays.next_kind() == "KEEPALIVE"
        stays.say(KEEPALIVE)
        wait_until(lambda: router.state(dialled_address) == "Established")
        theirs.close()
        ours.close()
    finally:
        listening.server.close()
        router.config["neighbours"] = router.config["neighbours"][:-1]
        router.apply()
        wait_until(lambda: all(each["peerIP"] != dialled_address for each in router.ask("status")["peers"]))


# Who may connect.


def test_a_stranger_is_refused_without_a_word_and_shown(router: Router) -> None:
    """RFC 4271, 8: no neighbour, no machine."""
    stranger = router.elsewhere.socket(socket.SOCK_STREAM)
    stranger.settimeout(3)
    router.far.run("ip", "addr", "add", "10.0.0.77/24", "dev", "far")
    stranger.bind(("10.0.0.77", 0))
    stranger.connect((ADDRESS, 179))
    with suppress(ConnectionResetError):
        assert stranger.recv(100) == b""
    stranger.close()
    assert router.ask("status")["refusedConnections"]["10.0.0.77"] >= 1


def test_connections_that_say_nothing_do_not_pile_up(router: Router) -> None:
    """The last of one peer's counts; a hundred cost what one does."""
    socks = []
    for _ in range(100):
        sock = router.elsewhere.socket(socket.SOCK_STREAM)
        sock.bind((INTERNAL, 0))
        sock.connect((ADDRESS, 179))
        socks.append(sock)
    wait_until(lambda: router.state(INTERNAL) == "OpenSent")
    for sock in socks:
        sock.close()
    with established(router, INTERNAL):
        assert router.state(INTERNAL) == "Established"


def test_a_peer_that_knows_no_capabilities_gets_an_open_without(router: Router) -> None:
    """RFC 5492, 3: after Unsupported Optional Parameter."""
    with connected(router, EXTERNAL) as peer:
        assert peer.next_kind() == "OPEN"
        peer.say(message(3, b"\2\4"))
        assert peer.ending() == "end"
    with connected(router, EXTERNAL) as peer:
        found = peer.next()
        assert found is not None
        assert found[1][9:] == b"\0"
        peer.say(open_message(my_as=65003, router_id=EXTERNAL, hold=90, parameters=b""), KEEPALIVE)
        assert peer.next_kind() == "KEEPALIVE"
        wait_until(lambda: router.state(EXTERNAL) == "Established")
        assert router.peer(EXTERNAL)["families"] == ["ipv4"]
    with connected(router, EXTERNAL) as peer:
        found = peer.next()
        assert found is not None
        assert len(found[1]) > 40
