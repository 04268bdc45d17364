"""The first pools, from CALICO_IPV4POOL_* and CALICO_IPV6POOL_*. Pure.

Source: Calico node/pkg/lifecycle/startup/startup.go (configureIPPools), autodetection/ipv4/poolselector.go. Unlike
upstream, an IPv6 pool is made only where IPv6 is asked for: by CALICO_IPV6POOL_CIDR, or by IP6.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from types import MappingProxyType

from datastore.resource import Resource
from datastore.resources import EncapMode, IPPool
from felix.startup import environment
from felix.startup.detect import Interface
from felix.startup.environment import BadEnvironment, Environ, refuse

Network = IPv4Network | IPv6Network

DEFAULT_CIDR = IPv4Network("192.168.0.0/16")
OTHER_CIDRS = tuple(IPv4Network(f"172.{number}.0.0/16") for number in range(16, 32))


@dataclass(frozen=True, slots=True)
class _Family:
    prefix: str
    pool: str
    block_size: int
    sizes: tuple[int, int]
    does_nat: bool


_FAMILIES: Mapping[int, _Family] = MappingProxyType(
    {
        4: _Family("CALICO_IPV4POOL", "default-ipv4-ippool", 26, (20, 32), True),
        6: _Family("CALICO_IPV6POOL", "default-ipv6-ippool", 122, (116, 128), False),
    }
)

_AS_UPSTREAM_WRITES_IT = {
    "vxlanMode": "Never",
    "ipipMode": "Never",
    "nodeSelector": "all()",
    "allowedUses": ["Workload", "Tunnel"],
    "assignmentMode": "Automatic",
}
"""Upstream stores these defaults; codec leaves what is equal as it stands."""

FIELDS = ("ipipMode", "vxlanMode", "natOutgoing", "nodeSelector", "disableBGPExport")
"""What of a pool the environment says and may change later, beside its network and its blocks' size."""


def variable_of(field: str, version: int) -> str:
    """The variable that says this field."""
    suffix = {
        "ipipMode": "IPIP",
        "vxlanMode": "VXLAN",
        "natOutgoing": "NAT_OUTGOING",
        "nodeSelector": "NODE_SELECTOR",
        "disableBGPExport": "DISABLE_BGP_EXPORT",
        "cidr": "CIDR",
        "blockSize": "BLOCK_SIZE",
    }[field]
    return f"{_FAMILIES[version].prefix}_{suffix}"


def wanted(
    environ: Environ,
    version: int,
    *,
    hosts: Iterable[Interface] = (),
    networks: Iterable[Network] = (),
    ula: Network | None = None,
) -> IPPool | None:
    """The first pool of a family, or None when none is wanted.

    Args:
        networks: those that whoever set up the cluster has given to pods; for a pool whose network nobody told.
        hosts: the machine's addresses, which a network that nobody asked for must not hold.
        ula: the network of an IPv6 pool whose network nobody told.
    Raises BadEnvironment.
    """
    family = _FAMILIES[version]
    variable = f"{family.prefix}_CIDR"
    text = environ.get(variable, "").strip()
    if environ.get("NO_DEFAULT_POOLS", "").lower() == "true":
        if text:
            raise refuse(variable, text, "must be empty where NO_DEFAULT_POOLS is true")
        return None
    if text.lower() == "none" or (version == 6 and not text and environ.get("IP6", "").lower() in ("", "none")):
        return None
    given = next((network for network in networks if network.version == version), None)
    cidr = _network(variable, text, version) if text else given or _default(version, hosts, ula)
    ipip, vxlan = _modes(environ, version)
    return IPPool(
        resource=Resource(
            "IPPool", environ.get(f"{family.prefix}_NAME", "") or family.pool, spec=_AS_UPSTREAM_WRITES_IT
        ),
        cidr=cidr,
        block_size_given=_block_size(environ, family, cidr),
        ipip_mode=ipip,
        vxlan_mode=vxlan,
        nat_outgoing=environment.is_on(environ, f"{family.prefix}_NAT_OUTGOING", default=family.does_nat),
        node_selector=environment.selector(environ, f"{family.prefix}_NODE_SELECTOR"),
        disable_bgp_export=environment.is_on(environ, f"{family.prefix}_DISABLE_BGP_EXPORT", default=False),
    )


def is_cidr_given(environ: Environ, version: int) -> bool:
    return bool(environ.get(f"{_FAMILIES[version].prefix}_CIDR", "").strip())


def given(environ: Environ, version: int) -> frozenset[str]:
    """The fields whose variables the environment has."""
    return frozenset(name for name in FIELDS if environ.get(variable_of(name, version), "").strip())


def modes_from(environ: Environ) -> tuple[EncapMode, EncapMode]:
    """ipipMode and vxlanMode of the first IPv4 pool. Raises BadEnvironment."""
    return _modes(environ, 4)


def _modes(environ: Environ, version: int) -> tuple[EncapMode, EncapMode]:
    prefix = _FAMILIES[version].prefix
    ipip = environment.mode(environ, f"{prefix}_IPIP") if version == 4 else EncapMode.NEVER
    vxlan = environment.mode(environ, f"{prefix}_VXLAN")
    if EncapMode.NEVER not in (ipip, vxlan):
        told = f"{prefix}_IPIP={ipip.value} and {prefix}_VXLAN={vxlan.value}"
        raise BadEnvironment(f"{told}: one of them must be Never")
    return ipip, vxlan


def _network(variable: str, text: str, version: int) -> Network:
    try:
        found = ip_network(text)
    except ValueError as error:
        raise refuse(variable, text, f"must be none or a network, like 10.244.0.0/16: {error}") from None
    if found.version != version:
        raise refuse(variable, text, f"must be an IPv{version} network")
    return found


def _default(version: int, hosts: Iterable[Interface], ula: Network | None) -> Network:
    if version == 6:
        if ula is None:
            raise ValueError("an IPv6 pool needs a network to fall back on")
        return ula
    taken = [address.ip for address in hosts]
    free = (cidr for cidr in (DEFAULT_CIDR, *OTHER_CIDRS) if not any(address in cidr for address in taken))
    return next(free, DEFAULT_CIDR)


def _block_size(environ: Environ, family: _Family, cidr: Network) -> int:
    low, high = family.sizes
    variable = f"{family.prefix}_BLOCK_SIZE"
    size = environment.number(environ, variable, default=family.block_size, low=low, high=high)
    if cidr.prefixlen > size:
        raise refuse(f"{family.prefix}_CIDR", str(cidr), f"is smaller than a block (/{size})")
    return size
