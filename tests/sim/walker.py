"""A packet, hop by hop through the machines' kernels: delivered, or dropped where and why.

It knows what a router does with what the kernel holds: the longest prefix, of those the lowest metric; blackholes; who
answers to a next hop, and whether the link there carries anything. Written without a look at felix's own tables.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from datastore.plain import run
from felix.fib.model import Network, Route, RouteType
from tests.memory_network import MemoryNetwork
from tests.sim.machine import UPLINK, Machine
from tests.sim.node import SimNode
from tests.sim.runtime import Sandbox

MOST_HOPS = 8


@dataclass(frozen=True, slots=True)
class Fate:
    is_delivered: bool
    story: str


class Table:
    """What one machine's kernel held when it was looked at."""

    def __init__(self, machine: Machine) -> None:
        actual = run(machine.kernel.read())
        self.up = {name for name, link in actual.links.items() if link.is_up}
        self.routes = actual.routes.values()
        levels: dict[int, dict[int, Route]] = {}
        for route in self.routes:
            shift = 32 - route.dst.prefixlen
            level, bits = levels.setdefault(shift, {}), int(route.dst.network_address) >> shift
            if bits not in level or route.metric < level[bits].metric:
                level[bits] = route
        self._levels = sorted(levels.items())

    def find(self, address: int) -> Route | None:
        for shift, level in self._levels:
            if (route := level.get(address >> shift)) is not None:
                return route
        return None

    @property
    def destinations(self) -> set[Network]:
        return {route.dst for route in self.routes}


class Walker:
    """``nodes``: all that there are. :meth:`look` anew whenever a machine's kernel has changed."""

    def __init__(self, network: MemoryNetwork) -> None:
        self._network = network
        self._nodes: dict[int, SimNode] = {}
        self._tables: dict[SimNode, Table] = {}

    def know(self, nodes: Iterable[SimNode]) -> None:
        self._nodes = {int(node.address): node for node in nodes}
        for node in self._nodes.values():
            self.look(node)

    def look(self, node: SimNode) -> Table:
        table = self._tables[node] = Table(node.machine)
        return table

    def table(self, node: SimNode) -> Table:
        return self._tables[node]

    def walk(self, start: Sandbox, end: Sandbox) -> Fate:
        """From one pod to the other's address. Both are connected, as far as their runtimes know."""
        assert end.address is not None
        node = start.node
        if missing := self._leave(start):
            return Fate(False, missing)
        path = [start.pod]
        for _ in range(MOST_HOPS):
            path.append(node.name)
            route = self._tables[node].find(int(end.address))
            if route is None or route.type is not RouteType.UNICAST:
                return _drop(path, f"no route to {end.address}" if route is None else f"by {route}")
            (hop,) = route.hops
            if hop.device != UPLINK:
                return self._arrive(path, node, hop.device, end)
            follower = self._nodes.get(int(hop.via or end.address))
            if follower is None:
                return _drop(path, f"{route} leads to no node")
            if fault := self._fault(node, follower):
                return _drop(path, fault)
            node = follower
        return _drop(path, "in a circle")

    def _leave(self, start: Sandbox) -> str:
        """What keeps its packets from being forwarded, or ""."""
        machine = start.node.machine
        netns, _ = machine.pairs.get(start.device, (0, None))
        if netns != start.netns or start.device not in self._tables[start.node].up:
            return f"{start}: its interface is gone or down"
        return self._sysctl_fault(machine, start.device)

    def _arrive(self, path: list[str], node: SimNode, device: str, end: Sandbox) -> Fate:
        netns, plan = node.machine.pairs.get(device, (0, None))
        if plan is None or device not in self._tables[node].up:
            return _drop(path, f"{device} is not there or down")
        if netns != end.netns or end.address not in plan.addresses:
            return _drop(path, f"{device} is another pod's")
        if fault := self._sysctl_fault(node.machine, device):
            return _drop(path, fault)
        return Fate(True, " → ".join([*path, end.pod]))

    def _fault(self, node: SimNode, follower: SimNode) -> str:
        for each in (node, follower):
            if not each.is_on or UPLINK not in self._tables[each].up:
                return f"{each.name} has no link"
        if self._network.is_cut(node.address, follower.address):
            return f"the link from {node.name} to {follower.name} is cut"
        return ""

    def _sysctl_fault(self, machine: Machine, device: str) -> str:
        needed = ("net/ipv4/ip_forward", f"net/ipv4/conf/{device}/forwarding", f"net/ipv4/conf/{device}/proxy_arp")
        found = machine.kernel.read_sysctls(needed)
        return next((f"{path} is off" for path in needed if found.get(path) != "1"), "")


def _drop(path: list[str], why: str) -> Fate:
    return Fate(False, f"{' → '.join(path)}: dropped, {why}")
