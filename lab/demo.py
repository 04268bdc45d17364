"""``./demo``: three nodes, pods that reach each other, an operator's tables, and what crosses the wire.

Everything shown is the output of the program named before it, run on the node named before that.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from dataclasses import dataclass
from ipaddress import IPv4Interface
from pathlib import Path

from lab import cluster, inside, namespaces, probe, runtime
from lab.machine import boot, kernel
from lab.namespaces import NamespaceError
from lab.node import LabError, environment_of
from lab.plan import UPLINK, BadWish
from lab.state import LabState, NodeState

NAME = "demo"


@dataclass(frozen=True, slots=True)
class DemoPod:
    """``container``: not a Kubernetes pod, so that its device is named after this id."""

    node: str
    name: str
    namespace: str = "default"
    container: str = ""

    def __str__(self) -> str:
        return f"{self.node}/{self.name}"


CLIENT = DemoPod("node1", "pod1", container="717821d73f3c0ffee0ddba11feedf00d")
SERVER = DemoPod("node2", "pod2")
PODS = (
    CLIENT,
    DemoPod("node2", "coredns-698fcc7d7c-n8j7q", "kube-system"),
    SERVER,
    DemoPod("node3", "coredns-698fcc7d7c-r6tsw", "kube-system"),
)


class DemoFailed(Exception):
    """What was to be shown is not so."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="./demo", description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "way", nargs="?", choices=("direct", "ipip"), default="direct", help="how packets cross (direct)"
    )
    parser.add_argument("--keep", action="store_true", help="leave the lab up, for: lab --help (LAB_NAME=demo)")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.stderr.write("./demo makes network namespaces, which needs root: run it as root.\n")
        return 1
    try:
        if arguments.way == "ipip" and not kernel.has_ipip():
            return _in_a_machine(keep=arguments.keep)
        return _run(arguments.way, keep=arguments.keep)
    except (
        BadWish,
        DemoFailed,
        LabError,
        NamespaceError,
        inside.WorkFailed,
        boot.NoMachine,
        boot.MachineDied,
    ) as error:
        sys.stderr.write(f"demo: {error}\n")
        return 1


def _in_a_machine(*, keep: bool) -> int:
    """The same, where the kernel has ipip. Raises NoMachine, MachineDied, OutOfTime."""
    if keep:
        raise DemoFailed("--keep: this kernel has no ipip, and the machine that is booted for the demo ends with it")
    if kernel.is_booted_by_us():
        raise DemoFailed("this kernel should have ipip, and has not")
    _say("This machine's kernel has no ipip: booting one that has, in user-mode-linux")
    return boot.run([sys.executable, "-m", "lab.demo", "ipip"])


def _run(way: str, *, keep: bool) -> int:
    started = time.monotonic()
    _say(f"A cluster of three nodes: network namespaces {NAME}/node1 to node3, uplink {UPLINK}, one pool 10.244.0.0/16")
    lab = cluster.up(cluster.Wish(name=NAME, ipip="Always" if way == "ipip" else "Never"), lambda line: None)
    try:
        _show(lab)
    except BaseException:
        if not keep:
            cluster.down(NAME)
        raise
    if keep:
        _say(f"The lab stays up: LAB_NAME={NAME} lab status, … lab exec node1 -- ip route, … lab down")
    else:
        cluster.down(NAME)
        _say(f"Everything taken down again, {time.monotonic() - started:.1f} s after the start")
    return 0


def _show(lab: LabState) -> None:
    addresses = {pod: _add(lab, pod) for pod in PODS}
    _ping_all(lab, addresses)
    _command(lab, "node1", ["ip", "route"])
    _command(lab, "node1", ["calicoctl", "get", "no"])
    _command(lab, "node1", ["calicoctl", "node", "status"])
    _capture_page(lab, addresses)
    _pod_side(lab)


def _add(lab: LabState, pod: DemoPod) -> str:
    runtime.add_pod(lab, lab.node(pod.node), pod.name, pod.namespace, container=pod.container)
    address = str(inside.call(lab.node(pod.node).holder, _own_address, netns=_netns(lab, pod)))
    print_(f"  {pod.node}: {pod.namespace}/{pod.name} has {address}")
    return address


def _own_address() -> str:
    """The address of eth0, asked of the kernel: what a packet to the gateway would carry as its source."""
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.connect(("169.254.1.1", 9))
        return str(udp.getsockname()[0])


def _ping_all(lab: LabState, addresses: dict[DemoPod, str]) -> None:
    answered = sum(_ping(lab, source, addresses[target]) for source in PODS for target in PODS)
    _say(f"Every pod pings every pod: {answered} of {len(PODS) ** 2} answered")
    if answered != len(PODS) ** 2:
        raise DemoFailed("some pods do not reach each other; ./demo --keep leaves the lab up to look into")


def _ping(lab: LabState, source: DemoPod, target: str) -> int:
    return int(inside.call(lab.node(source.node).holder, lambda: probe.ping(target), netns=_netns(lab, source)))


def _capture_page(lab: LabState, addresses: dict[DemoPod, str]) -> None:
    _say(f"A page from {SERVER} ({addresses[SERVER]}:80), fetched by {CLIENT}; meanwhile a capture on node1's {UPLINK}")
    server_node, client_node = lab.node(SERVER.node), lab.node(CLIENT.node)
    server = inside.start(
        server_node.holder, lambda ready: probe.serve_page("a page from pod2\n", ready), netns=_netns(lab, SERVER)
    )
    wire = inside.start(client_node.holder, lambda ready: probe.capture(UPLINK, ready))
    page = inside.call(client_node.holder, lambda: probe.fetch_page(addresses[SERVER]), netns=_netns(lab, CLIENT))
    wire.stop()
    server.stop()
    print_(f"  {page.strip()}")
    lines = [line for line in wire.result() if addresses[CLIENT] in line]
    for line in lines[:4]:
        print_(f"  {UPLINK}  {line}")
    nodes = {str(IPv4Interface(node.address).ip) for node in lab.nodes}
    around = [line for line in lines if "[" in line or any(node in line for node in nodes)]
    if not lines or around:
        raise DemoFailed("the capture does not show plain packets between the pods")
    print_(f"  {len(lines)} packets, every one between the pods' own addresses: nothing is wrapped around them")


def _pod_side(lab: LabState) -> None:
    _command(lab, CLIENT.node, ["ip", "-brief", "link", "show", "type", "veth"])
    _command(lab, CLIENT.node, ["ip", "-brief", "address", "show", "dev", "eth0"], pod=CLIENT)
    _command(lab, CLIENT.node, ["ip", "route"], pod=CLIENT)


def _command(lab: LabState, node: str, argv: list[str], *, pod: DemoPod | None = None) -> None:
    program = shutil.which(argv[0], path=environment_of(node, lab.environment)["PATH"])
    if program is None:
        raise DemoFailed(f"{argv[0]} is not installed")
    status, output = namespaces.run_inside(
        lab.node(node).holder,
        argv,
        environment=environment_of(node, lab.environment),
        netns=_netns(lab, pod) if pod is not None else None,
    )
    print_(f"\n{pod or node} ~ {' '.join(argv)}\n{output.decode()}".rstrip())
    if status:
        raise DemoFailed(f"{' '.join(argv)} ended with status {status}")


def _netns(lab: LabState, pod: DemoPod) -> Path:
    node: NodeState = lab.node(pod.node)
    return Path("/run/netns", runtime.find(lab, node, f"{pod.namespace}/{pod.name}").netns)


def _say(line: str) -> None:
    print_(f"\n{line}")


def print_(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
