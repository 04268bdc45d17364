"""Routes into the FIB: ours against the peers, in one run on one machine. Needs root; everything is in namespaces.

    .venv/bin/python -m tests.bench.bench_routes

Each figure is the best of a few runs, because the machine is shared. Ours and pyroute2: from the first call to the
last acknowledgement. ``ip -batch``: the process from start to end. BIRD: from its first route to its last as the
kernel tells them, so neither the reading of its configuration nor its timers count.
"""

from __future__ import annotations

import asyncio
import gc
import os
import platform
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from pyroute2 import IPRoute

from bgp.learned import Delta, InSync, LearnedRoute, Snapshot
from felix.dataplane import Dataplane
from felix.desired import desire
from felix.fib import rtmsg
from felix.fib.journal import MemoryJournal
from felix.fib.mirror import Mirror
from felix.fib.model import AddRoute, Desired, Hop, Route, RouteKey, Why
from felix.fib.netlink import NetlinkKernel
from felix.fib.owner import Ownership
from felix.fib.plan import ALL_IN_SYNC, plan
from felix.view import KINDS, View
from tests.clusters import node, pool, surroundings
from tests.lab.namespace import ip, private_network

POOL = IPv4Network("10.0.0.0/8")
UPLINK = "ens33"
FIRST_BLOCK, FIRST_NODE = int(POOL.network_address), int(IPv4Address("192.168.0.2"))
RUNS = 5

# Routes and the gateways that they are spread over. The kernel's own time for a route grows with the number of gateways
# on a device, because it hashes them all alike.
CASES = ((2_000, 1), (2_000, 500), (20_000, 500))
Case = tuple[int, int]
Contender = Callable[[int, int], float]


def block(n: int) -> IPv4Network:
    return IPv4Network((FIRST_BLOCK + 64 * n, 26))


def node_address(n: int, nodes: int) -> IPv4Address:
    return IPv4Address(FIRST_NODE + n % nodes)


def routes(count: int, nodes: int) -> list[Route]:
    return [Route(block(n), (Hop(UPLINK, node_address(n, nodes)),)) for n in range(count)]


@contextmanager
def node_with_uplink() -> Iterator[None]:
    with private_network():
        ip(f"link add {UPLINK} type veth peer name far")
        ip(f"link set {UPLINK} up")
        ip("link set far up")
        ip(f"addr add 192.168.0.1/16 dev {UPLINK}")
        yield


def best_of(measure: Callable[[], float], runs: int = RUNS) -> float:
    """Seconds. Each run has a fresh namespace."""
    seconds = []
    for _ in range(runs):
        with node_with_uplink():
            gc.collect()
            seconds.append(measure())
    return min(seconds)


# The contenders: each writes ``count`` routes and gives the seconds that it took.


def ours(count: int, nodes: int) -> float:
    async def main() -> float:
        kernel = await NetlinkKernel.open()
        await kernel.read()
        ops = [AddRoute(route) for route in routes(count, nodes)]
        start_s = time.perf_counter()
        refused = [one for one in await kernel.apply(ops) if one is not None]
        took_s = time.perf_counter() - start_s
        assert not refused
        await kernel.close()
        return took_s

    return asyncio.run(main())


def ours_from_the_view(count: int, nodes: int) -> float:
    """From a snapshot of BGP to the kernel's acknowledgement: desired, plan, journal, write, echo."""

    async def main() -> float:
        async with running(nodes) as dataplane:
            dataplane.view.hear(Snapshot(tuple(learned(count, nodes))))
            dataplane.view.hear(InSync())
            start_s = time.perf_counter()
            dataplane.changed()
            await dataplane.reconciler.settled(dataplane.reconciler.desired.routes)
            return time.perf_counter() - start_s

    return asyncio.run(main())


def ip_batch(count: int, nodes: int) -> float:
    lines = "".join(f"route add {route}\n" for route in routes(count, nodes))
    start_s = time.perf_counter()
    subprocess.run(["ip", "-batch", "-"], input=lines, text=True, check=True, capture_output=True)
    return time.perf_counter() - start_s


def pyroute2(count: int, nodes: int) -> float:
    with IPRoute() as kernel:
        (index,) = kernel.link_lookup(ifname=UPLINK)
        start_s = time.perf_counter()
        for n in range(count):
            kernel.route("add", dst=str(block(n)), gateway=str(node_address(n, nodes)), oif=index, proto=12)
        return time.perf_counter() - start_s


def bird(count: int, nodes: int) -> float:
    listening = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    with tempfile.TemporaryDirectory() as folder, listening:
        listening.setsockopt(socket.SOL_SOCKET, 33, 256 << 20)  # SO_RCVBUFFORCE
        listening.bind((0, 1 << 6))
        listening.settimeout(30)
        Path(folder, "bird.conf").write_text(bird_config(count, nodes))
        command = ["bird", "-f", "-c", f"{folder}/bird.conf", "-s", f"{folder}/bird.ctl"]
        daemon = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            return first_to_last(listening, count)
        finally:
            daemon.kill()
            daemon.wait()


def bird_config(count: int, nodes: int) -> str:
    static = "".join(f"  route {route.dst} via {route.hops[0].via};\n" for route in routes(count, nodes))
    return (
        "router id 192.168.0.1;\nprotocol device {}\nprotocol direct { ipv4; }\n"
        "protocol kernel { ipv4 { import none; export all; }; }\n"
        f"protocol static {{ ipv4;\n{static}}}\n"
    )


def first_to_last(listening: socket.socket, count: int) -> float:
    seen, first_s = 0, 0.0
    while seen < count:
        data = listening.recv(1 << 16)
        first_s = first_s or time.perf_counter()
        seen += sum(1 for message in rtmsg.split(data) if message.kind == rtmsg.MessageType.NEW_ROUTE)
    return time.perf_counter() - first_s


# What changes cost.


@asynccontextmanager
async def running(nodes: int) -> AsyncIterator[Dataplane]:
    """A dataplane on the real kernel that knows the nodes and one pool, after its first pass."""
    kernel = await NetlinkKernel.open()
    is_ready = asyncio.Event()
    dataplane = Dataplane("me", kernel, MemoryJournal(), on_pass=is_ready.set)
    fill(dataplane.view, nodes)
    task = asyncio.create_task(dataplane.reconciler.run())
    await is_ready.wait()
    try:
        yield dataplane
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await kernel.close()


def fill(view: View, nodes: int) -> None:
    view.put(pool(str(POOL)))
    view.put(node("me", "192.168.0.1/16"))
    for n in range(nodes):
        view.put(node(f"node{n}", f"{node_address(n, nodes)}/16"))
    for kind in KINDS:
        view.listed(kind)


def learned(count: int, nodes: int) -> list[LearnedRoute]:
    addresses = [node_address(n, nodes) for n in range(count)]
    return [LearnedRoute(block(n), (address,), str(address)) for n, address in enumerate(addresses)]


def one_changed_block(count: int, nodes: int, *, changes: int = 100) -> list[float]:
    """Seconds from the speaker's word to the kernel's acknowledgement, each."""

    async def main() -> list[float]:
        async with running(nodes) as dataplane:
            dataplane.view.hear(Snapshot(tuple(learned(count, nodes))))
            dataplane.view.hear(InSync())
            dataplane.changed()
            await dataplane.reconciler.settled(dataplane.reconciler.desired.routes)
            return [await one_change(dataplane, n) for n in range(changes)]

    with node_with_uplink():
        return asyncio.run(main())


async def one_change(dataplane: Dataplane, n: int) -> float:
    await asyncio.sleep(0.01)
    changed = LearnedRoute(block(7), (node_address(n % 2, 2),), "x")
    start_s = time.perf_counter()
    dataplane.view.hear(Delta(best=(changed,)))
    dataplane.changed()
    await dataplane.reconciler.settled([RouteKey(block(7))])
    return time.perf_counter() - start_s


def resync_without_change(count: int, nodes: int) -> float:
    """Read everything, compare, find nothing to do."""

    async def main() -> float:
        kernel = await NetlinkKernel.open()
        await kernel.read()
        wanted = {route.key: (route, Why("")) for route in routes(count, nodes)}
        await kernel.apply([AddRoute(route) for route, _ in wanted.values()])
        kernel.take_changes()
        mirror, ownership = Mirror(), Ownership(networks=frozenset({POOL}))
        seconds = []
        for _ in range(RUNS):
            start_s = time.perf_counter()
            mirror.load(await kernel.read())
            decided = plan(Desired(wanted), mirror.actual, ownership=ownership, in_sync=ALL_IN_SYNC)
            seconds.append(time.perf_counter() - start_s)
            assert not decided.ops
        await kernel.close()
        return min(seconds)

    with node_with_uplink():
        return asyncio.run(main())


def desired_from_nothing(count: int, nodes: int) -> float:
    view = View("me")
    fill(view, nodes)
    view.hear(Snapshot(tuple(learned(count, nodes))))
    view.see(surroundings(address="192.168.0.1", connected="192.168.0.0/16"))
    seconds = []
    for _ in range(RUNS):
        start_s = time.perf_counter()
        assert len(desire(view).routes) == count
        seconds.append(time.perf_counter() - start_s)
    return min(seconds)


# The table.


def main() -> None:
    print(f"{platform.system()} {platform.release()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    row("routes / gateways", [f"{count:,} / {nodes}" for count, nodes in CASES])
    contenders: tuple[tuple[str, Contender, int], ...] = (
        ("ours, written", ours, RUNS),
        ("ours, from a BGP snapshot to acknowledged", ours_from_the_view, RUNS),
        ("BIRD 2, first route to last", bird, RUNS),
        ("ip -batch", ip_batch, RUNS),
        ("pyroute2 route()", pyroute2, 2),
    )
    for name, contender, runs in contenders:
        row(name, [rate(contender, case, runs) for case in CASES])
    row("desired, from nothing", [ms(desired_from_nothing(*case)) for case in CASES])
    waits = [one_changed_block(*case) for case in CASES]
    row("one changed block to acknowledged, median", [ms(statistics.median(wait)) for wait in waits])
    row("  the 99th of 100", [ms(sorted(wait)[98]) for wait in waits])
    row("resync without change, 10,000 / 500", [ms(resync_without_change(10_000, 500))])


def row(name: str, cells: Sequence[str]) -> None:
    print(f"{name:<43}" + "".join(f"{cell:>24}" for cell in cells))


def rate(contender: Contender, case: Case, runs: int) -> str:
    took_s = best_of(lambda: contender(*case), runs)
    return f"{ms(took_s)}  {case[0] / took_s:>9,.0f}/s"


def ms(seconds: float) -> str:
    return f"{seconds * 1e3:,.1f} ms"


if __name__ == "__main__":
    main()
