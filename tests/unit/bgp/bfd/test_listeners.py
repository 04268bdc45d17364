"""The socket at which speakers say whom to watch, on a real unix socket and without a loop."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import pytest

from bgp.bfd.listeners import Listener, Listeners, open_at
from bgp.bfd.packet import State
from bgp.bfd.watch import Hello, Message, SessionStatus, Watch, Watches, from_line, to_line

STATUS = SessionStatus(ip_address("10.0.0.2"), State.UP)
WATCHES = Watches(frozenset({Watch(ip_address("10.0.0.2"))}))


@dataclass
class House:
    listening: socket.socket
    path: Path
    watches: list[Watches] = field(default_factory=list)
    speakers: list[socket.socket] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.listeners = Listeners(statuses=lambda: [STATUS], on_watches=self.watches.append)

    def knock(self) -> tuple[socket.socket, Listener | None]:
        speaker = socket.socket(socket.AF_UNIX)
        speaker.connect(str(self.path))
        speaker.settimeout(1)
        self.speakers.append(speaker)
        return speaker, self.listeners.admit(self.listening)

    def greeted(self) -> tuple[socket.socket, Listener]:
        speaker, listener = self.knock()
        assert listener is not None
        speaker.sendall(to_line(Hello()))
        assert self.listeners.hear(listener) == ""
        return speaker, listener


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    found = House(open_at(tmp_path / "run" / "bfd.sock"), tmp_path / "run" / "bfd.sock")
    yield found
    for each in (found.listening, *found.speakers):
        each.close()
    for listener in found.listeners.each():
        listener.close()


def said(speaker: socket.socket) -> list[Message]:
    return [from_line(line) for line in speaker.recv(1 << 16).splitlines()]


def test_only_its_owner_may_talk_to_it(house: House) -> None:
    assert house.path.stat().st_mode & 0o777 == 0o600


def test_whoever_says_hello_hears_of_every_session_and_then_of_every_change(house: House) -> None:
    speaker, _ = house.greeted()
    assert said(speaker) == [Hello(), STATUS]
    house.listeners.tell(STATUS)
    assert said(speaker) == [STATUS]


def test_who_has_not_said_hello_hears_of_no_session(house: House) -> None:
    speaker, _ = house.knock()
    house.listeners.tell(STATUS)
    assert said(speaker) == [Hello()]


def test_a_set_is_handed_on_whole_also_when_it_comes_in_pieces(house: House) -> None:
    speaker, listener = house.greeted()
    line = to_line(WATCHES)
    speaker.sendall(line[:7])
    assert (house.listeners.hear(listener), house.watches) == ("", [])
    speaker.sendall(line[7:] + line)
    assert (house.listeners.hear(listener), house.watches) == ("", [WATCHES, WATCHES])


@pytest.mark.parametrize("line", [b"nonsense\n", to_line(STATUS), to_line(Hello(99)), b"x" * ((1 << 20) + (1 << 17))])
def test_who_says_what_is_not_for_us_is_shown_the_door(house: House, line: bytes) -> None:
    speaker, listener = house.greeted()
    speaker.settimeout(0)
    wrong, at = "", 0
    while not wrong and at < len(line):
        at += speaker.send(line[at:])
        wrong = house.listeners.hear(listener)
    assert wrong and listener.is_over


def test_who_does_not_read_is_dropped_and_costs_bounded_memory(house: House) -> None:
    _, listener = house.greeted()
    told = 0
    while not listener.is_over:
        house.listeners.tell(STATUS)
        told += 1
        assert told < 100_000
    house.listeners.part(listener)
    assert house.listeners.each() == ()


def test_who_is_gone_is_over(house: House) -> None:
    speaker, listener = house.greeted()
    speaker.close()
    house.listeners.hear(listener)
    assert listener.is_over


def test_there_is_room_for_sixteen(house: House) -> None:
    admitted = [house.knock()[1] for _ in range(17)]
    assert admitted.index(None) == 16
    assert house.listeners.counters["too many"] == 1
