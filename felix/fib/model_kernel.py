"""A model of Linux's routing rules, for tests and simulation. What it says, the real kernel says as well: one contract
suite runs over both.

Modelled, because plans depend on it:

- A route's key is destination, metric, table and tos. EXCL on a taken key is EEXIST, a replacement of nothing ENOENT.
  IPv4's append and prepend put several routes on one key; a replacement takes the place of the first.
- A deletion matches all that it says; metric 0 says nothing, so it may take a route of any metric.
- A next hop must be on link: covered by a route of scope link through the same device, or be the node's own address
  (Linux allows that), unless the route says onlink.
- An IPv6 gateway that is onlink must not be reached through another device, the default route apart.
- When a device goes down, or its last IPv4 address goes, its IPv4 routes vanish without a word and do not come back;
  only the connected ones are made again. A route with several ways stays while one of them is left. IPv6 routes are
  announced as gone, and the device's IPv6 addresses go with them.
- When an address goes, so do routes that have it as their source.
- A tunnel's device is made with all that it cannot change later; VXLAN wants its parent. Linux lets nobody remove
  tunl0. Entries go with their device; neighbours also when it goes down.

Not modelled: tables other than main, secondary addresses, link-local addresses, and what forwards packets.

Source: net/ipv4/fib_frontend.c, fib_semantics.c, fib_trie.c, net/ipv6/route.c (6.18).
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Interface, IPv6Interface, ip_interface, ip_network
from typing import Any

from felix.fib.kernel import (
    AddressGone,
    AddressNow,
    Change,
    EntryGone,
    EntryNow,
    LinkGone,
    LinkNow,
    Lost,
    RouteGone,
    RouteNow,
    SettingsChanged,
)
from felix.fib.model import (
    IPV6_METRIC,
    Actual,
    AddAddress,
    Address,
    AddressOp,
    AddRoute,
    DeleteAddress,
    DeleteRoute,
    Hop,
    InterfaceAddress,
    Link,
    Op,
    Protocol,
    RaiseLink,
    Refusal,
    ReplaceRoute,
    Route,
    RouteKey,
    RouteType,
    Scope,
    WriteSysctl,
)
from felix.fib.tunnel import (
    IPIP_DEVICE,
    ChangeTunnel,
    DeleteEntry,
    Entry,
    MakeTunnel,
    Neighbour,
    RemoveTunnel,
    SetEntry,
    TunnelDevice,
)

Interface = IPv4Interface | IPv6Interface

_CONNECTED_METRIC = {4: 0, 6: 256}
_DEVICE_SYSCTLS = {
    "net/ipv4/conf/{}/forwarding": "0",
    "net/ipv4/conf/{}/proxy_arp": "0",
    "net/ipv4/conf/{}/route_localnet": "0",
    "net/ipv4/neigh/{}/proxy_delay": "80",
    "net/ipv6/conf/{}/accept_ra": "1",
    "net/ipv6/conf/{}/forwarding": "0",
    "net/ipv6/conf/{}/proxy_ndp": "0",
}
_TOLD_SYSCTLS = ("forwarding", "proxy_arp", "proxy_ndp", "ip_forward")
_GLOBAL_SYSCTLS = {"net/ipv4/ip_forward": "0", "net/ipv6/conf/all/forwarding": "0"}


class ModelKernel:
    """The Kernel protocol, and below it what a person or another program may do: links, addresses, routes by hand."""

    def __init__(self, *, most_changes: int = 100_000, lacks: Collection[str] = ()) -> None:
        """``most_changes`` may wait to be taken; then they are dropped and Lost takes their place. ``lacks``: kinds of
        tunnels that it cannot make.
        """
        self._lacks = lacks
        self._links: dict[str, Link] = {}
        self._addresses: dict[InterfaceAddress, int] = {}  # and the metric of its connected route
        self._routes: dict[RouteKey, list[Route]] = {}
        self._sysctls = dict(_GLOBAL_SYSCTLS)
        self._entries: set[Entry] = set()
        self._changes: deque[Change] = deque()
        self._most_changes = most_changes
        self._next_index = 1
        self._wake: Callable[[], None] = lambda: None

    # The Kernel protocol.

    def listen(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    def take_changes(self) -> Sequence[Change]:
        taken = tuple(self._changes)
        self._changes.clear()
        return taken

    async def read(self) -> Actual:
        return Actual(
            links=dict(self._links),
            addresses=frozenset(self._addresses),
            routes={key: routes[0] for key, routes in self._routes.items()},
            shadowed={key: tuple(routes[1:]) for key, routes in self._routes.items() if len(routes) > 1},
            entries=frozenset(self._entries),
        )

    def read_sysctls(self, paths: Collection[str]) -> Mapping[str, str]:
        return {path: self._sysctls[path] for path in paths if path in self._sysctls}

    async def apply(self, ops: Sequence[Op]) -> Sequence[Refusal | None]:
        return [self.do(op) for op in ops]

    async def close(self) -> None:
        self._wake = lambda: None

    # What anybody may do.

    def do(self, op: Op) -> Refusal | None:
        match op:
            case AddRoute(route):
                return self._add(_as_kept(route))
            case ReplaceRoute(route):
                return self._replace(_as_kept(route))
            case DeleteRoute(route):
                return self._delete(route)
            case RaiseLink(device):
                return self._raise(device)
            case WriteSysctl(path, value):
                return self._write_sysctl(path, value)
            case MakeTunnel(tunnel):
                return self._make_tunnel(tunnel)
            case _:
                return self._do_to_device(op)

    def _do_to_device(self, op: AddressOp | RemoveTunnel | ChangeTunnel | SetEntry | DeleteEntry) -> Refusal | None:
        if _device_of(op) not in self._links:
            return Refusal(errno.ENODEV)
        match op:
            case AddAddress(address):
                return self._add_address(address)
            case DeleteAddress(address):
                return self._delete_address(address)
            case RemoveTunnel(device):
                return self._remove_tunnel(device)
            case ChangeTunnel(device, mtu_bytes, mac):
                mac = mac or self._links[device].mac
                self._change_link(device, mtu_bytes=mtu_bytes, mac=mac)
            case SetEntry(entry):
                self._set_entry(entry)
            case DeleteEntry(entry):
                return self._delete_entry(entry)
        return None

    def append(self, route: Route, *, first: bool = False) -> Refusal | None:
        """``ip route append`` and (``first``) ``ip route prepend``. IPv4 only: IPv6 makes one route of several ways."""
        if (refusal := self._check(route)) is not None:
            return refusal
        routes = self._routes.setdefault(route.key, [])
        if route in routes:
            return Refusal(errno.EEXIST)
        routes.insert(0 if first else len(routes), route)
        self._tell(RouteNow(route, in_place=False))
        return None

    def add_link(self, name: str, *, kind: str = "veth", tunnel: TunnelDevice | None = None) -> None:
        """A new device, down."""
        if tunnel is None:
            self._links[name] = Link(name, self._next_index, kind)
        else:
            link = Link(name, self._next_index, tunnel.kind, tunnel.mac, tunnel.mtu_bytes)
            link = replace(link, vxlan=tunnel.vxlan, ipip=tunnel.ipip)
            self._links[name] = link
        self._next_index += 1
        self._sysctls.update({path.format(name): value for path, value in _DEVICE_SYSCTLS.items()})
        self._tell(LinkNow(self._links[name]))

    def delete_link(self, name: str) -> None:
        if self._links[name].is_up:
            self.set_down(name)
        for address in [address for address in self._addresses if address.device == name]:
            del self._addresses[address]
            self._tell(AddressGone(address))
        link = self._links.pop(name)
        self._entries = {entry for entry in self._entries if entry.device != name}
        for path in _DEVICE_SYSCTLS:
            self._sysctls.pop(path.format(name), None)
        self._tell(LinkGone(name, link.index))

    def set_up(self, name: str) -> None:
        if self._links[name].is_up:
            return
        self._set_link(name, is_up=True)
        for address in self._addresses:
            if address.device == name:
                self._connect(address)

    def set_down(self, name: str) -> None:
        self._set_link(name, is_up=False)
        self._flush(name, versions=(4, 6))
        for address in [*self._own(name, 6)]:
            del self._addresses[address]
            self._tell(AddressGone(address))
        for entry in [one for one in self._entries if one.device == name and isinstance(one, Neighbour)]:
            self._delete_entry(entry)

    def add_address(self, device: str, interface: Interface, *, metric: int = 0) -> None:
        """``metric`` is for the connected route (``ip addr add … metric``)."""
        address = InterfaceAddress(device, interface.ip, interface.network.prefixlen)
        self._addresses[address] = metric or _CONNECTED_METRIC[interface.version]
        self._tell(AddressNow(address))
        if self._links[device].is_up:
            self._connect(address)

    def delete_address(self, device: str, interface: Interface) -> None:
        address = InterfaceAddress(device, interface.ip, interface.network.prefixlen)
        connected = _connected(address, self._addresses.pop(address))
        self._tell(AddressGone(address))
        if connected.key in self._routes:
            self._delete(connected)
        self._vanish(lambda route: route.source == interface.ip)
        if interface.version == 4 and not any(self._own(device, 4)):
            self._flush(device, versions=(4,))

    def lose(self) -> None:
        """What an overrun of the socket's buffer does."""
        self._changes.clear()
        self._tell(Lost())

    # The rules.

    def _add(self, route: Route) -> Refusal | None:
        if (refusal := self._check(route)) is not None:
            return refusal
        if route.key in self._routes:
            return Refusal(errno.EEXIST)
        self._routes[route.key] = [route]
        self._tell(RouteNow(route, in_place=False))
        return None

    def _replace(self, route: Route) -> Refusal | None:
        if (refusal := self._check(route)) is not None:
            return refusal
        routes = self._routes.get(route.key)
        if routes is None:
            return Refusal(errno.ENOENT)
        if route in routes:
            return None if routes[0] == route else Refusal(errno.EEXIST)
        routes[0] = route
        self._tell(RouteNow(route, in_place=True))
        return None

    def _delete(self, asked: Route) -> Refusal | None:
        for route in self._of_destination(asked):
            if _is_meant(asked, route):
                self._remove(route)
                self._tell(RouteGone(route))
                return None
        return Refusal(errno.ESRCH)

    def _of_destination(self, asked: Route) -> Iterator[Route]:
        """All routes to it in the kernel's order: by metric, then as they were put there."""
        keys = [key for key in self._routes if (key.dst, key.tos) == (asked.dst, asked.tos)]
        for key in sorted(keys, key=lambda key: key.metric):
            yield from self._routes[key]

    def _remove(self, route: Route) -> None:
        routes = self._routes[route.key]
        routes.remove(route)
        if not routes:
            del self._routes[route.key]

    def _check(self, route: Route) -> Refusal | None:
        for hop in route.hops:
            if (refusal := self._check_hop(hop, route)) is not None:
                return refusal
        if route.source is not None and route.source not in {address.address for address in self._addresses}:
            return Refusal(errno.EINVAL)
        return None

    def _check_hop(self, hop: Hop, route: Route) -> Refusal | None:
        link = self._links.get(hop.device)
        if link is None:
            return Refusal(errno.ENODEV)
        if not link.is_up and (hop.via is None or hop.onlink or route.dst.version == 6):
            return Refusal(errno.ENETDOWN, "Device for nexthop is not up")
        if hop.via is None:
            return None
        is_own = hop.via in {address.address for address in self._addresses}
        if is_own and (hop.onlink or route.dst.version == 6):
            return Refusal(errno.EINVAL)
        if hop.onlink and self._leads_elsewhere(hop.via, hop.device):
            return Refusal(errno.EINVAL, "Nexthop has invalid gateway or device mismatch")
        if hop.onlink or is_own or self._is_on_link(hop.via, hop.device):
            return None
        if route.dst.version == 6:
            return Refusal(errno.EHOSTUNREACH)
        return Refusal(errno.ENETUNREACH, "Nexthop has invalid gateway")

    def _leads_elsewhere(self, gateway: Address, device: str) -> bool:
        """What Linux asks of IPv6's onlink gateways only."""
        found = [
            routes[0]
            for key, routes in self._routes.items()
            if gateway.version == 6 and not gateway.is_link_local and gateway in key.dst and key.dst.prefixlen
        ]
        best = max(found, key=lambda route: (route.dst.prefixlen, -route.metric), default=None)
        return best is not None and best.type is RouteType.UNICAST and best.hops[0].device != device

    def _is_on_link(self, gateway: Address, device: str) -> bool:
        return (gateway.version == 6 and gateway.is_link_local) or any(
            gateway in route.dst and hop.device == device and hop.via is None
            for routes in self._routes.values()
            for route in routes
            for hop in route.hops
            if route.dst.version == 6 or route.scope >= Scope.LINK
        )

    def _connect(self, address: InterfaceAddress) -> None:
        route = _connected(address, self._addresses[address])
        if route.dst.prefixlen < route.dst.max_prefixlen and route.key not in self._routes:
            self._routes[route.key] = [route]
            self._tell(RouteNow(route, in_place=False))

    def _flush(self, device: str, *, versions: Collection[int]) -> None:
        def is_cut_off(route: Route) -> bool:
            through = {hop.device for hop in route.hops}
            is_dead = all(name == device or not self._links[name].is_up for name in through)
            return route.dst.version in versions and device in through and is_dead

        self._vanish(is_cut_off)

    def _vanish(self, is_gone: Callable[[Route], bool]) -> None:
        for route in [route for routes in self._routes.values() for route in routes if is_gone(route)]:
            self._remove(route)
            if route.dst.version == 6:
                self._tell(RouteGone(route))

    def _own(self, device: str, version: int) -> Iterator[InterfaceAddress]:
        return (one for one in self._addresses if one.device == device and one.address.version == version)

    def _raise(self, device: str) -> Refusal | None:
        if device not in self._links:
            return Refusal(errno.ENODEV)
        self.set_up(device)
        return None

    def _set_link(self, name: str, *, is_up: bool) -> None:
        self._change_link(name, is_up=is_up, has_carrier=is_up)

    def _change_link(self, name: str, **changes: Any) -> None:
        self._links[name] = replace(self._links[name], **changes)
        self._tell(LinkNow(self._links[name]))

    # Tunnels.

    def _make_tunnel(self, tunnel: TunnelDevice) -> Refusal | None:
        if tunnel.name in self._links:
            return Refusal(errno.EEXIST)
        if tunnel.kind in self._lacks:
            return Refusal(errno.EOPNOTSUPP)
        if tunnel.vxlan is not None and tunnel.vxlan.parent not in self._links:
            return Refusal(errno.ENODEV)
        self.add_link(tunnel.name, tunnel=tunnel)
        self.set_up(tunnel.name)
        return None

    def _remove_tunnel(self, device: str) -> Refusal | None:
        if device == IPIP_DEVICE:
            return Refusal(errno.EPERM)
        self.delete_link(device)
        return None

    def _add_address(self, address: InterfaceAddress) -> Refusal | None:
        if address in self._addresses:
            return Refusal(errno.EEXIST)
        self.add_address(address.device, ip_interface(f"{address.address}/{address.prefix_length}"))
        return None

    def _delete_address(self, address: InterfaceAddress) -> Refusal | None:
        if address not in self._addresses:
            return Refusal(errno.EADDRNOTAVAIL)
        self.delete_address(address.device, ip_interface(f"{address.address}/{address.prefix_length}"))
        return None

    def _set_entry(self, entry: Entry) -> None:
        if isinstance(entry, Neighbour):
            place = (entry.device, entry.address)
            same = [one for one in self._entries if isinstance(one, Neighbour) and (one.device, one.address) == place]
            self._entries.difference_update(same)
        self._entries.add(entry)
        self._tell(EntryNow(entry))

    def _delete_entry(self, entry: Entry) -> Refusal | None:
        if entry not in self._entries:
            return Refusal(errno.ENOENT)
        self._entries.remove(entry)
        self._tell(EntryGone(entry))
        return None

    def _write_sysctl(self, path: str, value: str) -> Refusal | None:
        if path not in self._sysctls:
            return Refusal(errno.ENOENT)
        if self._sysctls[path] != value and path.rpartition("/")[2] in _TOLD_SYSCTLS:
            self._tell(SettingsChanged("all" if path == "net/ipv4/ip_forward" else path.split("/")[3]))
        self._sysctls[path] = value
        return None

    def _tell(self, change: Change) -> None:
        if len(self._changes) >= self._most_changes:
            self._changes.clear()
            change = Lost()
        self._changes.append(change)
        self._wake()


def _device_of(op: AddressOp | RemoveTunnel | ChangeTunnel | SetEntry | DeleteEntry) -> str:
    match op:
        case AddAddress(address) | DeleteAddress(address):
            return address.device
        case SetEntry(entry) | DeleteEntry(entry):
            return entry.device
        case _:
            return op.device


def _as_kept(route: Route) -> Route:
    """IPv6 has no scope and reads metric 0 as 1024."""
    if route.dst.version == 4:
        return route
    return replace(route, scope=Scope.GLOBAL, metric=route.metric or IPV6_METRIC, tos=0)


def _is_meant(asked: Route, route: Route) -> bool:
    any_metric = replace(asked, metric=asked.metric or route.metric)
    return _as_kept(any_metric) == route


def _connected(address: InterfaceAddress, metric: int) -> Route:
    version = address.address.version
    return Route(
        ip_network(f"{address.address}/{address.prefix_length}", strict=False),
        (Hop(address.device),),
        protocol=Protocol.KERNEL,
        scope=Scope.LINK if version == 4 else Scope.GLOBAL,
        source=address.address if version == 4 else None,
        metric=metric,
    )
