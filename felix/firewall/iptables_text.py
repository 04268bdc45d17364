"""A RuleSet as iptables says it: the text of a rule, its hash, and the edits that turn a table into what is wanted.

Pure. Each of our rules carries a comment ``cali:`` and a hash that covers the chain's name, the rules before it and
the rule itself; nothing else of a listed rule is compared, because the kernel gives rules back in other words. The
hash is upstream's, over upstream's text, so a chain that Calico wrote and that says the same is left as it is.

Ours are the chains whose names begin with ``cali-``, and in the kernel's own chains the rules that carry a hash. Those
are kept first (or last) in one run each; everything between them is somebody else's, and keeps its order and place.

Source: Calico felix/generictables/rules.go (hash), felix/iptables (text); iptables-extensions(8).
"""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from felix.firewall.model import (
    OUR_PREFIX,
    Accept,
    Action,
    ClampMss,
    Drop,
    FamilyRules,
    FromDevice,
    FromNetwork,
    FromSet,
    FromThisHost,
    Goto,
    HasMark,
    HasNoRouteBack,
    Hook,
    IsEstablished,
    IsIcmp6,
    IsProtocol,
    IsSyn,
    Jump,
    Masquerade,
    Match,
    NoTrack,
    Reject,
    Return,
    Rule,
    SourceNat,
    Table,
    ToDevice,
    ToNetwork,
    ToPort,
    ToSet,
    ToThisHost,
)

HASH_PREFIX = "cali:"
_HASH_LENGTH = 16
_UNSAFE_IN_A_COMMENT = re.compile(r"[^\w @%+=:,./-]")
_APPENDED = re.compile(r"^-A (\S+)")
_TARGET = re.compile(r" -[jg] (\S+)")
_HASH = re.compile(rf'--comment "?{HASH_PREFIX}([A-Za-z0-9_-]{{{_HASH_LENGTH}}})"?(?: |$)')


@dataclass(frozen=True, slots=True)
class Written:
    """A rule and the hash that it has in its place."""

    hash: str
    rule: Rule


@dataclass(frozen=True, slots=True)
class Ends:
    """What is wanted in a chain of the kernel's: before all others, and behind them."""

    first: tuple[Written, ...] = ()
    last: tuple[Written, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """One table of one IP version."""

    chains: Mapping[str, tuple[Written, ...]] = field(default_factory=dict)
    hooks: Mapping[str, Ends] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        return not self.chains and not any(ends.first or ends.last for ends in self.hooks.values())


@dataclass(frozen=True, slots=True)
class Listed:
    """``chains``: to the hashes of their rules in order, "" for a rule without one; foreign chains may be missing.
    ``referenced``: chains of ours that somebody else's rules are known to lead to.
    """

    chains: Mapping[str, Sequence[str]] = field(default_factory=dict)
    referenced: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class NewChain:
    chain: str


@dataclass(frozen=True, slots=True)
class FlushChain:
    chain: str


@dataclass(frozen=True, slots=True)
class DeleteChain:
    chain: str


@dataclass(frozen=True, slots=True)
class Append:
    chain: str
    written: Written


@dataclass(frozen=True, slots=True)
class Insert:
    """``position`` counts from 1."""

    chain: str
    position: int
    written: Written


@dataclass(frozen=True, slots=True)
class Remove:
    """``position`` counts from 1, when the edits before this one are done."""

    chain: str
    position: int


Edit = NewChain | FlushChain | DeleteChain | Append | Insert | Remove


# From a rule set to a table.


def wanted(family: FamilyRules, table: Table) -> Wanted:
    chains = {key.name: written(key.name, rules) for key, rules in family.chains.items() if key.table is table}
    return Wanted(chains, {hook.value: _ends(family, table, hook) for hook in Hook})


def _ends(family: FamilyRules, table: Table, hook: Hook) -> Ends:
    first, last = family.hooked(table, hook)
    return Ends(written(hook.value, first), written(hook.value, last))


def written(chain: str, rules: Iterable[Rule]) -> tuple[Written, ...]:
    found: list[Written] = []
    last = hashlib.sha224(chain.encode()).digest()
    for rule in rules:
        last = hashlib.sha224(last + f"-A {chain} HASH {rule_text(rule)}".encode()).digest()
        found.append(Written(urlsafe_b64encode(last).decode()[:_HASH_LENGTH], rule))
    return tuple(found)


# From a rule to text.


def rule_text(rule: Rule) -> str:
    comment = [f'-m comment --comment "{comment_text(rule.comment)}"'] if rule.comment else []
    return " ".join([*comment, *map(match_text, rule.matches), action_text(rule.action)])


def comment_text(comment: str) -> str:
    return _UNSAFE_IN_A_COMMENT.sub("_", comment)[:256]


def match_text(match: Match) -> str:
    match match:
        case FromDevice(pattern):
            return f"--in-interface {device_text(pattern)}"
        case ToDevice(pattern):
            return f"--out-interface {device_text(pattern)}"
        case IsProtocol(name):
            return f"-p {name}"
        case ToPort(port):
            return f"-m multiport --destination-ports {port}"
        case FromSet(name, is_member):
            return f"-m set {_not(is_member)}--match-set {name} src"
        case ToSet(name, is_member):
            return f"-m set {_not(is_member)}--match-set {name} dst"
        case FromNetwork(network, is_so):
            return f"{_not(is_so)}--source {network}"
        case ToNetwork(network, is_so):
            return f"{_not(is_so)}--destination {network}"
        case HasMark(bits):
            return f"-m mark --mark {bits:#x}/{bits:#x}"
        case ToThisHost():
            return "-m addrtype --dst-type LOCAL"
        case FromThisHost(is_so, on_out_device):
            return f"-m addrtype {_not(is_so)}--src-type LOCAL{' --limit-iface-out' if on_out_device else ''}"
        case HasNoRouteBack():
            return "-m rpfilter --invert --validmark"
        case IsEstablished():
            return "-m conntrack --ctstate RELATED,ESTABLISHED"
        case IsIcmp6(type_):
            return f"-m icmp6 --icmpv6-type {type_}"
        case IsSyn():
            return "-p tcp -m tcp --tcp-flags SYN,RST SYN"


def device_text(pattern: str) -> str:
    return f"{pattern[:-1]}+" if pattern.endswith("*") else pattern


def _not(is_so: bool) -> str:
    return "" if is_so else "! "


def action_text(action: Action) -> str:
    match action:
        case Accept():
            return "--jump ACCEPT"
        case Drop():
            return "--jump DROP"
        case Reject():
            return "--jump REJECT"
        case Return():
            return "--jump RETURN"
        case Jump(chain):
            return f"--jump {chain}"
        case Goto(chain):
            return f"--goto {chain}"
        case Masquerade(ports, is_random):
            to_ports = "" if ports is None else f" --to-ports {ports[0]}-{ports[1]}"
            return f"--jump MASQUERADE{to_ports}{' --random-fully' if is_random else ''}"
        case SourceNat():
            return f"--jump SNAT --to-source {source_text(action)} --random-fully"
        case NoTrack():
            return "--jump NOTRACK"
        case ClampMss(mss_bytes):
            return f"--jump TCPMSS --set-mss {mss_bytes}"


def source_text(action: SourceNat) -> str:
    if action.ports is None:
        return str(action.address)
    address = str(action.address) if action.address.version == 4 else f"[{action.address}]"
    return f"{address}:{action.ports[0]}-{action.ports[1]}"


# From what is listed to what is wanted.


def plan(table: Wanted, listed: Listed) -> list[Edit]:
    """Edits of one commit; none if nothing differs. References are made before and go before what they refer to.

    A chain of ours that is not wanted any more, but that somebody else's rule leads to, stays, empty.
    """
    held = listed.chains
    changed = [name for name, rules in table.chains.items() if list(_hashes(rules)) != list(held.get(name, ()))]
    gone = [name for name in held if is_ours(name) and name not in table.chains]
    return [
        *(NewChain(name) for name in table.chains if name not in held),
        *(edit for name in changed for edit in _rewrite(name, table.chains[name], held)),
        *(edit for hook in table.hooks if hook in held for edit in _hook_edits(hook, table.hooks[hook], held[hook])),
        *(FlushChain(name) for name in gone if held[name]),
        *(DeleteChain(name) for name in gone if name not in listed.referenced),
    ]


def is_ours(chain: str) -> bool:
    return chain.startswith(OUR_PREFIX)


def _rewrite(chain: str, rules: Iterable[Written], held: Mapping[str, Sequence[str]]) -> list[Edit]:
    flush: list[Edit] = [FlushChain(chain)] if held.get(chain) else []
    return [*flush, *(Append(chain, one) for one in rules)]


def _hook_edits(hook: str, ends: Ends, hashes: Sequence[str]) -> list[Edit]:
    held = list(hashes)
    foreign = [hash_ for hash_ in held if not hash_]
    if held == [*_hashes(ends.first), *foreign, *_hashes(ends.last)]:
        return []
    return [
        *(Remove(hook, place) for place in range(len(held), 0, -1) if held[place - 1]),
        *(Insert(hook, place, one) for place, one in enumerate(ends.first, 1)),
        *(Append(hook, one) for one in ends.last),
    ]


def _hashes(rules: Iterable[Written]) -> Iterator[str]:
    return (one.hash for one in rules)


# The text that iptables-save prints and iptables-restore --noflush takes.


def parse(saved: str) -> Listed:
    """Of one table."""
    chains: dict[str, list[str]] = {}
    referenced: set[str] = set()
    for line in saved.splitlines():
        if line.startswith(":"):
            chains[line[1:].split()[0]] = []
        elif (appended := _APPENDED.match(line)) is not None:
            hash_ = _HASH.search(line)
            chains.setdefault(appended[1], []).append(hash_[1] if hash_ else "")
            if hash_ is None and not is_ours(appended[1]) and (target := _TARGET.search(line)) is not None:
                referenced.add(target[1])
    return Listed(chains, frozenset(filter(is_ours, referenced)))


def restore_text(table: Table, edits: Iterable[Edit]) -> str:
    return "\n".join([f"*{table.value}", *map(edit_text, edits), "COMMIT", ""])


def edit_text(edit: Edit) -> str:
    match edit:
        case NewChain(chain):
            return f"-N {chain}"
        case FlushChain(chain):
            return f"-F {chain}"
        case DeleteChain(chain):
            return f"-X {chain}"
        case Append(chain, one):
            return f"-A {chain} {written_text(one)}"
        case Insert(chain, position, one):
            return f"-I {chain} {position} {written_text(one)}"
        case Remove(chain, position):
            return f"-D {chain} {position}"


def written_text(one: Written) -> str:
    return f'-m comment --comment "{HASH_PREFIX}{one.hash}" {rule_text(one.rule)}'
