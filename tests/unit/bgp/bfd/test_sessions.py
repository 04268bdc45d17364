"""Whose a packet is, what is said of a session, and what becomes of those that nobody wants any more."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address

from bgp.bfd.packet import Control, State, decode, encode
from bgp.bfd.session import Change, Timing
from bgp.bfd.sessions import Sessions, Watched
from bgp.bfd.watch import Hello, SessionStatus, Watch, Watches, from_line, to_line
from bgp.json_lines import Malformed

A, B = Watch(ip_address("10.0.0.2"), ip_address("10.0.0.1")), Watch(ip_address("fd00::2"))


@dataclass
class ModelLine:
    sent: list[Control] = field(default_factory=list)
    refuses: str = ""
    is_closed: bool = False

    def send(self, data: bytes) -> str:
        if not self.refuses:
            self.sent.append(decode(data))
        return self.refuses

    def close(self) -> None:
        self.is_closed = True


@dataclass
class World:
    lines: dict[Watch, ModelLine] = field(default_factory=dict)
    given: int = 0
    told: list[str] = field(default_factory=list)

    def open(self, watch: Watch) -> ModelLine:
        return self.lines.setdefault(watch, ModelLine())

    def discriminator(self) -> int:
        self.given += 1
        return self.given

    def chance(self) -> float:
        return 0.5

    def hear(self, watched: Watched, change: Change | None) -> None:
        if change is None:
            self.told.append(f"{watched.watch.peer} {watched.trouble}")
            return
        self.told.append(f"{watched.watch.peer} {change.before.word} {change.after.word}")


def a_world(*wanted: Watch) -> tuple[World, Sessions]:
    world = World()
    sessions = Sessions(Timing(), world, world.hear)
    sessions.watch(wanted, 100.0)
    return world, sessions


def say(
    sessions: Sessions, state: State, *, yours: int, source: str = "10.0.0.2", ttl: int = 255, now: float = 100.0
) -> None:
    sessions.receive(encode(Control(state, 77, yours, 3, 300_000, 300_000)), source=source, ttl=ttl, now=now)


def test_a_packet_without_our_discriminator_belongs_to_the_session_with_its_sender() -> None:
    world, sessions = a_world(A, B)
    say(sessions, State.DOWN, yours=0, source="fd00::2")
    assert world.told == ["fd00::2 Down Init"]


def test_a_packet_with_our_discriminator_has_to_come_from_that_sessions_neighbour() -> None:
    world, sessions = a_world(A, B)
    say(sessions, State.DOWN, yours=1)
    say(sessions, State.INIT, yours=1, source="10.0.0.9")
    say(sessions, State.INIT, yours=2)
    assert world.told == ["10.0.0.2 Down Init"]
    assert sessions.counters["discarded: no session"] == 2


def test_a_packet_that_a_router_has_passed_on_is_nobodys() -> None:
    world, sessions = a_world(A)
    say(sessions, State.DOWN, yours=0, ttl=254)
    assert world.told == []
    assert sessions.counters["discarded: ttl"] == 1


def test_what_is_discarded_is_counted_by_its_reason() -> None:
    _, sessions = a_world(A)
    sessions.receive(b"BFD", source="10.0.0.2", ttl=255, now=100.0)
    assert sessions.counters["discarded: too short"] == 1


def test_a_silent_neighbour_is_reported_when_its_time_has_come() -> None:
    world, sessions = a_world(A)
    say(sessions, State.DOWN, yours=0)
    say(sessions, State.UP, yours=1)
    (before,) = sessions.statuses()
    assert (before.state, before.detection_time_ms, before.why) == (State.UP, 900, "")
    now = 100.0
    while sessions.deadline() < 101.0:
        now = sessions.deadline()
        sessions.run(now)
    assert world.told[-1] == "10.0.0.2 Up Down"
    assert 100.9 <= now < 101.0
    (after,) = sessions.statuses()
    assert (after.has_failed, after.why) == (True, "nothing is heard")


def test_a_session_that_nobody_wants_any_more_says_so_and_then_goes() -> None:
    world, sessions = a_world(A, B)
    say(sessions, State.DOWN, yours=0)
    say(sessions, State.UP, yours=1)
    sessions.watch([B], 101.0)
    assert world.lines[A].sent[-1].state is State.ADMIN_DOWN
    assert [status.peer for status in sessions.statuses()] == [B.peer]
    assert len(sessions) == 2
    while len(sessions) == 2:
        sessions.run(sessions.deadline())
    assert world.lines[A].is_closed


def test_a_session_that_is_wanted_again_begins_anew() -> None:
    world, sessions = a_world(A)
    say(sessions, State.DOWN, yours=0)
    sessions.watch([], 101.0)
    sessions.watch([A], 101.1)
    (status,) = sessions.statuses()
    assert status.state is State.DOWN
    assert world.given == 2


def test_another_source_address_is_another_session() -> None:
    world, sessions = a_world(A)
    say(sessions, State.DOWN, yours=0)
    other = Watch(A.peer, ip_address("10.0.0.7"))
    sessions.watch([other], 101.0)
    assert list(sessions.memories()) == [other]
    assert world.lines[A].is_closed


def test_watching_the_same_again_changes_nothing() -> None:
    world, sessions = a_world(A)
    say(sessions, State.DOWN, yours=0)
    sessions.watch([A], 101.0)
    assert (world.given, world.told) == (1, ["10.0.0.2 Down Init"])


def test_why_nothing_can_be_sent_is_said() -> None:
    world, sessions = a_world(A)
    world.lines[A].refuses = "not on a network of this node"
    sessions.run(101.1)
    sessions.run(102.1)
    (status,) = sessions.statuses()
    assert status.why == "not on a network of this node"
    assert world.told == ["10.0.0.2 not on a network of this node"], "once"
    assert sessions.counters["unsent"] == 2


def test_a_session_that_was_up_goes_on_in_the_next_process() -> None:
    _, sessions = a_world(A, B)
    say(sessions, State.DOWN, yours=0)
    say(sessions, State.UP, yours=1)
    memories = sessions.memories()
    world = World()
    after = Sessions(Timing(), world, world.hear)
    after.watch(memories, 100.3, memories={watch: memory for watch, memory in memories.items() if memory})
    assert [(status.peer, status.state) for status in after.statuses()] == [(A.peer, State.UP), (B.peer, State.DOWN)]
    assert (world.lines[A].sent[0].mine, world.lines[A].sent[0].yours) == (1, 77)


def test_no_two_sessions_have_one_discriminator_also_after_a_restart() -> None:
    _, sessions = a_world(A)
    say(sessions, State.DOWN, yours=0)
    say(sessions, State.UP, yours=1)
    (memory,) = (each for each in sessions.memories().values() if each)
    world = World()
    after = Sessions(Timing(), world, world.hear)
    after.watch([A, B], 100.3, memories={A: memory})
    assert world.lines[A].sent[0].mine == 1
    assert world.lines[B].sent[0].mine == 2


def test_what_the_two_say_is_read_as_it_was_meant() -> None:
    status = SessionStatus(
        A.peer, State.INIT, has_failed=True, is_independent=True, why="nothing is heard", interval_ms=300
    )
    for message in (Hello(), Watches(frozenset({A, B})), status):
        assert from_line(to_line(message)) == message


def test_a_line_that_makes_no_sense_is_malformed() -> None:
    for line in (b"\n", b"[]\n", b'{"type":"else"}\n', b'{"type":"watch","wanted":[["x",""]]}\n'):
        try:
            from_line(line)
        except Malformed:
            continue
        raise AssertionError(line)


def peers(count: int) -> list[Watch]:
    return [Watch(ip_address(f"10.1.{n // 250}.{n % 250 + 1}")) for n in range(count)]


def test_more_than_100_sessions_share_what_100_may_send_and_are_as_quick_again_when_they_are_fewer() -> None:
    _, sessions = a_world(A, *peers(99))
    say(sessions, State.DOWN, yours=0)
    say(sessions, State.INIT, yours=1)
    assert interval_ms(sessions) == 300
    sessions.watch((A, *peers(499)), 101.0)
    for is_final in (True, False, True):  # the poll that came with Up is over, the next begins, and is answered
        answer_poll(sessions, is_final=is_final)
    assert interval_ms(sessions) == 1500
    sessions.watch((A, *peers(9)), 102.0)
    assert interval_ms(sessions) == 300


def answer_poll(sessions: Sessions, *, is_final: bool) -> None:
    packet = Control(State.UP, 77, 1, 3, 300_000, 300_000, final=is_final)
    sessions.receive(encode(packet), source="10.0.0.2", ttl=255, now=101.1)


def interval_ms(sessions: Sessions) -> int:
    return next(each.interval_ms for each in sessions.statuses() if each.peer == A.peer)
