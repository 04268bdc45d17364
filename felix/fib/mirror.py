"""What the kernel holds, kept true by its own word.

A full read costs milliseconds for thousands of routes; a change that the kernel tells costs microseconds. So the
state is read once and then follows what is told, as long as that says everything. It does not when a device goes down
or an address goes (routes vanish without a word), when changes were lost, or when a route joins others on its key
(the word does not say whether before or behind them): then the mirror is stale, and whoever holds it reads again.
What vanishes with a pod's device is known without reading: exactly the IPv4 routes through it.

IPv6 link-local routes are left out: every device has the same one, and nobody routes by them.

Changes that were told before a read and are noted after it do no harm: each names a whole route, what came last is
noted last, and what is shown through a device that is down makes the mirror stale once more.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field

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
from felix.fib.model import Actual, InterfaceAddress, Link, Route, RouteKey
from felix.fib.owner import Ownership, is_ours
from felix.fib.tunnel import Entry, Neighbour


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is there beside ours, pods' devices left out: the ground on which next hops are found."""

    links: Mapping[str, Link] = field(default_factory=dict)
    addresses: frozenset[InterfaceAddress] = frozenset()
    routes: tuple[Route, ...] = ()


_ALIASES = {"all": ("net/ipv4/ip_forward",)}


class Mirror:
    """``version`` grows with every change of what it shows. ``is_stale``: read again before you rely on it."""

    def __init__(self) -> None:
        self.version = 0
        self.is_stale = True
        self._links: dict[str, Link] = {}
        self._addresses: set[InterfaceAddress] = set()
        self._routes: dict[RouteKey, Route] = {}
        self._shadowed: dict[RouteKey, tuple[Route, ...]] = {}
        self._sysctls: dict[str, str] = {}
        self._entries: set[Entry] = set()
        self._displaced: dict[RouteKey, Route] = {}
        self._surroundings: Surroundings | None = None
        self.actual = self._view()

    def _view(self) -> Actual:
        """Of the live tables: it changes as the mirror does, so it is good until the next change is noted."""
        return Actual(self._links, self._addresses, self._routes, self._shadowed, self._sysctls, self._entries)

    @property
    def displaced(self) -> Set[RouteKey]:
        """Keys at which a foreign route took the place of ours while we looked on, and still has it."""
        return self._displaced.keys()

    def load(self, read: Actual) -> None:
        """Start again from a full read. Sysctls are not part of one and stay."""
        self._links = dict(read.links)
        self._addresses = set(read.addresses)
        self._entries = set(read.entries)
        self._routes = {key: route for key, route in read.routes.items() if not _is_everywhere(route)}
        self._shadowed = {key: routes for key, routes in read.shadowed.items() if not _is_everywhere(routes[0])}
        self._displaced = {key: route for key, route in self._displaced.items() if self._routes.get(key) == route}
        self._surroundings = None
        self.actual = self._view()
        self.is_stale = False
        self.version += 1

    def learn_sysctls(self, found: Mapping[str, str]) -> None:
        self._sysctls.update(found)

    def surroundings(self, ownership: Ownership) -> Surroundings:
        """The same object until something in it changes."""
        if self._surroundings is None:
            self._surroundings = Surroundings(
                links={name: link for name, link in self._links.items() if not ownership.is_pod_device(name)},
                addresses=frozenset(one for one in self._addresses if not ownership.is_pod_device(one.device)),
                routes=tuple(route for route in self._routes.values() if _is_ground(route, ownership)),
            )
        return self._surroundings

    def forget_surroundings(self) -> None:
        """The ownership is another: what is ours has to be judged again."""
        self._surroundings = None

    def note(self, change: Change, ownership: Ownership) -> None:
        self.version += 1
        match change:
            case RouteNow(route, in_place):
                self._note_route(route, in_place, ownership)
            case RouteGone(route):
                self._note_route_gone(route, ownership)
            case LinkNow(link):
                self._note_link(link, ownership)
            case LinkGone(name):
                self._note_link_gone(name, ownership)
            case AddressNow(address):
                self._addresses.add(address)
                self._disturb(address.device, ownership)
            case AddressGone(address):
                self._addresses.discard(address)
                self._disturb(address.device, ownership)
                self.is_stale = self.is_stale or not _is_link_local(address)
            case EntryNow(entry):
                self._forget_neighbour(entry)
                self._entries.add(entry)
            case EntryGone(entry):
                self._forget_neighbour(entry)
                self._entries.discard(entry)
            case SettingsChanged(device):
                self._forget_sysctls(device)
            case Lost():
                self.is_stale = True

    def _note_route(self, route: Route, in_place: bool, ownership: Ownership) -> None:
        key = route.key
        found = self._routes.get(key)
        if found == route or _is_everywhere(route):
            return
        if found is not None and not in_place:
            self.is_stale = True
        if found is not None and in_place and is_ours(found, ownership) and not is_ours(route, ownership):
            self._displaced[key] = route
        else:
            self._displaced.pop(key, None)
        self._routes[key] = route
        self._disturb_ground(route, ownership)
        if found is not None:
            self._disturb_ground(found, ownership)

    def _note_route_gone(self, route: Route, ownership: Ownership) -> None:
        key = route.key
        if _is_everywhere(route):
            return
        self._disturb_ground(route, ownership)
        if key in self._shadowed:
            self.is_stale = True
        elif self._routes.get(key) == route:
            del self._routes[key]
            self._displaced.pop(key, None)
        elif key in self._routes:
            self.is_stale = True

    def _note_link(self, link: Link, ownership: Ownership) -> None:
        former = self._links.get(link.name)
        if not link.is_up and ((former is not None and former.is_up) or self._carries_routes(link.name)):
            self._note_fall(link.name, ownership)
        if former is None:
            self._note_birth(link, ownership)
        self._links[link.name] = link
        if former != link:
            self._disturb(link.name, ownership)

    def _note_fall(self, device: str, ownership: Ownership) -> None:
        """Its IPv4 routes are gone, unannounced; those of IPv6 are announced."""
        lost = [key for key, route in self._routes.items() if key.dst.version == 4 and _goes_through(route, device)]
        if not ownership.is_pod_device(device) or any(self._is_shared(key) for key in lost):
            self.is_stale = True
            return
        for key in lost:
            del self._routes[key]
            self._displaced.pop(key, None)

    def _is_shared(self, key: RouteKey) -> bool:
        """More than one device, or more than one route: what is left of it is not known."""
        return key in self._shadowed or len(self._routes[key].hops) > 1

    def _carries_routes(self, device: str) -> bool:
        """One that is down carries none, so those that are shown were told before they vanished without a word."""
        return any(_goes_through(route, device) for route in self._routes.values())

    def _note_birth(self, link: Link, ownership: Ownership) -> None:
        """A name that was not there: a new device, or an old one renamed, which keeps its index."""
        self._forget_sysctls(link.name)
        for name in [name for name, one in self._links.items() if one.index == link.index]:
            self._note_link_gone(name, ownership)

    def _forget_neighbour(self, entry: Entry) -> None:
        """An address has one MAC."""
        if isinstance(entry, Neighbour):
            place = (entry.device, entry.address)
            same = [one for one in self._entries if isinstance(one, Neighbour) and (one.device, one.address) == place]
            self._entries.difference_update(same)

    def _note_link_gone(self, name: str, ownership: Ownership) -> None:
        self._links.pop(name, None)
        self._entries = {entry for entry in self._entries if entry.device != name}
        self.actual = self._view()
        self._forget_sysctls(name)
        self._disturb(name, ownership)
        self._note_fall(name, ownership)

    def _forget_sysctls(self, device: str) -> None:
        """They are asked for again."""
        for path in [path for path in self._sysctls if f"/{device}/" in path or path in _ALIASES.get(device, ())]:
            del self._sysctls[path]

    def _disturb(self, device: str, ownership: Ownership) -> None:
        if not ownership.is_pod_device(device):
            self._surroundings = None

    def _disturb_ground(self, route: Route, ownership: Ownership) -> None:
        if self._surroundings is not None and _is_ground(route, ownership):
            self._surroundings = None


def _goes_through(route: Route, device: str) -> bool:
    return any(hop.device == device for hop in route.hops)


def _is_everywhere(route: Route) -> bool:
    return route.dst.version == 6 and route.dst.is_link_local


def _is_link_local(address: InterfaceAddress) -> bool:
    return address.address.version == 6 and address.address.is_link_local


def _is_ground(route: Route, ownership: Ownership) -> bool:
    """Whether a next hop may be found through ``route``: not through ours, and not through a pod."""
    if any(ownership.is_pod_device(hop.device) for hop in route.hops):
        return False
    return not is_ours(route, ownership)
