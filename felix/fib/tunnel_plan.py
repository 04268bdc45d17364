"""What to do so that tunnels are as they are wanted: part of :mod:`felix.fib.plan`, with the same rules.

- One that is there is changed in place where Linux can, and made anew where it cannot: its routes go with it.
- A new address comes before an old one goes: with the last one Linux drops every route through the device.
- What a route needs goes after the route: an address of a device through which nothing is routed, the neighbour whose
  gateway no route has, the forwarding entry whose MAC no neighbour has. That is judged by what the kernel still holds,
  so it takes a pass after the route's own removal.
- ``tunl0`` stays: it belongs to the ipip module. Addresses of pools leave it. Devices that we make go.
"""

from __future__ import annotations

from collections.abc import Iterator, Set

from felix.fib.model import Actual, AddAddress, DeleteAddress, Desired, InterfaceAddress, Link, Op, RaiseLink
from felix.fib.owner import Ownership
from felix.fib.tunnel import (
    ChangeTunnel,
    DeleteEntry,
    Entry,
    Forwarding,
    MakeTunnel,
    Neighbour,
    RemoveTunnel,
    SetEntry,
    TunnelDevice,
    Vxlan,
)


def makes(desired: Desired, actual: Actual) -> Iterator[Op]:
    """Devices before their addresses and entries; those of a device that is not there yet come in the next pass."""
    for _, (tunnel, _) in sorted(desired.tunnels.items()):
        link = actual.links.get(tunnel.name)
        if link is None:
            yield from _birth(tunnel.vxlan, actual, MakeTunnel(tunnel))
        elif not _is_same_device(link, tunnel):
            yield from _birth(tunnel.vxlan, actual, RemoveTunnel(tunnel.name), MakeTunnel(tunnel))
        else:
            yield from _changes(link, tunnel, actual)


def _birth(vxlan: Vxlan | None, actual: Actual, *ops: Op) -> Iterator[Op]:
    """Linux makes no VXLAN device on a parent that is not there."""
    if vxlan is None or vxlan.parent in actual.links:
        yield from ops


def _is_same_device(link: Link, tunnel: TunnelDevice) -> bool:
    return (link.kind, link.vxlan, link.ipip) == (tunnel.kind, tunnel.vxlan, tunnel.ipip)


def _changes(link: Link, tunnel: TunnelDevice, actual: Actual) -> Iterator[Op]:
    mac = tunnel.mac if tunnel.mac != link.mac else ""
    if mac or link.mtu_bytes != tunnel.mtu_bytes:
        yield ChangeTunnel(tunnel.name, tunnel.mtu_bytes, mac)
    if not link.is_up:
        yield RaiseLink(tunnel.name)
    address = wanted_address(tunnel)
    if address is not None and address not in actual.addresses:
        yield AddAddress(address)
    yield from (SetEntry(entry) for entry in sorted(tunnel.entries - actual.entries, key=str))


def wanted_address(tunnel: TunnelDevice) -> InterfaceAddress | None:
    if tunnel.address is None:
        return None
    return InterfaceAddress(tunnel.name, tunnel.address, tunnel.address.max_prefixlen)


def removals(desired: Desired, actual: Actual, ownership: Ownership) -> Iterator[Op]:
    """Only for when everything is known that could want a tunnel."""
    ours = sorted(name for name in actual.links if name in desired.tunnels or _is_ours(name, actual, ownership))
    unwanted_entries = actual.entries - {entry for tunnel, _ in desired.tunnels.values() for entry in tunnel.entries}
    yield from _needless({entry for entry in unwanted_entries if entry.device in ours}, actual)
    for device in ours:
        wanted = desired.tunnels.get(device)
        if wanted is not None:
            yield from _strange_addresses(wanted[0], actual)
        elif ownership.marks.is_made(device):
            yield from _removal(device, actual)
        else:
            yield from _leave(device, actual, ownership)


def _is_ours(device: str, actual: Actual, ownership: Ownership) -> bool:
    if not ownership.marks.is_tunnel(device):
        return False
    return ownership.has_tunnel(device, (one.address for one in _addresses(device, actual)))


def _needless(unwanted: Set[Entry], actual: Actual) -> Iterator[Op]:
    if not unwanted:
        return
    gateways = {(hop.device, hop.via) for route in actual.routes.values() for hop in route.hops}
    macs = {(entry.device, entry.mac) for entry in actual.entries if isinstance(entry, Neighbour)}
    for entry in sorted(unwanted, key=str):
        is_used = (
            (entry.device, entry.mac) in macs
            if isinstance(entry, Forwarding)
            else (entry.device, entry.address) in gateways
        )
        if not is_used:
            yield DeleteEntry(entry)


def _strange_addresses(tunnel: TunnelDevice, actual: Actual) -> Iterator[Op]:
    wanted = wanted_address(tunnel)
    strange = [one for one in _addresses(tunnel.name, actual) if one != wanted]
    if strange and (wanted in actual.addresses or (wanted is None and not _carries(tunnel.name, actual))):
        yield from map(DeleteAddress, strange)


def _removal(device: str, actual: Actual) -> Iterator[Op]:
    if not _carries(device, actual):
        yield RemoveTunnel(device)


def _leave(device: str, actual: Actual, ownership: Ownership) -> Iterator[Op]:
    pooled = [one for one in _addresses(device, actual) if ownership.is_pooled(one.address)]
    if pooled and not _carries(device, actual):
        yield from map(DeleteAddress, pooled)


def _addresses(device: str, actual: Actual) -> list[InterfaceAddress]:
    """But for the link-local one, which Linux gives to every device."""
    found = [one for one in actual.addresses if one.device == device and not one.address.is_link_local]
    return sorted(found, key=str)


def _carries(device: str, actual: Actual) -> bool:
    """Whether any route goes through it, whoever wrote that; the multicast and link-local ones of IPv6 do not count."""
    return any(hop.device == device for route in actual.routes.values() for hop in route.hops)
