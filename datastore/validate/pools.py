"""IPPool, and what else addresses are given out by.

Source: Calico validator.go (validateIPPoolSpec, validateIPAMConfigSpec), the CRD of IPPool.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network
from typing import Any

from datastore.addresses import Network, read_cidr, read_cidr_or_address
from datastore.unset import DEFAULT_BLOCK_SIZE
from datastore.validate import Room
from datastore.validate.claims import Claim
from datastore.validate.flaw import Flaw

Spec = Mapping[str, Any]

USES = ("Workload", "Tunnel", "LoadBalancer")
BLOCK_SIZES = {4: range(20, 33), 6: range(116, 129)}


def _check_pool(spec: Spec) -> Iterable[Flaw]:
    cidr = spec["cidr"]
    try:
        address, network = read_cidr_or_address(cidr)
    except ValueError:
        why = "IPPool CIDR must be a valid subnet" if cidr else "IPPool CIDR must be specified"
        yield Flaw("IPpool.CIDR", why, cidr)
        return
    if address != network.network_address:
        yield Flaw("IPpool.CIDR", "IP pool CIDR is not strictly masked", cidr)
    for use in spec.get("allowedUses", ()):
        if use not in USES:
            yield Flaw("IPpool.AllowedUses", f"unknown use: {use}", spec["allowedUses"])


def _check_configuration(spec: Spec) -> Iterable[Flaw]:
    most = spec.get("maxBlocksPerHost", 0)
    if most < 0:
        yield Flaw("MaxBlocksPerHost", "must be greater than or equal to 0", most)


def _network(spec: Spec) -> Network:
    return read_cidr(spec["cidr"])[1]


def _is_used_for(spec: Spec, *uses: str) -> bool:
    return any(use in spec.get("allowedUses", ()) for use in uses)


def _encapsulations(spec: Spec) -> int:
    return sum(spec.get(mode) not in (None, "", "Never") for mode in ("ipipMode", "vxlanMode"))


def _is_strictly_masked(spec: Spec) -> bool:
    address, network = read_cidr(spec["cidr"])
    return address == network.network_address


def _is_clear_of(link_local: str) -> Claim:
    forbidden = ip_network(link_local)

    def holds(spec: Spec) -> bool:
        address, network = read_cidr(spec["cidr"])
        return address not in forbidden and ip_address(forbidden.network_address) not in network

    return Claim(holds, f"IPPool CIDR overlaps with IPv{forbidden.version} link local range {forbidden}")


def _has_good_block_size(spec: Spec) -> bool:
    size = spec.get("blockSize", 0)
    return size == 0 or size in BLOCK_SIZES[_network(spec).version]


def _holds_a_block(spec: Spec) -> bool:
    network = _network(spec)
    size = spec.get("blockSize") or DEFAULT_BLOCK_SIZE[network.version]
    return bool(spec.get("disabled")) or network.prefixlen <= size


def _selects_no_globals(selector: str) -> Claim:
    return Claim(
        lambda spec: "global(" not in spec.get(selector, ""), f"global() selector is not valid for IPPool {selector}"
    )


_POOL = (
    Claim(lambda spec: _encapsulations(spec) < 2, "ipipMode and vxlanMode cannot both be enabled"),
    Claim(
        lambda spec: not (_is_used_for(spec, "LoadBalancer") and _encapsulations(spec)),
        "LoadBalancer IP pool cannot have IPIP or VXLAN enabled",
    ),
    Claim(
        lambda spec: not (_is_used_for(spec, "LoadBalancer") and _is_used_for(spec, "Workload", "Tunnel")),
        "LoadBalancer cannot be combined with Workload or Tunnel allowed uses",
    ),
    Claim(
        lambda spec: _network(spec).version != 6 or spec.get("ipipMode") in (None, "", "Never"),
        "IPIP is not supported on IPv6 pools",
    ),
    Claim(
        lambda spec: not (_is_used_for(spec, "LoadBalancer") and spec.get("disableBGPExport")),
        "LoadBalancer IP pools cannot disable BGP export",
    ),
    Claim(
        lambda spec: not _is_used_for(spec, "LoadBalancer") or spec.get("nodeSelector") == "all()",
        "IP Pool with AllowedUse LoadBalancer must have nodeSelector set to all()",
    ),
    Claim(
        lambda spec: not (_is_used_for(spec, "Tunnel") and spec.get("namespaceSelector")),
        "IP Pool with AllowedUse Tunnel cannot have namespaceSelector",
    ),
    _selects_no_globals("nodeSelector"),
    _selects_no_globals("namespaceSelector"),
    Claim(_is_strictly_masked, "IPPool CIDR must be strictly masked"),
    _is_clear_of("169.254.0.0/16"),
    _is_clear_of("fe80::/10"),
    Claim(
        _has_good_block_size,
        "blockSize must be between 20 and 32 for IPv4 pools, and between 116 and 128 for IPv6 pools",
    ),
    Claim(
        _holds_a_block,
        "IP pool size is too small for use with Calico IPAM. It must be equal to or greater than the block size.",
    ),
)

ROOM = Room(
    checks={"v3.IPPoolSpec": _check_pool, "v3.IPAMConfigurationSpec": _check_configuration},
    claims={"v3.IPPoolSpec": _POOL},
)
