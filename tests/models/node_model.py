"""A node without a kernel: pods' interfaces as values, with the rules that the steps of ADD and DEL rely on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from datastore.resource import Key
from datastore.resources import WorkloadEndpoint
from felix.fib.pod_link import PodSide, VethPlan
from felix.fib.veth import VethError
from felix.metrics import FlowCounters
from felix.pods import Address, Network, NotRouted


@dataclass
class ModelVeths:
    """Host devices by name, each with its pod side; a pair has both ends or none. ``broken``: the next make fails."""

    pairs: dict[str, tuple[int, VethPlan]] = field(default_factory=dict)
    broken: str = ""

    async def make(self, netns: int, plan: VethPlan) -> None:
        self.pairs.pop(plan.host_device, None)
        if self.broken:
            raise VethError(self.broken)
        for device, (inside, other) in list(self.pairs.items()):
            if inside == netns and other.pod_device == plan.pod_device:
                del self.pairs[device]
        self.pairs[plan.host_device] = (netns, plan)

    async def remove(self, host_device: str) -> bool:
        return self.pairs.pop(host_device, None) is not None

    async def look(self, netns: int, pod_device: str) -> PodSide | None:
        for inside, plan in self.pairs.values():
            if (inside, plan.pod_device) == (netns, pod_device):
                return PodSide(
                    plan.mac, plan.mtu_bytes, is_up=True, addresses=plan.addresses, default_routes=plan.versions
                )
        return None


@dataclass
class ModelFlows:
    """``told`` is what it heard, in order."""

    told: list[str] = field(default_factory=list)
    counters: FlowCounters = field(default_factory=FlowCounters)

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def begin(self, address: Address, own_block: Network | None) -> None:
        self.told.append(f"{address} begins in {own_block or 'a block of another node'}")

    def end(self, address: Address) -> None:
        self.told.append(f"{address} ends")


@dataclass
class ModelLocal:
    """felix's view of its endpoints; a route is there as soon as its endpoint is. ``in_the_way``: no route comes."""

    endpoints: dict[Key, WorkloadEndpoint] = field(default_factory=dict)
    in_the_way: str = ""

    def being_made(self, device: str) -> AbstractContextManager[None]:
        return nullcontext()

    def put(self, endpoint: WorkloadEndpoint) -> None:
        self.endpoints[endpoint.resource.key] = endpoint

    def gone(self, key: Key) -> None:
        self.endpoints.pop(key, None)

    def known(self, key: Key) -> WorkloadEndpoint | None:
        return self.endpoints.get(key)

    def all(self) -> Sequence[WorkloadEndpoint]:
        return tuple(self.endpoints.values())

    async def routed(self, endpoint: WorkloadEndpoint) -> None:
        if self.in_the_way:
            raise NotRouted(self.in_the_way)
