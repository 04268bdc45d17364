"""Rules as values, in no backend's language: what is matched, what is done, in which chain, and why.

A :class:`RuleSet` is all that felix wants of the packet filter. Both writers render the same one, so whatever can be
said here exists in nftables and in iptables alike. Names of tables, hooks, chains and sets are upstream's (Calico
felix/rules), because a node that is taken over must recognise them, and so must a person who knows Calico.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, collapse_addresses

from felix.fib.model import Why

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Ports = tuple[int, int]  # first and last

OUR_PREFIX = "cali-"
VERSIONS = (4, 6)


class FirewallUnavailable(Exception):
    """The packet filter cannot be read or written now: a program or module is missing, a lock is held, the kernel
    refuses. Try again later; nothing is half done. ``versions``: the IP versions that are not as they should be.
    """

    def __init__(self, why: str, versions: frozenset[int] = frozenset(VERSIONS)) -> None:
        super().__init__(why)
        self.versions = versions


class Table(Enum):
    """In the order in which a packet meets them."""

    RAW = "raw"
    MANGLE = "mangle"
    NAT = "nat"
    FILTER = "filter"


class Hook(Enum):
    PREROUTING = "PREROUTING"
    INPUT = "INPUT"
    FORWARD = "FORWARD"
    OUTPUT = "OUTPUT"
    POSTROUTING = "POSTROUTING"


# What is matched. A device pattern that ends in "*" means every device whose name begins so.


@dataclass(frozen=True, slots=True)
class FromDevice:
    pattern: str


@dataclass(frozen=True, slots=True)
class ToDevice:
    pattern: str


@dataclass(frozen=True, slots=True)
class IsProtocol:
    """``name`` is spelled as upstream spells it in that rule, "17" or "udp": hashes of rules cover the spelling."""

    name: str


@dataclass(frozen=True, slots=True)
class ToPort:
    """Stands behind an IsProtocol of UDP."""

    port: int


@dataclass(frozen=True, slots=True)
class FromSet:
    name: str
    is_member: bool = True


@dataclass(frozen=True, slots=True)
class ToSet:
    name: str
    is_member: bool = True


@dataclass(frozen=True, slots=True)
class FromNetwork:
    network: Network
    is_so: bool = True


@dataclass(frozen=True, slots=True)
class ToNetwork:
    network: Network
    is_so: bool = True


@dataclass(frozen=True, slots=True)
class HasMark:
    """All these bits are set."""

    bits: int


@dataclass(frozen=True, slots=True)
class ToThisHost:
    """The destination is an address of this host."""


@dataclass(frozen=True, slots=True)
class FromThisHost:
    """Whether the source is an address of this host, or, ``on_out_device``, of the device that the packet leaves by."""

    is_so: bool = True
    on_out_device: bool = False


@dataclass(frozen=True, slots=True)
class HasNoRouteBack:
    """This host would not answer the source through the device that the packet came in by."""


@dataclass(frozen=True, slots=True)
class IsEstablished:
    """Belongs to a connection that is known, or to an error about one."""


@dataclass(frozen=True, slots=True)
class IsIcmp6:
    type: int


@dataclass(frozen=True, slots=True)
class IsSyn:
    """Opens a TCP connection, or accepts one."""


Match = (
    FromDevice
    | ToDevice
    | IsProtocol
    | ToPort
    | FromSet
    | ToSet
    | FromNetwork
    | ToNetwork
    | HasMark
    | ToThisHost
    | FromThisHost
    | HasNoRouteBack
    | IsEstablished
    | IsIcmp6
    | IsSyn
)


# What is done.


@dataclass(frozen=True, slots=True)
class Accept:
    pass


@dataclass(frozen=True, slots=True)
class Drop:
    pass


@dataclass(frozen=True, slots=True)
class Reject:
    pass


@dataclass(frozen=True, slots=True)
class Return:
    pass


@dataclass(frozen=True, slots=True)
class Jump:
    chain: str


@dataclass(frozen=True, slots=True)
class Goto:
    """As Jump, but what the chain returns goes on behind the chain that this rule is in."""

    chain: str


@dataclass(frozen=True, slots=True)
class Masquerade:
    """Source ports are chosen at random, from ``ports`` if given: two nodes behind one gateway must not agree.

    ``is_random`` False: as the kernel likes.
    """

    ports: Ports | None = None
    is_random: bool = True


@dataclass(frozen=True, slots=True)
class SourceNat:
    address: Address
    ports: Ports | None = None


@dataclass(frozen=True, slots=True)
class NoTrack:
    pass


@dataclass(frozen=True, slots=True)
class ClampMss:
    """Lowers the largest segment that a TCP connection offers; never raises it (both kernel halves see to that)."""

    mss_bytes: int


Action = Accept | Drop | Reject | Return | Jump | Goto | Masquerade | SourceNat | NoTrack | ClampMss


@dataclass(frozen=True, slots=True)
class Rule:
    """``comment`` is written into the kernel behind the hash, and is upstream's text where upstream has the rule."""

    matches: tuple[Match, ...]
    action: Action
    why: Why
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A rule of ours in a chain that is everybody's: before all others, or behind them."""

    table: Table
    hook: Hook
    rule: Rule
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class ChainKey:
    table: Table
    name: str


@dataclass(frozen=True, slots=True)
class FamilyRules:
    """The rules of one IP version. ``sets`` hold networks that do not overlap (:func:`networks` makes them so)."""

    version: int
    sets: Mapping[str, frozenset[Network]] = field(default_factory=dict)
    chains: Mapping[ChainKey, tuple[Rule, ...]] = field(default_factory=dict)
    entries: tuple[Entry, ...] = ()

    def hooked(self, table: Table, hook: Hook) -> tuple[tuple[Rule, ...], tuple[Rule, ...]]:
        """What stands first and what stands last in the kernel's chain ``hook`` of ``table``."""
        here = [entry for entry in self.entries if (entry.table, entry.hook) == (table, hook)]
        first = tuple(entry.rule for entry in here if not entry.is_last)
        return first, tuple(entry.rule for entry in here if entry.is_last)


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Everything that the packet filter should hold of ours. Made whole by one pure function, never edited."""

    v4: FamilyRules = FamilyRules(4)
    v6: FamilyRules = FamilyRules(6)

    @property
    def families(self) -> tuple[FamilyRules, FamilyRules]:
        return self.v4, self.v6


NOTHING = RuleSet()


def networks(found: Iterable[Network], version: int) -> frozenset[Network]:
    """Those of one IP version, as few as say the same: no backend likes members that overlap."""
    of_version = [network for network in found if network.version == version]
    return frozenset(collapse_addresses(of_version))  # type: ignore[type-var]  # all of one version
