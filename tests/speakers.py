"""Speakers on links in memory, and what felix would know of each: the cast of the speaker's tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Any

from bgp.export import Announcement, Exports
from bgp.learned import Delta, LearnedRoute, Network
from bgp.mesh import dials, name_of
from bgp.neighbour import Kind, ListenAt, Neighbour
from bgp.ownership import Ownership
from bgp.passing import CLOSED, Policy
from bgp.prefixes import Prefixes
from bgp.speaker import FIRST_LIFE, PastLife, Speaker, Wanted
from tests.memory_network import MemoryNetwork
from tests.unit.bgp.bgp_bytes import KEEPALIVE, open_message

START_WALL = datetime(2026, 11, 22, 6, 6, 51)


@dataclass
class Station:
    """A node: its speaker, and what the speaker told of routes. ``life`` counts the processes that it had."""

    name: str
    address: IPv4Address
    world: World
    blocks: tuple[str, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    local_as: int = 64512
    routes: dict[Network, LearnedRoute] = field(default_factory=dict)
    told: list[Delta] = field(default_factory=list)
    in_sync_at: float | None = None
    life: int = 0
    is_settled: bool = True
    are_exports_known: bool = True
    policy: Policy = CLOSED
    _task: asyncio.Task[None] | None = None

    async def start(self, past: PastLife = FIRST_LIFE) -> None:
        self.life += 1
        self.routes, self.in_sync_at = {}, None
        self.speaker = Speaker(
            self.world.network.host(self.address),
            loop=asyncio.get_running_loop(),
            wall=lambda: START_WALL + timedelta(seconds=asyncio.get_running_loop().time()),
            on_routes=self._take,
            on_in_sync=self._note_in_sync,
            past=past,
        )
        self.speaker.judge_by(self.world.ownership_of(self.name))
        self.apply()
        self._task = asyncio.create_task(self.speaker.run(), name=self.name)
        await asyncio.sleep(0)

    async def die(self) -> None:
        """As kill -9 would: no word to anybody, and nothing of the process is left."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def exports(self) -> Exports:
        return {ip_network(text): Announcement() for text in self.blocks}

    def apply(self) -> None:
        self.speaker.apply(
            Wanted(
                router_id=self.address,
                neighbours=self.neighbours,
                exports=self.exports(),
                are_exports_known=self.are_exports_known,
                is_settled=self.is_settled,
                listen=ListenAt(179),
                policy=self.policy,
            )
        )

    def table(self) -> list[str]:
        return [
            f"{dst} via {' '.join(map(str, self.routes[dst].next_hops))}"
            for dst in sorted(self.routes, key=lambda dst: (dst.version, dst))
        ]

    def state_of(self, other: Station) -> str:
        (peering,) = [each for each in self.speaker.peerings.values() if each.neighbour.address == other.address]
        return peering.state.value

    def _take(self, delta: Delta) -> None:
        self.told.append(delta)
        for dst in delta.gone:
            del self.routes[dst]
        for route in delta.best:
            self.routes[route.dst] = route

    def _note_in_sync(self) -> None:
        assert self.in_sync_at is None, "in sync twice"
        self.in_sync_at = asyncio.get_running_loop().time()


@dataclass
class World:
    network: MemoryNetwork = field(default_factory=MemoryNetwork)
    stations: dict[str, Station] = field(default_factory=dict)

    def station(self, number: int, *blocks: str) -> Station:
        found = Station(f"node{number}", IPv4Address(f"10.0.0.{number}"), self, blocks)
        self.stations[found.name] = found
        return found

    def ownership_of(self, name: str) -> Ownership:
        owners = {ip_network(text): each.name for each in self.stations.values() for text in each.blocks}
        return Ownership(
            nodes={each.address: each.name for each in self.stations.values()},
            owners=owners,
            own_blocks=Prefixes(dst for dst, owner in owners.items() if owner == name),
            own_addresses=frozenset({self.stations[name].address}),
        )

    def mesh(self, *stations: Station) -> None:
        """Everybody is everybody's neighbour, by the rule of the mesh."""
        for here in stations:
            here.neighbours = tuple(mesh_neighbour(here, there) for there in stations if there is not here)

    async def stop(self) -> None:
        for station in self.stations.values():
            if station.life:
                await station.die()


def mesh_neighbour(here: Station, there: Station) -> Neighbour:
    return Neighbour(
        name=name_of(Kind.MESH, there.address),
        kind=Kind.MESH,
        address=there.address,
        peer_as=there.local_as,
        local_as=here.local_as,
        local_address=here.address,
        is_passive=not dials(here.address, there.address),
        node=there.name,
    )


def explicit_neighbour(here: Station, there: Station | str, *, peer_as: int = 64512) -> Neighbour:
    address = ip_address(there) if isinstance(there, str) else there.address
    return Neighbour(name_of(Kind.GLOBAL, address), Kind.GLOBAL, address, peer_as, here.local_as, here.address)


async def until(condition: Callable[[], bool], *, within_s: float = 300.0, step_s: float = 0.001) -> float:
    """Wait for it in steps of virtual time; how long it took. Fails when it does not come true."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    while not condition():
        assert loop.time() - start < within_s, "it did not come true"
        await asyncio.sleep(step_s)
    return loop.time() - start


def all_established(stations: Iterable[Station]) -> bool:
    return all(peering.established for station in stations for peering in station.speaker.peerings.values())


class RawPeer(asyncio.Protocol):
    """A peer that says what it is told to, byte for byte, and remembers what it hears."""

    def __init__(self) -> None:
        self.heard = b""
        self.is_closed = False
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.heard += data

    def connection_lost(self, error: Exception | None) -> None:
        self.is_closed = True

    def say(self, data: bytes) -> None:
        self.transport.write(data)

    def messages_end(self) -> bool:
        """Whether a NOTIFICATION was heard."""
        return any(each.startswith("NOTIFICATION") for each in self.messages())

    def messages(self) -> list[str]:
        """``OPEN``, ``KEEPALIVE``, ``NOTIFICATION 6/3`` ... in the order they came."""
        found, rest = [], self.heard
        while len(rest) >= 19:
            length, kind = int.from_bytes(rest[16:18], "big"), rest[18]
            name = ("?", "OPEN", "UPDATE", "NOTIFICATION", "KEEPALIVE", "ROUTE-REFRESH")[kind]
            found.append(f"{name} {rest[19]}/{rest[20]}" if name == "NOTIFICATION" else name)
            rest = rest[length:]
        return found


async def raw_session(station: Station, number: int, *, opening: bytes | None = None, port: int = 179) -> RawPeer:
    """A peer at 10.0.0.``number`` that dials the station and opens; the station must know it."""
    peer = RawPeer()
    host = station.world.network.host(IPv4Address(f"10.0.0.{number}"))
    await host.dial(peer, local=None, peer=station.address, port=port)
    await asyncio.sleep(0.01)
    opening = open_message(router_id=f"10.0.0.{number}") if opening is None else opening
    if opening:
        peer.say(opening + KEEPALIVE)
        await asyncio.sleep(0.01)
    return peer
