"""The real kernel: links, addresses, routes and sysctls of the network namespace that it was opened in.

Routes go through our own sockets and encoding (:mod:`felix.fib.netlink_socket`); pyroute2 does the rest: it lists links
and addresses, raises links, and parses link and address messages wherever they come from.

What makes it correct:

- One listener hears of everything, so that the order of changes is the kernel's.
- Taking changes after ``apply`` sees our own writes in their place between other people's. The echo of a write carries
  our port and sequence number: it is known without decoding, and is the very Route that was written.
- A device's index is looked up when a message is built. One that was made anew under its old name in between has
  another index: the kernel refuses with ENODEV, and the caller reads again.

Sysctls are read and written in the network namespace of the calling thread.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from ipaddress import ip_address
from itertools import groupby
from pathlib import Path
from typing import Any

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from felix.fib import rtmsg
from felix.fib.devices import Devices
from felix.fib.kernel import (
    AddressGone,
    AddressNow,
    Change,
    KernelUnavailable,
    LinkGone,
    LinkNow,
    Lost,
    RouteGone,
    RouteNow,
    SettingsChanged,
)
from felix.fib.model import (
    MAIN_TABLE,
    Actual,
    InterfaceAddress,
    Link,
    Op,
    RaiseLink,
    Refusal,
    Route,
    RouteKey,
    RouteOp,
    WriteSysctl,
)
from felix.fib.netlink_socket import Listener, RouteSocket
from felix.fib.rtmsg import Flag, Message, MessageType

_SYSCTLS = Path("/proc/sys")
_SETTINGS_OF_MANY = {-1: "all", -2: "default"}
_IFF_UP = 0x1
_IFF_LOWER_UP = 0x10000


class NetlinkKernel:
    """Construct it with :meth:`open`, inside the namespace that it is to serve."""

    def __init__(self, pyroute: AsyncIPRoute) -> None:
        self._pyroute = pyroute
        self._listener = Listener()
        self._routes = RouteSocket()
        self._devices = Devices()
        self._written: dict[int, RouteOp] = {}
        self._decoded: dict[bytes, Route | None] = {}
        self._decoded_at = 0

    @classmethod
    async def open(cls) -> NetlinkKernel:
        """Raises KernelUnavailable."""
        try:
            pyroute = AsyncIPRoute()
            await pyroute.setup_endpoint()
            return cls(pyroute)
        except OSError as error:
            raise KernelUnavailable(f"netlink: {error}") from error

    async def close(self) -> None:
        self._listener.close()
        self._routes.close()
        self._pyroute.close()

    # Changes.

    def listen(self, wake: Callable[[], None]) -> None:
        self._listener.listen(wake)

    def take_changes(self) -> Sequence[Change]:
        datagrams = self._listener.take()
        if datagrams is None:
            changes: list[Change] = [Lost()]
        else:
            changes = self._read_changes(datagrams)
        self._written.clear()
        return changes

    def _read_changes(self, datagrams: Sequence[bytes]) -> list[Change]:
        try:
            return [change for data in datagrams for message in rtmsg.split(data) for change in self._changes(message)]
        except rtmsg.Malformed:
            return [Lost()]

    def _changes(self, message: Message) -> Iterator[Change]:
        match message.kind:
            case MessageType.NEW_ROUTE | MessageType.DELETE_ROUTE:
                if (route := self._route_of(message)) is not None:
                    yield _route_change(message, route)
            case MessageType.NEW_LINK | MessageType.DELETE_LINK:
                yield from self._link_changes(message)
            case MessageType.NEW_ADDRESS:
                yield AddressNow(self._address_of(_parse(ifaddrmsg, message)))
            case MessageType.DELETE_ADDRESS:
                yield AddressGone(self._address_of(_parse(ifaddrmsg, message)))
            case MessageType.NEW_SETTINGS:
                yield SettingsChanged(self._settings_of(rtmsg.decode_settings(message.body)))

    def _route_of(self, message: Message) -> Route | None:
        """The route of an event, unless it is of another table than main."""
        is_echo = message.port == self._routes.port and message.kind == MessageType.NEW_ROUTE
        if is_echo and (op := self._written.get(message.sequence)) is not None:
            return op.route
        route = rtmsg.decode_route(message.body, self._devices.names)
        return route if route is not None and route.table == MAIN_TABLE else None

    def _link_changes(self, message: Message) -> Iterator[Change]:
        parsed = _parse(ifinfmsg, message)
        if parsed["family"] != socket.AF_UNSPEC:
            return  # a bridge tells of its ports here; the device itself stays
        link = _link_of(parsed)
        if message.kind == MessageType.NEW_LINK:
            self._devices.know(link)
            yield LinkNow(link)
        else:
            self._devices.forget(link.index)
            yield LinkGone(link.name, link.index)

    def _settings_of(self, index: int) -> str:
        return _SETTINGS_OF_MANY.get(index) or self._devices.name_of(index)

    def _address_of(self, parsed: Any) -> InterfaceAddress:
        local = parsed.get_attr("IFA_LOCAL") or parsed.get_attr("IFA_ADDRESS")
        device = self._devices.name_of(parsed["index"])
        return InterfaceAddress(device, ip_address(local), parsed["prefixlen"], parsed["scope"])

    # Reading.

    async def read(self) -> Actual:
        try:
            links = [_link_of(parsed) async for parsed in await self._pyroute.get_links()]
            self._devices.know_only(links)
            addresses = frozenset([self._address_of(parsed) async for parsed in await self._pyroute.get_addr()])
            known = self._start_list()
            routes, shadowed = _by_key([*await self._list(4, known), *await self._list(6, known)])
        except (OSError, NetlinkError, rtmsg.Malformed) as error:
            raise KernelUnavailable(f"netlink: {error}") from error
        return Actual({link.name: link for link in links}, addresses, routes, shadowed)

    def _start_list(self) -> Mapping[bytes, Route | None]:
        """What the last list was decoded to, unless names have changed since."""
        known = self._decoded if self._decoded_at == self._devices.renamings else {}
        self._decoded, self._decoded_at = {}, self._devices.renamings
        return known

    async def _list(self, version: int, known: Mapping[bytes, Route | None]) -> list[Route]:
        found = [self._decode(body, known) for body in await self._routes.read(version)]
        return [one for one in found if one is not None and one.table == MAIN_TABLE and one.dst.version == version]

    def _decode(self, body: bytes, known: Mapping[bytes, Route | None]) -> Route | None:
        """Most of a list is what the last one was: equal bytes are the same Route, found again by a look-up."""
        route = known[body] if body in known else rtmsg.decode_route(body, self._devices.names)
        self._decoded[body] = route
        return route

    def read_sysctls(self, paths: Collection[str]) -> Mapping[str, str]:
        found: dict[str, str] = {}
        for path in paths:
            with suppress(OSError):
                found[path] = (_SYSCTLS / path).read_text().strip()
        return found

    # Writing.

    async def apply(self, ops: Sequence[Op]) -> Sequence[Refusal | None]:
        results: list[Refusal | None] = []
        for are_routes, group in groupby(ops, key=lambda op: not isinstance(op, RaiseLink | WriteSysctl)):
            if are_routes:
                results += await self._write_routes(list(group))  # type: ignore[arg-type]  # by the key above
            else:
                results += [await self._do(op) for op in group]
        return results

    async def _do(self, op: Op) -> Refusal | None:
        match op:
            case RaiseLink(device):
                return await self._raise(device)
            case WriteSysctl(path, value):
                return _write_sysctl(path, value)
            case _:
                raise TypeError(op)

    async def _raise(self, device: str) -> Refusal | None:
        try:
            await self._pyroute.link("set", index=self._devices.indexes[device], state="up")
        except KeyError:
            return Refusal(errno.ENODEV)
        except NetlinkError as error:
            return Refusal(error.code)
        return None

    async def _write_routes(self, ops: Sequence[RouteOp]) -> list[Refusal | None]:
        refused = {place: Refusal(errno.ENODEV) for place, op in enumerate(ops) if not self._has_devices(op)}
        sent = [place for place in range(len(ops)) if place not in refused]
        first = self._routes.take_sequences(len(sent))
        self._written.update((first + offset, ops[place]) for offset, place in enumerate(sent))
        try:
            answers = await self._routes.write([ops[place] for place in sent], first, self._devices.indexes)
        except (OSError, rtmsg.Malformed) as error:
            raise KernelUnavailable(f"netlink: {error}") from error
        refused |= {sent[answer.sequence - first]: Refusal(answer.code, answer.text) for answer in answers}
        return [refused.get(place) for place in range(len(ops))]

    def _has_devices(self, op: RouteOp) -> bool:
        return all(hop.device in self._devices.indexes for hop in op.route.hops)


def _by_key(routes: Sequence[Route]) -> tuple[dict[RouteKey, Route], dict[RouteKey, tuple[Route, ...]]]:
    """The first route of each key, and those that stand behind it."""
    first: dict[RouteKey, Route] = {}
    behind: dict[RouteKey, tuple[Route, ...]] = {}
    for route in routes:
        if first.setdefault(route.key, route) is not route:
            behind[route.key] = (*behind.get(route.key, ()), route)
    return first, behind


def _route_change(message: Message, route: Route) -> Change:
    if message.kind == MessageType.DELETE_ROUTE:
        return RouteGone(route)
    return RouteNow(route, in_place=bool(message.flags & Flag.REPLACE))


def _parse(kind: Any, message: Message) -> Any:
    parsed = kind(bytes(message))
    parsed.decode()
    return parsed


def _link_of(parsed: Any) -> Link:
    info = parsed.get_attr("IFLA_LINKINFO")
    return Link(
        name=parsed.get_attr("IFLA_IFNAME"),
        index=parsed["index"],
        kind=(info and info.get_attr("IFLA_INFO_KIND")) or "",
        mac=parsed.get_attr("IFLA_ADDRESS") or "",
        mtu_bytes=parsed.get_attr("IFLA_MTU") or 0,
        is_up=bool(parsed["flags"] & _IFF_UP),
        has_carrier=bool(parsed["flags"] & _IFF_LOWER_UP),
    )


def _write_sysctl(path: str, value: str) -> Refusal | None:
    try:
        (_SYSCTLS / path).write_text(value)
    except OSError as error:
        return Refusal(error.errno or errno.EIO)
    return None
