"""``./demo``: three nodes, pods that reach each other, an operator's tables, and what crosses the wire.

Everything shown is the output of the program named before it, run on the node named before that.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Interface

from lab import cluster, flannel_demo, inside, probe, runtime
from lab.machine import boot, kernel
from lab.namespaces import NamespaceError
from lab.node import LabError
from lab.plan import UPLINK, BadWish
from lab.show import DemoFailed, DemoPod, command, netns, output, print_, say
from lab.state import LabState

NAME = "demo"


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


def main() -> int:
    parser = argparse.ArgumentParser(prog="./demo", description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "way", nargs="?", choices=(*SCENES, "flannel"), default="direct", help="how packets cross (direct)"
    )
    parser.add_argument("--keep", action="store_true", help="leave the lab up, for: lab --help (LAB_NAME=demo)")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.stderr.write("./demo makes network namespaces, which needs root: run it as root.\n")
        return 1
    try:
        if arguments.way == "ipip" and not kernel.has_ipip():
            return _in_a_machine(keep=arguments.keep)
        if arguments.way == "flannel":
            return flannel_demo.run(keep=arguments.keep)
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
    say("This machine's kernel has no ipip: booting one that has, in user-mode-linux")
    return boot.run([sys.executable, "-m", "lab.demo", "ipip"])


def _run(way: str, *, keep: bool) -> int:
    started, scene = time.monotonic(), SCENES[way]
    say(f"A cluster of three nodes: network namespaces {NAME}/node1 to node3, uplink {UPLINK}, one pool 10.244.0.0/16")
    lab = cluster.up(cluster.Wish(name=NAME, ipip=scene.ipip), lambda line: None)
    try:
        _show(lab, scene)
    except BaseException:
        if not keep:
            cluster.down(NAME)
        raise
    if keep:
        say(f"The lab stays up: LAB_NAME={NAME} lab status, … lab exec node1 -- ip route, … lab down")
    else:
        cluster.down(NAME)
        say(f"Everything taken down again, {time.monotonic() - started:.1f} s after the start")
    return 0


def _show(lab: LabState, scene: Scene) -> None:
    addresses = {pod: _add(lab, pod) for pod in scene.pods}
    if scene.tunnel:
        _wait_for_tunnels(lab, scene.tunnel)
    _ping_all(lab, addresses)
    command(lab, "node1", ["ip", "route"])
    for node in ("node1", "node2") if scene.tunnel else ():
        command(lab, node, ["ip", "-4", "-brief", "address", "show", "dev", scene.tunnel])
    command(lab, "node1", ["calicoctl", "get", "no"])
    command(lab, "node1", ["calicoctl", "node", "status"])
    _fetch_page(lab, scene, addresses)
    _pod_side(lab, scene.client)


def _wait_for_tunnels(lab: LabState, device: str) -> None:
    """A node is sent what it can take: through the tunnel once it has said that its end is up."""
    deadline = time.monotonic() + TUNNEL_PATIENCE_S
    while any(output(lab, node.name, ["ip", "route"]).count(f" dev {device} ") < 2 for node in lab.nodes):
        if time.monotonic() > deadline:
            raise DemoFailed(f"the nodes do not reach each other through {device} within {TUNNEL_PATIENCE_S:.0f} s")
        time.sleep(0.05)


def _add(lab: LabState, pod: DemoPod) -> str:
    runtime.add_pod(lab, lab.node(pod.node), pod.name, pod.namespace, container=pod.container)
    address = str(inside.call(lab.node(pod.node).holder, _own_address, netns=netns(lab, pod)))
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
    say(f"Every pod pings every pod: {answered} of {len(addresses) ** 2} answered")
    if answered != len(addresses) ** 2:
        raise DemoFailed("some pods do not reach each other; ./demo --keep leaves the lab up to look into")


def _ping(lab: LabState, source: DemoPod, target: str) -> int:
    return int(inside.call(lab.node(source.node).holder, lambda: probe.ping(target), netns=netns(lab, source)))


def _fetch_page(lab: LabState, scene: Scene, addresses: dict[DemoPod, str]) -> None:
    devices = [device for device in (scene.tunnel, UPLINK) if device]
    client, page_address = lab.node(scene.client.node), addresses[SERVER]
    say(f"A page from {SERVER} ({page_address}:80), fetched by {scene.client}; meanwhile captures on node1")
    server = inside.start(
        lab.node(SERVER.node).holder,
        lambda ready: probe.serve_page("a page from pod2\n", ready),
        netns=netns(lab, SERVER),
    )
    wires = [inside.start(client.holder, partial(probe.capture, device)) for device in devices]
    page = inside.call(client.holder, lambda: probe.fetch_page(page_address), netns=netns(lab, scene.client))
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
    command(lab, pod.node, ["ip", "-brief", "link", "show", "type", "veth"])
    command(lab, pod.node, ["ip", "-brief", "address", "show", "dev", "eth0"], pod=pod)
    command(lab, pod.node, ["ip", "route"], pod=pod)


if __name__ == "__main__":
    sys.exit(main())
