"""The packet filters of this machine: what is there to choose from, and the writer of each.

firewall = Firewall(ThisMachine())
"""

from __future__ import annotations

from pathlib import Path

from felix.firewall.choose import Backend, Modes, Seen, choose
from felix.firewall.execute import execute
from felix.firewall.ipset import IpSets
from felix.firewall.iptables import IptablesWriter, LegacyIptables, NftIptables
from felix.firewall.model import FirewallUnavailable
from felix.firewall.nft import NftProgram, NftWriter
from felix.firewall.reconciler import Writer

_KUBERNETES = ("KUBE-IPTABLES-HINT", "KUBE-KUBELET-CANARY")
_LEGACY_IN_KERNEL = (Path("/proc/net/ip_tables_names"), Path("/proc/net/ip6_tables_names"))


class ThisMachine:
    """:class:`felix.firewall.reconciler.Machine`: the network namespace of this process."""

    def __init__(self) -> None:
        self._nft = NftProgram()
        self._legacy = LegacyIptables()
        sets = IpSets()
        self._writers: dict[Backend, Writer] = {
            Backend.NFT: NftWriter(self._nft),
            Backend.IPTABLES_LEGACY: IptablesWriter(self._legacy, sets),
            Backend.IPTABLES_NFT: IptablesWriter(NftIptables(), sets),
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

    async def all(self) -> list[tuple[str, Writer]]:
        """Each that can be used here, with its name. Raises FirewallUnavailable."""
        usable = (await see()).usable
        return [(backend.value, self._writers[backend]) for backend in Backend if backend in usable]

    def close(self) -> None:
        self._nft.close()
        self._legacy.close()


async def see() -> Seen:
    """What of each backend is here. Legacy tables are looked at only where the kernel has their modules loaded, or has
    nothing else: to ask is to load them.
    """
    nft, on_nft = await _output("nft", "list", "tables"), await _saved("nft")
    if nft is None and on_nft is None and not _is_legacy_loaded():
        await _output("iptables-legacy", "-t", "filter", "-S")
    legacy = await _saved("legacy")
    found = {Backend.NFT: nft, Backend.IPTABLES_LEGACY: legacy, Backend.IPTABLES_NFT: on_nft}
    usable = frozenset(backend for backend, text in found.items() if text is not None)
    return Seen(
        usable=usable,
        kube_proxy_in_nft="kube-proxy" in (nft or ""),
        legacy_kubernetes=_is_kubernetes(legacy),
        iptables_nft_kubernetes=_is_kubernetes(on_nft),
        legacy_rules=_count(legacy),
        iptables_nft_rules=_count(on_nft),
    )


async def listed() -> str:
    """The rules of every backend, as its own program prints them; of nftables the chains alone."""
    found = (await _output("nft", "list", "chains"), await _saved("nft"), await _saved("legacy"))
    return "".join(text or "" for text in found)


async def _saved(form: str) -> str | None:
    """Of both IP versions; None if the form cannot be used."""
    if form == "legacy" and not _is_legacy_loaded():
        return None
    found = [await _output(f"{program}-{form}-save") for program in ("iptables", "ip6tables")]
    return None if None in found else "".join(text or "" for text in found)


def _is_legacy_loaded() -> bool:
    return any(path.exists() for path in _LEGACY_IN_KERNEL)


async def _output(*words: str) -> str | None:
    try:
        status, out, _ = await execute(words)
    except FirewallUnavailable:
        return None
    return out if status == 0 else None


def _is_kubernetes(saved: str | None) -> bool:
    return any(mark in (saved or "") for mark in _KUBERNETES)


def _count(saved: str | None) -> int:
    return sum(line.startswith("-A") for line in (saved or "").splitlines())
