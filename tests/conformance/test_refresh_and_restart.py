"""Route refresh (RFC 2918, 7313), graceful restart on both sides (RFC 4724, 8538), the kernel's table over one."""

from __future__ import annotations

import itertools
import signal
import socket
import struct
import time
from collections.abc import Iterator

import pytest

from tests.conformance.peer import ENHANCED_REFRESH, IPV6_UNICAST, REFRESH, Peer, connected, established
from tests.conformance.router import EXTERNAL, OBSERVER, RESTARTING, Router, running, wait_until
from tests.unit.bgp.bgp_bytes import capability, message, nlri, update

pytestmark = pytest.mark.root

ASK, BEGIN, END = (message(5, bytes((0, 1, what, 1))) for what in (0, 1, 2))
GONE, STAYS = "203.0.113.0/24", "203.0.112.0/24"
END_OF_RIB = update()


def reset(peer: Peer) -> None:
    """As a crash would: no FIN, no NOTIFICATION."""
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


# Refresh.


def test_a_refresh_is_answered_with_everything_between_brackets(router: Router) -> None:
    """RFC 7313, 4."""
    with established(router, EXTERNAL, REFRESH, ENHANCED_REFRESH) as peer:
        peer.say(ASK)
        assert [peer.next() for _ in range(3)][::2] == [("ROUTE-REFRESH", BEGIN[19:]), ("ROUTE-REFRESH", END[19:])]


def test_a_refresh_is_answered_without_brackets_to_who_does_not_know_them(router: Router) -> None:
    """RFC 2918, 4; RFC 7313, 3.2."""
    with established(router, EXTERNAL, REFRESH) as peer:
        peer.say(ASK, ASK)
        heard = [peer.next(), peer.next()]
        assert [each is not None and each[0] for each in heard] == ["UPDATE", "UPDATE"]
        assert all(each is not None and nlri("192.0.2.0/24") in each[1] for each in heard)


@pytest.mark.parametrize(
    "data",
    [message(5, b"\0\x19\0\x41"), message(5, b"\0\1\0\2"), message(5, b"\0\1\3\1"), message(5, b"\0\1\xff\1")],
    ids=["another AFI", "another SAFI", "subtype 3", "subtype 255"],
)
def test_a_refresh_that_means_nothing_here_is_ignored(router: Router, data: bytes) -> None:
    """RFC 2918, 4; RFC 7313, 5."""
    with established(router, EXTERNAL, REFRESH, ENHANCED_REFRESH) as peer:
        peer.say(data, ASK)
        assert peer.next() == ("ROUTE-REFRESH", BEGIN[19:])


SWEEPS = [
    ("4 what is not said again goes", [BEGIN, "say", END], False, True),
    ("4 nothing goes before the end", [BEGIN, "say"], True, True),
    ("4 without routes all goes", [BEGIN, END], False, False),
    ("4 an end without a beginning is ignored", [END], True, True),
    ("4 a second beginning starts anew", [BEGIN, "say", BEGIN, END], False, False),
    ("4 End-of-RIB is not the end of a refresh", [BEGIN, END_OF_RIB], True, True),
    ("4 a second end is ignored", [BEGIN, "say", END, END], False, True),
    ("4 of a family that is not spoken", [message(5, b"\0\x19\1\x41"), message(5, b"\0\x19\2\x41")], True, True),
]


@pytest.mark.parametrize(("said", "gone", "stays"), [each[1:] for each in SWEEPS], ids=[each[0] for each in SWEEPS])
def test_a_refresh_between_brackets_sweeps(router: Router, said: list[object], gone: bool, stays: bool) -> None:
    """RFC 7313."""
    with established(router, EXTERNAL, REFRESH, ENHANCED_REFRESH) as peer:
        peer.announce(GONE, STAYS)
        for each in said:
            peer.say(each if isinstance(each, bytes) else update(peer.attributes(), nlri(STAYS)))
        peer.settle()
        assert (bool(router.best(GONE)), bool(router.best(STAYS))) == (gone, stays)


def test_brackets_of_who_did_not_say_that_it_knows_them_mean_nothing(router: Router) -> None:
    """RFC 7313, 3.2."""
    with established(router, EXTERNAL, REFRESH) as peer:
        peer.announce(GONE)
        peer.say(BEGIN, END)
        peer.settle()
        assert router.best(GONE)


@pytest.mark.parametrize("has_ended", [False, True])
def test_brackets_before_end_of_rib_mean_nothing_where_graceful_restart_was_agreed_on(
    router: Router, has_ended: bool
) -> None:
    """RFC 7313, 4."""
    with established(router, EXTERNAL, REFRESH, ENHANCED_REFRESH, graceful()) as peer:
        peer.announce(GONE)
        peer.say(END_OF_RIB if has_ended else b"", BEGIN, END)
        peer.settle()
        assert bool(router.best(GONE)) == (not has_ended)
        peer.say(message(3, b"\6\2"))


# Graceful restart, as the receiving speaker.


def graceful(*, seconds: int = 120, restarted: bool = False, forwarding: bool = True, survives: bool = False) -> bytes:
    flags = (8 if restarted else 0) | (4 if survives else 0)
    return capability(64, struct.pack("!HHBB", flags << 12 | seconds, 1, 1, 0x80 if forwarding else 0))


def leave(router: Router, *capabilities: bytes) -> None:
    with established(router, RESTARTING, *capabilities) as peer:
        peer.announce(GONE, STAYS)
        peer.say(END_OF_RIB)
        peer.settle()
        reset(peer)
    wait_until(lambda: router.state(RESTARTING) != "Established")


def test_routes_stay_while_a_peer_restarts_and_go_when_it_does_not_say_them_again(router: Router) -> None:
    """RFC 4724, 4.2."""
    leave(router, graceful())
    assert router.best(GONE)
    assert any(GONE in line for line in router.kernel())
    with established(router, RESTARTING, graceful(restarted=True)) as peer:
        peer.announce(STAYS)
        assert router.best(GONE)
        peer.say(END_OF_RIB)
        wait_until(lambda: not router.best(GONE))
        assert router.best(STAYS)
        peer.say(message(3, b"\6\2"))
    wait_until(lambda: not router.best(STAYS))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((graceful(),), (graceful(restarted=True, forwarding=False),)),
        ((graceful(),), ()),
        ((graceful(),), (capability(64, b"\x80\x78"),)),
        ((graceful(),), (capability(64, b"\x80\x78\0\2\1\x80"), IPV6_UNICAST)),
    ],
    ids=["F bit not set", "no capability", "no families", "another family"],
)
def test_routes_go_at_once_when_a_peer_is_back_without_them(
    router: Router, before: tuple[bytes, ...], after: tuple[bytes, ...]
) -> None:
    """RFC 4724, 4.2."""
    leave(router, *before)
    assert router.best(GONE)
    with established(router, RESTARTING, *after) as peer:
        wait_until(lambda: not router.best(GONE))
        peer.say(message(3, b"\6\2"))


def test_routes_go_at_once_when_graceful_restart_was_not_agreed_on(router: Router) -> None:
    """RFC 4271, 8.2.2."""
    leave(router)
    wait_until(lambda: not router.best(GONE), within_s=0.5)


def test_routes_go_at_once_when_the_family_was_not_listed(router: Router) -> None:
    """RFC 4724, 3."""
    leave(router, capability(64, b"\0\x78"))
    wait_until(lambda: not router.best(GONE), within_s=0.5)


def test_a_notification_is_no_restart(router: Router) -> None:
    """RFC 4724, 4.2."""
    with established(router, RESTARTING, graceful()) as peer:
        peer.announce(GONE)
        peer.say(message(3, b"\6\4"))
        wait_until(lambda: not router.best(GONE), within_s=0.5)


@pytest.mark.parametrize(
    ("said", "stays"),
    [(b"\6\4", True), (b"\4\0", True), (b"\3\1", True), (b"\6\x09\6\2", False)],
    ids=["4 Cease", "4 hold timer", "4 UPDATE error", "3.1 hard reset"],
)
def test_where_both_said_so_a_notification_is_a_restart(router: Router, said: bytes, stays: bool) -> None:
    """RFC 8538."""
    with established(router, RESTARTING, graceful(seconds=1, survives=True)) as peer:
        peer.announce(GONE)
        peer.say(message(3, said))
        wait_until(lambda: router.state(RESTARTING) != "Established")
        assert bool(router.best(GONE)) == stays
    wait_until(lambda: not router.best(GONE), within_s=3)


def test_an_error_that_we_find_is_a_restart_too_where_both_said_so(router: Router) -> None:
    """RFC 8538, 4."""
    with established(router, RESTARTING, graceful(seconds=1, survives=True)) as peer:
        peer.announce(GONE)
        peer.say(message(2, b"\xff\xff\0\0"))
        assert peer.ending() == "3/1"
        assert router.best(GONE)
    wait_until(lambda: not router.best(GONE), within_s=3)


@pytest.mark.long
def test_a_hold_timer_that_fires_is_a_restart_too_where_both_said_so(router: Router) -> None:
    """RFC 8538, 4."""
    with established(router, RESTARTING, graceful(seconds=1, survives=True), hold=3) as peer:
        peer.announce(GONE)
        assert peer.ending() == "4/0"
        assert router.best(GONE)
    wait_until(lambda: not router.best(GONE), within_s=3)


def test_a_peer_that_does_not_come_back_loses_its_routes_after_its_restart_time(router: Router) -> None:
    """RFC 4724, 4.2."""
    begun = time.monotonic()
    leave(router, graceful(seconds=1))
    assert router.best(GONE)
    wait_until(lambda: not router.best(GONE), within_s=3)
    assert time.monotonic() - begun >= 1


def test_a_restart_time_of_zero_keeps_nothing(router: Router) -> None:
    """RFC 4724, 4.2."""
    leave(router, graceful(seconds=0))
    wait_until(lambda: not router.best(GONE), within_s=0.5)


# As the restarting speaker.


@pytest.fixture
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    """One that may be killed."""
    with running(tmp_path_factory.mktemp("restarting")) as found:
        yield found


def restart_bits(peer: Peer) -> str:
    """R and N, time; then each family with its F bit."""
    found = peer.next()
    assert found is not None
    body = found[1].hex()
    at = body.index("400a") + 4
    return body[at : at + 20]


def test_the_first_open_of_the_first_process_has_not_restarted(ours: Router) -> None:
    """RFC 4724, 3: the R bit."""
    with connected(ours, EXTERNAL) as peer:
        assert restart_bits(peer) == "4003" + "00010180" + "00020180"


def test_a_process_that_was_killed_says_so_keeps_its_routes_and_sweeps_after_end_of_rib(ours: Router) -> None:
    """RFC 4724, 4.1."""
    with established(ours, EXTERNAL) as peer:
        peer.announce(GONE, STAYS)
        wait_until(lambda: all(any(dst in line for line in ours.kernel()) for dst in (GONE, STAYS)))
        ours.end(signal.SIGKILL)
    assert len(ours.kernel()) >= 2
    ours.config["restartTime"] = 30
    ours.config["neighbours"] = [each for each in ours.config["neighbours"] if each["peerIP"] in (EXTERNAL, OBSERVER)]
    ours.start()
    with connected(ours, EXTERNAL) as peer, connected(ours, OBSERVER) as other:
        assert restart_bits(peer)[:4] == "c01e"
        peer.say(peer.opening(), message(4, b""))
        other.say(other.opening(), message(4, b""))
        peer.say(update(peer.attributes(), nlri(STAYS)), END_OF_RIB)
        wait_until(lambda: ours.best(STAYS))
        assert any(GONE in line for line in ours.kernel())
        other.say(END_OF_RIB)
        wait_until(lambda: not any(GONE in line for line in ours.kernel()))
        assert any(STAYS in line for line in ours.kernel())


@pytest.mark.parametrize(
    ("capabilities", "is_waited_for"),
    [((capability(64, b"\0\x78\0\1\1\x80"),), True), ((capability(64, b"\x80\x78\0\1\1\x80"),), False), ((), False)],
    ids=["restarts gracefully", "has restarted too", "knows nothing of it"],
)
def test_after_a_restart_nothing_is_passed_on_before_those_that_can_say_so_have_said_all(
    ours: Router, capabilities: tuple[bytes, ...], is_waited_for: bool
) -> None:
    """RFC 4724, 4.1: neither routes of others nor End-of-RIB."""
    ours.end(signal.SIGKILL)
    wanted = (EXTERNAL, OBSERVER, RESTARTING)
    ours.config["restartTime"] = 30
    ours.config["neighbours"] = [each for each in ours.config["neighbours"] if each["peerIP"] in wanted]
    ours.start()
    with connected(ours, EXTERNAL) as one, connected(ours, OBSERVER) as hearer, connected(ours, RESTARTING) as other:
        hearer.say(hearer.opening(graceful()), message(4, b""))
        one.say(one.opening(graceful()), message(4, b""), update(one.attributes(), nlri(STAYS)), END_OF_RIB)
        hearer.say(END_OF_RIB)
        wait_until(lambda: ours.best(STAYS))
        other.say(other.opening(*capabilities), message(4, b""))
        wait_until(lambda: ours.state(RESTARTING) == "Established")
        if is_waited_for:
            hearer.sock.settimeout(0.3)
            with pytest.raises(TimeoutError):
                hearer.hears(nlri(STAYS))
            hearer.sock.settimeout(5)
            other.say(END_OF_RIB)
        assert any(nlri(STAYS) in body for _, body in hearer.read_until_end_of_rib())


def test_a_process_whose_neighbours_never_come_back_sweeps_after_its_restart_time(ours: Router) -> None:
    """RFC 4724, 4.1: the Selection_Deferral_Timer; nothing is kept for ever."""
    with established(ours, EXTERNAL) as peer:
        peer.announce(GONE)
        wait_until(lambda: any(GONE in line for line in ours.kernel()))
        ours.end(signal.SIGKILL)
    ours.start()
    begun = time.monotonic()
    assert any(GONE in line for line in ours.kernel())
    wait_until(lambda: not any(GONE in line for line in ours.kernel()), within_s=6)
    assert time.monotonic() - begun > 2


def test_foreign_routes_are_left_alone_over_a_restart(ours: Router) -> None:
    from tests.lab.namespace import ip

    ip("route add 198.18.0.0/15 via 10.0.0.2 proto bird")
    ours.end(signal.SIGKILL)
    ours.config["neighbours"] = []
    ours.start()
    time.sleep(0.5)
    assert any("198.18.0.0/15" in line for line in ours.kernel())


def test_sigterm_says_nothing_so_that_neighbours_keep_our_routes(ours: Router) -> None:
    """RFC 4724, 4: a NOTIFICATION would end that."""
    with established(ours, EXTERNAL) as peer:
        ours.end(signal.SIGTERM)
        assert peer.ending() == "end"


def test_end_of_rib_comes_after_all_that_we_announce(router: Router) -> None:
    """RFC 4724, 2: one for each family."""
    with connected(router, EXTERNAL) as peer:
        peer.say(peer.opening(IPV6_UNICAST), message(4, b""))
        heard = [each for each in itertools.islice(iter(peer.next, None), 5) if each is not None]
    assert [kind for kind, _ in heard] == ["OPEN", "KEEPALIVE", "UPDATE", "UPDATE", "UPDATE"]
    assert nlri("192.0.2.0/24") in heard[2][1]
    assert [body for _, body in heard[3:]] == [bytes(4), b"\0\0\0\7\x90\x0f\0\3\0\2\1"]
