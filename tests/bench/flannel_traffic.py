"""What flannel's backends carry from pod to pod, against node to node: ``python -m tests.bench.flannel_traffic``.

TCP for three seconds, and one request after the other for one. Where FLANNELD names the original, its udp stands beside
ours: the other backends are the kernel's. Needs root and etcd. The best of three.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.lab.flannel_nodes import OURS, FlannelNode, Site, eventually, site

ROUNDS = 3
_SERVER = """
import socket, sys
listener = socket.create_server((sys.argv[1], 5001))
while True:
    link, _ = listener.accept()
    kind = link.recv(1)
    while data := link.recv(1 << 20 if kind == b"s" else 1):
        if kind == b"r":
            link.sendall(data)
"""
_STREAM = """
import socket, sys, time
link = socket.create_connection((sys.argv[2], 5001), source_address=(sys.argv[1], 0))
link.sendall(b"s")
chunk, sent, end = bytes(1 << 18), 0, time.monotonic() + 3
while time.monotonic() < end:
    link.sendall(chunk)
    sent += len(chunk)
print(sent * 8 / 3e6)
"""
_REQUESTS = """
import socket, sys, time
link = socket.create_connection((sys.argv[2], 5001), source_address=(sys.argv[1], 0))
link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
link.sendall(b"r")
count, end = 0, time.monotonic() + 1
while time.monotonic() < end:
    link.sendall(b"x")
    link.recv(1)
    count += 1
print(count)
"""


def main() -> None:
    ours: tuple[str, ...] = OURS
    runs = [(f"{backend}, ours", backend, ours) for backend in ("host-gw", "vxlan", "udp")]
    if os.environ.get("FLANNELD"):
        runs.append(("udp, original", "udp", (os.environ["FLANNELD"],)))
    print("| | TCP, Mbit/s | of node to node | requests/s | of node to node |\n|---|---|---|---|---|")
    for name, backend, program in runs:
        print(_row(name, *_run(backend, program)), flush=True)


def _row(name: str, pods: tuple[float, float], nodes: tuple[float, float]) -> str:
    ratios = [pod / node for pod, node in zip(pods, nodes, strict=True)]
    return f"| {name} | {pods[0]:,.0f} | {ratios[0]:.3f} | {pods[1]:,.0f} | {ratios[1]:.2f} |"


def _run(backend: str, program: tuple[str, ...]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Pod to pod, node to node."""
    with tempfile.TemporaryDirectory() as folder, site(Path(folder), 2) as made:
        made.configure(f'"Type": "{backend}"')
        for node in made.nodes:
            node.start(program=program)
        one, other = made.nodes
        eventually(made.all_reach_all)
        _fit_mtu(made)
        return _measure(one, one.pod, other, other.pod), _measure(one, one.address, other, other.address)


def _fit_mtu(made: Site) -> None:
    """A pod has the MTU that subnet.env says; here its place is taken by a bridge, so the route says it."""
    for node in made.nodes:
        node.where.ip(f"link set cni0 mtu {node.env['FLANNEL_MTU']}")


def _measure(one: FlannelNode, source: str, other: FlannelNode, target: str) -> tuple[float, float]:
    server = subprocess.Popen(_inside(other, _SERVER, target))
    try:
        eventually(lambda: f"{target}:5001" in other.run("ss", "-ltn"))
        stream = max(_ask(one, _STREAM, source, target) for _ in range(ROUNDS))
        requests = max(_ask(one, _REQUESTS, source, target) for _ in range(ROUNDS))
    finally:
        server.kill()
        server.wait()
    return stream, requests


def _ask(node: FlannelNode, script: str, *words: str) -> float:
    return float(subprocess.run(_inside(node, script, *words), capture_output=True, check=True, text=True).stdout)


def _inside(node: FlannelNode, script: str, *words: str) -> list[str]:
    return ["nsenter", f"--net={node.where.path}", sys.executable, "-IS", "-c", script, *words]


if __name__ == "__main__":
    main()
