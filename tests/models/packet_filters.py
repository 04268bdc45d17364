"""Packet filters without a kernel: nftables and iptables as far as the writers use them, with the kernel's rules about
what may be done, and with faults. Whatever another program does to them is done by the test.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from felix.firewall.choose import Backend, Modes, Seen, choose
from felix.firewall.ipset import SetChange, Sets
from felix.firewall.iptables import IptablesWriter, Tables
from felix.firewall.iptables_text import Wanted, parse, plan, restore_text
from felix.firewall.model import FirewallUnavailable, Hook, Network, Table
from felix.firewall.nft import NftWriter
from felix.firewall.nft_json import Object
from felix.firewall.reconciler import Writer

_NAMES_OF_PROTOCOLS = {4: "ipencap", 6: "tcp", 17: "udp", 58: "ipv6-icmp"}


@dataclass
class ModelTable:
    chains: dict[str, Object] = field(default_factory=dict)
    rules: dict[str, list[Object]] = field(default_factory=dict)
    sets: dict[str, Object] = field(default_factory=dict)


class Faults:
    """The next ``fail`` calls are refused; ``fail`` < 0: all, until it is 0 again. ``only``: those of an IP version."""

    def __init__(self) -> None:
        self.fail = 0
        self.why = "made to fail"
        self.only: int | None = None

    def check(self, version: int | None = None) -> None:
        if self.fail and self.only in (None, version):
            self.fail -= self.fail > 0
            raise FirewallUnavailable(self.why)


class ModelNft:
    """:class:`felix.firewall.nft.Nft`. A transaction that breaks a rule of the kernel's changes nothing."""

    def __init__(self) -> None:
        self.tables: dict[str, ModelTable] = {}
        self.faults = Faults()
        self.transactions: list[Sequence[Object]] = []
        self.reading_s = 0.0
        self._wakes: list[Callable[[], None]] = []

    def listen(self, wake: Callable[[], None]) -> None:
        if wake not in self._wakes:
            self._wakes.append(wake)

    def changed(self) -> None:
        for wake in self._wakes:
            wake()

    async def list(self, family: str) -> Sequence[Object]:
        self.faults.check()
        await asyncio.sleep(self.reading_s)
        table = self.tables.get(family)
        return [] if table is None else [copy.deepcopy(one) for one in _listed(family, table)]

    async def run(self, commands: Sequence[Object]) -> None:
        self.faults.check()
        before = copy.deepcopy(self.tables)
        try:
            for command in commands:
                self._do(command)
            for table in self.tables.values():
                _check_references(table)
        except (KeyError, ValueError, AssertionError) as error:
            self.tables = before
            raise FirewallUnavailable(f"nft: {error!r}") from error
        self.transactions.append(commands)
        self.changed()

    def _do(self, command: Object) -> None:
        ((verb, what),) = command.items()
        ((kind, value),) = what.items()
        getattr(self, f"_{verb}_{kind}")(**value)

    def _add_table(self, family: str, name: str) -> None:
        assert name == "calico"
        self.tables.setdefault(family, ModelTable())

    def _delete_table(self, family: str, name: str) -> None:
        del self.tables[family]

    def _add_chain(self, family: str, table: str, name: str, **base: Any) -> None:
        assert name not in self.tables[family].chains
        self.tables[family].chains[name] = base
        self.tables[family].rules[name] = []

    def _flush_chain(self, family: str, table: str, name: str) -> None:
        self.tables[family].rules[name].clear()

    def _delete_chain(self, family: str, table: str, name: str) -> None:
        assert not self.tables[family].rules.pop(name), "busy"
        del self.tables[family].chains[name]

    def _add_rule(self, family: str, table: str, chain: str, **rule: Any) -> None:
        self.tables[family].rules[chain].append(rule)

    def _add_set(self, family: str, table: str, name: str, **how: Any) -> None:
        assert name not in self.tables[family].sets
        self.tables[family].sets[name] = {**how, "elem": []}

    def _flush_set(self, family: str, table: str, name: str) -> None:
        self.tables[family].sets[name]["elem"] = []

    def _delete_set(self, family: str, table: str, name: str) -> None:
        del self.tables[family].sets[name]

    def _add_element(self, family: str, table: str, name: str, elem: Sequence[Any]) -> None:
        held = self.tables[family].sets[name]["elem"]
        assert not any(one in held for one in elem), "conflicting intervals"
        held.extend(elem)
        held.sort(key=str)  # a set has no order

    def _delete_element(self, family: str, table: str, name: str, elem: Sequence[Any]) -> None:
        for one in elem:
            self.tables[family].sets[name]["elem"].remove(one)


def _listed(family: str, table: ModelTable) -> Iterator[Object]:
    here = {"family": family, "table": "calico"}
    yield {"metainfo": {"json_schema_version": 1}}
    yield {"table": {"family": family, "name": "calico", "handle": 1}}
    for name, set_ in table.sets.items():
        yield {"set": {**here, "name": name, "handle": 2, **set_}}
    for name, base in table.chains.items():
        yield {"chain": {**here, "name": name, "handle": 3, **base}}
    for name, rules in table.rules.items():
        for rule in rules:
            yield {"rule": {**here, "chain": name, "handle": 4, **rule, "expr": [_in_other_words(rule["expr"])]}}


def _in_other_words(value: Any) -> Any:
    """nft never lists quite what it was told."""
    match value:
        case {"match": {"left": {"meta": {"key": "l4proto"}}, "right": int(number)}}:
            return {"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": _NAMES_OF_PROTOCOLS[number]}}
        case dict():
            return {key: _in_other_words(one) for key, one in value.items()}
        case list():
            return [_in_other_words(one) for one in value]
    return value


def _check_references(table: ModelTable) -> None:
    for rule in (rule for rules in table.rules.values() for rule in rules):
        for expression in rule["expr"]:
            for verb in ("jump", "goto"):
                assert expression.get(verb, {"target": None})["target"] in (None, *table.chains), "no such chain"
            right = expression.get("match", {}).get("right")
            assert not str(right).startswith("@") or str(right)[1:] in table.sets, "no such set"


class ModelIptables:
    """:class:`felix.firewall.iptables.Iptables` and its sets. Lines are kept as they were written, foreign ones too."""

    def __init__(self, sets: ModelSets) -> None:
        self.chains: dict[tuple[int, Table], dict[str, list[str]]] = {}
        self.faults = Faults()
        self._sets = sets
        self._wakes: list[Callable[[], None]] = []
        sets.users.append(self)

    def listen(self, wake: Callable[[], None]) -> None:
        if wake not in self._wakes:
            self._wakes.append(wake)

    def changed(self) -> None:
        for wake in self._wakes:
            wake()

    def table(self, version: int, table: Table) -> dict[str, list[str]]:
        return self.chains.setdefault((version, table), {hook.value: [] for hook in Hook})

    async def save(self, version: int) -> str:
        self.faults.check(version)
        return "".join(self.text(version, table) for of_version, table in self.chains if of_version == version)

    def text(self, version: int, table: Table) -> str:
        chains = self.chains.get((version, table), {})
        lines = [f"*{table.value}", *(f":{name} - [0:0]" for name in chains)]
        lines += [f"-A {name} {rule}" for name, rules in chains.items() for rule in rules]
        return "\n".join([*lines, "COMMIT", ""])

    async def write(self, version: int, tables: Mapping[Table, Wanted], held: Tables) -> None:
        for table, wanted in tables.items():
            self.faults.check(version)
            now = parse(self.text(version, table)) if (version, table) in self.chains or not wanted.is_empty else None
            if now is not None:
                now = parse(_with_hooks(self.text(version, table), self.table(version, table)))
                self.restore(version, restore_text(table, plan(wanted, now)))
        self.changed()

    def restore(self, version: int, text: str) -> None:
        """One table, as iptables-restore --noflush takes it: whole or not at all."""
        first, *edits, _ = text.splitlines()
        chains = copy.deepcopy(self.table(version, Table(first[1:])))
        for edit in edits:
            _edit(chains, edit)
        for line in (line for rules in chains.values() for line in rules):
            words = line.split()
            targets = [words[at + 1] for at, word in enumerate(words) if word in ("--jump", "--goto", "-j", "-g")]
            assert all(target.isupper() or target in chains for target in targets), f"no such chain: {line}"
            assert all(name in self._sets.sets for name in _sets_in(line)), f"no such set: {line}"
        self.chains[version, Table(first[1:])] = chains

    def sets_in_use(self) -> set[str]:
        lines = (line for chains in self.chains.values() for rules in chains.values() for line in rules)
        return {name for line in lines for name in _sets_in(line)}


def _with_hooks(text: str, chains: Mapping[str, list[str]]) -> str:
    missing = [f":{name} - [0:0]" for name in chains if f":{name} " not in text]
    return "\n".join([*missing, text])


def _sets_in(line: str) -> list[str]:
    words = line.split()
    return [words[at + 1] for at, word in enumerate(words) if word == "--match-set"]


def _edit(chains: dict[str, list[str]], edit: str) -> None:
    verb, chain, *rest = edit.split(" ", 2)
    match verb:
        case "-N":
            assert chain not in chains
            chains[chain] = []
        case "-F":
            chains[chain].clear()
        case "-X":
            assert not chains.pop(chain)
        case "-A":
            chains[chain].append(rest[0])
        case "-I":
            position, rule = rest[0].split(" ", 1)
            chains[chain].insert(int(position) - 1, rule)
        case "-D":
            del chains[chain][int(rest[0]) - 1]
        case _:
            raise AssertionError(edit)


class ModelSets:
    """:class:`felix.firewall.iptables.SetStore`."""

    def __init__(self) -> None:
        self.sets: dict[str, set[Network]] = {}
        self.users: list[ModelIptables] = []

    async def read(self) -> Sets:
        return {name: frozenset(members) for name, members in self.sets.items()}

    async def make(self, change: SetChange, version: int) -> None:
        assert change.is_new == (change.name not in self.sets)
        self.sets.setdefault(change.name, set()).update(change.add)

    async def take(self, change: SetChange, version: int) -> None:
        self.sets[change.name] -= change.remove

    async def destroy(self, name: str) -> bool:
        if any(name in user.sets_in_use() for user in self.users):
            return False
        del self.sets[name]
        return True


class ModelMachine:
    """:class:`felix.firewall.reconciler.Machine` of models. ``seen`` may be changed at any time."""

    def __init__(self, seen: Seen | None = None) -> None:
        everything = frozenset(Backend)
        self.seen = seen or Seen(usable=everything)
        self.sets = ModelSets()
        self.nft = ModelNft()
        self.legacy, self.on_nft = ModelIptables(self.sets), ModelIptables(self.sets)
        self.restart()

    def restart(self) -> None:
        """New writers, as of a new process."""
        self.writers: dict[Backend, Writer] = {
            Backend.NFT: NftWriter(self.nft),
            Backend.IPTABLES_LEGACY: IptablesWriter(self.legacy, self.sets),
            Backend.IPTABLES_NFT: IptablesWriter(self.on_nft, self.sets),
        }

    async def choose(self, modes: Modes) -> Backend:
        return choose(modes, self.seen)

    def writer(self, backend: Backend) -> Writer:
        return self.writers[backend]

    def others(self, backend: Backend) -> tuple[Writer, ...]:
        return tuple(writer for other, writer in self.writers.items() if other is not backend)

    def in_force(self) -> set[Backend]:
        """Backends that hold rules for both of what every node needs: NAT and the check of pods' sources."""
        found = {Backend.NFT} if "ip" in self.nft.tables else set()
        for backend, model in ((Backend.IPTABLES_LEGACY, self.legacy), (Backend.IPTABLES_NFT, self.on_nft)):
            if {"cali-PREROUTING"} <= model.table(4, Table.RAW).keys() and "cali-nat-outgoing" in model.table(
                4, Table.NAT
            ):
                found.add(backend)
        return found
