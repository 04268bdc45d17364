"""Our speaker on real sockets at 10.0.0.1, in the test's own loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from bgp.export import Announcement
from bgp.learned import Delta, LearnedRoute, Network
from bgp.mesh import name_of
from bgp.neighbour import Kind, ListenAt, Neighbour
from bgp.passing import CLOSED, Policy
from bgp.peering import Peering
from bgp.speaker import FIRST_LIFE, PastLife, Speaker, Wanted
from bgp.transport import TcpNetwork

OURS = IPv4Address("10.0.0.1")
OURS_V6 = IPv6Address("fd00::1")


def neighbour(
    address: str,
    *,
    peer_as: int = 64512,
    local_as: int = 64512,
    is_passive: bool = False,
    port: int = 179,
    **more: Any,
) -> Neighbour:
    where = ip_address(address)
    ours = OURS if where.version == 4 else OURS_V6
    wanted = Neighbour(name_of(Kind.GLOBAL, where), Kind.GLOBAL, where, peer_as, local_as, ours, port, is_passive)
    return replace(wanted, **more)


@dataclass
class OurSide:
    neighbours: tuple[Neighbour, ...]
    blocks: tuple[str, ...] = ("10.244.1.0/26",)
    policy: Policy = CLOSED
    address: IPv4Address = OURS
    routes: dict[Network, LearnedRoute] = field(default_factory=dict)
    told: list[Delta] = field(default_factory=list)

    def apply(self, *, are_exports_known: bool = True) -> None:
        exports = {ip_network(text): Announcement() for text in self.blocks}
        self.speaker.apply(
            Wanted(
                router_id=self.address,
                neighbours=self.neighbours,
                exports=exports,
                are_exports_known=are_exports_known,
                is_settled=True,
                listen=ListenAt(179, (self.address, OURS_V6) if self.address == OURS else (self.address,)),
                policy=self.policy,
            )
        )

    @asynccontextmanager
    async def running(self, past: PastLife = FIRST_LIFE, *, are_exports_known: bool = True) -> AsyncIterator[Speaker]:
        """Until the block ends, which closes every connection as the end of the process would."""
        self.speaker = Speaker(
            TcpNetwork(),
            loop=asyncio.get_running_loop(),
            wall=datetime.now,
            on_routes=self._take,
            on_in_sync=lambda: None,
            past=past,
        )
        self.apply(are_exports_known=are_exports_known)
        task = asyncio.create_task(self.speaker.run(), name="speaker")
        try:
            yield self.speaker
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    @property
    def peering(self) -> Peering:
        (only,) = self.speaker.peerings.values()
        return only

    def table(self) -> list[str]:
        return [f"{dst} via {' '.join(map(str, self.routes[dst].next_hops))}" for dst in sorted(self.routes, key=str)]

    def _take(self, delta: Delta) -> None:
        self.told.append(delta)
        for dst in delta.gone:
            del self.routes[dst]
        for route in delta.best:
            self.routes[route.dst] = route


async def until(condition: Callable[[], bool], *, within_s: float = 30.0) -> float:
    """Wait for it in real time; how long it took."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < within_s, "it did not come true"
        await asyncio.sleep(0.01)
    return time.monotonic() - start
