"""Which node has which block, from IPAM's own records: for pools whose packets go by node and not by BGP.

An address of a block that another node holds (borrowed) is reached at that node, as a destination of its own.

Source: Calico felix/calc/l3_route_resolver.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import ip_network

from datastore.resource import Key
from datastore.resources import IPAMBlock
from felix.fib.model import Address, Network
from felix.reach.reach import Reach, Source
from felix.view import View

Holding = tuple[Network, str]
"""A destination, and the node that has it."""


class Blocks:
    """Remembers what each block came to, for as long as the block and the map are the same: most of them always are."""

    def __init__(self) -> None:
        self._holdings: dict[Key, tuple[IPAMBlock, tuple[Holding, ...]]] = {}
        self._reaches: dict[Key, tuple[IPAMBlock, tuple[Reach, ...]]] = {}
        self._map_version = -1

    def reaches(self, view: View, is_asked: Callable[[Network], bool]) -> Iterator[Reach]:
        """Of other nodes, in blocks that ``is_asked`` for; without next hops where the node has no address."""
        self._forget(view)
        for key, block in view.blocks.items():
            if is_asked(block.cidr):
                known = self._reaches.get(key)
                if known is None or known[0] is not block:
                    known = self._reaches[key] = (block, tuple(self._reaches_of(view, key, block)))
                yield from known[1]

    def _forget(self, view: View) -> None:
        if self._map_version != view.map_version:
            self._map_version = view.map_version
            self._reaches = {}
        if len(self._holdings) > 2 * len(view.blocks):
            self._holdings = {}

    def _reaches_of(self, view: View, key: Key, block: IPAMBlock) -> Iterator[Reach]:
        known = self._holdings.get(key)
        if known is None or known[0] is not block:
            known = self._holdings[key] = (block, tuple(_holdings(block)))
        for dst, node in known[1]:
            if node != view.node:
                yield Reach(dst, _addresses(view, node, dst.version), Source.BLOCKS, node)


def _holdings(block: IPAMBlock) -> Iterator[Holding]:
    if block.is_deleted:
        return
    if block.node:
        yield block.cidr, block.node
    for ordinal, slot in enumerate(block.slots):
        if slot is not None and (node := block.attributes[slot].owner.get("node", "")) not in ("", block.node):
            yield ip_network(block.cidr[ordinal]), node


def _addresses(view: View, node: str, version: int) -> tuple[Address, ...]:
    known = view.nodes.get(Key("Node", node))
    interface = None if known is None else known.ipv4 if version == 4 else known.ipv6
    return () if interface is None else (interface.ip,)
