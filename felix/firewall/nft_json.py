"""A RuleSet in the language of libnftables (``nft -j``), and the commands that turn what is listed into it. Pure.

Ours is the table ``calico`` of the families ip and ip6, as upstream has it: base chains ``filter-INPUT`` and so on
with upstream's priorities, behind them chains and sets named as in iptables. All in it is ours; nothing outside is
looked at or written.

Each rule carries ``cali:`` and a hash in its comment, which covers the chain's name, the rules before it and the rule.
Rules cannot be compared by their expressions: nft lists them in other words than it was told, and in others again
with each version. So an expression is compared only with what the same nft listed right after it was written
(:data:`Forms`), which tells an edit by hand that left the comment alone.

Source: libnftables-json(5); nftables 1.0.6 for what it lists.
"""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network, summarize_address_range
from typing import Any

from felix.firewall.model import (
    Accept,
    Action,
    Address,
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
    Network,
    NoTrack,
    Ports,
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
    networks,
)

Object = dict[str, Any]
Forms = Mapping[str, str]
"""A rule's hash to its expressions, as this machine's nft lists them."""

TABLE = "calico"
FAMILIES = {4: "ip", 6: "ip6"}
_PREFIX = "cali:"
_HASH_LENGTH = 16
_COMMENT_LENGTH = 127
_PROTOCOLS = {"tcp": 6, "udp": 17}
_KNOWN_OBJECTS = {"metainfo", "table", "chain", "rule", "set"}
_FILTERS = {Table.RAW: -300, Table.MANGLE: -150, Table.FILTER: 0}
_SOURCE_NAT = 110  # 10 behind kube-proxy's, so that its masquerading comes first
_DESTINATION_NAT = -100


@dataclass(frozen=True, slots=True)
class Chain:
    """``base`` is how the kernel is to call it, for chains that hang on a hook. Each rule has its hash and comment."""

    name: str
    base: Object | None
    rules: tuple[tuple[str, Object], ...]

    @property
    def hashes(self) -> tuple[str, ...]:
        return tuple(hash_ for hash_, _ in self.rules)


@dataclass(frozen=True, slots=True)
class ListedChain:
    """``hashes`` has "" for a rule that carries none. ``forms``: each rule's expressions."""

    base: Object | None
    hashes: tuple[str, ...] = ()
    forms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Listed:
    """What the kernel holds in our table of one family. ``is_strange``: also objects that we never write."""

    exists: bool = False
    is_strange: bool = False
    sets: Mapping[str, frozenset[Network]] = field(default_factory=dict)
    chains: Mapping[str, ListedChain] = field(default_factory=dict)

    @property
    def forms(self) -> Forms:
        pairs = (pair for chain in self.chains.values() for pair in zip(chain.hashes, chain.forms, strict=True))
        return {hash_: form for hash_, form in pairs if hash_}


# From a rule set to chains.


def chains(family: FamilyRules) -> dict[str, Chain]:
    """By name: the base chains first, which is also the order of writing them."""
    bases: dict[str, Chain] = {}
    for table, hook in dict.fromkeys((entry.table, entry.hook) for entry in family.entries):
        first, last = family.hooked(table, hook)
        name = f"{table.value}-{hook.value}"
        bases[name] = _chain(name, _base(table, hook), (*first, *last), table, family.version)
    others = {
        name: _chain(name, None, rules, key.table, family.version)
        for key, rules in family.chains.items()
        for name in [_name(key.table, key.name)]
    }
    return bases | others


def _name(table: Table, chain: str) -> str:
    """Our chains of all tables share one namespace here."""
    return f"{table.value}-{chain}"


def _base(table: Table, hook: Hook) -> Object:
    if table is Table.NAT:
        priority = _SOURCE_NAT if hook is Hook.POSTROUTING else _DESTINATION_NAT
        return {"type": "nat", "hook": hook.value.lower(), "prio": priority, "policy": "accept"}
    return {"type": "filter", "hook": hook.value.lower(), "prio": _FILTERS[table], "policy": "accept"}


def _chain(name: str, base: Object | None, rules: Iterable[Rule], table: Table, version: int) -> Chain:
    rendered: list[tuple[str, Object]] = []
    last = hashlib.sha224(name.encode()).digest()
    for rule in rules:
        expressions = _expressions(rule, table, version)
        last = hashlib.sha224(last + json.dumps([expressions, _words(rule)]).encode()).digest()
        hash_ = urlsafe_b64encode(last).decode()[:_HASH_LENGTH]
        rendered.append((hash_, {"expr": expressions, "comment": _comment(hash_, rule)}))
    return Chain(name, base, tuple(rendered))


def _words(rule: Rule) -> str:
    return rule.comment or str(rule.why)


def _comment(hash_: str, rule: Rule) -> str:
    return f"{_PREFIX}{hash_}; {_words(rule)}"[:_COMMENT_LENGTH].replace('"', "'")


# From a rule to expressions.


def _expressions(rule: Rule, table: Table, version: int) -> list[Object]:
    matches = [_match(match, version) for match in rule.matches]
    return [*matches, {"counter": {"packets": 0, "bytes": 0}}, _action(rule.action, table)]


def _match(match: Match, version: int) -> Object:
    ip = FAMILIES[version]
    match match:
        case FromDevice(pattern):
            return _is({"meta": {"key": "iifname"}}, pattern)
        case ToDevice(pattern):
            return _is({"meta": {"key": "oifname"}}, pattern)
        case IsProtocol(name):
            return _is({"meta": {"key": "l4proto"}}, _PROTOCOLS.get(name) or int(name))
        case ToPort(port):
            return _is({"payload": {"protocol": "udp", "field": "dport"}}, port)
        case FromSet(name, is_member):
            return _is({"payload": {"protocol": ip, "field": "saddr"}}, f"@{name}", is_so=is_member)
        case ToSet(name, is_member):
            return _is({"payload": {"protocol": ip, "field": "daddr"}}, f"@{name}", is_so=is_member)
        case FromNetwork(network, is_so):
            return _is({"payload": {"protocol": ip, "field": "saddr"}}, _element(network), is_so=is_so)
        case ToNetwork(network, is_so):
            return _is({"payload": {"protocol": ip, "field": "daddr"}}, _element(network), is_so=is_so)
        case HasMark(bits):
            return _is({"&": [{"meta": {"key": "mark"}}, bits]}, bits)
        case ToThisHost():
            return _is({"fib": {"result": "type", "flags": ["daddr"]}}, "local")
        case FromThisHost(is_so, on_out_device):
            flags = ["saddr", "oif"] if on_out_device else ["saddr"]
            return _is({"fib": {"result": "type", "flags": flags}}, "local", is_so=is_so)
        case HasNoRouteBack():
            return _is({"fib": {"result": "oif", "flags": ["saddr", "mark", "iif"]}}, False)
        case IsEstablished():
            return {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}
        case IsIcmp6(type_):
            return _is({"payload": {"protocol": "icmpv6", "field": "type"}}, type_)
        case IsSyn():
            flags_of_tcp = {"payload": {"protocol": "tcp", "field": "flags"}}
            return _is({"&": [flags_of_tcp, ["syn", "rst"]]}, "syn")


def _is(left: Object, right: Any, *, is_so: bool = True) -> Object:
    return {"match": {"op": "==" if is_so else "!=", "left": left, "right": right}}


def _action(action: Action, table: Table) -> Object:
    match action:
        case Accept():
            return {"accept": None}
        case Drop():
            return {"drop": None}
        case Reject():
            return {"reject": None}
        case Return():
            return {"return": None}
        case Jump(chain):
            return {"jump": {"target": _name(table, chain)}}
        case Goto(chain):
            return {"goto": {"target": _name(table, chain)}}
        case Masquerade(ports, is_random):
            how = _port_range(ports)
            return {"masquerade": (_random(how) if is_random else how) or None}
        case SourceNat(address, ports):
            return {"snat": _random({"addr": str(address), **_port_range(ports)})}
        case NoTrack():
            return {"notrack": None}
        case ClampMss(mss_bytes):
            return {"mangle": {"key": {"tcp option": {"name": "maxseg", "field": "size"}}, "value": mss_bytes}}


def _port_range(ports: Ports | None) -> Object:
    return {} if ports is None else {"port": {"range": list(ports)}}


def _random(how: Object) -> Object:
    return {**how, "flags": "fully-random"}


def _element(network: Network) -> Any:
    if network.prefixlen == network.max_prefixlen:
        return str(network.network_address)
    return {"prefix": {"addr": str(network.network_address), "len": network.prefixlen}}


# From what is listed to values.


def parse(objects: Sequence[Object]) -> Listed:
    """``objects``: what ``nft -j list table`` answers of our table in one family, [] if there is none."""
    chains_: dict[str, ListedChain] = {}
    sets: dict[str, frozenset[Network]] = {}
    strange = not all(object_.keys() <= _KNOWN_OBJECTS for object_ in objects)
    for object_ in objects:
        if (chain := object_.get("chain")) is not None:
            chains_[chain["name"]] = ListedChain(_listed_base(chain))
        elif (rule := object_.get("rule")) is not None:
            chains_[rule["chain"]] = _with_rule(chains_[rule["chain"]], rule)
        elif (set_ := object_.get("set")) is not None:
            strange |= set_.get("type") not in ("ipv4_addr", "ipv6_addr") or "interval" not in set_.get("flags", ())
            sets[set_["name"]] = frozenset() if strange else _listed_elements(set_)
    return Listed(any("table" in one for one in objects), strange, sets, chains_)


def _listed_base(chain: Object) -> Object | None:
    return {key: chain.get(key) for key in ("type", "hook", "prio", "policy")} if "hook" in chain else None


def _with_rule(chain: ListedChain, rule: Object) -> ListedChain:
    comment = rule.get("comment", "")
    hash_ = comment.removeprefix(_PREFIX)[:_HASH_LENGTH] if comment.startswith(_PREFIX) else ""
    form = json.dumps([one for one in rule.get("expr", ()) if "counter" not in one])
    return ListedChain(chain.base, (*chain.hashes, hash_), (*chain.forms, form))


def _listed_elements(set_: Object) -> frozenset[Network]:
    version = 4 if set_["type"] == "ipv4_addr" else 6
    return networks((one for element in set_.get("elem", ()) for one in _listed_element(element)), version)


def _listed_element(element: Any) -> Iterator[Network]:
    match element:
        case {"elem": {"val": value}}:
            yield from _listed_element(value)
        case {"prefix": {"addr": address, "len": length}}:
            yield ip_network((address, length))
        case {"range": [first, last]}:
            yield from _between(ip_address(first), ip_address(last))
        case _:
            yield ip_network(element)


def _between(first: Address, last: Address) -> Iterator[Network]:
    yield from summarize_address_range(first, last)  # both of one version


# From one to the other.


def plan(family: FamilyRules, listed: Listed, forms: Forms) -> list[Object]:
    """Commands of one transaction; none if nothing differs. ``forms``: how rules were listed after they were written.

    What hangs on a hook in another way, and what we never write, makes the whole table new, still in one transaction.
    """
    wanted = chains(family)
    if not wanted:
        return removal(family.version) if listed.exists else []
    if not listed.exists or listed.is_strange or not _hang_as_wanted(wanted, listed):
        return _renewal(family, wanted, listed)
    changed = [chain for chain in wanted.values() if not _is_as_written(chain, listed.chains.get(chain.name), forms)]
    new = [chain for chain in wanted.values() if chain.name not in listed.chains]
    gone = [name for name in listed.chains if name not in wanted]
    return [
        *_set_changes(family, listed),
        *(_add_chain(family, chain) for chain in new),
        *(_flush(family, "chain", name) for name in gone),
        *(command for chain in changed for command in _rewrite(family, chain)),
        *(_delete(family, "chain", name) for name in gone),
        *(_delete(family, "set", name) for name in listed.sets if name not in family.sets),
    ]


def removal(version: int) -> list[Object]:
    """Commands that delete our table, which is there."""
    return [{"delete": {"table": _of(version)}}]


def _hang_as_wanted(wanted: Mapping[str, Chain], listed: Listed) -> bool:
    """Chains that are there hang on the hooks that they should, or on none."""
    return all(wanted[name].base == chain.base for name, chain in listed.chains.items() if name in wanted)


def _is_as_written(chain: Chain, listed: ListedChain | None, forms: Forms) -> bool:
    if listed is None or listed.hashes != chain.hashes:
        return False
    return all(forms.get(hash_, form) == form for hash_, form in zip(listed.hashes, listed.forms, strict=True))


def _renewal(family: FamilyRules, wanted: Mapping[str, Chain], listed: Listed) -> list[Object]:
    return [
        *(removal(family.version) if listed.exists else ()),
        {"add": {"table": _of(family.version)}},
        *_set_changes(family, Listed()),
        *(_add_chain(family, chain) for chain in wanted.values()),
        *(_add_rule(family, chain.name, rule) for chain in wanted.values() for _, rule in chain.rules),
    ]


def _set_changes(family: FamilyRules, listed: Listed) -> Iterator[Object]:
    type_ = "ipv4_addr" if family.version == 4 else "ipv6_addr"
    for name, members in family.sets.items():
        if name not in listed.sets:
            how = {"name": name, "type": type_, "flags": ["interval"]}
            yield {"add": {"set": {**_of(family.version, table=TABLE), **how}}}
        yield from _member_changes(family, name, members, listed.sets.get(name, frozenset()))


def _member_changes(
    family: FamilyRules, name: str, members: frozenset[Network], held: frozenset[Network]
) -> Iterator[Object]:
    """Where some come and some go, all are written: one that goes may overlap one that comes."""
    if held <= members:
        yield from _elements("add", family, name, members - held)
    elif members < held and members:
        yield from _elements("delete", family, name, held - members)
    else:
        yield _flush(family, "set", name)
        yield from _elements("add", family, name, members)


def _elements(verb: str, family: FamilyRules, name: str, members: frozenset[Network]) -> Iterator[Object]:
    if members:
        elements = [_element(one) for one in sorted(members)]
        yield {verb: {"element": {**_of(family.version, table=TABLE), "name": name, "elem": elements}}}


def _rewrite(family: FamilyRules, chain: Chain) -> list[Object]:
    return [_flush(family, "chain", chain.name), *(_add_rule(family, chain.name, rule) for _, rule in chain.rules)]


def _add_chain(family: FamilyRules, chain: Chain) -> Object:
    return {"add": {"chain": {**_of(family.version, table=TABLE), "name": chain.name, **(chain.base or {})}}}


def _add_rule(family: FamilyRules, chain: str, rule: Object) -> Object:
    return {"add": {"rule": {**_of(family.version, table=TABLE), "chain": chain, **rule}}}


def _flush(family: FamilyRules, kind: str, name: str) -> Object:
    return {"flush": {kind: {**_of(family.version, table=TABLE), "name": name}}}


def _delete(family: FamilyRules, kind: str, name: str) -> Object:
    return {"delete": {kind: {**_of(family.version, table=TABLE), "name": name}}}


def _of(version: int, *, table: str = "") -> Object:
    family = {"family": FAMILIES[version]}
    return {**family, "table": table} if table else {**family, "name": TABLE}
