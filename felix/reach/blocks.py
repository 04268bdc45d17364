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


def reaches(view: View, is_asked: Callable[[Network], bool]) -> Iterator[Reach]:
    """Of other nodes, in blocks that ``is_asked`` for. A node without an address gives a Reach without next hops."""
    for block in view.blocks.values():
        if is_asked(block.cidr):
            for dst, node in _holders(block):
                if node != view.node:
                    yield Reach(dst, _addresses(view, node, dst.version), Source.BLOCKS, node)


def _holders(block: IPAMBlock) -> Iterator[tuple[Network, str]]:
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
