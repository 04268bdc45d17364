"""What a lab looks like before any of it exists: names, addresses and the commands that make its network. Pure.

    fabric     a namespace with a bridge for each subnet, the gateway 192.168.50.1 (and .51.1 behind it with --routed)
    node1 …    namespaces with an uplink ens33 in that bridge, .10, .11, …; with --routed the last at 192.168.51.12

The fabric routes between its subnets and knows nothing of pods.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network

UPLINK = "ens33"
FIRST_HOST = 10
SUBNET = IPv4Network("192.168.50.0/24")
GATEWAY = SUBNET[1]
"""The fabric's own address there."""
FAR_SUBNET = IPv4Network("192.168.51.0/24")
FAR_HOST = 12
LARGEST_NEAR = 240
"""Nodes that fit into the near subnet; a wish for more gets a wider one."""


class BadWish(Exception):
    """The lab that was asked for cannot be made; the message says why."""


@dataclass(frozen=True, slots=True)
class NodePlan:
    """``number`` counts from 1 and never comes again in a lab, also when its node is deleted."""

    name: str
    number: int
    address: IPv4Interface
    gateway: str

    @property
    def port(self) -> str:
        """The fabric's end of the uplink."""
        return f"port{self.number}"

    @property
    def is_far(self) -> bool:
        return self.address.ip in FAR_SUBNET


def near_subnet(count: int) -> IPv4Network:
    return SUBNET if count <= LARGEST_NEAR else IPv4Network("192.168.0.0/16")


def node(number: int, *, subnet: IPv4Network = SUBNET, is_far: bool = False) -> NodePlan:
    """The node of that number. Raises BadWish when the subnet has no address left for it."""
    if is_far:
        return NodePlan(f"node{number}", number, IPv4Interface((FAR_SUBNET[FAR_HOST], 24)), str(FAR_SUBNET[1]))
    gateway = SUBNET[1]
    at = int(SUBNET[FIRST_HOST]) + number - 1
    if at >= int(subnet.broadcast_address):
        raise BadWish(f"node{number}: the lab's subnet {subnet} has no address left for it")
    address = IPv4Interface((at, subnet.prefixlen))
    return NodePlan(f"node{number}", number, address, str(gateway))


def nodes(count: int, *, is_routed: bool) -> list[NodePlan]:
    """Raises BadWish."""
    if count < 1:
        raise BadWish("--nodes: a lab has at least one node")
    if is_routed and count < 2:
        raise BadWish("--routed puts the last node behind a router: ask for at least two nodes")
    subnet = near_subnet(count)
    return [node(number, subnet=subnet, is_far=is_routed and number == count) for number in range(1, count + 1)]


def fabric_commands(*, subnet: IPv4Network, is_routed: bool) -> list[str]:
    """Lines for ``ip -batch`` in the fabric's namespace."""
    lines = ["link set lo up", *_bridge("near", f"{SUBNET[1]}/{subnet.prefixlen}")]
    return lines + (_bridge("far", f"{FAR_SUBNET[1]}/24") if is_routed else [])


def _bridge(name: str, address: str) -> list[str]:
    return [
        f"link add {name} type bridge forward_delay 0",
        f"address add {address} dev {name}",
        f"link set {name} up",
    ]


def uplink_commands(plan: NodePlan, node_pid: int) -> list[str]:
    """In the fabric: a cable to the node."""
    bridge = "far" if plan.is_far else "near"
    return [
        f"link add {plan.port} type veth peer name {UPLINK} netns {node_pid}",
        f"link set {plan.port} master {bridge} up",
    ]


def node_commands(plan: NodePlan) -> list[str]:
    """In the node: the uplink as an installer would configure it."""
    return [
        "link set lo up",
        f"link set {UPLINK} up",
        f"address add {plan.address} dev {UPLINK} metric 100",
        f"route add default via {plan.gateway} dev {UPLINK} proto static metric 100",
    ]
