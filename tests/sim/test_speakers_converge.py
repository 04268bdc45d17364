"""Invariant 10 for a whole mesh of speakers: whatever happened, in whatever order, in the end all is as it should be.

Seeded histories of kills, restarts, cut and mended links, blocks that come and go, neighbours that are taken out and
put back, a datastore that lags; then everything is put right, and after ten quiet minutes of virtual time every node
has exactly the routes that it should have, with exactly one session for each pair.
"""

from __future__ import annotations

import asyncio
import logging
from random import Random

import pytest

from bgp.session import State
from bgp.speaker import PastLife
from tests.speakers import Station, World, all_established, explicit_neighbour, mesh_neighbour
from tests.virtual_time import run

NODES = 5
STEPS = 40
RESTARTED = PastLife(has_restarted=True, keeps_forwarding=True)


class History:
    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.world = World()
        self.stations = [self.world.station(n, f"10.244.{n}.0/26") for n in range(1, NODES + 1)]
        self.is_mesh = seed % 3 != 0
        self.alive: set[str] = set()

    async def play(self) -> None:
        self.meet_all()
        for station in self.stations:
            await self.start(station)
        for _ in range(STEPS):
            await self.step()
            await asyncio.sleep(self.random.choice([0, 0.001, 0.1, 1, 7, 70, 250]))
        await self.put_right()
        await asyncio.sleep(600)

    async def step(self) -> None:
        station, other = self.random.sample(self.stations, 2)
        match self.random.choice(["kill", "kill", "start", "cut", "mend", "grow", "shrink", "forget", "meet", "look"]):
            case "kill":
                await self.kill(station)
            case "start":
                await self.start(station)
            case "cut":
                self.world.network.cut_link(station.address, other.address)
            case "mend":
                self.world.network.mend_link(station.address, other.address)
            case "grow":
                number = self.random.randrange(1, 250)
                station.blocks = tuple({*station.blocks, f"10.244.{station.address.packed[3]}.{number // 64 * 64}/26"})
                self.apply(station)
            case "shrink":
                station.blocks = station.blocks[:-1]
                self.apply(station)
            case "forget":
                station.neighbours = tuple(each for each in station.neighbours if each.address != other.address)
                self.apply(station)
            case "meet":
                self.meet_all()
                self.apply(station)
            case "look":
                station.speaker.judge_by(self.world.ownership_of(station.name))

    def meet_all(self) -> None:
        meet = mesh_neighbour if self.is_mesh else explicit_neighbour
        for here in self.stations:
            here.neighbours = tuple(meet(here, there) for there in self.stations if there is not here)

    async def start(self, station: Station) -> None:
        if station.name not in self.alive:
            await station.start(RESTARTED)
            self.alive.add(station.name)

    async def kill(self, station: Station) -> None:
        if station.name in self.alive:
            await station.die()
            self.alive.discard(station.name)

    def apply(self, station: Station) -> None:
        if station.name in self.alive:
            station.apply()

    async def put_right(self) -> None:
        self.world.network.mend_all()
        self.meet_all()
        for station in self.stations:
            await self.start(station)
            station.apply()
        for station in self.stations:
            station.speaker.judge_by(self.world.ownership_of(station.name))

    def expected(self, station: Station) -> list[str]:
        others = [each for each in self.stations if each is not station]
        return sorted(f"{block} via {each.address}" for each in others for block in each.blocks)


@pytest.mark.parametrize("seed", range(30))
def test_invariant_10_whatever_happens_the_mesh_converges(seed: int) -> None:
    logging.disable(logging.CRITICAL)
    history = History(seed)

    async def play() -> None:
        await history.play()
        assert all_established(history.stations)
        for station in history.stations:
            assert sorted(station.table()) == history.expected(station)
            for peering in station.speaker.peerings.values():
                assert [each.state for each in peering._connections()].count(State.ESTABLISHED) == 1
                assert station.speaker.rib.tally(peering.neighbour.name).stale == 0
        await history.world.stop()

    try:
        run(play())
    finally:
        logging.disable(logging.NOTSET)
