"""Writes a RuleSet as iptables rules and ipsets: for the legacy tables, and for iptables on top of nftables.

Reading is the same for both, with the save program; it takes no lock, because the kernel gives a table whole. Nothing
is written when nothing differs. Otherwise members of sets come first, then the rules, a table in one commit each, and
what is left over of sets goes last.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.util import find_spec
from typing import Protocol

from felix.firewall.execute import execute
from felix.firewall.ipset import SetChange, Sets, changes, unwanted
from felix.firewall.iptables_text import Edit, Listed, Wanted, is_ours, parse, plan, restore_text, wanted
from felix.firewall.legacy_process import Work
from felix.firewall.lock_watch import LockWatch
from felix.firewall.model import NOTHING, FamilyRules, FirewallUnavailable, RuleSet, Table
from felix.firewall.xtables_lock import holder, lock_path

_TABLE = re.compile(r"^\*(\S+)$", re.MULTILINE)
_PROGRAMS = {4: "iptables", 6: "ip6tables"}

Tables = Mapping[Table, Listed]


class Iptables(Protocol):
    """One form of iptables. Each method raises FirewallUnavailable."""

    async def save(self, version: int) -> str:
        """All tables that exist, as iptables-save prints them."""
        ...

    async def write(self, version: int, tables: Mapping[Table, Wanted], held: Tables) -> None:
        """``held`` is what was saved a moment ago."""
        ...

    def listen(self, wake: Callable[[], None]) -> None: ...


class SetStore(Protocol):
    async def read(self) -> Sets: ...
    async def make(self, change: SetChange, version: int) -> None: ...
    async def take(self, change: SetChange, version: int) -> None: ...
    async def destroy(self, name: str) -> bool: ...


class IptablesWriter:
    """:class:`felix.firewall.reconciler.Writer` for iptables."""

    def __init__(self, iptables: Iptables, sets: SetStore) -> None:
        self._iptables = iptables
        self._sets = sets

    def listen(self, wake: Callable[[], None]) -> None:
        self._iptables.listen(wake)

    async def write(self, rules: RuleSet) -> int:
        """How many edits that took; 0 if all was there."""
        held = await self._sets.read()
        # Each on its own: a machine that cannot do IPv6 keeps its IPv4 rules right.
        written = [self._write_family(family, held) for family in rules.families]
        counts = await asyncio.gather(*written, return_exceptions=True)
        outcomes = zip(rules.families, counts, strict=True)
        failed = {family.version: outcome for family, outcome in outcomes if not isinstance(outcome, int)}
        for error in failed.values():
            if not isinstance(error, FirewallUnavailable):
                raise error
        if failed:
            raise FirewallUnavailable("; ".join(dict.fromkeys(map(str, failed.values()))), frozenset(failed))
        return sum(count for count in counts if isinstance(count, int))

    async def remove(self) -> int:
        return await self.write(NOTHING)

    async def _write_family(self, family: FamilyRules, held: Sets) -> int:
        changed = changes(family, held)
        for change in changed:
            await self._sets.make(change, family.version)
        edits = await self._write_tables(family)
        for change in changed:
            await self._sets.take(change, family.version)
        gone = [await self._sets.destroy(name) for name in unwanted(family, held)]
        return len(changed) + edits + sum(gone)

    async def _write_tables(self, family: FamilyRules) -> int:
        all_wanted = {table: wanted(family, table) for table in Table}
        held = tables_of(await self._iptables.save(family.version))
        edits = _edits(all_wanted, held)
        if not edits:
            return 0
        await self._iptables.write(family.version, all_wanted, held)
        if _edits(all_wanted, tables_of(await self._iptables.save(family.version))):
            raise FirewallUnavailable("iptables-save shows something else than what was written")
        return len(edits)


def _edits(all_wanted: Mapping[Table, Wanted], held: Tables) -> list[Edit]:
    return [edit for table, one in all_wanted.items() for edit in plan(one, held.get(table, _empty(one)))]


def _empty(one: Wanted) -> Listed:
    """A table that the kernel has not made yet: its own chains are there as soon as somebody asks."""
    return Listed({hook: () for hook, ends in one.hooks.items() if ends.first or ends.last})


def tables_of(saved: str) -> dict[Table, Listed]:
    """From what a save program prints for all tables."""
    _, *parts = _TABLE.split(saved)
    known = {table.value: table for table in Table}
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return {known[name]: parse(text) for name, text in pairs if name in known}


def is_clean(tables: Tables) -> bool:
    """Whether nothing there is ours."""
    chains = (item for listed in tables.values() for item in listed.chains.items())
    return not any(is_ours(name) or any(hashes) for name, hashes in chains)


class LegacyIptables:
    """The legacy tables: written by python-iptables, in a process of its own (:mod:`felix.firewall.legacy_process`); by
    iptables-restore where that is not installed.
    """

    def __init__(self) -> None:
        self._lock = lock_path(os.environ)
        self._watch: LockWatch | None = None
        self._has_library = find_spec("iptc") is not None

    async def save(self, version: int) -> str:
        return await _save(f"{_PROGRAMS[version]}-legacy-save")

    async def write(self, version: int, tables: Mapping[Table, Wanted], held: Tables) -> None:
        if not self._has_library:
            await _restore("legacy", version, tables, held)
            return
        words = (sys.executable, "-P", "-m", "felix.firewall.legacy_process")
        try:
            status, _, err = await execute(words, pickle.dumps(Work(version, tables)))
        except FirewallUnavailable as error:
            raise FirewallUnavailable(f"{error}{self._held_by()}") from error
        if status != 0:
            raise FirewallUnavailable(_last_line(err))

    def listen(self, wake: Callable[[], None]) -> None:
        """Without the lock's file there is nothing to hear; a refresh finds what others did."""
        if self._watch is None:
            with suppress(OSError):
                self._watch = LockWatch(self._lock, wake, asyncio.get_running_loop().add_reader)

    def close(self) -> None:
        if self._watch is not None:
            asyncio.get_running_loop().remove_reader(self._watch.fileno())
            self._watch.close()
            self._watch = None

    def _held_by(self) -> str:
        owner = holder(self._lock)
        return f"; {self._lock} is held by {owner}" if owner else ""


class NftIptables:
    """iptables' commands on top of nftables, for machines where others filter by them (Docker on Debian 12)."""

    async def save(self, version: int) -> str:
        return await _save(f"{_PROGRAMS[version]}-nft-save")

    async def write(self, version: int, tables: Mapping[Table, Wanted], held: Tables) -> None:
        await _restore("nft", version, tables, held)

    def listen(self, wake: Callable[[], None]) -> None:
        """A refresh finds what others did."""


async def _restore(form: str, version: int, tables: Mapping[Table, Wanted], held: Tables) -> None:
    """The program waits for the lock by itself."""
    by_table = {table: plan(one, held.get(table, _empty(one))) for table, one in tables.items()}
    text = "".join(restore_text(table, edits) for table, edits in by_table.items() if edits)
    status, _, err = await execute((f"{_PROGRAMS[version]}-{form}-restore", "--noflush", "--wait"), text.encode())
    if status != 0:
        raise FirewallUnavailable(_last_line(err))


async def _save(program: str) -> str:
    status, out, err = await execute((program,))
    if status != 0:
        raise FirewallUnavailable(f"{program}: {_last_line(err)}")
    return out


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "failed without a word")
