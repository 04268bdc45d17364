"""What holds on a node, from all who may have a say."""

from __future__ import annotations

import re
from dataclasses import fields
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from datastore.codec import decode
from datastore.resource import Resource
from datastore.resources import FelixConfiguration
from felix.firewall.choose import IptablesBackend, Mode
from felix.firewall.rules import HostAction
from felix.setting import PortRange
from felix.settings import (
    ChainInsertMode,
    ClientAuth,
    ClusterRoutes,
    DenyAction,
    Exclusions,
    Read,
    Settings,
    read,
)
from felix.view import View
from tests.clusters import node


def configuration(name: str = "default", *, created: str = "", **spec: Any) -> Resource:
    return Resource("FelixConfiguration", name, spec=spec, created=created)


FIELDS: list[tuple[str, Any, str, object]] = [
    ("ipipEnabled", True, "ipip_enabled", True),
    ("vxlanEnabled", False, "vxlan_enabled", False),
    ("ipipMTU", 1440, "ipip_mtu_bytes", 1440),
    ("vxlanMTU", 1410, "vxlan_mtu_bytes", 1410),
    ("vxlanMTUV6", 1390, "vxlan_mtu_v6_bytes", 1390),
    ("vxlanPort", 8472, "vxlan_port", 8472),
    ("vxlanVNI", 1, "vxlan_vni", 1),
    ("mtuIfacePattern", "^bond", "mtu_iface_pattern", re.compile("^bond")),
    ("allowIPIPPacketsFromWorkloads", True, "allow_ipip_packets_from_workloads", True),
    ("allowVXLANPacketsFromWorkloads", True, "allow_vxlan_packets_from_workloads", True),
    ("externalNodesList", ["10.0.0.1"], "external_nodes", (ip_network("10.0.0.1"),)),
    (
        "externalNodesList",
        ["10.0.0.0/8", "fd00::/8"],
        "external_nodes",
        tuple(map(ip_network, ("10.0.0.0/8", "fd00::/8"))),
    ),
    ("natPortRange", "32768:65535", "nat_port_range", PortRange(32768, 65535)),
    ("natPortRange", 4000, "nat_port_range", PortRange(4000, 4000)),
    ("natPortRange", "none", "nat_port_range", None),
    ("natOutgoingAddress", "192.0.2.1", "nat_outgoing_address", ip_address("192.0.2.1")),
    ("natOutgoingExclusions", "IPPoolsAndHostIPs", "nat_outgoing_exclusions", Exclusions.POOLS_AND_HOSTS),
    ("iptablesNATOutgoingInterfaceFilter", "ens+", "nat_outgoing_device", "ens+"),
    ("nftablesMode", "Enabled", "nftables_mode", Mode.ENABLED),
    ("iptablesBackend", "NFT", "iptables_backend", IptablesBackend.NFT),
    ("iptablesBackend", "legacy", "iptables_backend", IptablesBackend.LEGACY),
    ("iptablesMarkMask", 0xFF000000, "iptables_mark_mask", 0xFF000000),
    ("nftablesMarkMask", 0xFF00, "nftables_mark_mask", 0xFF00),
    ("iptablesRefreshInterval", "1m30s", "iptables_refresh_s", 90.0),
    ("nftablesRefreshInterval", "0s", "nftables_refresh_s", 0.0),
    ("iptablesLockProbeInterval", "20ms", "iptables_lock_probe_s", 0.02),
    ("chainInsertMode", "Append", "chain_insert_mode", ChainInsertMode.APPEND),
    ("defaultEndpointToHostAction", "ACCEPT", "endpoint_to_host_action", HostAction.ACCEPT),
    ("iptablesFilterDenyAction", "Reject", "iptables_deny_action", DenyAction.REJECT),
    ("nftablesFilterDenyAction", "REJECT", "nftables_deny_action", DenyAction.REJECT),
    ("ipv6Support", False, "ipv6_support", False),
    ("interfacePrefix", "cali,tap", "interface_prefixes", ("cali", "tap")),
    ("deviceRouteSourceAddress", "192.0.2.1", "device_route_source", ip_address("192.0.2.1")),
    ("deviceRouteSourceAddressIPv6", "fd00::1", "device_route_source_v6", ip_address("fd00::1")),
    ("deviceRouteProtocol", 80, "device_route_protocol", 80),
    ("removeExternalRoutes", False, "remove_external_routes", False),
    ("programClusterRoutes", "Disabled", "program_cluster_routes", ClusterRoutes.DISABLED),
    ("routeRefreshInterval", "none", "route_refresh_s", 0.0),
    ("interfaceRefreshInterval", "1h", "interface_refresh_s", 3600.0),
    ("logSeverityScreen", "Debug", "log_severity", "Debug"),
    ("prometheusMetricsEnabled", True, "prometheus_metrics_enabled", True),
    ("prometheusMetricsHost", "127.0.0.1", "prometheus_metrics_host", "127.0.0.1"),
    ("prometheusMetricsPort", 9191, "prometheus_metrics_port", 9191),
    ("prometheusProcessMetricsEnabled", False, "prometheus_process_metrics_enabled", False),
    ("prometheusMetricsCAFile", "/ca.pem", "prometheus_metrics_ca_file", "/ca.pem"),
    ("prometheusMetricsCertFile", "/cert.pem", "prometheus_metrics_cert_file", "/cert.pem"),
    ("prometheusMetricsKeyFile", "/key.pem", "prometheus_metrics_key_file", "/key.pem"),
    (
        "prometheusMetricsClientAuth",
        "RequireAndVerifyClientCert",
        "prometheus_metrics_client_auth",
        ClientAuth.VERIFIED,
    ),
]


def told(*documents: Resource, **environ: str) -> Read:
    return read(documents, node="node1", labels={"rack": "a"}, environ=environ)


def test_without_any_word_the_defaults_are_calicos() -> None:
    settings = told().settings
    assert settings == Settings()
    assert (settings.vxlan_port, settings.vxlan_vni, settings.device_route_protocol) == (4789, 4096, 3)
    assert (settings.route_refresh_s, settings.nftables_refresh_s, settings.iptables_lock_probe_s) == (
        90.0,
        180.0,
        0.05,
    )
    assert settings.mtu_iface_pattern.match("ens33")
    assert not settings.mtu_iface_pattern.match("docker0")


@pytest.mark.parametrize(("field", "raw", "attribute", "expected"), FIELDS)
def test_each_field_is_read_from_a_resource(field: str, raw: Any, attribute: str, expected: object) -> None:
    found = told(configuration(**{field: raw}))
    assert found.troubles == ()
    assert getattr(found.settings, attribute) == expected


def test_every_field_is_tested_above() -> None:
    assert {attribute for _, _, attribute, _ in FIELDS} == {each.name for each in fields(Settings)}


@pytest.mark.parametrize(
    ("field", "raw", "why"),
    [
        ("ipipEnabled", "maybe", "ipipEnabled = 'maybe': must be true or false"),
        ("vxlanPort", 70000, "vxlanPort = '70000': must be a whole number from 1 to 65535"),
        ("vxlanVNI", 1 << 24, "vxlanVNI = '16777216': must be a whole number from 0 to 16777215"),
        ("ipipMTU", "big", "ipipMTU = 'big': must be a whole number from 0 to 65535"),
        ("mtuIfacePattern", "(", "mtuIfacePattern = '(': must be a regular expression: missing ), unterminated"),
        ("natPortRange", "9:1", "natPortRange = '9:1': must be a port or a range of ports from 0 to 65535"),
        ("natOutgoingAddress", "fd00::1", "natOutgoingAddress = 'fd00::1': must be an IPv4 address"),
        ("nftablesMode", "Off", "nftablesMode = 'Off': must be one of Auto, Enabled, Disabled"),
        ("externalNodesList", ["10.0.0.0/33"], "externalNodesList = '10.0.0.0/33': must be addresses and networks"),
        ("interfacePrefix", "none", "interfacePrefix = 'none': cannot be none"),
        ("interfacePrefix", "a/b", "interfacePrefix = 'a/b': must be beginnings of device names"),
        ("routeRefreshInterval", "soon", "routeRefreshInterval = 'soon': must be a duration like 90s"),
        ("routeRefreshInterval", "-5s", "routeRefreshInterval = '-5s': must be a duration like 90s"),
    ],
)
def test_a_bad_value_is_told_and_the_default_stands_in_for_it(field: str, raw: Any, why: str) -> None:
    found = told(configuration(**{field: raw, "deviceRouteProtocol": 80}))
    assert found.settings == Settings(device_route_protocol=80)
    (trouble,) = found.troubles
    assert trouble.startswith(f"FelixConfiguration(default): {why}")
    assert trouble.endswith("; the default is used")


def test_the_nearest_word_counts_for_each_field_by_itself() -> None:
    documents = (
        configuration(vxlanPort=1, vxlanVNI=1, ipipMTU=1001, vxlanMTU=1001),
        configuration("racks", nodeSelector="rack == 'a'", vxlanVNI=2, ipipMTU=1002, vxlanMTU=1002),
        configuration("node.node1", ipipMTU=1003, vxlanMTU=1003),
        configuration("node.node2", ipipMTU=9),
    )
    settings = told(*documents, FELIX_VXLANMTU="1004", FELIX_HOSTNAME="other").settings
    assert (settings.vxlan_port, settings.vxlan_vni) == (1, 2)
    assert (settings.ipip_mtu_bytes, settings.vxlan_mtu_bytes) == (1003, 1004)


def test_a_bad_word_from_the_nearest_is_not_replaced_by_a_farther_one() -> None:
    found = told(configuration(vxlanPort=8472), configuration("node.node1", vxlanPort=0))
    assert found.settings.vxlan_port == 4789
    assert "FelixConfiguration(node.node1): vxlanPort" in found.troubles[0]


def test_of_several_objects_that_select_the_node_the_oldest_counts_and_the_others_are_told() -> None:
    found = told(
        configuration("b", nodeSelector="all()", vxlanPort=2, created="2026-01-02T00:00:00Z"),
        configuration("a", nodeSelector="has(rack)", vxlanPort=1, created="2026-01-03T00:00:00Z"),
        configuration("c", nodeSelector="rack == 'z'", vxlanPort=3, created="2026-01-01T00:00:00Z"),
        configuration("d", vxlanPort=4),
    )
    assert found.settings.vxlan_port == 2
    assert found.troubles == (
        "FelixConfiguration(a): selects this node too, but FelixConfiguration(b) is older and counts",
    )


def test_a_selector_that_cannot_be_read_takes_its_object_out_alone() -> None:
    found = told(configuration("x", nodeSelector="rack ==", vxlanPort=1), configuration(vxlanVNI=7))
    assert found.settings == Settings(vxlan_vni=7)
    assert found.troubles[0].startswith("FelixConfiguration(x): nodeSelector = 'rack ==':")


@pytest.mark.parametrize(
    ("variable", "text", "attribute", "expected"),
    [
        ("FELIX_IPINIPENABLED", "true", "ipip_enabled", True),
        ("FELIX_IPINIPMTU", "1400", "ipip_mtu_bytes", 1400),
        ("FELIX_IpInIpMtu", "1400", "ipip_mtu_bytes", 1400),
        (
            "FELIX_EXTERNALNODESCIDRLIST",
            "10.0.0.1,10.1.0.0/16",
            "external_nodes",
            tuple(map(ip_network, ("10.0.0.1", "10.1.0.0/16"))),
        ),
        ("FELIX_IPTABLESLOCKPROBEINTERVALMILLIS", "20", "iptables_lock_probe_s", 0.02),
        ("FELIX_ROUTEREFRESHINTERVAL", "30", "route_refresh_s", 30.0),
        ("FELIX_NFTABLESMODE", "enabled", "nftables_mode", Mode.ENABLED),
        ("FELIX_VXLANVNI", "", "vxlan_vni", 4096),
    ],
)
def test_variables_have_calicos_names(variable: str, text: str, attribute: str, expected: object) -> None:
    found = told(**{variable: text})
    assert found.troubles == ()
    assert getattr(found.settings, attribute) == expected


def test_an_edit_takes_effect_in_the_view_at_once() -> None:
    view = View("node1", {"FELIX_VXLANMTU": "1300"})
    assert view.settings == Settings(vxlan_mtu_bytes=1300)
    version = view.map_version
    assert view.put(decode(FelixConfiguration, configuration(vxlanPort=8472)))
    assert view.settings == Settings(vxlan_mtu_bytes=1300, vxlan_port=8472)
    assert view.map_version > version
    assert not view.put(decode(FelixConfiguration, configuration(vxlanPort=8472)))
    assert view.gone(configuration().key)
    assert view.settings.vxlan_port == 4789


def test_a_label_of_this_node_brings_in_the_objects_that_select_it() -> None:
    view = View("node1")
    view.put(decode(FelixConfiguration, configuration("racks", nodeSelector="rack == 'a'", vxlanPort=8472)))
    me = node("node1", "192.168.50.10/24")
    view.put(me)
    assert view.settings.vxlan_port == 4789
    view.put(type(me)(resource=Resource("Node", "node1", labels={"rack": "a"}), ipv4=me.ipv4))
    assert view.settings.vxlan_port == 8472
