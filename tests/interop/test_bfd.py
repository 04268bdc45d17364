"""BFD with BIRD's and FRR's, in namespaces, and the promises of the process on real sockets and a real clock."""

from __future__ import annotations

import multiprocessing
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from bgp.bfd.packet import State
from tests.interop.bfd import Bfd, bfd_process, is_down
from tests.interop.bfd_daemons import BFDD, BIRD, BirdBfd, FrrBfd
from tests.interop.far_side import FarSide, far_side
from tests.lab.namespace import ip

PAIRS = (("10.0.0.2", "10.0.0.1"), ("fd00::2", "fd00::1"))
PEERS = [peer for peer, _ in PAIRS]
OURS = {"10.0.0.2": "10.0.0.1", "fd00::2": "fd00::1"}

pytestmark = [pytest.mark.root, pytest.mark.server]
needs_bird = pytest.mark.skipif(shutil.which(BIRD) is None, reason="BIRD 2 is not installed")
needs_frr = pytest.mark.skipif(not Path(BFDD).exists(), reason="FRR is not installed")


@pytest.fixture
def far() -> Iterator[FarSide]:
    with far_side() as made:
        yield made


@pytest.fixture
def ours(far: FarSide, tmp_path: Path) -> Iterator[Bfd]:
    with bfd_process(tmp_path) as made:
        made.watch(*PAIRS)
        yield made


@pytest.fixture
def bird(far: FarSide, tmp_path: Path) -> BirdBfd:
    return BirdBfd(far, tmp_path)


@pytest.fixture
def frr(far: FarSide) -> Iterator[FrrBfd]:
    """In a folder that FRR's own user may reach and write to, which a test's folder is not."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield FrrBfd(far, Path(folder))


def eventually(condition: Callable[[], object], *, within_s: float = 15.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)


# With BIRD.


@needs_bird
def test_sessions_with_bird_come_up_over_both_families_and_use_300_ms(ours: Bfd, bird: BirdBfd) -> None:
    bird.start()
    for peer in PEERS:
        ours.until_up(peer)
        eventually(partial(_is, bird, OURS[peer], "Up 0.300 0.900"))


@needs_bird
def test_birds_death_is_noticed_within_a_second(ours: Bfd, bird: BirdBfd) -> None:
    bird.start()
    for peer in PEERS:
        ours.until_up(peer)
    ours.changes_of(PEERS[0], for_s=1.5)
    killed = time.monotonic()
    bird.kill()
    for peer in PEERS:
        assert 0.55 < ours.until(peer, is_down) - killed < 1.0
        last = ours.last(peer)
        assert last is not None and last[1].has_failed and not last[1].is_independent


@needs_bird
def test_our_death_is_noticed_by_bird_and_our_return_too(ours: Bfd, bird: BirdBfd) -> None:
    bird.start()
    for peer in PEERS:
        ours.until_up(peer)
    ours.kill()
    eventually(lambda: bird.state_of("10.0.0.1").startswith("Down"))
    ours.start()
    eventually(lambda: bird.state_of("10.0.0.1") == "Up 0.300 0.900")


@needs_bird
def test_a_process_that_is_back_within_the_detection_time_was_never_away_for_bird(ours: Bfd, bird: BirdBfd) -> None:
    bird.start()
    for peer in PEERS:
        ours.until_up(peer)
    in_time = 0
    while in_time < 3:
        for address in OURS.values():
            eventually(partial(_is, bird, address, "Up 0.300 0.900"))
        since, killed = _lines_about_state(bird), time.monotonic()
        ours.kill()
        ours.start()
        ours.connect()
        is_in_time = time.monotonic() - killed < 0.5
        time.sleep(1.5)  # longer than a detection time
        if is_in_time:  # a busy machine may need longer for the start of a program
            in_time += 1
            assert _lines_about_state(bird) == since, _log(bird) + ours.log()


@needs_bird
def test_bird_is_told_of_the_end_of_our_process_and_does_not_have_to_find_out(ours: Bfd, bird: BirdBfd) -> None:
    bird.start()
    for peer in PEERS:
        ours.until_up(peer)
    began = time.monotonic()
    ours.end()
    eventually(lambda: bird.state_of("10.0.0.1").startswith("Down"), within_s=0.5)
    assert time.monotonic() - began < 1.5


@needs_bird
def test_birds_change_of_intervals_is_followed_without_a_flap(ours: Bfd, bird: BirdBfd) -> None:
    bird.start()
    ours.until_up(PEERS[0])
    for interval_ms in (700, 100):
        bird.configure(interval_ms)
        at_least = max(interval_ms, 300) / 1000
        eventually(partial(_is, bird, "10.0.0.1", f"Up {at_least:.3f} {3 * at_least:.3f}"))
    assert not any(status.has_failed for _, status in ours.heard)


def _is(bird: BirdBfd, peer: str, state: str) -> bool:
    return bird.state_of(peer) == state


def _is_up(frr: FrrBfd, peer: str) -> bool:
    return bool(frr.state_of(peer).get("status") == "up")


def _log(bird: BirdBfd) -> str:
    return (bird.folder / "bird.log").read_text()


def _lines_about_state(bird: BirdBfd) -> list[str]:
    found = re.findall(r"Session to \S+ changed state .*", _log(bird))
    assert found, "BIRD tells of no change"
    return found


# With FRR.


@needs_frr
def test_sessions_with_frr_come_up_over_both_families_and_use_300_ms(ours: Bfd, frr: FrrBfd) -> None:
    frr.start()
    for peer in PEERS:
        ours.until_up(peer)
        eventually(partial(_is_up, frr, OURS[peer]))
        found = frr.state_of(OURS[peer])
        assert (found["remote-receive-interval"], found["remote-transmit-interval"]) == (300, 300)


@needs_frr
def test_frrs_death_is_noticed_within_a_second(ours: Bfd, frr: FrrBfd) -> None:
    frr.start()
    for peer in PEERS:
        ours.until_up(peer)
    ours.changes_of(PEERS[0], for_s=1.5)
    killed = time.monotonic()
    frr.kill()
    for peer in PEERS:
        assert 0.55 < ours.until(peer, is_down) - killed < 1.0


@needs_frr
def test_what_frr_shuts_down_by_hand_has_not_failed(ours: Bfd, frr: FrrBfd) -> None:
    frr.start()
    ours.until_up("10.0.0.2")
    frr.ask("configure terminal", "bfd", "peer 10.0.0.1 local-address 10.0.0.2 interface far", "shutdown")
    ours.until("10.0.0.2", is_down)
    last = ours.last("10.0.0.2")
    assert last is not None and (last[1].has_failed, last[1].why) == (False, "the neighbour is administratively down")


# On its own.


def test_of_a_neighbour_that_is_not_on_a_network_of_ours_that_is_said(ours: Bfd) -> None:
    ours.watch(("192.0.2.7", "10.0.0.1"))
    ours.until("192.0.2.7", lambda status: "multihop BFD (RFC 5883) is not offered" in status.why)


def test_of_a_neighbour_that_speaks_no_bfd_that_is_said(ours: Bfd) -> None:
    for peer in PEERS:
        ours.until(peer, lambda status: status.why == "nobody speaks BFD there")


def test_a_packet_that_a_router_has_passed_on_is_not_taken(ours: Bfd, far: FarSide) -> None:
    for peer in PEERS:
        ours.until(peer, lambda status: status.why == "nobody speaks BFD there")
    for ttl in (254, 64):
        far.run(sys.executable, "-c", _SAY_DOWN, str(ttl))
    assert [each for each in ours.changes_of("10.0.0.2", for_s=0.5) if each.state is not State.DOWN] == []
    far.run(sys.executable, "-c", _SAY_DOWN, "255")
    ours.until("10.0.0.2", lambda status: status.state is State.INIT)


_SAY_DOWN = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, int(sys.argv[1]))
s.bind(("10.0.0.2", 50000))
s.sendto(bytes.fromhex("20400318 00000007 00000000 000f4240 000493e0 00000000"), ("10.0.0.1", 3784))
"""


@needs_bird
def test_a_speaker_that_goes_away_stops_nothing(ours: Bfd, bird: BirdBfd) -> None:
    bird.start()
    for peer in PEERS:
        ours.until_up(peer)
    ours.disconnect()
    time.sleep(2)  # longer than a detection time
    assert bird.state_of("10.0.0.1").startswith("Up")
    ours.connect()
    ours.heard.clear()
    for peer in PEERS:
        ours.until_up(peer)


@needs_bird
def test_a_link_that_goes_down_is_noticed_within_a_second(ours: Bfd, bird: BirdBfd) -> None:
    bird.start()
    for peer in PEERS:
        ours.until_up(peer)
    ours.changes_of(PEERS[0], for_s=1.5)
    cut = time.monotonic()
    ip("link set near down")
    for peer in PEERS:
        assert ours.until(peer, is_down) - cut < 1.0


@needs_bird
@pytest.mark.parametrize("for_s", [30, pytest.param(600, marks=pytest.mark.long)])
def test_busy_processes_beside_it_make_no_session_flap(ours: Bfd, bird: BirdBfd, for_s: int) -> None:
    """One on each processor that never waits."""
    bird.start()
    for peer in PEERS:
        ours.until_up(peer)
    busy = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(multiprocessing.cpu_count())]
    for each in busy:
        each.start()
    try:
        assert [each for each in ours.changes_of("10.0.0.2", for_s=for_s) if not each.is_up] == []
    finally:
        for each in busy:
            each.kill()
            each.join()
    assert bird.state_of("10.0.0.1").startswith("Up")


def _spin() -> None:
    while True:
        pass


# Its priority.


def test_it_takes_real_time_priority_where_the_machine_allows_it_and_else_the_next_best() -> None:
    is_allowed = subprocess.run(["chrt", "-f", "50", "true"], capture_output=True).returncode == 0
    assert re.match(r"SCHED_FIFO 50\n" if is_allowed else r"nice -20 \(SCHED_FIFO: .*\)\n", _priority())


def test_without_the_right_to_any_priority_it_says_so_and_works() -> None:
    said = _priority("setpriv", "--bounding-set", "-sys_nice")
    assert said == "none (SCHED_FIFO: Operation not permitted; nice -20: Permission denied)\n"


def _priority(*limits: str) -> str:
    program = "from bgp.bfd import priority; print(priority.take())"
    return subprocess.run([*limits, sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
