"""flannel's rules as iptables-save prints them, and the lines that make a table so. Pure.

The rules carry no hash: the original compares them word by word, and so does this. A chain of ours is as it should be
when its lines are exactly those wanted; in the kernel's chain one line must lead to it, wherever it stands.

Source: iptables-save(8); flannel pkg/trafficmngr/iptables.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from felix.firewall.model import (
    Accept,
    Action,
    ClampMss,
    FamilyRules,
    FromDevice,
    FromNetwork,
    HasMark,
    Hook,
    IsSyn,
    Jump,
    Masquerade,
    Match,
    Return,
    Rule,
    Table,
    ToDevice,
    ToNetwork,
)
from flannel.rules import CLAMP, FORWARD, POSTROUTING

_HOOKS = {POSTROUTING: Hook.POSTROUTING, FORWARD: Hook.FORWARD, CLAMP: Hook.FORWARD}
"""Each chain of ours, and the kernel's chain that leads to it."""

_TABLES = (Table.NAT, Table.FILTER, Table.MANGLE)


def edits(family: FamilyRules, saved: str) -> str:
    """What iptables-restore --noflush is to read so that the tables in ``saved`` hold ``family``; "" for nothing."""
    return "".join(_of_table(family, table, _lines(saved, table)) for table in _TABLES)


def _of_table(family: FamilyRules, table: Table, saved: Sequence[str]) -> str:
    found = list(_table_edits(family, table, saved))
    return "\n".join([f"*{table.value}", *found, "COMMIT", ""]) if found else ""


def _table_edits(family: FamilyRules, table: Table, saved: Sequence[str]) -> Iterator[str]:
    for key, hook in _HOOKS.items():
        if key.table is not table:
            continue
        wanted = [_appended(key.name, rule) for rule in family.chains.get(key, ())]
        jumps = [_appended(hook.value, rule) for rule in family.hooked(table, hook)[1]]
        is_there = any(line.startswith(f":{key.name} ") for line in saved)
        held = [line for line in saved if line.startswith(f"-A {key.name} ")]
        leading = [line for line in saved if line.startswith(f"-A {hook.value} ") and line.endswith(f"-j {key.name}")]
        if wanted and (held != wanted or not is_there):
            yield f":{key.name} - [0:0]"  # makes it, or empties it
            yield from wanted
        if leading != jumps:
            yield from (f"-D{line[2:]}" for line in leading)
            yield from jumps
        if not wanted and is_there:
            yield f"-F {key.name}"
            yield f"-X {key.name}"


def _lines(saved: str, table: Table) -> list[str]:
    """Those of one table."""
    _, _, after = f"\n{saved}".partition(f"\n*{table.value}\n")
    return after.partition("\nCOMMIT")[0].splitlines()


def _appended(chain: str, rule: Rule) -> str:
    addresses = [_match(match) for match in rule.matches if not isinstance(match, HasMark)]
    others = [_match(match) for match in rule.matches if isinstance(match, HasMark)]
    return " ".join(
        [f"-A {chain}", *addresses, *others, f'-m comment --comment "{rule.comment}"', _action(rule.action)]
    )


def _match(match: Match) -> str:
    match match:
        case FromNetwork(network, is_so):
            return f"{'' if is_so else '! '}-s {network}"
        case ToNetwork(network, is_so):
            return f"{'' if is_so else '! '}-d {network}"
        case HasMark(bits):
            return f"-m mark --mark {bits:#x}/{bits:#x}"
        case FromDevice(device):
            return f"-i {device}"
        case ToDevice(device):
            return f"-o {device}"
        case IsSyn():
            return "-p tcp -m tcp --tcp-flags SYN,RST SYN"
        case _:
            raise TypeError(match)


def _action(action: Action) -> str:
    match action:
        case Accept():
            return "-j ACCEPT"
        case Return():
            return "-j RETURN"
        case Jump(chain):
            return f"-j {chain}"
        case Masquerade(_, is_random):
            return f"-j MASQUERADE{' --random-fully' if is_random else ''}"
        case ClampMss(mss_bytes):
            return f"-j TCPMSS --set-mss {mss_bytes}"
        case _:
            raise TypeError(action)
