"""Which sessions a speaker should have, as values: made by :mod:`bgp.mesh` from a cluster, by
:mod:`bgp.speaker_config` from a file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, IntFlag
from ipaddress import IPv4Address, IPv6Address

from bgp.filters import Filter
from bgp.session import HOLD_TIME_S

Address = IPv4Address | IPv6Address

DEFAULT_PORT = 179
DEFAULT_RESTART_TIME_S = 120


class Kind(Enum):
    MESH = "Mesh"
    GLOBAL = "Global"
    NODE = "Node"


class AddPath(IntFlag):
    """Whether several paths to a destination are taken from a neighbour, and sent to it (RFC 7911, 4)."""

    NONE = 0
    RECEIVE = 1
    SEND = 2
    BOTH = 3


class NextHopMode(Enum):
    """What becomes of the next hop of a route that is passed on. ``AUTO``: it stays among internal neighbours."""

    AUTO = "Auto"
    SELF = "Self"
    KEEP = "Keep"


@dataclass(frozen=True, slots=True)
class Neighbour:
    """One BGP session that this node should have. ``name`` is its identity everywhere.

    ``local_address`` None leaves the source address to the kernel. ``node`` is the far end's name where it is a node.
    ``keepalive_time_s`` 0: a third of the hold time. ``ttl_hops``: it is at most so far away, which every packet of it
    must prove (RFC 5082); 0 does not ask. ``gateway``: the way to it, if it is not the kernel's. ``cluster_id``: it is
    our client in this cluster (RFC 4456). ``allowed_local_as``: how often our own AS may be in a path of it.
    ``versions``: the families that are spoken with it, none for that of its address; ``other_address`` is ours of the
    family that ``local_address`` is not of, the next hop there. ``survives_notifications``: graceful restart holds over
    NOTIFICATIONs too, if it also says so (RFC 8538). ``max_prefixes``: the session ends when it announces more
    (RFC 4486); 0 sets no such limit. ``is_watched``: BFD says when it is dead, if it speaks BFD and is on a network of
    ours. ``needs_near_next_hops``: it is of another AS, and while it is on a network of ours its next hops must be too
    (RFC 4271, 5.1.3). ``enforces_first_as``: of another AS, its paths must begin with that (6.3).
    """

    name: str
    kind: Kind
    address: Address
    peer_as: int
    local_as: int
    local_address: Address | None = None
    port: int = DEFAULT_PORT
    is_passive: bool = False
    restart_time_s: int = DEFAULT_RESTART_TIME_S
    node: str = ""
    keepalive_time_s: int = 0
    ttl_hops: int = 0
    password: str = field(default="", repr=False)
    gateway: Address | None = None
    cluster_id: IPv4Address | None = None
    next_hop_mode: NextHopMode = NextHopMode.AUTO
    allowed_local_as: int = 0
    filters: tuple[Filter, ...] = ()
    versions: tuple[int, ...] = ()
    other_address: Address | None = None
    survives_notifications: bool = False
    hold_time_s: int = HOLD_TIME_S
    max_prefixes: int = 0
    is_watched: bool = False
    needs_near_next_hops: bool = False
    enforces_first_as: bool = False
    add_path: AddPath = AddPath.NONE

    @property
    def is_internal(self) -> bool:
        return self.peer_as == self.local_as

    @property
    def spoken(self) -> tuple[int, ...]:
        """The families that are offered to it, by IP version."""
        return self.versions or (self.address.version,)


@dataclass(frozen=True, slots=True)
class ListenAt:
    """Where neighbours dial this node. No addresses means all."""

    port: int = DEFAULT_PORT
    addresses: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True)
class Unbuilt:
    """A neighbour that is not brought up, because ``why``."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Mesh:
    """The neighbours in order of their names, and those that this program cannot serve yet."""

    neighbours: tuple[Neighbour, ...] = ()
    unbuilt: tuple[Unbuilt, ...] = ()
