"""Which backend holds the rules: nftables, or iptables in one of its two forms. Pure.

Two programs that filter the same packets must agree on the backend: an accept of one nftables table does not stop
another's drop, and legacy iptables stands beside both. So the decision follows kube-proxy and whoever else wrote
rules here, and FelixConfiguration can overrule it.
Source: Calico felix/nftables/utils.go (Enabled), felix/environment/feature_detect_linux.go (DetectBackend).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from felix.firewall.model import FirewallUnavailable


class Backend(Enum):
    NFT = "nftables"
    IPTABLES_LEGACY = "iptables-legacy"
    IPTABLES_NFT = "iptables-nft"


class Mode(Enum):
    """FelixConfiguration's nftablesMode."""

    AUTO = "Auto"
    ENABLED = "Enabled"
    DISABLED = "Disabled"


class IptablesBackend(Enum):
    """FelixConfiguration's iptablesBackend."""

    AUTO = "Auto"
    LEGACY = "Legacy"
    NFT = "NFT"


@dataclass(frozen=True, slots=True)
class Modes:
    nftables: Mode = Mode.AUTO
    iptables: IptablesBackend = IptablesBackend.AUTO


@dataclass(frozen=True, slots=True)
class Seen:
    """What is on this machine. ``usable`` backends have their program and the kernel's part. ``*_rules``: rules of all
    tables and both IP versions, ``*_kubernetes``: kubelet's marks among them.
    """

    usable: frozenset[Backend] = frozenset()
    kube_proxy_in_nft: bool = False
    legacy_kubernetes: bool = False
    iptables_nft_kubernetes: bool = False
    legacy_rules: int = 0
    iptables_nft_rules: int = 0


def choose(modes: Modes, seen: Seen) -> Backend:
    """Raises FirewallUnavailable where nothing can be used, or not what FelixConfiguration names.

    As upstream, but for one thing: where Auto finds no way to write iptables rules and nftables is there, upstream
    fails and this takes nftables; and the other way about.
    """
    if modes.nftables is Mode.ENABLED:
        return _only(Backend.NFT, seen, "nftablesMode Enabled")
    if modes.nftables is Mode.AUTO and seen.kube_proxy_in_nft:
        return _only(Backend.NFT, seen, "kube-proxy in nftables mode")
    if modes.iptables is not IptablesBackend.AUTO:
        wanted = Backend.IPTABLES_LEGACY if modes.iptables is IptablesBackend.LEGACY else Backend.IPTABLES_NFT
        return _only(wanted, seen, f"iptablesBackend {modes.iptables.value}")
    candidates = [*_iptables_by_use(seen), *([Backend.NFT] if modes.nftables is Mode.AUTO else [])]
    for candidate in candidates:
        if candidate in seen.usable:
            return candidate
    raise FirewallUnavailable("neither nft nor iptables can be used here: install nftables")


def _iptables_by_use(seen: Seen) -> tuple[Backend, Backend]:
    """The one that others use first; legacy if they use neither."""
    if seen.iptables_nft_kubernetes:
        prefers_legacy = False
    elif seen.legacy_kubernetes:
        prefers_legacy = True
    else:
        prefers_legacy = seen.legacy_rules >= seen.iptables_nft_rules
    found = (Backend.IPTABLES_LEGACY, Backend.IPTABLES_NFT)
    return found if prefers_legacy else (found[1], found[0])


def _only(backend: Backend, seen: Seen, because: str) -> Backend:
    if backend not in seen.usable:
        raise FirewallUnavailable(f"{because} asks for {backend.value}, which cannot be used here")
    return backend
