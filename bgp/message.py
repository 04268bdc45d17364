"""What BGP messages say, as values: what the codec hands out and the rest of the speaker works with.

No bytes of the protocol are in here but the data of an error, which goes back as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, IntEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import NamedTuple

from bgp.session import Event

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Numbered(NamedTuple):
    """One of several paths to a destination, by the number that its sender gave it (RFC 7911)."""

    dst: Network
    path_id: int


Place = Network | Numbered
"""Where a route stands in a table: at its destination, which has one, or beside others."""


def dst_of(place: Place) -> Network:
    return place.dst if isinstance(place, Numbered) else place


class Origin(IntEnum):
    IGP = 0
    EGP = 1
    INCOMPLETE = 2

    @property
    def letter(self) -> str:
        return "ie?"[self]


DEFAULT_LOCAL_PREF = 100

AsPath = tuple[int | tuple[int, ...], ...]
"""An AS each, and a tuple for a set of them, which counts as one (RFC 4271, 9.1.2.2)."""

Community = tuple[int, ...]
"""Two numbers (RFC 1997) or three (RFC 8092)."""
NO_EXPORT: Community = (0xFFFF, 0xFF01)
NO_ADVERTISE: Community = (0xFFFF, 0xFF02)
NO_EXPORT_SUBCONFED: Community = (0xFFFF, 0xFF03)


@dataclass(frozen=True, slots=True)
class Carried:
    """An attribute that means nothing here and is passed on as it came."""

    code: int
    flags: int
    value: bytes


@dataclass(frozen=True, slots=True)
class Attributes:
    """What path selection and validation look at. One value is shared by all destinations that came with it.

    ``next_hop`` None means that there was none to be read. ``communities`` and ``carried`` matter to filters and to
    those that the route is passed on to, ``partial`` to the latter alone: attributes, by code, that somebody on the way
    did not know (RFC 4271, 5).
    """

    next_hop: Address | None
    local_pref: int = DEFAULT_LOCAL_PREF
    as_path: AsPath = ()
    origin: Origin = Origin.IGP
    med: int = 0
    originator: IPv4Address | None = None
    clusters: tuple[IPv4Address, ...] = ()
    communities: tuple[Community, ...] = ()
    carried: tuple[Carried, ...] = ()
    partial: frozenset[int] = frozenset()

    @property
    def neighbour_as(self) -> int:
        """The AS that the route came from, 0 for our own and where it is one of a set."""
        first = self.as_path[0] if self.as_path else 0
        return first if isinstance(first, int) else 0


def members(path: AsPath) -> Iterator[int]:
    """Every AS in it, those of sets too."""
    for each in path:
        yield from (each,) if isinstance(each, int) else each


@dataclass(frozen=True, slots=True)
class Graceful:
    """The peer's graceful restart capability (RFC 4724) for the families of this session.

    ``versions``: those that are listed, so their routes are to be kept while the peer restarts. ``forwarding``: those
    with the F bit. ``has_restarted``: the R bit. ``survives_notifications``: the N bit (RFC 8538).
    """

    restart_time_s: int
    versions: frozenset[int] = frozenset()
    forwarding: frozenset[int] = frozenset()
    has_restarted: bool = False
    survives_notifications: bool = False

    @property
    def is_able(self) -> bool:
        return bool(self.versions)


@dataclass(frozen=True, slots=True)
class Opened:
    """A valid OPEN, and what follows from both. ``capabilities`` are the peer's, in the words of BIRD 1; ``versions``
    are the families that both speak, ``many_paths`` those in which we may send several paths to a destination.
    """

    router_id: IPv4Address
    peer_as: int
    hold_time_s: int
    graceful: Graceful | None
    capabilities: tuple[str, ...] = ()
    can_refresh: bool = False
    versions: frozenset[int] = frozenset({4})
    many_paths: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Learned:
    """One UPDATE, or the part of one that shares a next hop. ``faults`` name what RFC 7606 found and did."""

    withdrawn: tuple[Place, ...] = ()
    announced: tuple[Place, ...] = ()
    attributes: Attributes | None = None
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EndOfRib:
    version: int = 4


@dataclass(frozen=True, slots=True)
class KeptAlive:
    pass


class Refreshing(Enum):
    """ROUTE-REFRESH: a request, or the brackets of the answer to one (RFC 7313)."""

    REQUEST = 0
    BEGIN = 1
    END = 2


@dataclass(frozen=True, slots=True)
class Refresh:
    """``what`` None: of a kind or a family that is not spoken here."""

    what: Refreshing | None
    version: int = 4


@dataclass(frozen=True, slots=True)
class Notified:
    """The peer ended the session. ``text`` is its shutdown communication (RFC 9003), or "". ``is_hard``: whatever was
    agreed on, its routes are not to be kept (RFC 8538); code and subcode are then those inside.
    """

    code: int
    subcode: int
    text: str = ""
    is_hard: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """The peer sent what ends the session. ``event`` says to the state machine which kind it was."""

    event: Event
    code: int
    subcode: int
    data: bytes
    why: str


Received = Opened | Learned | EndOfRib | KeptAlive | Refresh | Notified | Fault


class Cause(Enum):
    """Who ended a session, for the status."""

    SOCKET = "Socket"
    RECEIVED = "Received"
    SENT = "BGP Error"


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why the last session or attempt ended. ``text`` for sockets and shutdown communications, codes for the rest."""

    cause: Cause
    code: int = 0
    subcode: int = 0
    text: str = ""
