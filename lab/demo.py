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
from functools import partial
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


SERVER = DemoPod("node2", "pod2")


@dataclass(frozen=True, slots=True)
class Scene:
    """``client`` is node1's pod; ``tunnel`` the device that packets to other nodes go through, "" for none."""

    ipip: str
    client: DemoPod
    tunnel: str = ""

    @property
    def pods(self) -> tuple[DemoPod, ...]:
        return (
            self.client,
            DemoPod("node2", "coredns-698fcc7d7c-n8j7q", "kube-system"),
            SERVER,
            DemoPod("node3", "coredns-698fcc7d7c-r6tsw", "kube-system"),
        )


SCENES = {
    "direct": Scene("Never", DemoPod("node1", "pod1", container="717821d73f3c0ffee0ddba11feedf00d")),
    "ipip": Scene("Always", DemoPod("node1", "pod1", container="f3c799362a5c0ffee0ddba11feedf00d"), "tunl0"),
}
TUNNEL_PATIENCE_S = 60.0


class DemoFailed(Exception):
    """What was to be shown is not so."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="./demo", description=__doc__, allow_abbrev=False)
    parser.add_argument("way", nargs="?", choices=tuple(SCENES), default="direct", help="how packets cross (direct)")
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
    started, scene = time.monotonic(), SCENES[way]
    _say(f"A cluster of three nodes: network namespaces {NAME}/node1 to node3, uplink {UPLINK}, one pool 10.244.0.0/16")
    lab = cluster.up(cluster.Wish(name=NAME, ipip=scene.ipip), lambda line: None)
    try:
        _show(lab, scene)
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


def _show(lab: LabState, scene: Scene) -> None:
    addresses = {pod: _add(lab, pod) for pod in scene.pods}
    if scene.tunnel:
        _wait_for_tunnels(lab, scene.tunnel)
    _ping_all(lab, addresses)
    _command(lab, "node1", ["ip", "route"])
    for node in ("node1", "node2") if scene.tunnel else ():
        _command(lab, node, ["ip", "-4", "-brief", "address", "show", "dev", scene.tunnel])
    _command(lab, "node1", ["calicoctl", "get", "no"])
    _command(lab, "node1", ["calicoctl", "node", "status"])
    _fetch_page(lab, scene, addresses)
    _pod_side(lab, scene.client)


def _wait_for_tunnels(lab: LabState, device: str) -> None:
    """A node is sent what it can take: through the tunnel once it has said that its end is up."""
    deadline = time.monotonic() + TUNNEL_PATIENCE_S
    while any(_output(lab, node.name, ["ip", "route"]).count(f" dev {device} ") < 2 for node in lab.nodes):
        if time.monotonic() > deadline:
            raise DemoFailed(f"the nodes do not reach each other through {device} within {TUNNEL_PATIENCE_S:.0f} s")
        time.sleep(0.05)


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
    answered = sum(_ping(lab, source, target) for source in addresses for target in addresses.values())
    _say(f"Every pod pings every pod: {answered} of {len(addresses) ** 2} answered")
    if answered != len(addresses) ** 2:
        raise DemoFailed("some pods do not reach each other; ./demo --keep leaves the lab up to look into")


def _ping(lab: LabState, source: DemoPod, target: str) -> int:
    return int(inside.call(lab.node(source.node).holder, lambda: probe.ping(target), netns=_netns(lab, source)))


def _fetch_page(lab: LabState, scene: Scene, addresses: dict[DemoPod, str]) -> None:
    devices = [device for device in (scene.tunnel, UPLINK) if device]
    client, page_address = lab.node(scene.client.node), addresses[SERVER]
    _say(f"A page from {SERVER} ({page_address}:80), fetched by {scene.client}; meanwhile captures on node1")
    server = inside.start(
        lab.node(SERVER.node).holder,
        lambda ready: probe.serve_page("a page from pod2\n", ready),
        netns=_netns(lab, SERVER),
    )
    wires = [inside.start(client.holder, partial(probe.capture, device)) for device in devices]
    page = inside.call(client.holder, lambda: probe.fetch_page(page_address), netns=_netns(lab, scene.client))
    for running in (*wires, server):
        running.stop()
    print_(f"  {page.strip()}")
    for device, wire in zip(devices, wires, strict=True):
        lines = [line for line in wire.result() if addresses[scene.client] in line]
        _show_capture(lab, device, lines, is_wrapped=bool(scene.tunnel) and device == UPLINK)


def _show_capture(lab: LabState, device: str, lines: list[str], *, is_wrapped: bool) -> None:
    for line in lines[:4]:
        print_(f"  {device}  {line}")
    nodes = {str(IPv4Interface(node.address).ip) for node in lab.nodes}
    wrapped = [line for line in lines if "[" in line and line.split()[1] in nodes]
    if not lines or len(wrapped) != (len(lines) if is_wrapped else 0):
        raise DemoFailed(f"the capture on {device} does not show what was said")
    said = "each in another IP packet, from node to node" if is_wrapped else "nothing is wrapped around them"
    print_(f"  {len(lines)} packets between the pods' own addresses: {said}")


def _pod_side(lab: LabState, pod: DemoPod) -> None:
    _command(lab, pod.node, ["ip", "-brief", "link", "show", "type", "veth"])
    _command(lab, pod.node, ["ip", "-brief", "address", "show", "dev", "eth0"], pod=pod)
    _command(lab, pod.node, ["ip", "route"], pod=pod)


def _command(lab: LabState, node: str, argv: list[str], *, pod: DemoPod | None = None) -> None:
    output = _output(lab, node, argv, pod=pod)
    print_(f"\n{pod or node} ~ {' '.join(argv)}\n{output}".rstrip())


def _output(lab: LabState, node: str, argv: list[str], *, pod: DemoPod | None = None) -> str:
    """What a program prints there. Raises DemoFailed."""
    program = shutil.which(argv[0], path=environment_of(node, lab.environment)["PATH"])
    if program is None:
        raise DemoFailed(f"{argv[0]} is not installed")
    status, output = namespaces.run_inside(
        lab.node(node).holder,
        argv,
        environment=environment_of(node, lab.environment),
        netns=_netns(lab, pod) if pod is not None else None,
    )
    if status:
        raise DemoFailed(f"{' '.join(argv)} ended with status {status}: {output.decode()}")
    return output.decode()


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
