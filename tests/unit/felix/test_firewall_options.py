"""What FelixConfiguration says reaches the packet filter."""

from __future__ import annotations

from datastore.resource import Resource
from felix.firewall.choose import Backend, IptablesBackend, Mode, Modes
from felix.firewall.rules import Options
from felix.firewall_options import modes, options
from felix.settings import Settings, read

SAID = {
    "natPortRange": "32768:65535",
    "natOutgoingExclusions": "IPPoolsAndHostIPs",
    "nftablesFilterDenyAction": "Reject",
    "defaultEndpointToHostAction": "Accept",
    "chainInsertMode": "Append",
    "allowIPIPPacketsFromWorkloads": True,
    "iptablesBackend": "Legacy",
    "nftablesMode": "Disabled",
}


def test_settings_nobody_touched_are_the_filters_own_defaults() -> None:
    assert options(Settings(), Backend.NFT) == Options()
    assert modes(Settings()) == Modes()


def test_what_is_set_is_what_the_filter_gets() -> None:
    settings = read([Resource("FelixConfiguration", "default", spec=SAID)], node="node1", labels={}).settings
    asked = options(settings, Backend.NFT)
    assert asked.nat_ports == (32768, 65535)
    assert asked.nat_spares_hosts
    assert asked.rejects
    assert asked.host_action.value == "Accept"
    assert not asked.inserts_first
    assert (asked.pods_may_send_ipip, asked.pods_may_send_vxlan) == (True, False)
    assert not options(settings, Backend.IPTABLES_LEGACY).rejects
    assert modes(settings) == Modes(Mode.DISABLED, IptablesBackend.LEGACY)
