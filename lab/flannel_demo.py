"""``./demo flannel``: three nodes of flannel's, the documents' tables, what crosses the wire, and another backend.

Everything shown is the output of the program named before it, run on the node named before that.
"""

from __future__ import annotations

import time
from functools import partial
from ipaddress import IPv4Interface

from lab import cluster, daemons, flannel, inside, probe, runtime
from lab.plan import UPLINK
from lab.show import DemoFailed, DemoPod, command, netns, output, print_, say
from lab.state import LabState

NAME = "demo"
PODS = (DemoPod("node1", "pod1"), DemoPod("node2", "pod2"), DemoPod("node3", "pod3"))
CLIENT, SERVER = PODS[0], PODS[1]
VXLAN_PORT = 8472
PATIENCE_S = 20.0
_NEWS = ("Found network config", "Subnet added", "Replacing existing route", "Wrote subnet file")


def run(*, keep: bool) -> int:
    started = time.monotonic()
    say(
        f"A cluster of three nodes: network namespaces {NAME}/node1 to node3, uplink {UPLINK}, flannel on 10.244.0.0/16"
    )
    lab = cluster.up(cluster.Wish(name=NAME, network="flannel", backend="vxlan"), lambda line: None)
    try:
        _show(lab)
    except BaseException:
        if not keep:
            cluster.down(NAME)
        raise
    if keep:
        say(f"The lab stays up: LAB_NAME={NAME} lab status, … lab backend udp, … lab down")
    else:
        cluster.down(NAME)
        say(f"Everything taken down again, {time.monotonic() - started:.1f} s after the start")
    return 0


def _show(lab: LabState) -> None:
    addresses = {pod: _add(lab, pod) for pod in PODS}
    _wait_for(lab, "dev flannel.1 onlink")
    _ping_all(lab, addresses)
    command(lab, "node1", ["ip", "route"])
    command(lab, "node1", ["cat", "/run/flannel/subnet.env"])
    command(lab, "node1", ["ip", "-details", "link", "show", "flannel.1"])
    _page(lab, addresses, is_wrapped=True)
    _switch(lab, addresses)
    command(lab, "node1", ["ip", "route"])
    command(lab, "node1", ["cat", "/run/flannel/subnet.env"])
    _page(lab, addresses, is_wrapped=False)


def _add(lab: LabState, pod: DemoPod) -> str:
    runtime.add_pod(lab, lab.node(pod.node), pod.name, pod.namespace)
    shown = output(lab, pod.node, ["ip", "-brief", "-4", "address", "show", "dev", "eth0"], pod=pod)
    address = str(IPv4Interface(shown.split()[2]).ip)
    print_(f"  {pod.node}: {pod.namespace}/{pod.name} has {address}")
    return address


def _wait_for(lab: LabState, words: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while any(output(lab, node.name, ["ip", "route"]).count(words) < len(lab.nodes) - 1 for node in lab.nodes):
        if time.monotonic() > deadline:
            raise DemoFailed(f"the nodes' tables do not say {words!r} within {PATIENCE_S:.0f} s")
        time.sleep(0.05)


def _ping_all(lab: LabState, addresses: dict[DemoPod, str]) -> None:
    answered = sum(_ping(lab, source, target) for source in addresses for target in addresses.values())
    say(f"Every pod pings every pod: {answered} of {len(addresses) ** 2} answered")
    if answered != len(addresses) ** 2:
        raise DemoFailed("some pods do not reach each other; ./demo flannel --keep leaves the lab up to look into")


def _ping(lab: LabState, source: DemoPod, target: str) -> int:
    return int(inside.call(lab.node(source.node).holder, lambda: probe.ping(target), netns=netns(lab, source)))


def _page(lab: LabState, addresses: dict[DemoPod, str], *, is_wrapped: bool) -> None:
    page_address, client = addresses[SERVER], lab.node(CLIENT.node)
    say(f"A page from {SERVER} ({page_address}:80), fetched by {CLIENT}; meanwhile a capture on node1's {UPLINK}")
    server = inside.start(
        lab.node(SERVER.node).holder,
        lambda ready: probe.serve_page("a page from pod2\n", ready),
        netns=netns(lab, SERVER),
    )
    wire = inside.start(client.holder, partial(probe.capture, UPLINK, vxlan_port=VXLAN_PORT))
    page = inside.call(client.holder, lambda: probe.fetch_page(page_address), netns=netns(lab, CLIENT))
    for running in (wire, server):
        running.stop()
    print_(f"  {page.strip()}")
    lines = [line for line in wire.result() if addresses[CLIENT] in line]
    for line in lines[:4]:
        print_(f"  {UPLINK}  {line}")
    wrapped = [line for line in lines if f".{VXLAN_PORT}: UDP" in line and "[IP " in line]
    if not lines or len(wrapped) != (len(lines) if is_wrapped else 0):
        raise DemoFailed(f"the capture on {UPLINK} does not show what was said")
    said = f"each in a UDP packet to port {VXLAN_PORT}, from node to node" if is_wrapped else "nothing is around them"
    print_(f"  {len(lines)} packets between the pods' own addresses: {said}")


def _switch(lab: LabState, addresses: dict[DemoPod, str]) -> None:
    say("Backend host-gw: net-conf.json is edited and the daemons restarted, one node after the other; the pods go on")
    before = len(_log(lab))
    flannel.switch(lab, "host-gw", lambda line: print_(f"  {line}"))
    _wait_for(lab, f"dev {UPLINK}")
    _ping_all(lab, addresses)
    print_("\nnode1 ~ flanneld's log")
    for line in _log(lab)[before:].splitlines():
        if any(word in line for word in _NEWS):
            print_(line)


def _log(lab: LabState) -> str:
    return daemons.log_path(lab, lab.node("node1"), daemons.FLANNELD).read_text()
