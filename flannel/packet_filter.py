"""The packet filters of this machine, for flannel's rules: what felix's loop (:mod:`felix.firewall.reconciler`) writes
through.

Which of the two forms of iptables is used follows whoever else filters here; nftables is used if net-conf.json says so.
A family without rules is looked at only where its program is there: a host without IPv6 needs no ip6tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from felix.firewall.choose import Backend, Modes, choose
from felix.firewall.execute import execute
from felix.firewall.iptables import LegacyIptables, NftIptables
from felix.firewall.machine import see
from felix.firewall.model import NOTHING, VERSIONS, FamilyRules, FirewallUnavailable, RuleSet
from felix.firewall.nft import NftProgram
from felix.firewall.nft_json import FAMILIES
from felix.firewall.reconciler import Writer
from flannel import iptables_text, nft_text

_PROGRAMS = {4: "iptables", 6: "ip6tables"}


class FlannelFilters:
    """:class:`felix.firewall.reconciler.Machine`."""

    def __init__(self) -> None:
        self._writers: dict[Backend, Writer] = {
            Backend.NFT: NftTables({version: NftProgram(table=nft_text.TABLES[version]) for version in VERSIONS}),
            Backend.IPTABLES_LEGACY: IptablesChains("legacy", LegacyIptables().listen),
            Backend.IPTABLES_NFT: IptablesChains("nft", NftIptables().listen),
        }
        self._usable: frozenset[Backend] = frozenset()

    async def choose(self, modes: Modes) -> Backend:
        seen = await see()
        self._usable = seen.usable
        return choose(modes, seen)

    def writer(self, backend: Backend) -> Writer:
        return self._writers[backend]

    def others(self, backend: Backend) -> tuple[Writer, ...]:
        return tuple(self._writers[other] for other in Backend if other is not backend and other in self._usable)


class IptablesChains:
    """One form of iptables, "legacy" or "nft"."""

    def __init__(self, form: str, listen: Callable[[Callable[[], None]], None]) -> None:
        self._form = form
        self._listen = listen

    def listen(self, wake: Callable[[], None]) -> None:
        self._listen(wake)

    async def write(self, wanted: RuleSet) -> int:
        return sum([await self._write_family(family) for family in wanted.families])

    async def remove(self) -> int:
        return await self.write(NOTHING)

    async def _write_family(self, family: FamilyRules) -> int:
        text = iptables_text.edits(family, await self._save(family))
        if not text:
            return 0
        await self._run(f"{_PROGRAMS[family.version]}-{self._form}-restore", "--noflush", "--wait", stdin=text)
        if iptables_text.edits(family, await self._save(family)):
            raise FirewallUnavailable("iptables-save shows something else than what was written")
        return text.count("\n")

    async def _save(self, family: FamilyRules) -> str:
        try:
            return await self._run(f"{_PROGRAMS[family.version]}-{self._form}-save")
        except FirewallUnavailable:
            if family.chains:
                raise
            return ""

    async def _run(self, *words: str, stdin: str = "") -> str:
        status, out, err = await execute(words, stdin.encode())
        if status != 0:
            last = next((line.strip() for line in reversed(err.splitlines()) if line.strip()), "failed without a word")
            raise FirewallUnavailable(f"{words[0]}: {last}")
        return out


class NftTables:
    """``programs``: the way to our table of each IP version."""

    def __init__(self, programs: Mapping[int, NftProgram]) -> None:
        self._programs = programs
        self._written: dict[int, tuple[FamilyRules, str]] = {}

    def listen(self, wake: Callable[[], None]) -> None:
        for program in self._programs.values():
            program.listen(wake)

    async def write(self, wanted: RuleSet) -> int:
        """The original makes both tables, whatever families are on."""
        return sum([await self._write_family(family) for family in wanted.families])

    async def remove(self) -> int:
        count = 0
        self._written = {}
        for version, program in self._programs.items():
            if await program.list(FAMILIES[version]):
                await program.load(nft_text.removed(version))
                count += 1
        return count

    async def _write_family(self, family: FamilyRules) -> int:
        program, name = self._programs[family.version], FAMILIES[family.version]
        held = family, nft_text.form(await program.list(name))
        if held == self._written.get(family.version):
            return 0
        text = nft_text.written(family)
        await program.load(text)
        self._written[family.version] = family, nft_text.form(await program.list(name))
        return text.count("\n")
