"""What the speaker says of itself, in the text of BIRD 1's control socket: calicoctl and calico-node read nothing else.

Columns, codes and words are BIRD 1.6's, header in lower case: upstream's reader compares it. Beyond what BIRD has,
``show protocols all`` lists refused routes by reason; readers of BIRD skip lines that they do not know. A neighbour
that is not brought up stands in the table as ``down`` with the reason.

Source: BIRD 1.6 (nest/proto.c, nest/rt-table.c, proto/bgp/bgp.c); Calico calicoctl node status, node/pkg/health,
node/pkg/status.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from itertools import islice

from bgp.message import Attributes, Cause, Opened, Trouble, members
from bgp.rib import STATIC, Tally
from bgp.session import State

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

VERSION = "v1.6.8+tortie"
_TIME_OF_DAY_FOR = timedelta(hours=20)
"""How long BIRD shows the time of day before it shows the date."""


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """One row. ``since_wall`` as of the last change between up and not up; ``unbuilt`` why it is not brought up."""

    name: str
    since_wall: datetime
    state: State = State.IDLE
    is_passive: bool = False
    address: Address | None = None
    peer_as: int = 0
    is_internal: bool = True
    local_address: Address | None = None
    opened: Opened | None = None
    trouble: Trouble | None = None
    tally: Tally = field(default_factory=Tally)
    counters: Mapping[str, int] = field(default_factory=dict)
    exported: int = 0
    unbuilt: str = ""


@dataclass(frozen=True, slots=True)
class PathStatus:
    """One accepted path, best first for its destination."""

    peer: str
    attributes: Attributes
    address: Address


@dataclass(frozen=True, slots=True)
class SpeakerStatus:
    """``waiting`` is why nothing is spoken yet, or ""; ``recovers`` the neighbours that have yet to say End-of-RIB."""

    now_wall: datetime
    started_wall: datetime
    configured_wall: datetime
    router_id: IPv4Address | None = None
    peers: tuple[PeerStatus, ...] = ()
    exports: tuple[Network, ...] = ()
    paths: tuple[tuple[Network, tuple[PathStatus, ...]], ...] = ()
    recovers: tuple[str, ...] = ()
    recovery_left_s: int = 0
    recovery_time_s: int = 0
    waiting: str = ""
    strangers: int = 0


WayOut = Callable[[Address], tuple[str, Address | None] | None]
"""The device to a next hop, and the gateway where there is one between; None when there is no way."""

BANNER = f"0001 BIRD {VERSION} ready.\n"


def answer(command: str, status: SpeakerStatus, way_out: WayOut) -> str:
    """The reply to one line, with its codes."""
    words = command.split()
    match words:
        case ["show", "protocols"]:
            return _reply(_protocols(status), end="")
        case ["show", "protocols", "all", *names] if len(names) <= 1:
            return _protocols_all(status, names)
        case ["show", "protocols", name]:
            return _reply(_named(status, [name]), end="") if _find(status, [name]) else _no_such_protocol()
        case ["show", "status"]:
            return _reply(_status(status), end="Daemon is up and running", code=13)
        case ["show", "route"]:
            return _reply(_routes(status, way_out), end="")
        case _:
            return "9001 syntax error\n"


Lines = Iterable[tuple[int, str]]


def _reply(lines: Lines, *, end: str, code: int = 0) -> str:
    """A line whose code is that of the one before has a blank in its place; the last one says that it is the last."""
    said, last = [], None
    for each, text in lines:
        said.append(f" {text}" if each == last else f"{each:04d}-{text}")
        last = each
    return "\n".join([*said, f"{code:04d} {end}"]) + "\n"


# show protocols

_HEADER = (2002, "name     proto    table    state  since       info")


def _protocols(status: SpeakerStatus) -> Lines:
    yield _HEADER
    yield 1002, _row(STATIC, "Static", "up", since(status, status.started_wall), "")
    for peer in status.peers:
        yield 1002, _peer_row(status, peer)


def _named(status: SpeakerStatus, names: Sequence[str]) -> Lines:
    yield _HEADER
    for peer in _find(status, names):
        yield 1002, _peer_row(status, peer)


def _find(status: SpeakerStatus, names: Sequence[str]) -> list[PeerStatus]:
    return [peer for peer in status.peers if not names or peer.name in names]


def _no_such_protocol() -> str:
    return "8003 No protocols match\n"


def _row(name: str, protocol: str, state: str, since: str, info: str) -> str:
    return f"{name:<8} {protocol:<8} {'master':<8} {state:<5}  {since:<10}  {info}"


def _peer_row(status: SpeakerStatus, peer: PeerStatus) -> str:
    info = f"{state_word(peer):<14}{peer.unbuilt or trouble_words(peer.trouble)}"
    return _row(peer.name, "BGP", _is_up(peer), since(status, peer.since_wall), info)


def _is_up(peer: PeerStatus) -> str:
    if peer.unbuilt:
        return "down"
    return "up" if peer.state is State.ESTABLISHED else "start"


def state_word(peer: PeerStatus) -> str:
    if peer.unbuilt:
        return "Down"
    return "Passive" if peer.is_passive and peer.state in (State.IDLE, State.ACTIVE) else peer.state.value


def since(status: SpeakerStatus, then_wall: datetime) -> str:
    """The time of day, or of long ago the date."""
    is_recent = status.now_wall - then_wall <= _TIME_OF_DAY_FOR
    return then_wall.strftime("%H:%M:%S" if is_recent else "%Y-%m-%d")


_ERRORS = {
    (1, 1): "Connection not synchronized",
    (1, 2): "Bad message length",
    (1, 3): "Bad message type",
    (2, 1): "Unsupported version number",
    (2, 2): "Bad peer AS",
    (2, 3): "Bad BGP identifier",
    (2, 4): "Unsupported optional parameter",
    (2, 6): "Unacceptable hold time",
    (2, 7): "Required capability missing",
    (3, 1): "Malformed attribute list",
    (3, 3): "Missing mandatory attribute",
    (3, 9): "Optional attribute error",
    (3, 10): "Invalid network field",
    (5, 1): "Unexpected message in OpenSent state",
    (5, 2): "Unexpected message in OpenConfirm state",
    (5, 3): "Unexpected message in Established state",
    (6, 1): "Maximum number of prefixes reached",
    (6, 2): "Administrative shutdown",
    (6, 3): "Peer de-configured",
    (6, 4): "Administrative reset",
    (6, 5): "Connection rejected",
    (6, 6): "Other configuration change",
    (6, 7): "Connection collision resolution",
    (6, 8): "Out of Resources",
    (6, 10): "BFD session down",
    (7, 1): "Invalid ROUTE-REFRESH message length",
}
_ERROR_CLASSES = {
    1: "Invalid message header",
    2: "Invalid OPEN message",
    3: "Invalid UPDATE message",
    4: "Hold timer expired",
    5: "Finite state machine error",
    6: "Cease",
    7: "Invalid ROUTE-REFRESH message",
    8: "Send hold timer expired",
}


def trouble_words(trouble: Trouble | None) -> str:
    """``Socket: Connection refused``, ``Received: Administrative shutdown``."""
    if trouble is None:
        return ""
    if trouble.cause is Cause.SOCKET:
        return f"Socket: {trouble.text}"
    words = _ERRORS.get((trouble.code, trouble.subcode)) or _ERROR_CLASSES.get(trouble.code)
    return f"{trouble.cause.value}: {words or f'Unknown error {trouble.code}.{trouble.subcode}'}"


# show protocols all


def _protocols_all(status: SpeakerStatus, names: Sequence[str]) -> str:
    found = _find(status, names)
    if names and not found:
        return _no_such_protocol()
    lines: list[tuple[int, str]] = [_HEADER]
    for peer in found:
        lines.append((1002, _peer_row(status, peer)))
        lines += [(1006, text) for text in [*_details(peer), ""]]
    return _reply(lines, end="")


def _details(peer: PeerStatus) -> Iterable[str]:
    tally = peer.tally
    yield "  Description:    Connection to BGP peer"
    yield "  Preference:     100"
    yield f"  Routes:         {tally.accepted} imported, {peer.exported} exported, {tally.accepted} preferred"
    yield f"  Routes refused: {_counts(tally.refused)}"
    yield f"  Stale routes:   {tally.stale}, left out: {tally.left_out}"
    yield f"  Refused so far: {_counts(tally.refusals)}"
    yield f"  Malformed:      {peer.counters.get('malformed', 0)} of {peer.counters.get('updates', 0)} updates"
    yield f"  BGP state:          {state_word(peer)}"
    yield f"    Neighbor address: {peer.address if peer.address is not None else ''}"
    yield f"    Neighbor AS:      {peer.peer_as}"
    if peer.opened is not None:
        yield from _session_details(peer, peer.opened)
    if peer.unbuilt or peer.trouble is not None:
        yield f"    Last error:       {peer.unbuilt or trouble_words(peer.trouble)}"
    if peer.trouble is not None and peer.trouble.text and peer.trouble.cause is not Cause.SOCKET:
        yield f"    Details:          {peer.trouble.text}"


def _session_details(peer: PeerStatus, opened: Opened) -> Iterable[str]:
    yield f"    Neighbor ID:      {opened.router_id}"
    yield f"    Neighbor caps:    {' '.join(opened.capabilities)}"
    yield f"    Session:          {'internal' if peer.is_internal else 'external'}{_as4(opened)}"
    yield f"    Source address:   {peer.local_address}"
    yield f"    Hold timer:       {opened.hold_time_s}"
    yield f"    Keepalive timer:  {opened.hold_time_s // 3}"


def _as4(opened: Opened) -> str:
    return " AS4" if "AS4" in opened.capabilities else ""


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in sorted(counts.items())) or "none"


# show status


def _status(status: SpeakerStatus) -> Lines:
    yield 1000, f"BIRD {VERSION}"
    yield 1011, f"Router ID is {status.router_id or '0.0.0.0'}"
    yield 1011, f"Current server time is {moment(status.now_wall)}"
    yield 1011, f"Last reboot on {moment(status.started_wall)}"
    yield 1011, f"Last reconfiguration on {moment(status.configured_wall)}"
    if status.waiting:
        yield 1011, f"Waiting: {status.waiting}"
    if status.strangers:
        yield 1011, f"Connections refused from unknown addresses: {status.strangers}"
    if status.recovers:
        yield 24, "Graceful restart recovery in progress"
        yield 24, f"  Waiting for {len(status.recovers)} protocols to recover"
        yield 24, f"  Wait timer is {status.recovery_left_s}/{status.recovery_time_s}"


def moment(wall: datetime) -> str:
    """As BIRD writes it."""
    return wall.strftime("%Y-%m-%d %H:%M:%S")


# show route


def _routes(status: SpeakerStatus, way_out: WayOut) -> Lines:
    times = {peer.name: since(status, peer.since_wall) for peer in status.peers}
    own = [(dst, [f"blackhole [{STATIC} {since(status, status.configured_wall)}] * (200)"]) for dst in status.exports]
    learned = [
        (dst, [_path(path, times, way_out, is_best=path is paths[0]) for path in paths]) for dst, paths in status.paths
    ]
    for dst, texts in sorted([*own, *learned], key=lambda each: (each[0].version, each[0])):
        for column, text in zip([str(dst)] + [""] * len(texts), texts, strict=False):
            yield 1007, f"{column:<18} {text}"


def _path(path: PathStatus, times: Mapping[str, str], way_out: WayOut, *, is_best: bool) -> str:
    attributes = path.attributes
    found = way_out(attributes.next_hop) if attributes.next_hop is not None else None
    gateway = (found[1] if found is not None else None) or attributes.next_hop
    via = f"via {gateway} on {found[0]}" if found is not None else "unreachable"
    told_by = "" if path.address == gateway and found is not None else f" from {path.address}"
    origin_as = "".join(f"AS{number}" for number in islice(members(attributes.as_path[-1:]), 1))
    mark, metric = " *" if is_best else "", "0" if found is not None else "-"
    return (
        f"{via} [{path.peer} {times.get(path.peer, '')}{told_by}]{mark} (100/{metric}) "
        f"[{origin_as}{attributes.origin.letter}]"
    )
