"""What a peer may do to us and to nobody else: nonsense, silence, dribbling, not reading, floods, too much of all."""

from __future__ import annotations

import itertools
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from tests.conformance.peer import EXTENDED, REFRESH, Peer, connected, established
from tests.conformance.router import ADDRESS, EXTERNAL, INTERNAL, OBSERVER, RESTARTING, TIMED, Router, wait_until
from tests.property.test_wire_fuzz import mutated
from tests.unit.bgp.bgp_bytes import KEEPALIVE, message, nlri, update

pytestmark = pytest.mark.root

SEED = 4271


@contextmanager
def steady(router: Router) -> Iterator[Peer]:
    """A session beside, which must not notice anything."""
    with established(router, INTERNAL) as peer:
        peer.announce("203.0.113.0/24")
        before = router.peer(INTERNAL)["timesEstablished"]
        yield peer
        peer.say(KEEPALIVE)
        peer.settle()
        assert router.peer(INTERNAL)["timesEstablished"] == before
        assert router.received(INTERNAL, "203.0.113.0/24") == "accepted"


def fuzz(router: Router, messages: int) -> None:
    """Sent on a session until it ends, then on the next, from ten addresses in turn."""
    random, addresses = Random(SEED), itertools.cycle(TIMED)
    sent = 0
    while sent < messages:
        with established(router, next(addresses), REFRESH) as peer:
            peer.sock.settimeout(0.05)
            is_heard = True
            while sent < messages and is_heard:
                sent += 1
                is_heard = goes_on_after(peer, mutated(random))


def goes_on_after(peer: Peer, data: bytes) -> bool:
    """Whether a refresh that is asked for behind it is answered: the session is up and has not lost its place."""
    try:
        peer.say(data, message(5, b"\0\1\0\1"))
        while (found := peer.next()) is not None:
            if found[0] == "UPDATE" and nlri("192.0.2.0/24") in found[1]:
                return True
    except OSError:
        pass
    return False


def test_fifteen_hundred_mutated_messages_end_no_process_and_no_other_session(router: Router) -> None:
    with steady(router):
        fuzz(router, 1_500)
    assert router.is_alive()


@pytest.mark.long
def test_a_hundred_thousand_mutated_messages_end_no_process_and_no_other_session(router: Router) -> None:
    """A million go through the codec and the states without sockets: tests/property/test_speaker_fuzz.py."""
    with steady(router):
        fuzz(router, 100_000)
    assert router.is_alive()


def test_bytes_that_are_no_bgp_at_all_end_their_connection(router: Router) -> None:
    random = Random(SEED)
    with steady(router):
        for size in (1, 18, 19, 100, 5000, 100_000):
            with connected(router, EXTERNAL) as peer:
                peer.say(random.randbytes(size))
                if size >= 19:
                    assert peer.ending() == "1/1"


def rss_bytes(router: Router) -> int:
    assert router.process is not None
    for line in Path(f"/proc/{router.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) << 10
    raise AssertionError("no VmRSS")


def prefixes(count: int, first: int = 30) -> list[str]:
    return [f"{first + (n >> 16)}.{n >> 8 & 255}.{n & 255}.0/24" for n in range(count)]


def announce_many(peer: Peer, count: int, *, med: int = 0) -> None:
    more = b"\x80\x04\x04" + struct.pack("!L", med)
    every = prefixes(count)
    for at in range(0, count, 500):
        peer.say(update(peer.attributes(more=more), nlri(*every[at : at + 500])))


def test_a_peer_that_does_not_read_costs_little_and_delays_nobody(router: Router) -> None:
    """Its socket is full after some kilobytes; what then changes is not queued but compared once it reads."""
    with connected(router, OBSERVER) as deaf, established(router, EXTERNAL) as busy:
        deaf.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.establish()
        announce_many(busy, 10_000)
        busy.settle()
        before = rss_bytes(router)
        for med in range(1, 6):
            announce_many(busy, 10_000, med=med)
            busy.settle()
        assert rss_bytes(router) - before < 30 << 20
        with established(router, RESTARTING) as other:
            begun = time.monotonic()
            other.announce("203.0.113.0/24")
            assert time.monotonic() - begun < 1
        assert router.state(OBSERVER) == "Established"
        busy.say(update(withdrawn=nlri(*prefixes(500))))
        busy.settle()
    wait_until(lambda: router.state(OBSERVER) == "Active", within_s=10)


def test_a_peer_that_dribbles_is_read_as_it_comes_and_delays_nobody(router: Router) -> None:
    with established(router, EXTERNAL, EXTENDED) as slow, established(router, RESTARTING) as other:
        data = update(slow.attributes(), nlri(*prefixes(300, first=60)))
        delays = []
        for at, octet in enumerate(data):
            slow.say(bytes((octet,)))
            if at % 200 == 0:
                begun = time.monotonic()
                other.settle()
                delays.append(time.monotonic() - begun)
        assert max(delays) < 0.3
        slow.settle()
        assert router.received(EXTERNAL, "60.0.7.0/24") == "accepted"


def test_a_peer_that_floods_takes_nobody_elses_turn(router: Router) -> None:
    with established(router, EXTERNAL) as loud, established(router, RESTARTING) as other:
        loud.sock.settimeout(0.01)
        delays = []
        for med in range(20):
            try:
                announce_many(loud, 2_000, med=med)
            except TimeoutError:
                break
            begun = time.monotonic()
            other.settle()
            delays.append(time.monotonic() - begun)
        assert max(delays) < 1


def test_a_thousand_connections_that_end_at_once_leave_nothing(router: Router) -> None:
    assert router.process is not None
    files = Path(f"/proc/{router.process.pid}/fd")
    before = len(list(files.iterdir()))
    for _ in range(1000):
        sock = router.elsewhere.socket(socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.bind((EXTERNAL, 0))
        sock.connect((ADDRESS, 179))
        sock.close()
    wait_until(lambda: len(list(files.iterdir())) <= before + 2)
    with established(router, EXTERNAL):
        assert router.is_alive()


@pytest.mark.long
def test_routes_beyond_what_one_neighbour_may_fill_are_left_out(router: Router) -> None:
    """100,000 a neighbour; the session stays."""
    with established(router, EXTERNAL) as peer:
        every = [f"{40 + (n >> 16)}.{n >> 8 & 255}.{n & 255}.0/24" for n in range(100_500)]
        for at in range(0, len(every), 500):
            peer.say(update(peer.attributes(), nlri(*every[at : at + 500])))
        wait_until(lambda: router.peer(EXTERNAL)["received"] + router.peer(EXTERNAL)["leftOut"] >= 100_500, within_s=60)
        found = router.peer(EXTERNAL)
        assert (found["received"], found["leftOut"] > 0, found["state"]) == (100_000, True, "Established")
    wait_until(lambda: router.peer(EXTERNAL)["received"] == 0, within_s=20)
