"""What a lab looks like before any of it exists: names, addresses and the commands that make its network. Pure.

    fabric     a namespace with a bridge for each subnet, the gateway 192.168.50.1 (and .51.1 behind it with --routed)
    node1 …    namespaces with an uplink ens33 in that bridge, .10, .11, …; with --routed the last at 192.168.51.12

With --ipv6 every subnet has an IPv6 one beside it, fd00:50::/64 and fd00:51::/64, and hosts have the same last number
in both: 192.168.50.10 and fd00:50::10. The fabric routes between its subnets and knows nothing of pods.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network

UPLINK = "ens33"
FIRST_HOST = 10
SUBNET = IPv4Network("192.168.50.0/24")
GATEWAY = SUBNET[1]
"""The fabric's own address there."""
FAR_SUBNET = IPv4Network("192.168.51.0/24")
FAR_HOST = 12
SUBNET_V6, FAR_SUBNET_V6 = IPv6Network("fd00:50::/64"), IPv6Network("fd00:51::/64")
LARGEST_NEAR = 240
"""Nodes that fit into the near subnet; a wish for more gets a wider one."""


class BadWish(Exception):
    """The lab that was asked for cannot be made; the message says why."""


@dataclass(frozen=True, slots=True)
class NodePlan:
    """``number`` counts from 1 and never comes again in a lab, also when its node is deleted. Without ``address_v6``
    the node has IPv4 only.
    """

    name: str
    number: int
    address: IPv4Interface
    gateway: str
    address_v6: IPv6Interface | None = None

    @property
    def port(self) -> str:
        """The fabric's end of the uplink."""
        return f"port{self.number}"

    @property
    def is_far(self) -> bool:
        return self.address.ip in FAR_SUBNET


def near_subnet(count: int) -> IPv4Network:
    return SUBNET if count <= LARGEST_NEAR else IPv4Network("192.168.0.0/16")


def node(number: int, *, subnet: IPv4Network = SUBNET, is_far: bool = False, has_ipv6: bool = False) -> NodePlan:
    """The node of that number. Raises BadWish when the subnet has no address left for it."""
    address_v6 = _beside(FAR_HOST if is_far else FIRST_HOST + number - 1, is_far=is_far) if has_ipv6 else None
    if is_far:
        address = IPv4Interface((FAR_SUBNET[FAR_HOST], 24))
        return NodePlan(f"node{number}", number, address, str(FAR_SUBNET[1]), address_v6)
    gateway = SUBNET[1]
    at = int(SUBNET[FIRST_HOST]) + number - 1
    if at >= int(subnet.broadcast_address):
        raise BadWish(f"node{number}: the lab's subnet {subnet} has no address left for it")
    address = IPv4Interface((at, subnet.prefixlen))
    return NodePlan(f"node{number}", number, address, str(gateway), address_v6)


def _beside(last: int, *, is_far: bool) -> IPv6Interface:
    """Written with the same digits as in IPv4."""
    subnet = FAR_SUBNET_V6 if is_far else SUBNET_V6
    return IPv6Interface((subnet[int(str(last), 16)], subnet.prefixlen))


def nodes(count: int, *, is_routed: bool, has_ipv6: bool = False) -> list[NodePlan]:
    """Raises BadWish."""
    if count < 1:
        raise BadWish("--nodes: a lab has at least one node")
    if is_routed and count < 2:
        raise BadWish("--routed puts the last node behind a router: ask for at least two nodes")
    subnet = near_subnet(count)
    return [
        node(number, subnet=subnet, is_far=is_routed and number == count, has_ipv6=has_ipv6)
        for number in range(1, count + 1)
    ]


def fabric_commands(*, subnet: IPv4Network, is_routed: bool, has_ipv6: bool = False) -> list[str]:
    """Lines for ``ip -batch`` in the fabric's namespace."""
    near = [f"{SUBNET[1]}/{subnet.prefixlen}", *([f"{SUBNET_V6[1]}/64 nodad"] if has_ipv6 else [])]
    far = [f"{FAR_SUBNET[1]}/24", *([f"{FAR_SUBNET_V6[1]}/64 nodad"] if has_ipv6 else [])]
    return ["link set lo up", *_bridge("near", near), *(_bridge("far", far) if is_routed else [])]


def _bridge(name: str, addresses: list[str]) -> list[str]:
    return [
        f"link add {name} type bridge forward_delay 0",
        *(f"address add {address} dev {name}" for address in addresses),
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
        *_node_commands_v6(plan.address_v6),
    ]


def _node_commands_v6(address: IPv6Interface | None) -> list[str]:
    if address is None:
        return []
    return [
        f"address add {address} dev {UPLINK} nodad metric 100",
        f"route add default via {address.network[1]} dev {UPLINK} proto static metric 100",
    ]
