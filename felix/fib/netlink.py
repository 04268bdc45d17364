"""The real kernel: the only module that imports pyroute2 and the only one that opens netlink sockets.

Three sockets. A *monitor* hears of links, addresses and routes on one queue, so that their order is the kernel's. A
*writer* carries routes, many to a send, and route dumps, both in our own encoding. pyroute2 does the rest: it reads
links and addresses, raises links, and parses link and address messages wherever they come from.

What makes it correct:

- The kernel handles a send before ``send`` returns, and by then has put the echo of every change on the monitor.
  Taking changes after ``apply`` therefore sees our own writes in their place between other people's. An echo carries
  our port and sequence number: it is known without decoding, and is the very Route that was written.
- ENOBUFS, or more unread changes than ``_MOST_UNREAD_BYTES``, makes everything unread one Lost.
- A device's index is looked up when a message is built. One that was made anew under its old name in between has
  another index: the kernel refuses with ENODEV, and the caller reads again.

Sysctls are read and written in the network namespace of the calling thread.
"""

from __future__ import annotations

import asyncio
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
from felix.fib.rtmsg import Batch, Flag, Message, MessageType

_SYSCTLS = Path("/proc/sys")

_NETLINK_EXTENDED_ACK = 11
_NETLINK_CAPPED_ACK = 10
_NETLINK_STRICT_CHECK = 12
_SOL_NETLINK = 270
_SO_RECEIVE_BUFFER_FORCE = 33

# Links; IPv4 addresses and routes; IPv6 addresses and routes; settings of both.
_GROUPS = 1 << 0 | 1 << 4 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 23 | 1 << 24
_MONITOR_BUFFER_BYTES = 16 << 20
_WRITER_BUFFER_BYTES = 4 << 20
_MOST_UNREAD_BYTES = 32 << 20
_DATAGRAM_BYTES = 1 << 16
_PATIENCE_S = 5.0  # the kernel answers at once; this only keeps a broken one from holding the loop
_DUMP_ATTEMPTS = 3

_SETTINGS_OF_MANY = {-1: "all", -2: "default"}
_IFF_UP = 0x1
_IFF_LOWER_UP = 0x10000


class NetlinkKernel:
    """Construct it with :meth:`open`, inside the namespace that it is to serve."""

    def __init__(self, pyroute: AsyncIPRoute) -> None:
        self._pyroute = pyroute
        self._monitor = _open_socket(_GROUPS, _MONITOR_BUFFER_BYTES)
        self._monitor.setblocking(False)
        self._writer = _open_socket(0, _WRITER_BUFFER_BYTES)
        self._writer.settimeout(_PATIENCE_S)
        self._writer_port: int = self._writer.getsockname()[0]
        self._sequence = 1
        self._unread: list[bytes] = []
        self._unread_bytes = 0
        self._has_lost = False
        self._devices = Devices()
        self._written: dict[int, RouteOp] = {}
        self._decoded: dict[bytes, Route | None] = {}
        self._decoded_at = 0
        self._wake: Callable[[], None] | None = None

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
        if self._wake is not None:
            asyncio.get_running_loop().remove_reader(self._monitor)
        self._monitor.close()
        self._writer.close()
        self._pyroute.close()

    # Changes.

    def listen(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        asyncio.get_running_loop().add_reader(self._monitor, self._on_readable)

    def _on_readable(self) -> None:
        self._drain()
        if self._wake is not None:
            self._wake()

    def _drain(self) -> None:
        """Move what waits in the socket into our own queue, so that the loop is woken once for it and not for ever."""
        with suppress(BlockingIOError):
            while True:
                try:
                    datagram = self._monitor.recv(_DATAGRAM_BYTES)
                except OSError as error:
                    if error.errno != errno.ENOBUFS:
                        raise
                    self._has_lost = True
                    continue
                self._unread.append(datagram)
                self._unread_bytes += len(datagram)
        if self._unread_bytes > _MOST_UNREAD_BYTES:
            self._has_lost = True

    def take_changes(self) -> Sequence[Change]:
        self._drain()
        unread, self._unread, self._unread_bytes = self._unread, [], 0
        if self._has_lost:
            self._has_lost = False
            self._written.clear()
            return (Lost(),)
        try:
            changes = [change for data in unread for message in rtmsg.split(data) for change in self._changes(message)]
        except rtmsg.Malformed:
            changes = [Lost()]
        self._written.clear()
        return changes

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
        is_echo = message.port == self._writer_port and message.kind == MessageType.NEW_ROUTE
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
            known = self._start_dump()
            routes, shadowed = _by_key([*await self._dump_routes(4, known), *await self._dump_routes(6, known)])
        except (OSError, NetlinkError, rtmsg.Malformed) as error:
            raise KernelUnavailable(f"netlink: {error}") from error
        return Actual({link.name: link for link in links}, addresses, routes, shadowed)

    def _start_dump(self) -> Mapping[bytes, Route | None]:
        """What the last dump was decoded to, unless names have changed since."""
        known = self._decoded if self._decoded_at == self._devices.renamings else {}
        self._decoded, self._decoded_at = {}, self._devices.renamings
        return known

    async def _dump_routes(self, version: int, known: Mapping[bytes, Route | None]) -> list[Route]:
        for _ in range(_DUMP_ATTEMPTS):
            routes, was_interrupted = await self._dump_routes_once(version, known)
            if not was_interrupted:
                break
        return routes  # what changed meanwhile is on the monitor as well

    async def _dump_routes_once(self, version: int, known: Mapping[bytes, Route | None]) -> tuple[list[Route], bool]:
        sequence = self._take_sequences(1)
        self._writer.send(rtmsg.encode_dump(version, sequence, table=MAIN_TABLE))
        routes: list[Route] = []
        was_interrupted = False
        while True:
            for message in rtmsg.split(self._receive()):
                if message.sequence != sequence:
                    continue
                was_interrupted |= bool(message.flags & Flag.DUMP_INTERRUPTED)
                if message.kind == MessageType.DONE:
                    return routes, was_interrupted
                if message.kind == MessageType.ERROR:
                    raise OSError(rtmsg.decode_answer(message).code, "the kernel refuses to list its routes")
                route = self._decode(message.body, known)
                if route is not None and route.table == MAIN_TABLE and route.dst.version == version:
                    routes.append(route)
            await asyncio.sleep(0)

    def _decode(self, body: bytes, known: Mapping[bytes, Route | None]) -> Route | None:
        """Most of a dump is what the last one was: equal bytes are the same Route, found again by a look-up."""
        route = known[body] if body in known else rtmsg.decode_route(body, self._devices.names)
        self._decoded[body] = route
        return route

    def _receive(self) -> bytes:
        return self._writer.recv(1 << 20)

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
        first = self._take_sequences(len(sent))
        batches = rtmsg.encode_batches((ops[place] for place in sent), first, self._devices.indexes)
        self._written.update((first + offset, ops[place]) for offset, place in enumerate(sent))
        for batch in batches:
            for answer in self._send(batch):
                refused[sent[answer.sequence - first]] = Refusal(answer.code, answer.text)
                del self._written[answer.sequence]
            await asyncio.sleep(0)
        return [refused.get(place) for place in range(len(ops))]

    def _has_devices(self, op: RouteOp) -> bool:
        return all(hop.device in self._devices.indexes for hop in op.route.hops)

    def _send(self, batch: Batch) -> list[rtmsg.Answer]:
        """Returns the refusals. Raises KernelUnavailable when the kernel's answers did not all come."""
        try:
            self._writer.send(batch.data)
            refusals: list[rtmsg.Answer] = []
            while True:
                for message in rtmsg.split(self._receive()):
                    if message.kind != MessageType.ERROR:
                        continue
                    answer = rtmsg.decode_answer(message)
                    if answer.code and batch.first <= answer.sequence <= batch.last:
                        refusals.append(answer)
                    if answer.sequence == batch.last:
                        return refusals
        except (OSError, rtmsg.Malformed) as error:
            raise KernelUnavailable(f"netlink: {error}") from error

    def _take_sequences(self, count: int) -> int:
        """The first of ``count`` numbers that no request of the last four billion had."""
        if self._sequence + count > 0xFFFFFFFF:
            self._sequence = 1
        first = self._sequence
        self._sequence += count
        return first


def _open_socket(groups: int, buffer_bytes: int) -> socket.socket:
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    with suppress(PermissionError):
        opened.setsockopt(socket.SOL_SOCKET, _SO_RECEIVE_BUFFER_FORCE, buffer_bytes)
    for option in (_NETLINK_EXTENDED_ACK, _NETLINK_CAPPED_ACK, _NETLINK_STRICT_CHECK):
        with suppress(OSError):  # before 4.20: whole requests in answers, every table in dumps; both are understood
            opened.setsockopt(_SOL_NETLINK, option, 1)
    opened.bind((0, groups))
    return opened


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
