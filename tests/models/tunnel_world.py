"""A node with its tunnel addresses: the real IPAM on a memory store, and devices that obey with a delay of their own.

The devices' rules: they take an address when it is held and lose it when it is not; they are ready and idle when the
test says so. Every step is written down, so that a test can read in which order things happened.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from random import Random
from typing import Any

from datastore.codec import decode
from datastore.memory import Memory, MemoryStore
from datastore.resource import Key, Resource
from datastore.resources import Node
from datastore.store import Missing, Store
from felix.tunnel_addresses import TunnelAddresses
from felix.tunnel_ipam import TunnelIpam
from felix.tunnels import Held, Tunnel
from ipam import block as blocks
from ipam import facts
from ipam.allocator import Allocator, Assigned, Request
from ipam.block import Holder
from ipam.records import Records
from ipam.release import Releaser
from ipam.writer import BlockWriter

Address = IPv4Address | IPv6Address


class ModelDevices:
    """``is_up``: a held address is on its device at once. ``busy``: tunnels that routes of ours go through.
    ``awaited``: those of which other nodes publish addresses.
    """

    def __init__(self, said: list[str]) -> None:
        self.is_up = True
        self.busy: set[Tunnel] = set()
        self.awaited: set[Tunnel] = set()
        self.held: Held = {}
        self._said = said

    def hold(self, held: Held) -> None:
        for tunnel, address in held.items():
            if tunnel not in self.held or self.held[tunnel] != address:
                self._said.append(f"{tunnel.device} has {address or 'nothing'}")
        self.held = held

    def is_ready(self, tunnel: Tunnel, address: Address) -> bool:
        return self.is_up and self.held.get(tunnel) == address

    def is_quiet(self, tunnel: Tunnel) -> bool:
        return tunnel not in self.awaited

    def is_idle(self, tunnel: Tunnel) -> bool:
        return tunnel not in self.busy


class TunnelWorld:
    """One node, ``node1``, and what all its processes share."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.store = MemoryStore(self.memory)
        self.records = Records(self.store)
        self.said: list[str] = []
        self.devices = ModelDevices(self.said)
        self.trouble = ""
        self._ticks = 1_700_000_000 * 10**9

    async def prepare(self, *pools: tuple[str, dict[str, Any]], node: bool = True) -> None:
        if node:
            await self.add_node()
        for cidr, spec in pools:
            await self.add_pool(cidr, **spec)

    async def add_node(self) -> None:
        await self.store.create(Resource("Node", "node1", spec={"bgp": {"ipv4Address": "192.168.50.10/24"}}))

    async def add_pool(self, cidr: str, **spec: Any) -> None:
        await self.store.create(Resource("IPPool", _pool_name(cidr), spec={"cidr": cidr, **spec}))

    async def edit_pool(self, cidr: str, **spec: Any) -> None:
        await self._edit(Key("IPPool", _pool_name(cidr)), **spec)

    async def delete_pool(self, cidr: str) -> None:
        await self.store.delete(Key("IPPool", _pool_name(cidr)))

    async def edit_node(self, **spec: Any) -> None:
        await self._edit(Key("Node", "node1"), **spec)

    async def _edit(self, key: Key, **spec: Any) -> None:
        known = await self.store.get(key)
        changed = {name: value for name, value in {**known.spec, **spec}.items() if value is not None}
        await self.store.update(replace(known, spec=changed))

    # What is known and held.

    async def node(self) -> Node | None:
        try:
            return decode(Node, await self.store.get(Key("Node", "node1")))
        except Missing:
            return None

    async def published(self) -> dict[str, str]:
        node = await self.node()
        told = {} if node is None else {tunnel.word: tunnel.published(node) for tunnel in Tunnel}
        return {word: str(address) for word, address in told.items() if address is not None}

    async def in_ipam(self) -> list[str]:
        """Every address that somebody holds, and the handle: ``10.244.166.128 ipip-tunnel-addr-node1``."""
        found = [each for block in (await self.records.blocks()).values() for each in blocks.allocations(block)]
        return sorted(f"{address} {attribute.handle}".strip() for address, attribute in found)

    async def handles(self) -> list[str]:
        return sorted(each.handle for each in await self.records.handles())

    # Processes.

    def wall_ns(self) -> int:
        self._ticks += 10**6
        return self._ticks

    def process(self, wrap: Callable[[Store], Store] = lambda store: store) -> TunnelAddresses:
        """One felix. What it knows of pools and node is what the store has at that moment; ``wrap`` puts something
        between it and the store.
        """
        store = wrap(self.store)
        records = Records(store)
        writer = BlockWriter(records)

        async def read() -> facts.Facts:
            return await facts.read(self.store, "node1") if await self.node() is not None else facts.Facts()

        allocator = Allocator(records, "node1", facts=read, wall_ns=self.wall_ns, writer=writer)
        releaser = Releaser(store, writer, facts=read, wall_ns=self.wall_ns)
        return TunnelAddresses(
            "node1",
            store,
            TunnelIpam("node1", store, allocator, releaser),
            self.devices,
            facts=read,
            me=self.seen,
            random=Random(1).random,
            on_trouble=self._hear,
        )

    def seen(self) -> Node | None:
        try:
            return decode(Node, self.memory.get(Key("Node", "node1")))
        except Missing:
            return None

    def _hear(self, trouble: str) -> None:
        self.trouble = trouble

    async def pod(self, name: str) -> str:
        async def read() -> facts.Facts:
            return await facts.read(self.store, "node1")

        allocator = Allocator(self.records, "node1", facts=read, wall_ns=self.wall_ns)
        (outcome,) = await allocator.assign([Request(Holder(name, {"node": "node1"}))])
        assert isinstance(outcome, Assigned)
        return str(outcome.address)


@asynccontextmanager
async def running(addresses: TunnelAddresses) -> AsyncGenerator[None, None]:
    task = asyncio.create_task(addresses.run())
    try:
        await settle(addresses)
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def settle(addresses: TunnelAddresses) -> None:
    """Until all that follows from what is known now has been done."""
    for _ in range(3):
        addresses.changed()
        for _ in range(300):
            await asyncio.sleep(0)


def _pool_name(cidr: str) -> str:
    return "pool-" + cidr.replace("/", "-").replace(".", "-").replace(":", "-")
