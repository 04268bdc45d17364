"""What the nodes themselves write after an edit: the addresses of their tunnels, taken, published and given back.

Only for a :class:`calicoctl.rehearsal.Rehearsal`. What felix does step by step, waiting for devices and for other nodes
(:mod:`felix.tunnel_addresses`), is done here as if each wait were over: first every node takes and publishes what it
needs, then every node gives back what it does not, since nobody gives an address back while others may send to it.
The decisions are felix's and IPAM's own, so an address that is foretold is the one that will be taken, unless somebody
is given one before.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from datastore.codec import decode, encode
from datastore.resource import Key
from datastore.resources import Node
from datastore.store import Rejected, Store
from felix.tunnel_ipam import TunnelIpam
from felix.tunnels import Tunnel, eligible, keep
from ipam import facts
from ipam.allocator import Allocator, NoAddress
from ipam.block import Address, StaleRelease
from ipam.choose import NoPool
from ipam.facts import Facts
from ipam.records import Records
from ipam.release import Releaser
from ipam.writer import BlockWriter

WallNs = Callable[[], int]


async def settle(store: Store, *, wall_ns: WallNs) -> None:
    """``store`` as all nodes leave it that have seen it as it is."""
    nodes = [_Settler(store, item.name, wall_ns) for item in (await store.list("Node")).items]
    for node in nodes:
        for tunnel in Tunnel:
            await node.provide(tunnel)
    for node in nodes:
        for tunnel in Tunnel:
            await node.withdraw(tunnel)


class _Settler:
    """One node. A node, or a block, that cannot be read is left as it is."""

    def __init__(self, store: Store, name: str, wall_ns: WallNs) -> None:
        self._store, self._name = store, name
        records = Records(store)
        writer = BlockWriter(records)
        allocator = Allocator(records, name, facts=self._facts, wall_ns=wall_ns, writer=writer)
        releaser = Releaser(store, writer, facts=self._facts, wall_ns=wall_ns)
        self._ipam = TunnelIpam(name, store, allocator, releaser)

    async def provide(self, tunnel: Tunnel) -> None:
        """What the node needs and can have."""
        me, known = await self._me(), await self._facts()
        pools = eligible(known.pools, me, tunnel) if me is not None else ()
        if me is None or not pools:
            return
        found = await self._ipam.find(tunnel, tunnel.published(me))
        address = keep(found.held, tunnel.published(me), pools)
        with suppress(NoAddress, NoPool):  # what it published stays, as on the node
            address = address or await self._ipam.take(tunnel, pools, found.ancient)
            await self._publish(tunnel, address)

    async def withdraw(self, tunnel: Tunnel) -> None:
        """What the node holds and does not need (any more)."""
        me, known = await self._me(), await self._facts()
        if me is None:
            return
        published = tunnel.published(me)
        found = await self._ipam.find(tunnel, published)
        with suppress(StaleRelease):
            if pools := eligible(known.pools, me, tunnel):
                if published is not None and keep(found.held, published, pools) == published:
                    others = [address for address in found.held if address != published]
                    await self._ipam.give_back(tunnel, others, found.ancient)
            elif published is not None or not found.is_nothing:
                await self._publish(tunnel, None)
                await self._ipam.give_back_all(tunnel, found)

    async def _facts(self) -> Facts:
        return await facts.read(self._store, self._name)

    async def _me(self) -> Node | None:
        try:
            return decode(Node, await self._store.get(Key("Node", self._name)))
        except Rejected:
            return None

    async def _publish(self, tunnel: Tunnel, address: Address | None) -> None:
        me = await self._me()
        if me is not None and tunnel.published(me) != address:
            await self._store.update(encode(tunnel.publish(me, address)))
