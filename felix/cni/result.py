"""What the plugin prints: results in the shape of the version that was asked for, and errors. Pure.

Key order, the block's length on the route and the missing gateway are upstream's, as seen.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from felix.cni.request import CniError

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class PodAddress:
    """A pod's address, and the length of the prefix of the block that it is from."""

    address: Address
    block_length: int


@dataclass(frozen=True, slots=True)
class Interface:
    """What ADD made. ``mtu_bytes`` 0: not told, because nobody had said what it should be."""

    host_device: str
    name: str
    mac: str
    netns: str
    addresses: tuple[PodAddress, ...]
    mtu_bytes: int = 0


def of(interface: Interface, version: str) -> bytes:
    if version in ("0.1.0", "0.2.0"):
        return _text({"cniVersion": version, **_by_family(interface.addresses), "dns": {}})
    pod_end: dict[str, Any] = {"mac": interface.mac}
    if interface.mtu_bytes and version == "1.1.0":
        pod_end["mtu"] = interface.mtu_bytes
    pod_end |= {"name": interface.name, "sandbox": interface.netns}
    return _text(
        {
            "cniVersion": version,
            "interfaces": [{"name": interface.host_device}, pod_end],
            "ips": [_ip(each, version) for each in interface.addresses],
            "routes": [{"dst": f"{each.address}/{each.block_length}"} for each in interface.addresses],
            "dns": {},
        }
    )


def _ip(each: PodAddress, version: str) -> dict[str, Any]:
    told = {"version": str(each.address.version)} if version.startswith("0.") else {}
    return {**told, "interface": 1, "address": f"{each.address}/{each.address.max_prefixlen}"}


def _by_family(addresses: Sequence[PodAddress]) -> dict[str, Any]:
    return {f"ip{each.address.version}": {"ip": f"{each.address}/{each.address.max_prefixlen}"} for each in addresses}


def of_error(error: CniError) -> bytes:
    return json.dumps({"code": error.code.value, "msg": error.message}, indent=4).encode()


def _text(result: dict[str, Any]) -> bytes:
    return json.dumps(result, indent=4).encode()
