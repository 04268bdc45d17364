"""flannel's backends as knb measures a network: ``python -m tests.bench.knb [BACKEND ...]``. Needs root and etcd.

Two nodes with etcd beside them, a pod on each behind cni0, and a Service: the rule that kube-proxy would write. Idle,
then node to node, pod to pod and pod to Service in turns, TCP and UDP: bandwidth and its ratio to node to node of the
same run, the processor of both sides (the program and its node's flanneld, in percent of one core), and flanneld's
memory. The best of many short rounds counts: what else the machine does can only slow one down. Where FLANNELD names
the original it runs in the same run.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from lab import inside
from tests.bench import traffic
from tests.bench.traffic import Kind
from tests.lab.flannel_nodes import OURS, FlannelNode, Site, eventually, site
from tests.lab.namespace import Elsewhere, other_network

ROUNDS = 12
IDLE_S = 5.0
SERVICE = "10.96.0.10"
BACKENDS = {
    "host-gw": '"Type": "host-gw"',
    "vxlan": '"Type": "vxlan"',
    "udp": '"Type": "udp"',
}
TCP, UDP = traffic.KINDS[0], traffic.KINDS[1]
MBIT_PER_UNIT = {TCP.name: 1.0, UDP.name: len(traffic.DATAGRAM) * 8 / 1000}
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Side:
    """Where a program runs, and the daemon of that node."""

    where: Elsewhere
    node: FlannelNode


class Way(NamedTuple):
    name: str
    client: Side
    server: Side
    to: str


class Measured(NamedTuple):
    """Processor in cores."""

    mbit_s: float
    client_cpu: float
    server_cpu: float


def main() -> None:
    programs: dict[str, tuple[str, ...]] = {"ours": OURS}
    if os.environ.get("FLANNELD"):
        programs["original"] = (os.environ["FLANNELD"],)
    for backend in sys.argv[1:] or BACKENDS:
        for name, program in programs.items():
            print(f"\n{backend}, {name}, load {os.getloadavg()[0]:.1f}: {_row('', *_HEAD)}", flush=True)
            for line in _table(BACKENDS[backend], program):
                print(line, flush=True)


_HEAD = ("Mbit/s", "ratio", "client cpu", "server cpu", "client ram", "server ram")


def _row(name: str, *cells: str) -> str:
    return f"{name:<22}" + "".join(f"{cell:>12}" for cell in cells)


def _table(backend: str, program: tuple[str, ...]) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder, site(Path(folder), 2) as made, ExitStack() as stack:
        made.configure(backend)
        for node in made.nodes:
            node.start("-ip-masq", program=program)
        one, other = made.nodes
        sides = Side(_pod(one, stack), one), Side(_pod(other, stack), other)
        eventually(made.all_reach_all)
        _serve(made)
        yield _row("MTU", made.nodes[0].env["FLANNEL_MTU"])
        yield _idle(sides)
        for kind in (TCP, UDP):
            yield from _of_kind(kind, made, sides)


def _of_kind(kind: Kind, made: Site, sides: tuple[Side, Side]) -> Iterator[str]:
    one, other = (Side(node.where, node) for node in made.nodes)
    ways = (
        Way("node to node", one, other, other.node.address),
        Way("pod to pod", *sides, _address(other.node)),
        Way("pod to Service", *sides, SERVICE),
    )
    rounds = [[_measure(kind, way) for way in ways] for _ in range(ROUNDS)]
    best = [max(column) for column in zip(*rounds, strict=True)]
    for way, found in zip(ways, best, strict=True):
        cells = (f"{found.mbit_s:,.0f}", f"{found.mbit_s / best[0].mbit_s:.2f}", _share(found.client_cpu))
        ram = (_ram(side.node) for side in (way.client, way.server))
        yield _row(f"{way.name}, {'TCP' if kind is TCP else 'UDP'}", *cells, _share(found.server_cpu), *ram)


def _idle(sides: tuple[Side, Side]) -> str:
    before = [_cpu_s(side.node) for side in sides]
    time.sleep(IDLE_S)  # what is asked is what it takes to do nothing
    used = [(_cpu_s(side.node) - start) / IDLE_S for side, start in zip(sides, before, strict=True)]
    return _row("idle", "0", "", *map(_share, used), *(_ram(side.node) for side in sides))


def _measure(kind: Kind, way: Way) -> Measured:
    before, began = [_cpu_s(side.node) for side in (way.client, way.server)], time.monotonic()
    server = inside.start_in_network(Path(way.server.where.path), _counted(kind.server))
    client = inside.start_in_network(
        Path(way.client.where.path), _counted(lambda ready: _begun(ready, lambda: kind.client(way.to)))
    )
    rate, client_s = client.result()
    _, server_s = server.result()
    took_s = time.monotonic() - began
    own = [_cpu_s(side.node) - start for side, start in zip((way.client, way.server), before, strict=True)]
    return Measured(rate * MBIT_PER_UNIT[kind.name], (client_s + own[0]) / took_s, (server_s + own[1]) / took_s)


def _counted(work: Callable[[Callable[[], None]], Any]) -> Callable[[Callable[[], None]], tuple[Any, float]]:
    """With the processor's time that it took, in seconds."""

    def count(ready: Callable[[], None]) -> tuple[Any, float]:
        began = time.process_time()
        return work(ready), time.process_time() - began

    return count


def _begun(ready: Callable[[], None], work: Callable[[], float]) -> float:
    ready()
    return work()


# --- pods and the Service ----------------------------------------------------------------------


def _address(node: FlannelNode) -> str:
    return node.pod.removesuffix(".1") + ".2"


def _pod(node: FlannelNode, stack: ExitStack) -> Elsewhere:
    """As the bridge plugin makes one."""
    pod, mtu = stack.enter_context(other_network()), node.env["FLANNEL_MTU"]
    node.where.ip(f"link add vethpod mtu {mtu} type veth peer name eth0 mtu {mtu} netns {pod.path}")
    node.where.ip("link set vethpod master cni0 up")
    pod.ip("link set lo up")
    pod.ip(f"addr add {_address(node)}/24 dev eth0")
    pod.ip("link set eth0 up")
    pod.ip(f"route add default via {node.pod}")
    return pod


def _serve(made: Site) -> None:
    """The client's node translates the Service's address, as kube-proxy's rules do."""
    one, other = made.nodes
    rule = f"ip daddr {SERVICE} dnat to {_address(other)}"
    for words in (
        "add table ip service",
        "add chain ip service in { type nat hook prerouting priority dstnat ; }",
        f"add rule ip service in {rule}",
    ):
        one.run("nft", words)


# --- what a daemon takes -----------------------------------------------------------------------


def _cpu_s(node: FlannelNode) -> float:
    assert node.process is not None
    fields = Path(f"/proc/{node.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _ram(node: FlannelNode) -> str:
    assert node.process is not None
    status = Path(f"/proc/{node.process.pid}/status").read_text()
    return f"{int(status.split('VmRSS:')[1].split()[0]) / 1024:.0f} MB"


def _share(cores: float) -> str:
    return f"{100 * cores:.1f} %"


if __name__ == "__main__":
    main()
