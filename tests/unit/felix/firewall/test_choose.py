"""Which backend is taken, by what is on the machine and what FelixConfiguration says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from felix.firewall.choose import Backend, IptablesBackend, Mode, Modes, Seen, choose
from felix.firewall.model import FirewallUnavailable

ALL = frozenset(Backend)
EVERYTHING = Seen(usable=ALL)
LEGACY, ON_NFT, NFT = Backend.IPTABLES_LEGACY, Backend.IPTABLES_NFT, Backend.NFT


@pytest.mark.parametrize(
    ("nftables", "iptables", "seen", "chosen"),
    [
        (Mode.AUTO, IptablesBackend.AUTO, EVERYTHING, LEGACY),
        (Mode.AUTO, IptablesBackend.AUTO, replace(EVERYTHING, kube_proxy_in_nft=True), NFT),
        (Mode.AUTO, IptablesBackend.AUTO, replace(EVERYTHING, iptables_nft_rules=1), ON_NFT),
        (Mode.AUTO, IptablesBackend.AUTO, replace(EVERYTHING, legacy_rules=1, iptables_nft_rules=1), LEGACY),
        (Mode.AUTO, IptablesBackend.AUTO, replace(EVERYTHING, legacy_kubernetes=True, iptables_nft_rules=9), LEGACY),
        (Mode.AUTO, IptablesBackend.AUTO, replace(EVERYTHING, iptables_nft_kubernetes=True, legacy_rules=9), ON_NFT),
        (Mode.AUTO, IptablesBackend.NFT, EVERYTHING, ON_NFT),
        (Mode.AUTO, IptablesBackend.LEGACY, replace(EVERYTHING, iptables_nft_rules=1), LEGACY),
        (Mode.AUTO, IptablesBackend.AUTO, replace(EVERYTHING, usable=ALL - {LEGACY}), ON_NFT),
        (Mode.AUTO, IptablesBackend.AUTO, replace(EVERYTHING, usable=frozenset({NFT})), NFT),
        (Mode.ENABLED, IptablesBackend.LEGACY, EVERYTHING, NFT),
        (Mode.DISABLED, IptablesBackend.AUTO, replace(EVERYTHING, kube_proxy_in_nft=True), LEGACY),
    ],
)
def test_a_machine_and_a_configuration_make_a_choice(
    nftables: Mode, iptables: IptablesBackend, seen: Seen, chosen: Backend
) -> None:
    assert choose(Modes(nftables, iptables), seen) is chosen


@pytest.mark.parametrize(
    ("modes", "seen", "why"),
    [
        (Modes(), Seen(), "neither nft nor iptables can be used here: install nftables"),
        (Modes(Mode.ENABLED), Seen(), "nftablesMode Enabled asks for nftables, which cannot be used here"),
        (
            Modes(Mode.DISABLED, IptablesBackend.LEGACY),
            replace(EVERYTHING, usable=ALL - {LEGACY}),
            "iptablesBackend Legacy asks for iptables-legacy, which cannot be used here",
        ),
        (
            Modes(),
            Seen(kube_proxy_in_nft=True),
            "kube-proxy in nftables mode asks for nftables, which cannot be used here",
        ),
    ],
)
def test_what_cannot_be_used_is_said(modes: Modes, seen: Seen, why: str) -> None:
    with pytest.raises(FirewallUnavailable, match=why):
        choose(modes, seen)
