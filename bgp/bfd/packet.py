"""BFD control packets: bytes to a value and back, and nothing else.

What a receiver has to discard by looking at the packet alone is discarded here, with RFC 5880's reason. Authentication
is not offered: a packet that carries it is discarded, since no session here has it in use.

Source: RFC 5880, 4.1 and the first eight steps of 6.8.6.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

VERSION = 1
LENGTH_BYTES = 24
_LENGTH_WITH_AUTHENTICATION_BYTES = 26
_LAYOUT = struct.Struct("!BBBBIIIII")
_POLL, _FINAL, _INDEPENDENT, _AUTHENTICATED, _DEMAND, _MULTIPOINT = 0x20, 0x10, 0x08, 0x04, 0x02, 0x01


class State(IntEnum):
    ADMIN_DOWN = 0
    DOWN = 1
    INIT = 2
    UP = 3

    @property
    def word(self) -> str:
        return _WORDS[self]


_WORDS = {State.ADMIN_DOWN: "AdminDown", State.DOWN: "Down", State.INIT: "Init", State.UP: "Up"}


class Diagnostic(IntEnum):
    """Why a session is not Up any more; what this program does not know is ``OTHER``."""

    NONE = 0
    DETECTION_TIME_EXPIRED = 1
    ECHO_FAILED = 2
    NEIGHBOUR_SAID_DOWN = 3
    FORWARDING_PLANE_RESET = 4
    PATH_DOWN = 5
    CONCATENATED_PATH_DOWN = 6
    ADMINISTRATIVELY_DOWN = 7
    REVERSE_CONCATENATED_PATH_DOWN = 8
    OTHER = 31

    @classmethod
    def _missing_(cls, value: object) -> Diagnostic:
        return cls.OTHER


@dataclass(frozen=True, slots=True)
class Control:
    """``independent`` is the C bit: the sender's BFD lives on when its control plane restarts.

    ``yours`` is 0 while the sender has not heard of our discriminator.
    """

    state: State
    mine: int
    yours: int
    detect_mult: int
    desired_min_tx_us: int
    required_min_rx_us: int
    diagnostic: Diagnostic = Diagnostic.NONE
    poll: bool = False
    final: bool = False
    independent: bool = False
    demand: bool = False
    required_min_echo_rx_us: int = 0


class Discarded(ValueError):
    """Not to be looked at any further; the text is the reason, one of a few."""


def encode(packet: Control) -> bytes:
    flags = (
        packet.state << 6
        | packet.poll * _POLL
        | packet.final * _FINAL
        | packet.independent * _INDEPENDENT
        | packet.demand * _DEMAND
    )
    return _LAYOUT.pack(
        VERSION << 5 | packet.diagnostic,
        flags,
        packet.detect_mult,
        LENGTH_BYTES,
        packet.mine,
        packet.yours,
        packet.desired_min_tx_us,
        packet.required_min_rx_us,
        packet.required_min_echo_rx_us,
    )


def decode(data: bytes) -> Control:
    """Raises Discarded. Bytes behind the packet's own length are no part of it."""
    if len(data) < LENGTH_BYTES:
        raise Discarded("too short")
    first, flags, detect_mult, length, mine, yours, tx_us, rx_us, echo_us = _LAYOUT.unpack_from(data)
    wrong = _what_is_wrong(first >> 5, flags, length, detect_mult, mine) or ("too long" if length > len(data) else "")
    if not wrong and yours == 0 and flags >> 6 > State.DOWN:
        wrong = "no discriminator of ours"
    if not wrong and flags & _AUTHENTICATED:
        wrong = "authentication is not in use"
    if wrong:
        raise Discarded(wrong)
    return Control(
        state=State(flags >> 6),
        mine=mine,
        yours=yours,
        detect_mult=detect_mult,
        desired_min_tx_us=tx_us,
        required_min_rx_us=rx_us,
        diagnostic=Diagnostic(first & 0x1F),
        poll=bool(flags & _POLL),
        final=bool(flags & _FINAL),
        independent=bool(flags & _INDEPENDENT),
        demand=bool(flags & _DEMAND),
        required_min_echo_rx_us=echo_us,
    )


def _what_is_wrong(version: int, flags: int, length: int, detect_mult: int, mine: int) -> str:
    """The checks of RFC 5880, 6.8.6, in its order."""
    if version != VERSION:
        return "version"
    if length < (_LENGTH_WITH_AUTHENTICATION_BYTES if flags & _AUTHENTICATED else LENGTH_BYTES):
        return "length"
    if detect_mult == 0:
        return "detect mult is 0"
    if flags & _MULTIPOINT:
        return "multipoint"
    if mine == 0:
        return "discriminator is 0"
    return ""
