"""What the speaker and bfd tell each other, as values and as JSON lines over /var/run/calico/bfd.sock (bfd listens).

bgp → bfd: ``hello``, then ``watch``: each time the whole set of neighbours to watch. The set that was said last, by
whom ever, is the one that counts, and it stays when its sender goes: a speaker that restarts is no reason to stop.
bfd → bgp: ``hello``, then one ``session`` for each that there is, the same after each ``watch``, and again one for each
whose state has changed.

Both sides refuse a ``hello`` of another version. Lines are UTF-8, one JSON object each, at most 1 MiB.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from bgp.bfd.packet import State
from bgp.json_lines import Language

Address = IPv4Address | IPv6Address

VERSION = 1
SOCKET_NAME = "bfd.sock"
LONGEST_LINE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Watch:
    """A neighbour on a network of ours. ``local`` None leaves the source address to the kernel."""

    peer: Address
    local: Address | None = None


@dataclass(frozen=True, slots=True)
class Hello:
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class Watches:
    wanted: frozenset[Watch]


@dataclass(frozen=True, slots=True)
class SessionStatus:
    """One session as it is now.

    ``has_failed``: it was Up and fell by nobody's wish. ``is_independent``: the neighbour's BFD does not share the fate
    of its speaker (the C bit). ``why`` is what a person wants to know of one that is not Up.
    """

    peer: Address
    state: State
    has_failed: bool = False
    is_independent: bool = False
    why: str = ""
    interval_ms: int = 0
    detection_time_ms: int = 0

    @property
    def is_up(self) -> bool:
        return self.state is State.UP


Message = Hello | Watches | SessionStatus


def _to_json(message: Message) -> dict[str, Any]:
    match message:
        case Hello(version):
            return {"type": "hello", "version": version}
        case Watches(wanted):
            return {"type": "watch", "wanted": sorted([str(each.peer), str(each.local or "")] for each in wanted)}
        case SessionStatus():
            return {
                "type": "session",
                "peer": str(message.peer),
                "state": message.state.word,
                "failed": message.has_failed,
                "independent": message.is_independent,
                "why": message.why,
                "interval_ms": message.interval_ms,
                "detection_time_ms": message.detection_time_ms,
            }


_STATES = {state.word: state for state in State}


def _from_json(raw: Any) -> Message:
    match raw["type"]:
        case "hello":
            return Hello(int(raw["version"]))
        case "watch":
            pairs = ((ip_address(peer), ip_address(local) if local else None) for peer, local in raw["wanted"])
            return Watches(frozenset(Watch(peer, local) for peer, local in pairs))
        case "session":
            return SessionStatus(
                peer=ip_address(raw["peer"]),
                state=_STATES[raw["state"]],
                has_failed=bool(raw["failed"]),
                is_independent=bool(raw["independent"]),
                why=str(raw["why"]),
                interval_ms=int(raw["interval_ms"]),
                detection_time_ms=int(raw["detection_time_ms"]),
            )
        case other:
            raise ValueError(f"unknown message type {other!r}")


_LANGUAGE: Language[Message] = Language(_to_json, _from_json)
to_line, from_line = _LANGUAGE.to_line, _LANGUAGE.from_line
