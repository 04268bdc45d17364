"""A cluster of 500 nodes and 10,000 pods: ``.venv/bin/python -m tests.bench.large_cluster [NODES PODS]`` (as root).

One node is real, in a lab whose API server is a real one; all others are objects: Nodes with the status that a kubelet
writes, a block each with its affinity, Pods with the annotations of the CNI plugin and their handles. VXLAN carries
all, so felix has a route and two entries for each. Nobody answers at the others' addresses, which costs the speaker
more than neighbours that are there. Filling the API server takes minutes.

Requests are those that the server counts for nodes, pods and Calico's objects; a watch counts when it ends.
"""

from __future__ import annotations

import asyncio
import os
import re
import ssl
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from datastore.kubernetes.connect import client_of
from datastore.kubernetes.store import KubernetesStore
from datastore.resource import Resource
from datastore.store import Exists
from lab import apiserver, cluster, control_plane, daemons, inside
from tests.bench.memory import proportional_mib, resident_mib
from tests.lab.testbed import Testbed

STARTS = 3
QUIET_S = 60.0
AT_ONCE = 20
FILL_PATIENCE_S = 1200.0
_COUNTED = re.compile(
    r'^apiserver_request_total\{(?=.*(?:group="crd\.projectcalico\.org"|resource="(?:nodes|pods)")).* (\S+)$'
)
_IMAGES = [{"names": [f"registry.example.com/team/application-{n}@sha256:{n:064x}"], "sizeBytes": 1} for n in range(40)]
Row = tuple[str, str]


def main() -> None:
    nodes, pods = map(int, sys.argv[1:3] or ("500", "10000"))
    print(f"{nodes:,} nodes, {pods:,} pods; load {os.getloadavg()[0]:.1f}", flush=True)
    for what, figure in rows(nodes, pods):
        print(f"{what:<46} {figure}", flush=True)


def rows(nodes: int, pods: int) -> Iterator[Row]:
    with lab_of_one() as bed:
        environ = control_plane.admin_environment(bed.lab)
        begun = time.monotonic()
        inside.call(bed.lab.fabric, partial(fill, environ, nodes, pods), patience_s=FILL_PATIENCE_S)
        yield "filling the API server", f"{time.monotonic() - begun:.0f} s"
        for name in ("felix", "bgp"):
            yield f"{name}: exec to ready", _starts(bed, name, environ)
        bed.eventually(lambda: bed.routes("node1").count("vxlan.calico") >= nodes - 1, what="all routes", patience_s=60)
        daemons.start(bed.lab, bed.node("node1"), daemons.CONTROLLERS)
        time.sleep(QUIET_S / 2)
        yield from _idle(bed, environ)


@contextmanager
def lab_of_one() -> Iterator[Testbed]:
    pool = "10.240.0.0/12"
    wish = cluster.Wish(f"large{os.getpid()}", 1, datastore="kubernetes", pool=pool, vxlan="Always")
    bed = Testbed(cluster.up(wish, lambda line: None))
    try:
        yield bed
    finally:
        cluster.down(wish.name)


# What is there.


def fill(environ: dict[str, str], nodes: int, pods: int) -> None:
    asyncio.run(_fill(environ, nodes, pods))


async def _fill(environ: dict[str, str], nodes: int, pods: int) -> None:
    client = client_of(environ)
    store = KubernetesStore(client)

    async def make(resource: Resource) -> None:
        with suppress(Exists):  # the real node has this block, by chance
            await store.create(resource)

    async def post(path: str, body: dict[str, Any]) -> None:
        await client.ask("POST", path, apiserver.anything("post", path), body=body)

    each = range(2, nodes + 1)
    await _at_once(lambda number: post("/api/v1/nodes", node(number)), each)
    for resource in (block, affinity):
        await _at_once(lambda number, of=resource: make(of(number, pods // nodes)), each)  # type: ignore[misc]
    places = [(number, at) for number in each for at in range(pods // nodes)]
    await _at_once(lambda place: post("/api/v1/namespaces/default/pods", pod(*place)), places)
    await _at_once(lambda place: make(handle(*place)), places)
    await store.close()


async def _at_once(make: Callable[[Any], Awaitable[None]], what: Iterable[Any]) -> None:
    left = iter(what)

    async def lane() -> None:
        for each in left:
            await make(each)

    await asyncio.gather(*(lane() for _ in range(AT_ONCE)))


def address(number: int) -> str:
    return f"172.20.{number // 250}.{number % 250 + 1}"


def cidr(number: int) -> str:
    return f"10.244.{128 + number // 4}.{number % 4 * 64}/26"


def name(number: int) -> str:
    return f"other{number}"


def node(number: int) -> dict[str, Any]:
    annotations = {
        "projectcalico.org/IPv4Address": f"{address(number)}/16",
        "projectcalico.org/IPv4VXLANTunnelAddr": cidr(number).partition("/")[0],
        "projectcalico.org/VXLANTunnelMACAddr": f"66:00:00:00:{number >> 8:02x}:{number & 255:02x}",
    }
    addresses = [{"type": "InternalIP", "address": address(number)}, {"type": "Hostname", "address": name(number)}]
    return {
        "metadata": {"name": name(number), "annotations": annotations},
        "status": {"addresses": addresses, "images": _IMAGES},
    }


def block(number: int, pods: int) -> Resource:
    """Its first address is the tunnel's."""
    tunnel = {
        "handle_id": f"vxlan-tunnel-addr-{name(number)}",
        "secondary": {"node": name(number), "type": "vxlanTunnelAddress"},
    }
    held = [
        {
            "handle_id": _handle(number, at),
            "secondary": {"node": name(number), "namespace": "default", "pod": _pod(number, at)},
        }
        for at in range(pods)
    ]
    spec = {
        "cidr": cidr(number),
        "affinity": f"host:{name(number)}",
        "allocations": [*range(pods + 1), *[None] * (63 - pods)],
        "unallocated": list(range(pods + 1, 64)),
        "attributes": [tunnel, *held],
        "sequenceNumber": 1,
        "sequenceNumberForAllocation": {},
        "deleted": False,
        "strictAffinity": False,
    }
    return Resource("IPAMBlock", cidr(number).replace(".", "-").replace("/", "-"), spec=spec)


def affinity(number: int, _: int) -> Resource:
    spec = {"state": "confirmed", "node": name(number), "cidr": cidr(number), "deleted": "false", "type": "host"}
    return Resource("BlockAffinity", f"{name(number)}-{cidr(number).replace('.', '-').replace('/', '-')}", spec=spec)


def handle(number: int, at: int) -> Resource:
    spec = {"handleID": _handle(number, at), "block": {cidr(number): 1}, "deleted": False}
    return Resource("IPAMHandle", _handle(number, at), spec=spec)


def pod(number: int, at: int) -> dict[str, Any]:
    ip = f"10.244.{128 + number // 4}.{number % 4 * 64 + at + 1}/32"
    annotations = {
        "cni.projectcalico.org/podIP": ip,
        "cni.projectcalico.org/podIPs": ip,
        "cni.projectcalico.org/containerID": f"{number:032x}{at:032x}",
    }
    metadata = {"name": _pod(number, at), "namespace": "default", "labels": {"app": "a"}, "annotations": annotations}
    return {"metadata": metadata, "spec": {"nodeName": name(number), "containers": [{"name": "c", "image": "pause"}]}}


def _pod(number: int, at: int) -> str:
    return f"pod-{number}-{at}"


def _handle(number: int, at: int) -> str:
    return f"k8s-pod-network.{number:032x}{at:032x}"


# What it costs.


def _starts(bed: Testbed, daemon: str, environ: dict[str, str]) -> str:
    took, asked = [], []
    for _ in range(STARTS):
        bed.kill("node1", daemon)
        before, begun = _requests(bed, environ), time.monotonic()
        bed.begin("node1", daemon)
        took.append(time.monotonic() - begun)
        asked.append(_requests(bed, environ) - before)
    return f"{min(took):.2f}, {max(took):.2f} s; {min(asked)} requests; {_memory(bed, daemon)}"


def _idle(bed: Testbed, environ: dict[str, str]) -> Iterator[Row]:
    names = (*daemons.NAMES, daemons.CONTROLLERS)
    before, asked = {name: _cpu_s(_pid(bed, name)) for name in names}, _requests(bed, environ)
    time.sleep(QUIET_S)
    asked = _requests(bed, environ) - asked
    for each in names:
        share = (_cpu_s(_pid(bed, each)) - before[each]) / QUIET_S
        yield f"{each}: idle", f"{share:.2%} of a core; {_memory(bed, each)}"
    yield "requests of all in a minute", f"{asked * 60 / QUIET_S:.0f}"


def _memory(bed: Testbed, daemon: str) -> str:
    pid = _pid(bed, daemon)
    return f"{proportional_mib(pid):.0f} MiB proportional, {resident_mib(pid):.0f} resident"


def _pid(bed: Testbed, daemon: str) -> int:
    process = daemons.running(bed.lab, bed.node("node1"), daemon)
    assert process is not None, f"{daemon} does not run"
    return process.pid


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _requests(bed: Testbed, environ: dict[str, str]) -> int:
    def ask() -> int:
        context = ssl.create_default_context(cafile=environ["K8S_CA_FILE"])
        headers = {"Authorization": f"Bearer {environ['K8S_API_TOKEN']}"}
        with urlopen(Request(f"{environ['K8S_API_ENDPOINT']}/metrics", headers=headers), context=context) as answer:
            lines = answer.read().decode().splitlines()
        return sum(int(float(found[1])) for line in lines if (found := _COUNTED.match(line)))

    asked: int = inside.call(bed.lab.fabric, ask)
    return asked


if __name__ == "__main__":
    main()
