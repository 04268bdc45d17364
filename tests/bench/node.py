"""A node's daily work, measured in a lab: ``.venv/bin/python -m tests.bench.node`` prints one table. Needs root.

Pods through the real plugin, beside bridge + host-local from Debian's containernetworking-plugins on the same node;
addresses through the allocator; a new block from one node to another's FIB; a mesh; start, memory and idle cost.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import IPv4Network, ip_network
from pathlib import Path
from typing import Any

from datastore.resource import Resource
from datastore.sqlite import SqliteStore
from datastore.store import Store
from ipam import affinity, facts
from ipam.allocator import Allocator, Request
from ipam.block import Holder
from ipam.group_commit import GroupCommit
from ipam.records import Records
from ipam.release import Releaser
from ipam.writer import BlockWriter
from lab import cluster, daemons, inside
from lab.state import NodeState
from tests.lab.testbed import Testbed

PODS = 50
BRIDGE = {
    "cniVersion": "1.0.0",
    "name": "bridged",
    "type": "bridge",
    "bridge": "bench0",
    "isGateway": True,
    "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.99.0.0/24"}]]},
}
CALICO = {"cniVersion": "1.0.0", "name": "k8s-pod-network", "type": "calico", "ipam": {"type": "calico-ipam"}}

Row = tuple[str, str, str]


def main() -> None:
    print(f"{'':<58} {'ours':<36} peer, same run")
    for what, ours, peer in rows():
        print(f"{what:<58} {ours:<36} {peer}", flush=True)


def rows() -> Iterator[Row]:
    yield from plugin_rows()
    yield from allocator_rows()
    yield from block_rows()
    for nodes in (3, 20):
        yield mesh_row(nodes)
    yield from daemon_rows()


@contextmanager
def lab_of(nodes: int, *, name: str = "bench", datastore: str = "sqlite") -> Iterator[Testbed]:
    wish = cluster.Wish(name=f"{name}{os.getpid()}", nodes=nodes, datastore=datastore)
    bed = Testbed(cluster.up(wish, lambda line: None))
    try:
        yield bed
    finally:
        cluster.down(wish.name)


# --- the plugin --------------------------------------------------------------------------------


def plugin_rows() -> Iterator[Row]:
    with lab_of(1) as bed:
        bed.run("node1", "sh", "-c", f"for i in $(seq {PODS}); do ip netns add b$i; done")
        ours, peer = one_by_one(bed, CALICO, "calico"), one_by_one(bed, BRIDGE, "bridge")
        for at, command in enumerate(("ADD", "DEL")):
            yield f"CNI {command}, plugin exec to exit, {PODS} one by one", ours[at], f"bridge + host-local {peer[at]}"
        ours, peer = at_once(bed, CALICO, "calico"), at_once(bed, BRIDGE, "bridge")
        for at, command in enumerate(("ADD", "DEL")):
            yield f"CNI {command}, {PODS} at once", ours[at], f"bridge + host-local {peer[at]}"


def one_by_one(bed: Testbed, conf: dict[str, Any], plugin: str) -> list[str]:
    if not _is_there(bed, plugin):
        return ["not installed"] * 2
    work = _sequence(conf, plugin)
    return [_spread_ms(times) for times in inside.call(_holder(bed), work, patience_s=300)]


def at_once(bed: Testbed, conf: dict[str, Any], plugin: str) -> list[str]:
    if not _is_there(bed, plugin):
        return ["not installed"] * 2
    runs = [inside.call(_holder(bed), _burst(conf, plugin), patience_s=300) for _ in range(3)]
    return [f"{min(run[at] for run in runs):.2f} s" for at in range(2)]


def _is_there(bed: Testbed, plugin: str) -> bool:
    return bool(
        bed.run("node1", "sh", "-c", f"ls /opt/cni/bin/{plugin} /usr/lib/cni/{plugin} 2>/dev/null", may_fail=True)
    )


def _holder(bed: Testbed) -> Any:
    return bed.node("node1").holder


def _spread_ms(times: list[float]) -> str:
    ordered = sorted(times)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return f"median {statistics.median(times) * 1000:.1f}, p99 {p99 * 1000:.1f} ms"


def _sequence(conf: dict[str, Any], plugin: str) -> Callable[[], list[list[float]]]:
    def work() -> list[list[float]]:
        return [[_timed(conf, plugin, command, number) for number in range(PODS)] for command in ("ADD", "DEL")]

    return work


def _burst(conf: dict[str, Any], plugin: str) -> Callable[[], list[float]]:
    def work() -> list[float]:
        took = []
        for command in ("ADD", "DEL"):
            began = time.perf_counter()
            started = [_spawn(conf, plugin, command, number) for number in range(PODS)]
            assert all(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0 for pid in started)
            took.append(time.perf_counter() - began)
        return took

    return work


def _timed(conf: dict[str, Any], plugin: str, command: str, number: int) -> float:
    began = time.perf_counter()
    status = os.waitstatus_to_exitcode(os.waitpid(_spawn(conf, plugin, command, number), 0)[1])
    assert status == 0, f"{plugin} {command} ended with {status}"
    return time.perf_counter() - began


def _spawn(conf: dict[str, Any], plugin: str, command: str, number: int) -> int:
    """Started as a runtime would, without a shell; standard input from a file, output dropped."""
    config = Path(f"/run/bench-{plugin}.json")
    if not config.exists():
        config.write_text(json.dumps(conf))
    path = next(path for path in (f"/opt/cni/bin/{plugin}", f"/usr/lib/cni/{plugin}") if Path(path).exists())
    environment = {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": f"bench{number:06}",
        "CNI_NETNS": f"/run/netns/b{number + 1}",
        "CNI_IFNAME": "eth0",
        "CNI_PATH": "/opt/cni/bin:/usr/lib/cni",
    }
    redirect = [
        (os.POSIX_SPAWN_OPEN, 0, str(config), os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, "/run/bench.out", os.O_WRONLY | os.O_CREAT, 0o600),
    ]
    return os.posix_spawn(path, [path], environment, file_actions=redirect)


# --- addresses --------------------------------------------------------------------------------


def allocator_rows() -> Iterator[Row]:
    folder = Path("/var/tmp") / f"tortie-bench-{os.getpid()}"
    folder.mkdir()
    try:
        for waiting in (1, 20):
            rate = asyncio.run(_assign_rate_of(folder / f"store{waiting}.sqlite", waiting, seconds=3.0))
            peer = {1: "126-193/s", 20: "60-119/s"}[waiting]
            yield (
                f"IPAM assignments through the allocator, {waiting} waiting",
                f"{rate:.0f}/s",
                f"not here: {peer} on etcd",
            )
    finally:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


async def _assign_rate_of(path: Path, waiting: int, *, seconds: float) -> float:
    return await assign_rate(SqliteStore(str(path)), waiting, seconds=seconds)


async def assign_rate(store: Store, waiting: int, *, seconds: float) -> float:
    """Assignments a second in an empty datastore, asked for by ``waiting`` at once. Closes the store."""
    await store.create(Resource("IPPool", "pool", spec={"cidr": "10.0.0.0/8"}))
    await store.create(Resource("Node", "n"))
    await store.create(
        Resource("IPAMConfiguration", "default", spec={"strictAffinity": True, "maxBlocksPerHost": 9999})
    )
    known = await facts.read(store, "n")

    async def read() -> facts.Facts:
        return known

    records = Records(store)
    writer = BlockWriter(records)
    allocator = Allocator(records, "n", facts=read, wall_ns=time.time_ns, writer=writer)
    commit = GroupCommit(allocator, Releaser(store, writer, facts=read, wall_ns=time.time_ns))
    serving = asyncio.create_task(commit.run())
    count, ends_at = 0, time.perf_counter() + seconds

    async def caller(number: int) -> None:
        nonlocal count
        while time.perf_counter() < ends_at:
            handle = f"net.{number}-{count}"
            await commit.assign(Request(Holder(handle, {"node": "n"})))
            count += 1
            if count % 40 == 0:  # a node's pods come and go
                await commit.release(handle)

    await asyncio.gather(*(caller(number) for number in range(waiting)))
    serving.cancel()
    with suppress(asyncio.CancelledError):
        await serving
    await store.close()
    return count / seconds


# --- blocks and routes --------------------------------------------------------------------------------


def block_rows() -> Iterator[Row]:
    with lab_of(2) as bed:
        began, claimed, seen = _claim_and_watch(bed, count=100)
        for since, at in (("being confirmed", claimed), ("before the claim's first write", began)):
            what = f"a new block on node1, from {since} to the route in node2's FIB, 100"
            yield what, _spread_ms([seen[cidr] - at[cidr] for cidr in at]), ""


def _claim_and_watch(bed: Testbed, *, count: int) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """When the claim of each block began and was over, in another process, and when node2's kernel told the route."""
    blocks = list(IPv4Network("10.244.0.0/18").subnets(new_prefix=26))[:count]
    watching = bed.start("node2", lambda ready: _note_routes(ready, count))
    began, claimed = asyncio.run(_claim(bed, [str(block) for block in blocks]))
    return began, claimed, watching.result(patience_s=60)


async def _claim(bed: Testbed, cidrs: list[str]) -> tuple[dict[str, float], dict[str, float]]:
    store = SqliteStore(bed.lab.environment["DATASTORE_PATH"])
    records = Records(store)
    began, claimed = {}, {}
    for cidr in cidrs:
        began[cidr] = time.monotonic()
        await affinity.claim(records, "node1", ip_network(cidr), wall_ns=time.time_ns)
        claimed[cidr] = time.monotonic()
        await asyncio.sleep(0.05)
    await store.close()
    return began, claimed


def _note_routes(ready: Callable[[], None], count: int) -> dict[str, float]:
    from pyroute2 import IPRoute

    seen: dict[str, float] = {}
    with IPRoute() as kernel:
        kernel.bind()
        ready()
        while len(seen) < count:
            for message in kernel.get():
                dst = message.get("dst") if message["event"] == "RTM_NEWROUTE" else None
                if dst and message["proto"] == 12:
                    seen.setdefault(f"{dst}/{message['dst_len']}", time.monotonic())
    return seen


def mesh_row(nodes: int) -> Row:
    """Every node has a block; all daemons are stopped, then started together."""
    with lab_of(nodes) as bed:
        names = [node.name for node in bed.lab.nodes]
        asyncio.run(_give_blocks(bed, names))
        for name in names:
            for daemon in daemons.NAMES:
                bed.kill(name, daemon)
            bed.run(name, "sh", "-c", "ip route flush proto bird; rm -f /var/lib/calico/bgp.json")
        pairs = [(node, daemon) for node in bed.lab.nodes for daemon in daemons.NAMES]
        began = time.monotonic()
        daemons.start_all(bed.lab, pairs)
        ready = time.monotonic()
        bed.eventually(lambda: all(_has_all(bed, node, nodes) for node in bed.lab.nodes), what="all", patience_s=60)
        done = time.monotonic()
        ours = f"{done - ready:.2f} s ({done - began:.2f} s from the first start)"
    return f"mesh of {nodes} nodes: last daemon ready to all routes in all FIBs", ours, "20 BIRDs: see bench speaker"


async def _give_blocks(bed: Testbed, names: list[str]) -> None:
    store = SqliteStore(bed.lab.environment["DATASTORE_PATH"])
    for at, name in enumerate(names):
        cidr = ip_network(f"10.244.{at}.0/26")
        await affinity.claim(Records(store), name, cidr, wall_ns=time.time_ns)
    await store.close()


def _has_all(bed: Testbed, node: NodeState, nodes: int) -> bool:
    return bed.routes(node.name).count("/26") >= nodes


# --- daemons --------------------------------------------------------------------------------


def daemon_rows() -> Iterator[Row]:
    with lab_of(3) as bed:
        for name in daemons.NAMES:
            times = []
            for _ in range(5):
                bed.kill("node1", name)
                began = time.monotonic()
                bed.begin("node1", name)
                times.append(time.monotonic() - began)
            yield (
                f"{name}: exec to ready, state in place",
                f"min {min(times):.2f}, median {statistics.median(times):.2f} s",
                "",
            )
        memory = {name: _memory_mb(bed, name) for name in daemons.NAMES}
        each = ", ".join(f"{name} {mb:.0f}" for name, mb in memory.items())
        yield "RSS of a node's daemons, 3 nodes", f"{sum(memory.values()):.0f} MB ({each})", "elsewhere 199 MB"
        before = _cpu_s(bed)
        time.sleep(20)
        yield "idle CPU of a node's daemons", f"{(_cpu_s(bed) - before) / 20:.2%} of a core", ""


def _memory_mb(bed: Testbed, daemon: str) -> float:
    holder = daemons.running(bed.lab, bed.node("node1"), daemon)
    assert holder is not None
    (line,) = [line for line in Path(f"/proc/{holder.pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def _cpu_s(bed: Testbed) -> float:
    total = 0.0
    for daemon in daemons.NAMES:
        holder = daemons.running(bed.lab, bed.node("node1"), daemon)
        assert holder is not None
        fields = Path(f"/proc/{holder.pid}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


if __name__ == "__main__":
    main()
