"""What a cluster's user may set of felix: the fields of FelixConfiguration that some room acts on. Pure.

    built-in default  <  FelixConfiguration default  <  one that selects this node  <  node.NAME  <  FELIX_* variables

Each field is read by itself, from the strongest source that has it: a value that cannot be meant is told, and the
built-in default stands in for it. The word ``none`` is the field's zero (no range, 0, false). Of several objects
that select the node the oldest counts.

Names, defaults and order are Calico's (felix/config, felix/calc/config_batcher.go); so are ranges, but where Calico
takes any number and the kernel does not: ports, VNI, MTU.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

from datastore import selector
from datastore.resource import Resource
from felix.firewall.choose import IptablesBackend, Mode
from felix.firewall.rules import HostAction
from felix.setting import (
    NO_ZERO,
    Place,
    PortRange,
    address,
    anything,
    boolean,
    device,
    devices,
    duration,
    networks,
    one_of,
    pattern,
    ports,
    setting,
    whole,
)

Network = IPv4Network | IPv6Network


class Exclusions(Enum):
    """Which destinations outside the pod's own pool are not masqueraded."""

    POOLS = "IPPoolsOnly"
    POOLS_AND_HOSTS = "IPPoolsAndHostIPs"


class DenyAction(Enum):
    DROP = "Drop"
    REJECT = "Reject"


class ChainInsertMode(Enum):
    INSERT = "insert"
    APPEND = "append"


class ClusterRoutes(Enum):
    ENABLED = "Enabled"
    DISABLED = "Disabled"
    IPIP_ONLY = "EnabledIPIPOnly"
    NO_ENCAP_ONLY = "EnabledNoEncapOnly"


class ClientAuth(Enum):
    """Which certificate a scrape must show."""

    NONE = "NoClientCert"
    IF_GIVEN = "VerifyClientCertIfGiven"
    ANY = "RequireAnyClientCert"
    VERIFIED = "RequireAndVerifyClientCert"


_MTU = whole(0, 0xFFFF)
_MASK = whole(1, 0xFFFFFFFF)

DEFAULT_UPLINKS = re.compile(r"^((en|wl|ww|sl|ib)[Pcopsvx].*|(eth|wlan|wwan).*)")


@dataclass(frozen=True, slots=True)
class Settings:
    """``ipip_enabled`` and ``vxlan_enabled`` None: as the pools ask. An MTU of 0: as the uplinks allow."""

    ipip_enabled: bool | None = setting("ipipEnabled", boolean, None, zero=None, variable="IpInIpEnabled")
    vxlan_enabled: bool | None = setting("vxlanEnabled", boolean, None, zero=None)
    ipip_mtu_bytes: int = setting("ipipMTU", _MTU, 0, zero=0, variable="IpInIpMtu")
    vxlan_mtu_bytes: int = setting("vxlanMTU", _MTU, 0, zero=0)
    vxlan_mtu_v6_bytes: int = setting("vxlanMTUV6", _MTU, 0, zero=0)
    vxlan_port: int = setting("vxlanPort", whole(1, 0xFFFF), 4789)
    vxlan_vni: int = setting("vxlanVNI", whole(0, 0xFFFFFF), 4096, zero=0)
    mtu_iface_pattern: re.Pattern[str] = setting("mtuIfacePattern", pattern, DEFAULT_UPLINKS)
    allow_ipip_packets_from_workloads: bool = setting("allowIPIPPacketsFromWorkloads", boolean, False, zero=False)
    allow_vxlan_packets_from_workloads: bool = setting("allowVXLANPacketsFromWorkloads", boolean, False, zero=False)
    external_nodes: tuple[Network, ...] = setting(
        "externalNodesList", networks, (), zero=(), variable="ExternalNodesCIDRList"
    )
    nat_port_range: PortRange | None = setting("natPortRange", ports, None, zero=None)
    nat_outgoing_address: IPv4Address | None = setting("natOutgoingAddress", address(IPv4Address), None, zero=None)
    nat_outgoing_exclusions: Exclusions = setting("natOutgoingExclusions", one_of(Exclusions), Exclusions.POOLS)
    nat_outgoing_device: str = setting("iptablesNATOutgoingInterfaceFilter", device, "", zero="")
    nftables_mode: Mode = setting("nftablesMode", one_of(Mode), Mode.AUTO)
    iptables_backend: IptablesBackend = setting("iptablesBackend", one_of(IptablesBackend), IptablesBackend.AUTO)
    iptables_mark_mask: int = setting("iptablesMarkMask", _MASK, 0xFFFF0000)
    nftables_mark_mask: int = setting("nftablesMarkMask", _MASK, 0xFFFF0000)
    iptables_refresh_s: float = setting("iptablesRefreshInterval", duration(), 180.0, zero=0.0)
    nftables_refresh_s: float = setting("nftablesRefreshInterval", duration(), 180.0, zero=0.0)
    iptables_lock_probe_s: float = setting(
        "iptablesLockProbeInterval", duration(1e-3), 0.05, zero=0.0, variable="IptablesLockProbeIntervalMillis"
    )
    chain_insert_mode: ChainInsertMode = setting("chainInsertMode", one_of(ChainInsertMode), ChainInsertMode.INSERT)
    endpoint_to_host_action: HostAction = setting("defaultEndpointToHostAction", one_of(HostAction), HostAction.DROP)
    iptables_deny_action: DenyAction = setting("iptablesFilterDenyAction", one_of(DenyAction), DenyAction.DROP)
    nftables_deny_action: DenyAction = setting("nftablesFilterDenyAction", one_of(DenyAction), DenyAction.DROP)
    ipv6_support: bool = setting("ipv6Support", boolean, True, zero=False)
    interface_prefixes: tuple[str, ...] = setting("interfacePrefix", devices, ("cali",))
    device_route_source: IPv4Address | None = setting("deviceRouteSourceAddress", address(IPv4Address), None, zero=None)
    device_route_source_v6: IPv6Address | None = setting(
        "deviceRouteSourceAddressIPv6", address(IPv6Address), None, zero=None
    )
    device_route_protocol: int = setting("deviceRouteProtocol", whole(0, 255), 3, zero=0)
    remove_external_routes: bool = setting("removeExternalRoutes", boolean, True, zero=False)
    program_cluster_routes: ClusterRoutes = setting(
        "programClusterRoutes", one_of(ClusterRoutes), ClusterRoutes.IPIP_ONLY
    )
    route_refresh_s: float = setting("routeRefreshInterval", duration(), 90.0, zero=0.0)
    interface_refresh_s: float = setting("interfaceRefreshInterval", duration(), 90.0, zero=0.0)
    log_severity: str = setting("logSeverityScreen", anything, "Info", zero="")
    prometheus_metrics_enabled: bool = setting("prometheusMetricsEnabled", boolean, False, zero=False)
    prometheus_metrics_host: str = setting("prometheusMetricsHost", anything, "", zero="")
    prometheus_metrics_port: int = setting("prometheusMetricsPort", whole(0, 0xFFFF), 9091, zero=0)
    prometheus_process_metrics_enabled: bool = setting("prometheusProcessMetricsEnabled", boolean, True, zero=False)
    prometheus_metrics_ca_file: str = setting("prometheusMetricsCAFile", anything, "", zero="")
    prometheus_metrics_cert_file: str = setting("prometheusMetricsCertFile", anything, "", zero="")
    prometheus_metrics_key_file: str = setting("prometheusMetricsKeyFile", anything, "", zero="")
    prometheus_metrics_client_auth: ClientAuth = setting(
        "prometheusMetricsClientAuth", one_of(ClientAuth), ClientAuth.NONE
    )


DEFAULTS = Settings()


@cache
def _places() -> tuple[tuple[str, Place, Any], ...]:
    return tuple((each.name, each.metadata["place"], each.default) for each in fields(Settings))


# --- from documents to settings --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Read:
    """``troubles``: a sentence for each value that cannot be meant, and for each object that has no effect."""

    settings: Settings = field(default_factory=Settings)
    troubles: tuple[str, ...] = ()


def read(
    documents: Iterable[Resource], *, node: str, labels: Mapping[str, str], environ: Mapping[str, str] | None = None
) -> Read:
    """What holds on ``node``, which has ``labels``, by the FelixConfigurations and the environment."""
    troubles: list[str] = []
    sources = [*_sources(tuple(documents), node, labels, troubles), _of_environment(environ or {})]
    values: dict[str, Any] = {}
    for name, place, default in _places():
        told = [(source.origin, text) for source in sources if (text := source.texts.get(place.variable))]
        if told:
            values[name] = _value(place, default, *told[-1], troubles)
    return Read(Settings(**values), tuple(troubles))


@dataclass(frozen=True, slots=True)
class _Source:
    """What one place says: texts by variable, in capitals."""

    origin: str
    texts: Mapping[str, str]


def _value(place: Place, default: Any, origin: str, text: str, troubles: list[str]) -> Any:
    try:
        if text.lower() != "none":
            return place.parse(text)
        if place.zero is NO_ZERO:
            raise ValueError("cannot be none")
        return place.zero
    except ValueError as error:
        troubles.append(f"{origin}: {place.name} = {text!r}: {error}; the default is used")
        return default


def _sources(
    documents: tuple[Resource, ...], node: str, labels: Mapping[str, str], troubles: list[str]
) -> Iterator[_Source]:
    """Weakest first."""
    by_name = {each.name: each for each in documents}
    own = f"node.{node}"
    selecting = _selecting(documents, labels, troubles)
    for each in (by_name.get("default"), selecting, by_name.get(own)):
        if each is not None:
            yield _Source(str(each.key), dict(_texts(each.spec)))


def _selecting(documents: Iterable[Resource], labels: Mapping[str, str], troubles: list[str]) -> Resource | None:
    scoped = [each for each in documents if each.name != "default" and not each.name.startswith("node.")]
    matching = sorted((each for each in scoped if _matches(each, labels, troubles)), key=lambda e: (e.created, e.name))
    for other in matching[1:]:
        troubles.append(f"{other.key}: selects this node too, but {matching[0].key} is older and counts")
    return matching[0] if matching else None


def _matches(document: Resource, labels: Mapping[str, str], troubles: list[str]) -> bool:
    text = document.spec.get("nodeSelector") or ""
    try:
        return bool(text) and selector.parse(text).matches(labels)
    except selector.Malformed as error:
        troubles.append(f"{document.key}: nodeSelector = {text!r}: {error}; it has no effect")
        return False


def _texts(spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for _, place, _ in _places():
        raw = spec.get(place.name)
        if raw is not None:
            yield place.variable, _as_text(raw)


def _as_text(raw: Any) -> str:
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, list):
        return ",".join(map(str, raw))
    return str(raw)


def _of_environment(environ: Mapping[str, str]) -> _Source:
    """Calico takes the variables' names in any case."""
    named = {name.upper(): text for name, text in environ.items()}
    return _Source(
        "environment", {name.removeprefix("FELIX_"): text for name, text in named.items() if name.startswith("FELIX_")}
    )
