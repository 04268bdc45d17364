"""The codec of BFD control packets, against bytes written by hand from RFC 5880's drawing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgp.bfd.packet import Control, Diagnostic, Discarded, State, decode, encode

UP = bytes.fromhex("21 c8 03 18 0000000b 00000016 000493e0 000493e0 00000000")
NUMBERS = st.integers(min_value=0, max_value=2**32 - 1)


def test_a_packet_has_the_bytes_of_the_rfcs_drawing() -> None:
    packet = Control(
        State.UP, 11, 22, 3, 300_000, 300_000, diagnostic=Diagnostic.DETECTION_TIME_EXPIRED, independent=True
    )
    assert encode(packet).hex(" ", 4) == UP.hex(" ", 4)
    assert decode(UP) == packet


@given(
    state=st.sampled_from(State),
    mine=st.integers(min_value=1, max_value=2**32 - 1),
    yours=st.integers(min_value=1, max_value=2**32 - 1),
    detect_mult=st.integers(min_value=1, max_value=255),
    intervals=st.tuples(NUMBERS, NUMBERS, NUMBERS),
    diagnostic=st.sampled_from(Diagnostic),
    flags=st.tuples(st.booleans(), st.booleans(), st.booleans(), st.booleans()),
)
def test_what_is_encoded_is_decoded_again(
    state: State,
    mine: int,
    yours: int,
    detect_mult: int,
    intervals: tuple[int, int, int],
    diagnostic: Diagnostic,
    flags: tuple[bool, bool, bool, bool],
) -> None:
    packet = Control(state, mine, yours, detect_mult, *intervals[:2], diagnostic, *flags, intervals[2])
    assert decode(encode(packet)) == packet


@given(st.binary(max_size=80))
def test_any_bytes_are_a_packet_or_are_discarded(data: bytes) -> None:
    try:
        packet = decode(data)
    except Discarded:
        return
    assert packet.mine and packet.detect_mult


@pytest.mark.parametrize(
    ("at", "value", "why"),
    [
        (0, 0x01, "version"),
        (0, 0x41, "version"),
        (3, 23, "length"),
        (3, 25, "too long"),
        (2, 0, "detect mult is 0"),
        (1, 0xC9, "multipoint"),
        (1, 0xCC, "length"),
    ],
)
def test_what_section_6_8_6_discards_is_discarded(at: int, value: int, why: str) -> None:
    with pytest.raises(Discarded, match=why):
        decode(UP[:at] + bytes((value,)) + UP[at + 1 :])


def test_a_packet_without_the_senders_discriminator_is_discarded() -> None:
    with pytest.raises(Discarded, match="discriminator is 0"):
        decode(UP[:4] + bytes(4) + UP[8:])


@pytest.mark.parametrize(("state", "is_taken"), [(0, True), (1, True), (2, False), (3, False)])
def test_without_our_discriminator_only_a_session_that_is_down_may_speak(state: int, is_taken: bool) -> None:
    data = UP[:1] + bytes((state << 6,)) + UP[2:8] + bytes(4) + UP[12:]
    if is_taken:
        assert decode(data).state == state
    else:
        with pytest.raises(Discarded, match="no discriminator of ours"):
            decode(data)


def test_an_authenticated_packet_is_discarded_because_no_session_has_authentication() -> None:
    with pytest.raises(Discarded, match="authentication is not in use"):
        decode(UP[:1] + bytes((0xCC, 3, 26)) + UP[4:] + b"\x01\x02")


def test_what_follows_a_packet_is_no_part_of_it() -> None:
    assert decode(UP + b"more") == decode(UP)


def test_a_diagnostic_that_nobody_here_knows_is_called_other() -> None:
    assert decode(bytes((0x20 | 14,)) + UP[1:]).diagnostic is Diagnostic.OTHER
