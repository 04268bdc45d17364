"""Where a destination is looked up: its pool, the way to its next hops, and the name of the node that it belongs to.

An atlas is made from the map (pools, nodes, surroundings) and is good until that changes. It remembers its answers,
because one node has many blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from datastore.resource import Key
from datastore.resources import IPPool
from felix.choose import Encap, choose
from felix.encap import direct
from felix.encap.way import NoWay, Way
from felix.fib.model import Address, Network, Why
from felix.ground import Ground
from felix.prefixes import PrefixTable
from felix.reach.reach import Reach, Source
from felix.view import View

WAYS: Mapping[Encap, Callable[[Sequence[Address], Ground], Way | NoWay]] = {Encap.DIRECT: direct.way_to}


class Atlas:
    """``version`` is the view's ``map_version`` that it was made from."""

    def __init__(self, view: View) -> None:
        self.version = view.map_version
        self._me = view.nodes.get(Key("Node", view.node))
        self._pools = PrefixTable((pool.cidr, pool) for pool in view.pools.values())
        self._names = dict(_node_names(view))
        self._ground = Ground(view.surroundings)
        self._ways: dict[tuple[str, tuple[Address, ...], str], tuple[Way | NoWay, Why]] = {}

    def pool_of(self, dst: Network) -> IPPool | None:
        return self._pools.best(dst)

    def way(self, reach: Reach, pool: IPPool | None) -> tuple[Way | NoWay, Why]:
        """How packets get there, by which rule, or what that waits for. ``pool`` is the destination's."""
        if (connected := self._ground.connected.get(reach.dst)) is not None:
            return NoWay("connected"), Why(f"this node is connected to it: {connected}")
        key = ("" if pool is None else pool.name, reach.next_hops, reach.told_by)
        answer = self._ways.get(key)
        if answer is None:
            answer = self._ways[key] = self._find(reach, pool)
        return answer

    def _find(self, reach: Reach, pool: IPPool | None) -> tuple[Way | NoWay, Why]:
        if not reach.next_hops:
            return NoWay("no address"), Why(f"node {reach.told_by} has no address")
        choice = choose(pool, self._me, reach.next_hops[0])
        origin = f"{choice.rule}, {self._teller(reach)}"
        way_to = WAYS.get(choice.encap)
        if way_to is None:
            return NoWay("no such encapsulation"), Why(f"{origin}: there is no {choice.encap.value} here")
        way = way_to(reach.next_hops, self._ground)
        return way, Why(f"{origin}: {way.why}" if isinstance(way, NoWay) else origin)

    def _teller(self, reach: Reach) -> str:
        """``node node2, bgp 192.168.50.11``."""
        if reach.source is Source.BLOCKS:
            return f"node {reach.told_by}, its block"
        name = self._names.get(reach.next_hops[0])
        return f"node {name}, bgp {reach.told_by}" if name else f"bgp {reach.told_by}"


def _node_names(view: View) -> Iterator[tuple[Address, str]]:
    for node in view.nodes.values():
        for interface in (node.ipv4, node.ipv6):
            if interface is not None:
                yield interface.ip, node.name
