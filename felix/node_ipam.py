"""ipam as this node uses it: put together once, asked by pods and tunnels, told of blocks as they change."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address

from datastore import names
from datastore.resource import Key
from datastore.resources import IPAMBlock
from datastore.store import Store
from felix.tunnel_ipam import TunnelIpam
from ipam.allocator import Allocator, Assigned
from ipam.block import Holder
from ipam.facts import Facts
from ipam.group_commit import GroupCommit
from ipam.records import Records
from ipam.release import Releaser
from ipam.writer import BlockWriter

Address = IPv4Address | IPv6Address


class NodeIpam:
    """``assign`` and ``release`` serve callers that wait together with one write; run :meth:`run` for that.
    ``tunnels`` is for the node's own addresses. ``facts`` is what is decided on, ``wall_ns`` the time of day.
    """

    def __init__(
        self, node: str, store: Store, *, facts: Callable[[], Awaitable[Facts]], wall_ns: Callable[[], int]
    ) -> None:
        self._node = node
        records = Records(store)
        self._writer = BlockWriter(records)
        self._allocator = Allocator(records, node, facts=facts, wall_ns=wall_ns, writer=self._writer)
        releaser = Releaser(store, self._writer, facts=facts, wall_ns=wall_ns)
        self._commit = GroupCommit(self._allocator, releaser)
        self.assign, self.release = self._commit.assign, self._commit.release
        self.tunnels = TunnelIpam(node, store, self._allocator, releaser)

    async def run(self) -> None:
        """Until cancelled."""
        await self._commit.run()

    async def assign_address(self, address: Address, holder: Holder) -> Assigned:
        return await self._allocator.assign_address(address, holder)

    def hear(self, key: Key, block: IPAMBlock | None) -> None:
        """A block is another, or gone. Of another node's there is no guess unless an address was taken from one."""
        known = {names.of_cidr(each.cidr): each.cidr for each in self._writer.guesses}
        if block is None and key.name in known:
            self._writer.remember(known[key.name], None)
        elif block is not None and (block.node == self._node or key.name in known):
            self._writer.hear(block)
