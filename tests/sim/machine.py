"""One machine: what is there whether felix and the speaker run or not. Its kernel, its pods' interfaces, its disk.

The kernel and the interfaces go with the power, the disk stays. Whoever changes the kernel does it here, so that the
packet walker sees every change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, ip_network

from bgp.remembered import Remembered
from felix.fib.journal import MemoryJournal
from felix.fib.model import AddRoute, DeleteRoute, Hop, Op, Protocol, Refusal, ReplaceRoute, Route, RouteKey
from felix.fib.model_kernel import ModelKernel
from felix.fib.pod_link import VethPlan
from felix.firewall.model import RuleSet

UPLINK = "ens33"
GATEWAY = IPv4Address("192.168.50.1")
DEFAULT_ROUTE = Route(ip_network("0.0.0.0/0"), (Hop(UPLINK, GATEWAY),), protocol=Protocol.STATIC, metric=100)


@dataclass
class Disk:
    """``deletions``: CNI's DELs that wait, by file name. A full disk takes nothing more."""

    journal: MemoryJournal = field(default_factory=MemoryJournal)
    remembered: Remembered | None = None
    deletions: dict[str, tuple[dict[str, str], bytes]] = field(default_factory=dict)
    is_full: bool = False


class Machine:
    """``on_change`` is called after every change of the kernel, with the route that it was about, if it was one.

    ``foreign`` are the routes of other programs, ``obstacles`` those that have the place of one of ours.
    """

    def __init__(self, address: IPv4Interface, *, on_change: Callable[[Route | None], None] = lambda _: None) -> None:
        self.address = address
        self.disk = Disk()
        self.boots = 0
        self._on_change = on_change
        self.boot()

    def boot(self) -> None:
        """An empty kernel, and what the distribution and other programs put there."""
        self.boots += 1
        self.kernel = ModelKernel()
        self.rules = RuleSet()
        self.pairs: dict[str, tuple[int, VethPlan]] = {}
        self.namespaces: set[int] = set()
        self.foreign: dict[RouteKey, Route] = {}
        self.obstacles: set[RouteKey] = set()
        self.has_uplink = True
        for device, address, metric in ((UPLINK, self.address, 100), ("docker0", IPv4Interface("172.17.0.1/16"), 0)):
            self.kernel.add_link(device)
            self.kernel.set_up(device)
            self.kernel.add_address(device, address, metric=metric)
        self.add_foreign(DEFAULT_ROUTE)

    def do(self, op: Op) -> Refusal | None:
        refusal = self.kernel.do(op)
        self._on_change(op.route if isinstance(op, AddRoute | ReplaceRoute | DeleteRoute) else None)
        return refusal

    # Pods' interfaces.

    def make_pair(self, netns: int, plan: VethPlan) -> None:
        """One end in the pod's namespace and ready, the other here and down."""
        self.remove_pair(plan.host_device)
        for device, (inside, other) in list(self.pairs.items()):
            if inside == netns and other.pod_device == plan.pod_device:
                self.remove_pair(device)
        self.pairs[plan.host_device] = (netns, plan)
        self.kernel.add_link(plan.host_device)
        self._on_change(None)

    def raise_pair(self, host_device: str) -> None:
        self.kernel.set_up(host_device)
        self._on_change(None)

    def remove_pair(self, host_device: str) -> bool:
        if self.pairs.pop(host_device, None) is None:
            return False
        self.kernel.delete_link(host_device)
        self._on_change(None)
        return True

    def remove_namespace(self, netns: int) -> None:
        """With the pod's end the other goes too."""
        self.namespaces.discard(netns)
        for device in [device for device, (inside, _) in self.pairs.items() if inside == netns]:
            self.remove_pair(device)

    # What people and other programs do.

    def add_foreign(self, route: Route, over: Route | None = None) -> None:
        """``over``: a route of ours that is pushed aside, and stays so until the foreign one is removed."""
        if self.kernel.do(AddRoute(route) if over is None else ReplaceRoute(route, over)) is None:
            self.foreign[route.key] = route
            self.obstacles |= {route.key} if over is not None else set()
        self._on_change(route)

    def remove_foreign(self, route: Route) -> None:
        del self.foreign[route.key]
        self.obstacles.discard(route.key)
        self.kernel.do(DeleteRoute(route))
        self._on_change(route)

    def set_link(self, device: str, *, is_up: bool) -> None:
        """Other programs put their routes back when their device is up again, where nobody has taken the place."""
        if is_up:
            self.kernel.set_up(device)
            held = {route: self.kernel.do(AddRoute(route)) is None for route in self.foreign.values()}
            self.foreign = {route.key: route for route, is_held in held.items() if is_held}
            self.obstacles &= self.foreign.keys()
        else:
            self.kernel.set_down(device)
        if device == UPLINK:
            self.has_uplink = is_up
        self._on_change(None)
