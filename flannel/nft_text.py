"""flannel's rules in nftables: tables, chains and comments of the original, as text for ``nft -f``. Pure.

As text, because nft takes no comments of tables and chains in JSON (1.0.6). A table is ours alone and written whole,
in one transaction. What nft lists right after that is what it should list from then on; a difference is somebody
else's edit.

Source: flannel pkg/trafficmngr/nftables; nft(8).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from felix.firewall.model import (
    Accept,
    Action,
    ChainKey,
    ClampMss,
    FamilyRules,
    FromDevice,
    FromNetwork,
    HasMark,
    IsSyn,
    Masquerade,
    Match,
    Return,
    Rule,
    ToDevice,
    ToNetwork,
)
from felix.firewall.nft_json import FAMILIES, Object
from flannel.rules import CLAMP, FORWARD, POSTROUTING

TABLES = {4: "flannel-ipv4", 6: "flannel-ipv6"}
_VOLATILE = ("handle", "index")
_CHAINS: Mapping[ChainKey, tuple[str, str]] = {
    POSTROUTING: (
        "postrtg",
        "{ type nat hook postrouting priority srcnat ; policy accept ; "
        'comment "chain to manage traffic masquerading by flannel" ; }',
    ),
    FORWARD: (
        "forward",
        '{ type filter hook forward priority filter ; policy accept ; comment "chain to accept flannel traffic" ; }',
    ),
    CLAMP: (
        "clamp",
        '{ type filter hook forward priority mangle ; policy accept ; comment "chain for TCP through tunnels" ; }',
    ),
}


def written(family: FamilyRules) -> str:
    """One transaction: the table as it should be, whatever was there."""
    return "".join(f"{line}\n" for line in _lines(family))


def removed(version: int) -> str:
    """Deletes the table, which is there."""
    return f"delete table {_table(version)}\n"


def _lines(family: FamilyRules) -> Iterator[str]:
    table = _table(family.version)
    yield f"add table {table}"
    yield f"delete table {table}"
    yield f'add table {table} {{ comment "rules for {TABLES[family.version]}" ; }}'
    for key, rules in family.chains.items():
        name, how = _CHAINS[key]
        yield f"add chain {table} {name} {how}"
        yield from (f"add rule {table} {name} {_rule(rule, FAMILIES[family.version])}" for rule in rules)


def _table(version: int) -> str:
    return f"{FAMILIES[version]} {TABLES[version]}"


def _rule(rule: Rule, ip: str) -> str:
    return " ".join([*(_match(match, ip) for match in rule.matches), _action(rule.action)])


def _match(match: Match, ip: str) -> str:
    match match:
        case FromNetwork(network, is_so):
            return f"{ip} saddr {'' if is_so else '!= '}{network}"
        case ToNetwork(network, is_so):
            return f"{ip} daddr {'' if is_so else '!= '}{network}"
        case HasMark(bits):
            return f"meta mark & {bits:#x} == {bits:#x}"
        case FromDevice(device):
            return f'iifname "{device}"'
        case ToDevice(device):
            return f'oifname "{device}"'
        case IsSyn():
            return "tcp flags & (syn | rst) == syn"
        case _:
            raise TypeError(match)


def _action(action: Action) -> str:
    match action:
        case Accept():
            return "accept"
        case Return():
            return "return"
        case Masquerade(_, is_random):
            return "masquerade fully-random" if is_random else "masquerade"
        case ClampMss(mss_bytes):
            return f"tcp option maxseg size set {mss_bytes}"
        case _:
            raise TypeError(action)


def form(listed: Sequence[Object]) -> str:
    """What ``nft -j`` lists, without what differs from one listing to the next."""
    return json.dumps([_lasting(one) for one in listed if "metainfo" not in one], sort_keys=True)


def _lasting(one: Object) -> Object:
    return {kind: {key: value for key, value in each.items() if key not in _VOLATILE} for kind, each in one.items()}
