"""Which pairs of pods may lose packets for now, because somebody broke what is between them.

A node is shaken from the moment that something was done to it that no software can mask, an edge from the moment that
its link was cut. It is steady again when all that it needs has been there for a while. A process that is killed shakes
nothing: that is what is to be shown. Only a speaker that stays away for as long as its neighbours keep its routes does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from itertools import combinations

from bgp.neighbour import DEFAULT_RESTART_TIME_S
from tests.memory_network import MemoryNetwork
from tests.sim.node import SimNode

GRACE_S = 60.0
"""Longer than any pause of a retry: sessions 5 s, the datastore 10 s, refused writes 36 s."""
LONGEST_ABSENCE_S = DEFAULT_RESTART_TIME_S - 20.0

Edge = frozenset[SimNode]


class Excuses:
    def __init__(self, nodes: Collection[SimNode], network: MemoryNetwork) -> None:
        self._nodes, self._network = nodes, network
        self._shaken: set[SimNode | Edge] = set()
        self._well_since: dict[SimNode | Edge, float] = {}

    def shake(self, node: SimNode) -> None:
        """Something was done to its kernel by hand, or to the machine."""
        self._shaken.add(node)
        self._well_since.pop(node, None)

    def cover(self, one: SimNode, other: SimNode) -> bool:
        self.look()
        return bool(self._shaken & {one, other, frozenset((one, other))})

    def is_steady(self, node: SimNode) -> bool:
        """Nothing has been wrong with it, nor with any of its links, for a while."""
        self.look()
        here = [each for each in self._well_since if each is node or (isinstance(each, frozenset) and node in each)]
        is_well = node in self._well_since and len(here) == len(self._nodes)
        return is_well and all(self._has_been_well(each) for each in here)

    def look(self) -> None:
        for node in self._nodes:
            self._judge(node, is_well=_is_well(node), is_broken=_is_broken(node))
        for one, other in combinations(self._nodes, 2):
            is_cut = self._network.is_cut(one.address, other.address)
            is_well = not is_cut and {one, other} <= self._well_since.keys()
            self._judge(frozenset((one, other)), is_well=is_well, is_broken=is_cut)

    def _judge(self, what: SimNode | Edge, *, is_well: bool, is_broken: bool) -> None:
        if not is_well:
            self._well_since.pop(what, None)
        elif what not in self._well_since:
            self._well_since[what] = _now()
        if is_broken:
            self._shaken.add(what)
        elif self._has_been_well(what):
            self._shaken.discard(what)

    def _has_been_well(self, what: SimNode | Edge) -> bool:
        return what in self._well_since and _now() - self._well_since[what] > GRACE_S


def _is_broken(node: SimNode) -> bool:
    is_silent = node.speaker is None and _now() - node.speaker_ended_at > LONGEST_ABSENCE_S
    return is_silent or not node.is_on or not node.machine.has_uplink


def _is_well(node: SimNode) -> bool:
    has_all = node.felix is not None and node.speaker is not None and not node.store_line.is_cut
    return has_all and node.is_on and node.machine.has_uplink and not node.machine.obstacles


def _now() -> float:
    return asyncio.get_running_loop().time()
