"""What the Kubernetes datastore costs: ``.venv/bin/python -m tests.bench.kubernetes`` prints one table, in a minute.

A real kube-apiserver and etcd on loopback, on the same cores; other load shows in the p99.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

from datastore.kubernetes.store import KubernetesStore
from datastore.resource import Key, Resource
from tests.bench.store import block
from tests.servers.kubernetes import KubeServer, strict_server

Row = tuple[str, str]

_LOADING = """
import asyncio, json, ssl, time
def rss():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1024
before, began = rss(), time.perf_counter()
{what}
print(f"{{(time.perf_counter() - began) * 1000:.0f}} ms, {{rss() - before:.1f}} MiB")
"""
_CLIENTS = {
    "this driver": "import datastore.kubernetes.connect",
    "h11 alone": "import h11",
    "aiohttp alone": "import aiohttp",
    "httpx alone": "import httpx; httpx.AsyncClient()",
    "the package kubernetes": "import kubernetes.client, kubernetes.config; kubernetes.client.ApiClient()",
}


def main() -> None:
    for name, what in _CLIENTS.items():
        print(f"{'loading ' + name:<58} {_loading(what)}", flush=True)
    server = strict_server()
    server.clear()

    async def go() -> None:
        store = server.store()
        async for what, figure in rows(server, store):
            print(f"{what:<58} {figure}", flush=True)
        await store.close()

    asyncio.run(go())
    server.clear()


def _loading(what: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", _LOADING.format(what=what)], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "not installed"


async def rows(server: KubeServer, store: KubernetesStore) -> AsyncIterator[Row]:
    await store.list("IPAMBlock")
    made: list[Resource] = []

    async def create(number: int) -> None:
        made.append(await store.create(block(number)))

    async def update(number: int) -> None:
        made[number] = await store.update(replace(made[number], spec={**made[number].spec, "sequenceNumber": 2}))

    async def handle(number: int) -> None:
        await store.create(Resource("IPAMHandle", f"h{number}", spec={"handleID": f"h{number}", "block": {}}))

    async def get(number: int) -> None:
        await store.get(Key("IPAMBlock", made[number].name))

    async def delete(number: int) -> None:
        await store.delete(made[number].key, revision=made[number].revision)

    yield "create a block, one after another", await _each(create, 200)
    yield "update a block by compare-and-swap", await _each(update, 200)
    yield "read a block", await _each(get, 200)
    yield "create a handle, 20 at once", await _at_once(handle, 1000, 20)
    yield "delete a block (it is read first)", await _each(delete, 200)
    nodes = [{"metadata": {"name": f"n{number:03}", "annotations": _node_of(number)}} for number in range(500)]
    await asyncio.gather(*(server.do("POST", "/api/v1/nodes", node) for node in nodes))
    began = time.perf_counter()
    before = store.requests.total()
    listed = await store.list("Node")
    took_ms, asked = (time.perf_counter() - began) * 1000, store.requests.total() - before
    yield f"list {len(listed.items)} nodes", f"{took_ms:.0f} ms, {asked} requests"
    await asyncio.gather(*(server.do("DELETE", f"/api/v1/nodes/{node['metadata']['name']}") for node in nodes))


def _node_of(number: int) -> dict[str, str]:
    return {
        "projectcalico.org/IPv4Address": f"10.{number >> 8}.{number & 255}.1/16",
        "projectcalico.org/IPv4VXLANTunnelAddr": f"10.244.{number & 255}.0",
    }


async def _each(work: Callable[[int], Awaitable[None]], times: int) -> str:
    took = []
    for number in range(times):
        began = time.perf_counter()
        await work(number)
        took.append(time.perf_counter() - began)
    spread = statistics.quantiles(took, n=100)
    return f"median {spread[49] * 1000:.1f} ms, p99 {spread[98] * 1000:.1f} ms"


async def _at_once(work: Callable[[int], Awaitable[None]], times: int, lanes: int) -> str:
    async def lane(first: int) -> None:
        for number in range(first, times, lanes):
            await work(number)

    began = time.perf_counter()
    await asyncio.gather(*(lane(first) for first in range(lanes)))
    return f"{times / (time.perf_counter() - began):.0f} a second"


if __name__ == "__main__":
    main()
