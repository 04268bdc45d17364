"""Links and addresses through pyroute2: how they are read from its messages, and how they are changed.

Part of :mod:`felix.fib.netlink`. Few and rare, so that its speed does not matter.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address, ip_address
from typing import Any

from felix.fib import offload
from felix.fib.model import AddAddress, DeleteAddress, InterfaceAddress, Link, Op, RaiseLink, Refusal
from felix.fib.pyroute import AsyncIPRoute, NetlinkError
from felix.fib.tunnel import Address, ChangeTunnel, Ipip, MakeTunnel, RemoveTunnel, TunnelDevice, Vxlan

_IFF_UP = 0x1
_IFF_LOWER_UP = 0x10000


def link_of(parsed: Any, name_of: Callable[[int], str]) -> Link:
    """``name_of`` names the device of an index."""
    info = parsed.get_attr("IFLA_LINKINFO")
    kind = (info and info.get_attr("IFLA_INFO_KIND")) or ""
    return Link(
        name=parsed.get_attr("IFLA_IFNAME"),
        index=parsed["index"],
        kind=kind,
        mac=parsed.get_attr("IFLA_ADDRESS") or "",
        mtu_bytes=parsed.get_attr("IFLA_MTU") or 0,
        is_up=bool(parsed["flags"] & _IFF_UP),
        has_carrier=bool(parsed["flags"] & _IFF_LOWER_UP),
        vxlan=_vxlan_of(info.get_attr("IFLA_INFO_DATA"), name_of) if kind == "vxlan" else None,
        ipip=_ipip_of(info.get_attr("IFLA_INFO_DATA")) if kind == "ipip" else None,
        master=parsed.get_attr("IFLA_MASTER") or 0,
    )


def _vxlan_of(data: Any, name_of: Callable[[int], str]) -> Vxlan | None:
    """None for one without a sender's address: no device of ours."""
    local = data and (data.get_attr("IFLA_VXLAN_LOCAL") or data.get_attr("IFLA_VXLAN_LOCAL6"))
    if not local:
        return None
    return Vxlan(
        vni=data.get_attr("IFLA_VXLAN_ID"),
        port=data.get_attr("IFLA_VXLAN_PORT"),
        local=ip_address(local),
        parent=name_of(data.get_attr("IFLA_VXLAN_LINK") or 0),
        learns=bool(data.get_attr("IFLA_VXLAN_LEARNING")),
        has_policies=data.get_attr("IFLA_VXLAN_GBP") is not None,
    )


def _ipip_of(data: Any) -> Ipip | None:
    local = data and data.get_attr("IFLA_IPIP_LOCAL")
    return None if local in (None, "", "0.0.0.0") else Ipip(IPv4Address(local))


async def change_links(pyroute: AsyncIPRoute, ops: Sequence[Op], indexes: Mapping[str, int]) -> list[Refusal | None]:
    """One after the other. A device that ``indexes`` does not have is refused with ENODEV."""
    return [await _attempt(pyroute, op, indexes) for op in ops]


async def _attempt(pyroute: AsyncIPRoute, op: Op, indexes: Mapping[str, int]) -> Refusal | None:
    try:
        await _do(pyroute, op, indexes)
    except KeyError:
        return Refusal(errno.ENODEV)
    except NetlinkError as error:
        return Refusal(error.code)
    return None


async def _do(pyroute: AsyncIPRoute, op: Op, indexes: Mapping[str, int]) -> None:
    match op:
        case RaiseLink(device):
            await pyroute.link("set", index=indexes[device], state="up")
        case MakeTunnel(tunnel):
            await pyroute.link("add", **_wish(tunnel, indexes))
            offload.switch_off_where_broken(tunnel.name)
        case RemoveTunnel(device):
            await pyroute.link("del", index=indexes[device])
        case ChangeTunnel(device, mtu_bytes, mac):
            address = {"address": mac} if mac else {}
            await pyroute.link("set", index=indexes[device], mtu=mtu_bytes, **address)
        case AddAddress(address):
            await pyroute.addr("add", **_address(address, indexes))
        case DeleteAddress(address):
            await pyroute.addr("del", **_address(address, indexes))
        case _:
            raise TypeError(op)


def _wish(tunnel: TunnelDevice, indexes: Mapping[str, int]) -> dict[str, Any]:
    wish: dict[str, Any] = {"ifname": tunnel.name, "kind": tunnel.kind, "mtu": tunnel.mtu_bytes, "state": "up"}
    if tunnel.mac:
        wish["address"] = tunnel.mac
    if tunnel.vxlan is not None:
        wish |= _vxlan_wish(tunnel.vxlan, indexes)
    if tunnel.ipip is not None:
        wish["ipip_local"] = str(tunnel.ipip.local)
    return wish


def _vxlan_wish(vxlan: Vxlan, indexes: Mapping[str, int]) -> dict[str, Any]:
    local = "vxlan_local" if vxlan.local.version == 4 else "vxlan_local6"
    policies: dict[str, Any] = {"vxlan_gbp": True} if vxlan.has_policies else {}
    return {
        **policies,
        "vxlan_id": vxlan.vni,
        "vxlan_port": vxlan.port,
        "vxlan_link": indexes[vxlan.parent],
        "vxlan_learning": vxlan.learns,
        local: str(vxlan.local),
    }


def _address(wanted: InterfaceAddress, indexes: Mapping[str, int]) -> dict[str, Any]:
    address: Address = wanted.address
    return {"index": indexes[wanted.device], "address": str(address), "prefixlen": wanted.prefix_length}
