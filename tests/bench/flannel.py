"""flanneld's start with many leases, against the original where FLANNELD names it: ``python -m tests.bench.flannel``.

From exec to subnet.env, to the last route, and to the last forwarding entry; the memory that stays; the time that one
more lease takes to its route. Needs root and etcd. The median of three.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from flannel.lease import Attributes, Subnets, key, value
from tests.lab.flannel_nodes import OURS, PREFIX, FlannelNode, Site, site

COUNTS = (10, 100, 1000)
ROUNDS = 3
PATIENCE_S = 60.0


def main() -> None:
    programs: dict[str, tuple[str, ...]] = {"ours": OURS}
    if os.environ.get("FLANNELD"):
        programs["original"] = (os.environ["FLANNELD"],)
    print("| | subnet.env | routes | entries | one more lease | resident |\n|---|---|---|---|---|---|")
    for backend in ("vxlan", "host-gw"):
        for count in COUNTS:
            for name, program in programs.items():
                rounds = [_round(backend, count, program) for _ in range(ROUNDS)]
                medians = [statistics.median(column) for column in zip(*rounds, strict=True)]
                env, routes, entries, one_more, resident = medians
                times = f"{env:.2f} s | {routes:.2f} s | {entries:.2f} s | {one_more * 1000:.1f} ms"
                print(f"| {backend}, {count} leases, {name} | {times} | {resident:.0f} MB |", flush=True)


def _round(backend: str, count: int, program: tuple[str, ...]) -> tuple[float, float, float, float, float]:
    with tempfile.TemporaryDirectory() as folder, site(Path(folder), 1) as made:
        made.configure(f'"Type": "{backend}"', network="10.0.0.0/8", more='"SubnetLen": 24,')
        _fill(made, backend, count)
        node = made.nodes[0]
        began = time.monotonic()
        node.start(program=program, waits=False)
        marks = {
            "env": node.env_path.exists,
            "routes": lambda: _routes(node) >= count,
            "entries": lambda: backend != "vxlan" or _entries(node) >= count,
        }
        at = {name: _seconds_until(done, began) for name, done in marks.items()}
        return at["env"], at["routes"], at["entries"], _one_more(made, backend, count), _resident_mb(node)


def _fill(made: Site, backend: str, count: int) -> None:
    """In transactions of etcdctl, 100 keys each."""
    for first in range(0, count, 100):
        puts = "".join(_put(backend, number) for number in range(first, min(first + 100, count)))
        made.etcd.ctl("txn", given=f"\n{puts}\n\n")


def _put(backend: str, number: int) -> str:
    text = value(_attributes(backend, number)).replace('"', '\\"')
    return f'put "{PREFIX}/subnets/{_key(number)}" "{text}"\n'


def _attributes(backend: str, number: int) -> Attributes:
    data = f'{{"VNI":1,"VtepMAC":"02:00:00:00:{number >> 8:02x}:{number & 255:02x}"}}' if backend == "vxlan" else ""
    return Attributes(IPv4Address("192.168.99.0") + 2 + number % 250, backend=backend, data=data)


def _key(number: int) -> str:
    return key(Subnets(IPv4Network(f"10.{100 + (number >> 8)}.{number & 255}.0/24")))


def _one_more(made: Site, backend: str, count: int) -> float:
    node, before = made.nodes[0], _routes(made.nodes[0])
    made.etcd.put(f"{PREFIX}/subnets/{_key(count + 5)}", value(_attributes(backend, count + 5)))
    return _seconds_until(lambda: _routes(node) > before, time.monotonic())


def _seconds_until(done: Callable[[], bool], began: float) -> float:
    while not done():
        if time.monotonic() - began > PATIENCE_S:
            return float("nan")
        time.sleep(0.002)
    return time.monotonic() - began


def _routes(node: FlannelNode) -> int:
    assert node.process is not None
    table = Path(f"/proc/{node.process.pid}/net/route").read_text()
    return sum(line.split()[1].endswith("0A") and line.split()[3] == "0003" for line in table.splitlines()[1:])


def _entries(node: FlannelNode) -> int:
    return len(node.forwarding())


def _resident_mb(node: FlannelNode) -> float:
    assert node.process is not None
    status = Path(f"/proc/{node.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


if __name__ == "__main__":
    main()
