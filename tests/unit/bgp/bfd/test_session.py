"""RFC 5880's state machine and timing, on a virtual clock."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgp.bfd.packet import Control, Diagnostic, State
from bgp.bfd.session import NEVER, Session, Timing
from tests.models.bfd_link import Link

FAST = Timing(300_000, 3)


def packet(state: State, **more: object) -> Control:
    usual: dict[str, object] = {
        "mine": 22,
        "yours": 11,
        "detect_mult": 3,
        "desired_min_tx_us": 300_000,
        "required_min_rx_us": 300_000,
    }
    return Control(state, **(usual | more))  # type: ignore[arg-type]


def session_in(state: State, *, timing: Timing = FAST) -> Session:
    """At time 100, having heard of its neighbour there; everything that it owed has been sent."""
    session = Session(timing, 11, 100.0)
    said = {State.DOWN: (), State.INIT: (State.DOWN,), State.UP: (State.DOWN, State.INIT), State.ADMIN_DOWN: ()}
    for each in said[state]:
        session.receive(packet(each), 100.0)
    if state is State.ADMIN_DOWN:
        session.shut(100.0)
    session.transmit(100.0, 0.0)
    assert session.state is state
    return session


# The table of 6.8.6.


@pytest.mark.parametrize(
    ("mine", "theirs", "then"),
    [
        (State.DOWN, State.ADMIN_DOWN, State.DOWN),
        (State.DOWN, State.DOWN, State.INIT),
        (State.DOWN, State.INIT, State.UP),
        (State.DOWN, State.UP, State.DOWN),
        (State.INIT, State.ADMIN_DOWN, State.DOWN),
        (State.INIT, State.DOWN, State.INIT),
        (State.INIT, State.INIT, State.UP),
        (State.INIT, State.UP, State.UP),
        (State.UP, State.ADMIN_DOWN, State.DOWN),
        (State.UP, State.DOWN, State.DOWN),
        (State.UP, State.INIT, State.UP),
        (State.UP, State.UP, State.UP),
        (State.ADMIN_DOWN, State.DOWN, State.ADMIN_DOWN),
        (State.ADMIN_DOWN, State.INIT, State.ADMIN_DOWN),
        (State.ADMIN_DOWN, State.UP, State.ADMIN_DOWN),
    ],
)
def test_a_state_that_is_heard_makes_the_state_that_the_rfc_says(mine: State, theirs: State, then: State) -> None:
    session = session_in(mine)
    session.receive(packet(theirs), 100.1)
    assert session.state is then


def test_two_sessions_come_up_and_say_their_real_intervals_then() -> None:
    link = Link()
    link.run_until_up()
    assert [line.split(" ", 1)[1] for line in link.a.story()][-1].endswith("Up heard")
    assert link.elapsed < 0.1
    link.run(0.5)
    assert {each.session.interval_s for each in (link.a, link.b)} == {300_000 * 1e-6}
    assert [each.session.detection_time_s for each in (link.a, link.b)] == pytest.approx([0.9, 0.9])


def test_a_session_that_has_heard_nobody_sends_once_a_second() -> None:
    link = Link()
    link.a.is_cut = link.b.is_cut = True
    link.run(60)
    assert link.a.state is State.DOWN
    assert all(0.75 <= gap <= 1.0 for gap in link.a.gaps(since=0.0))
    assert {each.desired_min_tx_us for _, each in link.a.sent} == {1_000_000}


def test_packets_of_a_session_that_is_up_come_at_75_to_100_percent_of_the_interval() -> None:
    link = Link()
    link.run_until_up()
    since = link.elapsed + 1
    link.run(300)
    gaps = link.a.gaps(since=since)
    assert all(0.225 <= gap <= 0.3 + 1e-9 for gap in gaps)
    assert min(gaps) < 0.23 and max(gaps) > 0.295
    assert link.a.story() and not any(change.is_failure for _, change in link.a.changes)


def test_with_a_multiplier_of_1_no_packet_comes_later_than_90_percent() -> None:
    link = Link(Timing(300_000, 1), Timing(300_000, 1))
    link.run_until_up()
    since = link.elapsed + 2
    link.run(300)
    assert max(link.a.gaps(since=since)) <= 0.27 + 1e-9
    assert link.a.state is State.UP


def test_the_slower_of_both_decides_each_direction() -> None:
    link = Link(Timing(100_000, 3), Timing(500_000, 4))
    link.run_until_up()
    link.run(5)
    assert link.a.session.interval_s == link.b.session.interval_s == 0.5
    assert link.a.session.detection_time_s == pytest.approx(4 * 0.5)
    assert link.b.session.detection_time_s == pytest.approx(3 * 0.5)


# Detection.


def test_a_neighbour_that_falls_silent_is_down_after_the_detection_time_and_not_before() -> None:
    link = Link()
    link.run_until_up()
    link.run(5)
    last = link.b.sent[-1][0]
    link.b.is_cut = True
    link.run(2)
    at, change = link.a.changes[-1]
    assert (change.before, change.after, change.is_failure) == (State.UP, State.DOWN, True)
    assert 0.9 <= at - last < 0.9 + 0.301
    assert link.a.session.diagnostic is Diagnostic.DETECTION_TIME_EXPIRED


def test_whoever_can_only_send_is_told_that_it_is_not_heard() -> None:
    link = Link()
    link.run_until_up()
    link.run(2)
    link.b.is_cut = True
    link.run(1.5)
    assert "neighbour signalled session down" in link.b.story()[-1]
    assert link.b.session.has_failed
    assert link.b.session.remote_diagnostic is Diagnostic.DETECTION_TIME_EXPIRED


def test_a_session_comes_back_when_the_link_does() -> None:
    link = Link()
    link.run_until_up()
    link.a.is_cut = link.b.is_cut = True
    link.run(5)
    link.a.is_cut = link.b.is_cut = False
    link.run(2.5)
    assert (link.a.state, link.b.state) == (State.UP, State.UP)
    assert not link.a.session.has_failed


def test_after_a_detection_time_of_silence_the_neighbours_discriminator_is_forgotten() -> None:
    session = session_in(State.UP)
    session.expire(100.0 + 10)
    assert session.remote_discriminator == 0
    down = session_in(State.DOWN)
    down.receive(packet(State.UP), 100.0)
    assert down.remote_discriminator == 22
    down.expire(110.0)
    assert down.remote_discriminator == 0


def test_no_packet_expires_a_session_early() -> None:
    session = session_in(State.UP)
    deadline = 100.0 + session.detection_time_s
    assert session.expire(deadline - 1e-6) is None
    assert session.expire(deadline) is not None


# AdminDown.


def test_who_is_shut_says_so_at_once_and_for_a_detection_time_and_that_is_no_failure() -> None:
    link = Link()
    link.run_until_up()
    link.run(1)
    link.note_shut(link.a)
    link.run(0.01)
    assert link.b.state is State.DOWN
    assert link.b.story()[-1].endswith("Up Down neighbour is administratively down")
    assert not link.b.session.has_failed
    assert not link.a.session.is_over(link.now + 0.9)
    link.run(4)
    assert link.a.session.is_over(link.now)
    assert link.b.state is State.DOWN


def test_who_never_heard_of_a_neighbour_is_over_as_soon_as_it_is_shut() -> None:
    session = Session(FAST, 11, 100.0)
    session.shut(100.0)
    assert session.is_over(100.0)


# Polls.


def test_a_poll_is_answered_at_once_with_final_and_without_poll() -> None:
    session = session_in(State.UP)
    session.receive(packet(State.UP, poll=True), 100.001)
    assert session.deadline(100.001) == 100.001
    (answer,) = session.transmit(100.001, 0.0)
    assert (answer.final, answer.poll) == (True, False)
    assert session.transmit(100.002, 0.0) == ()


def test_coming_up_is_told_with_a_poll_that_goes_on_until_final_is_heard() -> None:
    session = session_in(State.INIT)
    session.receive(packet(State.UP), 100.1)
    (first,) = session.transmit(100.1, 0.0)
    assert (first.state, first.poll, first.desired_min_tx_us) == (State.UP, True, 300_000)
    (second,) = session.transmit(100.5, 0.0)
    assert second.poll
    session.receive(packet(State.UP, final=True), 100.6)
    (third,) = session.transmit(100.9, 0.0)
    assert not third.poll


def test_a_longer_interval_holds_only_when_the_neighbour_knows_it() -> None:
    link = Link()
    link.run_until_up()
    link.run(2)
    link.b.is_cut = True
    link.a.session.retime(Timing(800_000, 3), link.now)
    link.run(0.3)
    assert link.a.session.interval_s == pytest.approx(0.3)
    link.b.is_cut = False
    link.run(1)
    assert link.a.session.interval_s == pytest.approx(0.8)
    link.run(60)
    assert link.a.state is link.b.state is State.UP
    assert not any(change.is_failure for _, change in [*link.a.changes, *link.b.changes])


def test_a_shorter_detection_time_holds_only_when_the_neighbour_knows_it() -> None:
    link = Link(Timing(800_000, 3), Timing(50_000, 3))
    link.run_until_up()
    link.run(5)
    link.b.is_cut = True
    link.a.session.retime(Timing(50_000, 3), link.now)
    assert link.a.session.detection_time_s == pytest.approx(2.4)
    link.b.is_cut = False
    link.run(2)
    assert link.a.session.detection_time_s == pytest.approx(0.15)


def test_a_second_change_waits_until_the_first_poll_is_surely_over() -> None:
    session = session_in(State.UP)
    session.receive(packet(State.UP, final=True), 100.1)
    session.retime(Timing(500_000, 3), 100.2)
    session.retime(Timing(900_000, 3), 100.3)
    session.receive(packet(State.UP, final=True), 100.4)
    assert session.interval_s == pytest.approx(0.3), "the answer may be to the first change"
    assert not any(each.poll for each in session.transmit(100.7, 0.0))
    session.receive(packet(State.UP), 100.8)
    assert any(each.poll for each in session.transmit(101.1, 0.0))
    session.receive(packet(State.UP, final=True), 101.2)
    assert session.interval_s == pytest.approx(0.9)


# What the neighbour may ask for.


def test_a_neighbour_in_demand_mode_is_sent_nothing_but_answers_while_both_are_up() -> None:
    session = session_in(State.UP)
    session.receive(packet(State.UP, final=True, demand=True), 100.1)
    assert session.transmit(105.0, 0.0) == ()
    session.receive(packet(State.UP, demand=True, poll=True), 105.0)
    assert [each.final for each in session.transmit(105.0, 0.0)] == [True]
    session.receive(packet(State.UP), 105.1)
    assert len(session.transmit(106.0, 0.0)) == 1


def test_a_neighbour_that_wants_no_packets_gets_none() -> None:
    session = session_in(State.UP)
    session.receive(packet(State.UP, required_min_rx_us=0), 100.1)
    assert session.transmit(105.0, 0.0) == ()
    session.receive(packet(State.UP), 105.1)
    assert session.deadline(105.1) <= 105.1 + 0.3


def test_a_neighbour_that_now_wants_packets_sooner_gets_the_next_one_sooner() -> None:
    session = session_in(State.UP)
    session.receive(packet(State.UP, final=True, required_min_rx_us=10_000_000), 100.1)
    session.transmit(103.0, 1.0)
    assert session.transmit(104.0, 1.0) == ()
    session.receive(packet(State.UP), 104.0)
    assert len(session.transmit(104.31, 1.0)) == 1


def test_every_packet_says_that_it_does_not_share_the_speakers_fate_and_offers_no_echo() -> None:
    link = Link()
    link.run(10)
    assert all(each.independent and not each.demand for _, each in link.a.sent)
    assert {each.required_min_echo_rx_us for _, each in link.a.sent} == {0}


# Over a restart.


def test_a_restart_within_the_detection_time_is_not_noticed_by_the_neighbour() -> None:
    link = Link()
    link.run_until_up()
    link.run(2)
    memory = link.a.session.memory()
    assert memory is not None
    link.a.session = Session(FAST, 99, NEVER)
    link.a.is_cut = True
    link.run(0.5)
    link.a.session, link.a.is_cut = Session.resumed(FAST, memory, link.now), False
    link.run(5)
    assert (link.a.state, link.b.state) == (State.UP, State.UP)
    assert not any(change.is_failure for _, change in link.b.changes)
    link.b.is_cut = True
    link.run(2)
    assert link.a.session.has_failed


def test_a_session_that_was_resumed_too_late_is_down_and_has_not_failed() -> None:
    memory = session_in(State.UP).memory()
    assert memory is not None
    session = Session.resumed(FAST, memory, 500.0)
    change = session.expire(500.0 + session.detection_time_s)
    assert change is not None
    assert (change.after, change.is_failure, session.has_failed) == (State.DOWN, False, False)


# Whatever happens.


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**20),
    mine=st.builds(Timing, st.sampled_from([10_000, 100_000, 300_000, 2_000_000]), st.integers(1, 5)),
    theirs=st.builds(Timing, st.sampled_from([10_000, 100_000, 300_000, 2_000_000]), st.integers(1, 5)),
    loss=st.floats(0.0, 0.4),
)
def test_whatever_is_lost_and_changed_both_are_up_again_when_it_is_quiet(
    seed: int, mine: Timing, theirs: Timing, loss: float
) -> None:
    chance = random.Random(seed)
    link = Link(mine, theirs, seed=seed, loses=lambda: chance.random() < loss)
    for _ in range(6):
        link.run(chance.random() * 3)
        end = chance.choice([link.a, link.b])
        end.is_cut = chance.random() < 0.3
        end.session.retime(chance.choice([mine, theirs, FAST]), link.now)
    link.loses = lambda: False
    link.a.is_cut = link.b.is_cut = False
    link.run(60)
    assert (link.a.state, link.b.state) == (State.UP, State.UP)
    quiet = len(link.a.changes), len(link.b.changes)
    link.run(60)
    assert (len(link.a.changes), len(link.b.changes)) == quiet
    for one, other in ((link.a, link.b), (link.b, link.a)):
        assert max(one.gaps(since=link.elapsed - 50)) * one.session._timing.detect_mult <= (
            other.session.detection_time_s * 1.0001
        )
