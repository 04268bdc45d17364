"""The doors between a process and its machine. Each asks the life behind it first, and lets things take their time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import cast

from bgp.learned import LONGEST_LINE_BYTES
from bgp.remembered import Remembered
from datastore.store import Listing, Store
from felix.cni.request import Request, read
from felix.fib.journal import Claims, JournalUnavailable
from felix.fib.kernel import Change, KernelUnavailable
from felix.fib.model import Actual, Op, Refusal, WriteSysctl
from felix.fib.pod_link import PodSide, VethPlan, host_sysctls
from felix.fib.veth import VethError
from felix.firewall.choose import Backend, Modes
from felix.firewall.model import RuleSet
from felix.firewall.reconciler import Writer
from tests.memory_network import MemoryHost, MemoryNetwork
from tests.models.faulty_store import Faults, FaultyStore
from tests.sim.life import Life
from tests.sim.machine import Disk, Machine

HERE = IPv4Address("127.0.0.1")
LINE_PORT = 1
"""The line between felix and the speaker is a link of its own on each machine; this is its place there."""


class StoreDoor(FaultyStore):
    """``lists``: how often each kind was listed through here."""

    def __init__(self, store: Store, faults: Faults) -> None:
        super().__init__(store, faults)
        self.lists: Counter[str] = Counter()

    async def list(self, kind: str, *, namespace: str = "", node: str = "") -> Listing:
        listing = await super().list(kind, namespace=namespace, node=node)
        self.lists[kind] += 1
        return listing


class KernelDoor:
    """``on_op`` sees each op before it is done, and may refuse to go on. ``breaks``: so many calls fail."""

    def __init__(self, life: Life, machine: Machine, on_op: Callable[[Op], None]) -> None:
        self.breaks = 0
        self._life, self._machine, self._on_op = life, machine, on_op
        machine.kernel.take_changes()  # a listener hears from its own start on

    def listen(self, wake: Callable[[], None]) -> None:
        self._machine.kernel.listen(wake)

    def take_changes(self) -> Sequence[Change]:
        self._life.pass_by()
        return self._machine.kernel.take_changes()

    async def read(self) -> Actual:
        await self._linger()
        return await self._machine.kernel.read()

    def read_sysctls(self, paths: Collection[str]) -> Mapping[str, str]:
        self._life.pass_by()
        return self._machine.kernel.read_sysctls(paths)

    async def apply(self, ops: Sequence[Op]) -> Sequence[Refusal | None]:
        return [await self._apply(op) for op in ops]

    async def close(self) -> None:
        await self._machine.kernel.close()

    async def _apply(self, op: Op) -> Refusal | None:
        await self._linger()
        self._on_op(op)
        return self._machine.do(op)

    async def _linger(self) -> None:
        await self._life.linger()
        if self.breaks:
            self.breaks -= 1
            raise KernelUnavailable("no buffer space available")


class FilterDoor:
    """The packet filter: one backend, which takes a whole set of rules or nothing."""

    def __init__(self, life: Life, machine: Machine) -> None:
        self._life, self._machine = life, machine

    async def choose(self, modes: Modes) -> Backend:
        await self._life.linger()
        return Backend.NFT

    def writer(self, backend: Backend) -> Writer:
        return self

    def others(self, backend: Backend) -> tuple[Writer, ...]:
        return ()

    def listen(self, wake: Callable[[], None]) -> None:
        """Nobody else writes there."""

    async def write(self, wanted: RuleSet) -> int:
        await self._life.linger()
        before, self._machine.rules = self._machine.rules, wanted
        await self._life.linger()
        return int(before != wanted)

    async def remove(self) -> int:
        return await self.write(RuleSet())


class VethDoor:
    """Pods' interfaces, made in the steps of :mod:`felix.fib.veth`, so that a kill may come between any two."""

    def __init__(self, life: Life, machine: Machine) -> None:
        self._life, self._machine = life, machine

    async def make(self, netns: int, plan: VethPlan) -> None:
        await self._life.linger()
        if netns not in self._machine.namespaces:
            raise VethError("the pod's network namespace cannot be entered: it is gone")
        if plan.host_device in self._machine.pairs:
            self._machine.remove_pair(plan.host_device)
            await self._life.linger()
        self._machine.make_pair(netns, plan)
        await self._life.linger()
        for path, value in host_sysctls(plan.host_device, plan.versions).items():
            self._machine.do(WriteSysctl(path, value))
        await self._life.linger()
        if plan.host_device not in self._machine.pairs:
            raise VethError(f"{plan.host_device} is gone")
        self._machine.raise_pair(plan.host_device)
        await self._life.linger()

    async def remove(self, host_device: str) -> bool:
        await self._life.linger()
        was_there = self._machine.remove_pair(host_device)
        await self._life.linger()
        return was_there

    async def look(self, netns: int, pod_device: str) -> PodSide | None:
        await self._life.linger()
        for inside, plan in self._machine.pairs.values():
            if (inside, plan.pod_device) == (netns, pod_device):
                return PodSide(
                    plan.mac, plan.mtu_bytes, is_up=True, addresses=plan.addresses, default_routes=plan.versions
                )
        return None


class JournalDoor:
    def __init__(self, life: Life, disk: Disk) -> None:
        self._life, self._disk = life, disk

    @property
    def claims(self) -> Claims:
        return self._disk.journal.claims

    def record(self, claims: Claims) -> None:
        self._check()
        self._disk.journal.record(claims)
        self._life.pass_by()

    def forget(self, claims: Claims) -> None:
        self._check()
        self._disk.journal.forget(claims)
        self._life.pass_by()

    def _check(self) -> None:
        self._life.pass_by()
        if self._disk.is_full:
            raise JournalUnavailable("felix-routes: no space left on device")


class SpoolDoor:
    """DELs that wait, in the order of their files' names."""

    def __init__(self, life: Life, disk: Disk) -> None:
        self._life, self._disk = life, disk

    def add(self, variables: dict[str, str], stdin: bytes) -> None:
        self._life.pass_by()
        spool(self._disk, variables, stdin)

    async def drain(self, delete: Callable[[Request], Awaitable[None]]) -> int:
        names = sorted(self._disk.deletions)
        for name in names:
            variables, stdin = self._disk.deletions.get(name, ({}, b""))
            if variables:
                await delete(read(variables, stdin))
                self._life.pass_by()
                self._disk.deletions.pop(name, None)
        return len(names)


def spool(disk: Disk, variables: dict[str, str], stdin: bytes) -> None:
    """What the plugin does itself when felix is away. Raises OSError when the disk is full."""
    if disk.is_full:
        raise OSError("no space left on device")
    disk.deletions[f"{variables['CNI_CONTAINERID']}:{variables['CNI_IFNAME']}"] = (dict(variables), stdin)


class MemoryDoor:
    """What the speaker remembers. ``boot`` is the machine's present one."""

    def __init__(self, life: Life, machine: Machine) -> None:
        self.boot = f"boot {machine.boots}"
        self._life, self._disk = life, machine.disk

    def load(self) -> Remembered | None:
        return self._disk.remembered

    async def save(self, remembered: Remembered) -> None:
        await self._life.linger()
        if self._disk.is_full:
            raise OSError("no space left on device")
        self._disk.remembered = remembered
        await self._life.linger()


@dataclass(frozen=True, slots=True)
class SpeakerLine:
    """felix's end of the line to the speaker."""

    host: MemoryHost

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=LONGEST_LINE_BYTES)
        protocol = _Opening(reader, loop.create_future())
        await self.host.dial(protocol, local=None, peer=HERE, port=LINE_PORT)
        return reader, asyncio.StreamWriter(await protocol.transport, protocol, reader, loop)

    def __str__(self) -> str:
        return "bgp.sock"


class _Opening(asyncio.StreamReaderProtocol):
    def __init__(self, reader: asyncio.StreamReader, transport: asyncio.Future[asyncio.Transport]) -> None:
        super().__init__(reader)
        self.transport = transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.set_result(cast(asyncio.Transport, transport))


def open_host(network: MemoryNetwork, address: IPv4Address, life: Life) -> MemoryHost:
    """The network for one process: what it has open is closed when it ends."""
    host = network.host(address)
    life.on_end.append(host.close)
    return host
