"""The real kernel: links, addresses, routes, tunnels and sysctls of the network namespace that it was opened in.

Routes and entries go through our own sockets and encoding (:mod:`felix.fib.netlink_socket`); pyroute2 does the rest: it
lists links and addresses, makes and changes links (:mod:`felix.fib.netlink_links`), and parses their messages wherever
they come from.

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
from enum import Enum
from functools import partial
from ipaddress import ip_address
from itertools import groupby
from pathlib import Path
from typing import Any

from felix.fib import ndmsg, rtmsg
from felix.fib.devices import Devices
from felix.fib.kernel import (
    AddressGone,
    AddressNow,
    Change,
    EntryGone,
    EntryNow,
    KernelUnavailable,
    LinkGone,
    LinkNow,
    Lost,
    RouteGone,
    RouteNow,
    SettingsChanged,
)
from felix.fib.marks import CALICO, Marks
from felix.fib.model import (
    MAIN_TABLE,
    Actual,
    AddRoute,
    DeleteRoute,
    InterfaceAddress,
    Op,
    Refusal,
    ReplaceRoute,
    Route,
    RouteKey,
    RouteOp,
    WriteSysctl,
)
from felix.fib.netlink_links import change_links, link_of
from felix.fib.netlink_socket import Listener, RequestSocket
from felix.fib.pyroute import AsyncIPRoute, NetlinkError, ifaddrmsg, ifinfmsg
from felix.fib.rtmsg import Flag, Message, MessageType
from felix.fib.tunnel import DeleteEntry, Entry, EntryOp, SetEntry

_SYSCTLS = Path("/proc/sys")
_SETTINGS_OF_MANY = {-1: "all", -2: "default"}


class Batch(Enum):
    """What goes out together."""

    ROUTES = "routes"
    ENTRIES = "entries"
    SYSCTLS = "sysctls"
    LINKS = "links"


class NetlinkKernel:
    """Construct it with :meth:`open`, inside the namespace that it is to serve."""

    def __init__(self, pyroute: AsyncIPRoute, marks: Marks) -> None:
        self._pyroute = pyroute
        self._marks = marks
        self._listener = Listener()
        self._requests = RequestSocket()
        self._devices = Devices()
        self._written: dict[int, RouteOp] = {}
        self._decoded: dict[bytes, Route | None] = {}
        self._decoded_at = 0

    @classmethod
    async def open(cls, marks: Marks = CALICO) -> NetlinkKernel:
        """``marks`` say which devices' entries are read. Raises KernelUnavailable."""
        try:
            pyroute = AsyncIPRoute()
            await pyroute.setup_endpoint()
            return cls(pyroute, marks)
        except OSError as error:
            raise KernelUnavailable(f"netlink: {error}") from error

    async def close(self) -> None:
        self._listener.close()
        self._requests.close()
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
            case MessageType.NEW_NEIGHBOUR | MessageType.DELETE_NEIGHBOUR:
                yield from self._entry_changes(message)
            case MessageType.NEW_SETTINGS:
                yield SettingsChanged(self._settings_of(rtmsg.decode_settings(message.body)))

    def _route_of(self, message: Message) -> Route | None:
        """The route of an event, unless it is of another table than main."""
        is_echo = message.port == self._requests.port and message.kind == MessageType.NEW_ROUTE
        if is_echo and (op := self._written.get(message.sequence)) is not None:
            return op.route
        route = rtmsg.decode_route(message.body, self._devices.names)
        return route if route is not None and route.table == MAIN_TABLE else None

    def _link_changes(self, message: Message) -> Iterator[Change]:
        parsed = _parse(ifinfmsg, message)
        if parsed["family"] != socket.AF_UNSPEC:
            return  # a bridge tells of its ports here; the device itself stays
        link = link_of(parsed, self._devices.name_of)
        if message.kind == MessageType.NEW_LINK:
            self._devices.know(link)
            yield LinkNow(link)
        else:
            self._devices.forget(link.index)
            yield LinkGone(link.name, link.index)

    def _entry_changes(self, message: Message) -> Iterator[Change]:
        found = ndmsg.decode(message.body, self._devices.names)
        if found is not None and self._marks.is_made(found[0].device):
            entry, is_permanent = found
            is_there = is_permanent and message.kind == MessageType.NEW_NEIGHBOUR
            yield EntryNow(entry) if is_there else EntryGone(entry)

    def _made_devices(self) -> Mapping[int, str]:
        return {index: name for index, name in self._devices.names.items() if self._marks.is_made(name)}

    def _settings_of(self, index: int) -> str:
        return _SETTINGS_OF_MANY.get(index) or self._devices.name_of(index)

    def _address_of(self, parsed: Any) -> InterfaceAddress:
        local = parsed.get_attr("IFA_LOCAL") or parsed.get_attr("IFA_ADDRESS")
        device = self._devices.name_of(parsed["index"])
        return InterfaceAddress(device, ip_address(local), parsed["prefixlen"], parsed["scope"])

    # Reading.

    async def read(self) -> Actual:
        try:
            parsed_links = [parsed async for parsed in await self._pyroute.get_links()]
            names = {parsed["index"]: parsed.get_attr("IFLA_IFNAME") for parsed in parsed_links}
            links = [link_of(parsed, lambda index: names.get(index) or f"if{index}") for parsed in parsed_links]
            self._devices.know_only(links)
            addresses = frozenset([self._address_of(parsed) async for parsed in await self._pyroute.get_addr()])
            known = self._start_list()
            routes, shadowed = _by_key([*await self._list(4, known), *await self._list(6, known)])
            entries = frozenset(await self._list_entries())
        except (OSError, NetlinkError, rtmsg.Malformed) as error:
            raise KernelUnavailable(f"netlink: {error}") from error
        return Actual({link.name: link for link in links}, addresses, routes, shadowed, entries=entries)

    def _start_list(self) -> Mapping[bytes, Route | None]:
        """What the last list was decoded to, unless names have changed since."""
        known = self._decoded if self._decoded_at == self._devices.renamings else {}
        self._decoded, self._decoded_at = {}, self._devices.renamings
        return known

    async def _list(self, version: int, known: Mapping[bytes, Route | None]) -> list[Route]:
        bodies = await self._requests.read(lambda sequence: rtmsg.encode_dump(version, sequence, table=MAIN_TABLE))
        found = [self._decode(body, known) for body in bodies]
        return [one for one in found if one is not None and one.table == MAIN_TABLE and one.dst.version == version]

    def _decode(self, body: bytes, known: Mapping[bytes, Route | None]) -> Route | None:
        """Most of a list is what the last one was: equal bytes are the same Route, found again by a look-up."""
        route = known[body] if body in known else rtmsg.decode_route(body, self._devices.names)
        self._decoded[body] = route
        return route

    async def _list_entries(self) -> list[Entry]:
        devices = self._made_devices()
        entries: list[Entry] = []
        for index in devices:
            for family in ndmsg.FAMILIES:
                bodies = await self._requests.read(partial(ndmsg.encode_dump, family, index))
                found = (ndmsg.decode(body, devices) for body in bodies)
                entries += [each[0] for each in found if each is not None and each[1]]
        return entries

    def read_sysctls(self, paths: Collection[str]) -> Mapping[str, str]:
        found: dict[str, str] = {}
        for path in paths:
            with suppress(OSError):
                found[path] = (_SYSCTLS / path).read_text().strip()
        return found

    # Writing.

    async def apply(self, ops: Sequence[Op]) -> Sequence[Refusal | None]:
        results: list[Refusal | None] = []
        for kind, group in groupby(ops, key=_batch_of):
            results += await self._apply_alike(kind, list(group))
        return results

    async def _apply_alike(self, kind: Batch, ops: Sequence[Any]) -> list[Refusal | None]:
        try:
            if kind is Batch.ROUTES:
                return await self._write_routes(ops)
            if kind is Batch.ENTRIES:
                return await self._write_entries(ops)
        except (OSError, rtmsg.Malformed) as error:
            raise KernelUnavailable(f"netlink: {error}") from error
        if kind is Batch.SYSCTLS:
            return [_write_sysctl(op.path, op.value) for op in ops]
        return await change_links(self._pyroute, ops, self._devices.indexes)

    async def _write_routes(self, ops: Sequence[RouteOp]) -> list[Refusal | None]:
        refused = {place: Refusal(errno.ENODEV) for place, op in enumerate(ops) if not self._has_devices(op)}
        sent = [place for place in range(len(ops)) if place not in refused]
        first = self._requests.take_sequences(len(sent))
        self._written.update((first + offset, ops[place]) for offset, place in enumerate(sent))
        answers = await self._requests.write([ops[place] for place in sent], first, self._devices.indexes, rtmsg.encode)
        refused |= {sent[answer.sequence - first]: Refusal(answer.code, answer.text) for answer in answers}
        return [refused.get(place) for place in range(len(ops))]

    async def _write_entries(self, ops: Sequence[EntryOp]) -> list[Refusal | None]:
        known = [op for op in ops if op.entry.device in self._devices.indexes]
        first = self._requests.take_sequences(len(known))
        answers = await self._requests.write(known, first, self._devices.indexes, ndmsg.encode)
        refused = {known[answer.sequence - first]: Refusal(answer.code, answer.text) for answer in answers}
        lost = dict.fromkeys((op for op in ops if op.entry.device not in self._devices.indexes), Refusal(errno.ENODEV))
        return [lost.get(op) or refused.get(op) for op in ops]

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


_BATCHES: Mapping[type, Batch] = {
    AddRoute: Batch.ROUTES,
    ReplaceRoute: Batch.ROUTES,
    DeleteRoute: Batch.ROUTES,
    SetEntry: Batch.ENTRIES,
    DeleteEntry: Batch.ENTRIES,
    WriteSysctl: Batch.SYSCTLS,
}


def _batch_of(op: Op) -> Batch:
    return _BATCHES.get(type(op), Batch.LINKS)


def _write_sysctl(path: str, value: str) -> Refusal | None:
    try:
        (_SYSCTLS / path).write_text(value)
    except OSError as error:
        return Refusal(error.errno or errno.EIO)
    return None
