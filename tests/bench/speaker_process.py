"""A speaker as a process of its own, for the bench: told what to be by one JSON line, it reports by JSON lines.

In: ``{"address", "peers": [[address, is_passive], ...], "exports", "expects", "port", "reflects"}``, then the commands
``announce CIDR ...`` and ``cost``. One that reflects has its peers for clients. Out: ``{"what", "at", ...}``, times of
CLOCK_MONOTONIC.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from datetime import datetime
from ipaddress import IPv4Address, ip_network
from typing import Any

from bgp.export import Announcement
from bgp.learned import Delta
from bgp.mesh import name_of
from bgp.neighbour import Kind, ListenAt, Neighbour
from bgp.passing import CLOSED, Policy
from bgp.speaker import Speaker, Wanted
from bgp.transport import TcpNetwork

POOL = ip_network("10.128.0.0/9")


def report(what: str, **more: Any) -> None:
    print(json.dumps({"what": what, "at": time.monotonic(), **more}), flush=True)


def cost() -> dict[str, float]:
    with open("/proc/self/statm") as statm:
        rss_mb = int(statm.read().split()[1]) * resource.getpagesize() / 1e6
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {"rss_mb": rss_mb, "cpu_s": usage.ru_utime + usage.ru_stime}


class Process:
    def __init__(self, told: dict[str, Any]) -> None:
        self.address = IPv4Address(told["address"])
        self.exports = {ip_network(text): Announcement() for text in told.get("exports", ())}
        self.expects = told.get("expects", 0)
        self.is_echoing = told.get("echo", False)
        self.routes = 0
        self.cluster_id = self.address if told.get("reflects") else None
        self.listen = ListenAt(told.get("port", 179), (self.address,))
        self.neighbours = tuple(
            Neighbour(
                name_of(Kind.GLOBAL, IPv4Address(peer)),
                Kind.GLOBAL,
                IPv4Address(peer),
                64512,
                64512,
                self.address,
                self.listen.port,
                is_passive,
                cluster_id=self.cluster_id,
            )
            for peer, is_passive in told["peers"]
        )

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        self.speaker = Speaker(
            TcpNetwork(), loop=loop, wall=datetime.now, on_routes=self.take, on_in_sync=lambda: report("in sync")
        )
        self.apply()
        reader = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        async with asyncio.TaskGroup() as tasks:
            speaking = tasks.create_task(self.speaker.run())
            report("ready", **cost())
            while line := await reader.readline():
                self.obey(line.decode().split())
            speaking.cancel()

    def obey(self, words: list[str]) -> None:
        match words:
            case ["announce", *cidrs]:
                self.exports = {**self.exports, **{ip_network(text): Announcement() for text in cidrs}}
                self.apply()
            case ["cost"]:
                up = sum(1 for each in self.speaker.peerings.values() if each.established)
                report("cost", up=up, routes=self.routes, **cost())

    def apply(self) -> None:
        policy = Policy(pools=(POOL,), cluster_id=self.cluster_id) if self.cluster_id else CLOSED
        self.speaker.apply(Wanted(self.address, self.neighbours, self.exports, True, True, self.listen, policy))

    def take(self, delta: Delta) -> None:
        before, self.routes = self.routes, len(self.speaker.rib.routes())
        if self.is_echoing:
            report("routes", dst=[str(each.dst) for each in delta.best])
        if before < self.expects <= self.routes:
            report("complete", **cost())


if __name__ == "__main__":
    asyncio.run(Process(json.loads(sys.stdin.readline())).run())
