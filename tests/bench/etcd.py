"""What etcd as the datastore costs: ``.venv/bin/python -m tests.bench.etcd`` prints one table, in a minute (as root).

One etcd on loopback whose data is on the disk of BENCH_DIR (/var/tmp), so that every write waits for that disk; a
second run with BENCH_DIR=/dev/shm shows what is not the disk.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from urllib.request import urlopen

from datastore.etcd import EtcdStore
from datastore.resource import Resource
from datastore.store import Create, Put
from lab import etcd, inside
from tests.bench.node import CALICO, PODS, assign_rate, at_once, lab_of, one_by_one
from tests.bench.store import block
from tests.etcd_server import EtcdServer
from tests.lab.testbed import Testbed

Row = tuple[str, str]


def main() -> None:
    server = EtcdServer(folder=Path(os.environ.get("BENCH_DIR", "/var/tmp")))
    try:
        server.start()
        for module in ("asyncio", "grpclib.client", "datastore.etcd"):
            show(f"import {module}", _import(module))
        asyncio.run(_show_all(server))
        for waiting in (1, 20):
            server.clear()
            rate = asyncio.run(assign_rate(EtcdStore(server.settings), waiting, seconds=3.0))
            peer = {1: "126-193", 20: "60-119"}[waiting]
            show(f"IPAM assignments, {waiting} waiting", f"{rate:,.0f}/s (not here, upstream's library: {peer})")
    finally:
        server.remove()
    for what, figure in pods():
        show(what, figure)


def pods() -> Iterator[Row]:
    """What the container runtime sees, in a lab whose etcd has its data in /run."""
    with lab_of(1, datastore="etcd") as bed:
        bed.run("node1", "sh", "-c", f"for i in $(seq {PODS}); do ip netns add b$i; done")
        before = _asked(bed)
        added, deleted = one_by_one(bed, CALICO, "calico")
        asked = _asked(bed) - before
        yield f"CNI ADD, plugin exec to exit, {PODS} one by one", f"{added} (not here, upstream: 112-139)"
        yield f"CNI DEL, {PODS} one by one", deleted
        yield "requests of etcd for an ADD and its DEL", f"{asked / PODS:.1f}"
        added, deleted = at_once(bed, CALICO, "calico")
        yield f"CNI ADD, {PODS} at once", f"{added} (not here, upstream: 4.2-6.2)"
        yield f"CNI DEL, {PODS} at once", deleted


def _asked(bed: Testbed) -> int:
    """Requests that the lab's etcd has had."""

    def ask() -> int:
        with urlopen(f"{etcd.ENDPOINT}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return sum(int(line.split()[-1]) for line in lines if line.startswith("grpc_server_started_total"))

    asked: int = inside.call(bed.lab.fabric, ask)
    return asked


def show(what: str, figure: str) -> None:
    print(f"{what:<58} {figure}", flush=True)


async def _show_all(server: EtcdServer) -> None:
    async for what, figure in rows(server):
        show(what, figure)


async def rows(server: EtcdServer) -> AsyncIterator[Row]:
    began = time.perf_counter()
    store = EtcdStore(server.settings)
    await store.list("IPPool")
    yield "connect and list nothing", f"{(time.perf_counter() - began) * 1e3:.1f} ms"
    blocks = iter([block(number) for number in range(20_000)])
    yield "create", await _spread(lambda: store.create(next(blocks)), 300)
    last = await store.get(block(7).key)

    async def update() -> None:
        nonlocal last
        last = await store.update(last)

    yield "update (compare-and-swap)", await _spread(update, 300)
    yield "get", await _spread(lambda: store.get(last.key), 1000)

    async def create_50() -> None:
        await store.write_many([Create(next(blocks)) for _ in range(50)])

    yield "write_many of 50", await _spread(create_50, 20)
    pods = [_pod(number) for number in range(10_000)]
    for first in range(0, len(pods), 500):
        await store.write_many([Create(pod) for pod in pods[first : first + 500]])
    yield "list 10,000 pods", await _spread(lambda: store.list("WorkloadEndpoint"), 5)
    yield "a change, until another client hears of it", await _heard(server)
    began_cpu = time.process_time()
    await _spread(lambda: store.get(last.key), 1000)
    yield "processor time of a get", f"{(time.process_time() - began_cpu):.3f} ms"
    await store.close()


def _pod(number: int) -> Resource:
    node, name = f"node{number % 500}", f"pod{number}"
    spec = {
        "orchestrator": "k8s",
        "node": node,
        "containerID": f"{number:064x}",
        "pod": name,
        "endpoint": "eth0",
        "ipNetworks": [f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}/32"],
        "profiles": ["kns.default", "ksa.default.default"],
        "interfaceName": f"cali{number:011x}",
        "mac": "ee:ee:ee:ee:ee:ee",
    }
    return Resource("WorkloadEndpoint", f"{node}-k8s-{name}-eth0", "default", spec=spec, labels={"app": name})


async def _heard(server: EtcdServer) -> str:
    writer, reader = EtcdStore(server.settings), EtcdStore(server.settings)
    last = await writer.create(Resource("Node", "teller"))
    delays = []
    async with aclosing(reader.watch("Node", since=last.revision)) as watch:
        await anext(watch)
        for _ in range(300):
            last = await writer.update(last)
            answered = time.perf_counter()
            while not isinstance(await anext(watch), Put):
                pass
            delays.append(time.perf_counter() - answered)
    await writer.close()
    await reader.close()
    return _told(delays)


async def _spread(work: Callable[[], Awaitable[object]], times: int) -> str:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        await work()
        taken.append(time.perf_counter() - began)
    return _told(taken)


def _told(taken: list[float]) -> str:
    ordered = sorted(taken)
    middle, high = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
    return f"median {middle * 1e3:.2f} p99 {high * 1e3:.2f} ms"


def _import(module: str) -> str:
    """Processor time, and the memory that the process has then."""
    code = (
        f"import time; began = time.process_time(); import {module}; took = time.process_time() - began\n"
        "rss = next(line for line in open('/proc/self/status') if line.startswith('VmRSS')).split()[1]\n"
        "print(took * 1e3, rss)"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
        for _ in range(10)
    ]
    took, rss = min(runs, key=lambda run: float(run[0]))
    return f"{float(took):.0f} ms of the processor, {int(rss) / 1024:.1f} MiB in all"


if __name__ == "__main__":
    main()
