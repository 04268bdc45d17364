"""Rule sets as a person reads them: what iptables-restore takes, without hashes."""

from __future__ import annotations

from felix.firewall.iptables_text import rule_text
from felix.firewall.model import FamilyRules, Hook, Rule, Table


def rules_text(family: FamilyRules, table: Table) -> str:
    """Our chains of one table, and where the kernel's lead into them (+ first, - last)."""
    lines: list[str] = []
    for hook in Hook:
        first, last = family.hooked(table, hook)
        lines += [f"{hook.value} + {rule_text(rule)}" for rule in first]
        lines += [f"{hook.value} - {rule_text(rule)}" for rule in last]
    for key, rules in family.chains.items():
        if key.table is table:
            lines += [f"{key.name} {rule_text(rule)}" for rule in rules] or [f"{key.name} (empty)"]
    return "".join(f"{line}\n" for line in lines)


def sets_text(family: FamilyRules) -> str:
    members = {name: ", ".join(map(str, sorted(found))) for name, found in family.sets.items()}
    return "".join(f"{name}: {text}\n" for name, text in sorted(members.items()))


def chain_text(family: FamilyRules, table: Table, chain: str) -> str:
    return "".join(f"{rule_text(rule)}\n" for rule in chain_of(family, table, chain))


def chain_of(family: FamilyRules, table: Table, chain: str) -> tuple[Rule, ...]:
    return next((rules for key, rules in family.chains.items() if (key.table, key.name) == (table, chain)), ())
