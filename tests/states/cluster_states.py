"""Named states of a cluster, and what ``ip route`` prints on node1 in each. To be read."""

from __future__ import annotations

from dataclasses import replace

from felix.fib.model import Hop, Network, Protocol, Route, RouteType, Scope
from felix.view import Listed
from tests.clusters import address, affinity, block, foreign, learned, network, node, pod, pool
from tests.states.node import State

DOCKER = "172.17.0.0/16 dev docker0 proto kernel scope link src 172.17.0.1\n"
UPLINK = "192.168.50.0/24 dev ens33 proto kernel scope link src 192.168.50.10 metric 100\n"
UPLINK_V6 = "fd01::/64 dev ens33 proto kernel metric 256 pref medium\n"
DEFAULT = "default via 192.168.50.1 dev ens33 proto static metric 100\n"
GATEWAY = foreign("0.0.0.0/0", "192.168.50.1", metric=100)

COREDNS = pod("node1", "coredns", "10.244.166.128/32", device="cali717821d73f3")
NODES = (node("node1", "192.168.50.10/24"), node("node2", "192.168.50.11/24"), node("node3", "192.168.50.12/24"))
BLOCKS = (
    affinity("node1", "10.244.166.128/26"),
    affinity("node2", "10.244.104.0/26"),
    affinity("node3", "10.244.135.0/26"),
    block("node1", "10.244.166.128/26"),
    block("node2", "10.244.104.0/26"),
    block("node3", "10.244.135.0/26"),
)
TO_NODE2, TO_NODE3 = learned("10.244.104.0/26", "192.168.50.11"), learned("10.244.135.0/26", "192.168.50.12")

DOCUMENT = State(
    "the documents' three nodes",
    DEFAULT
    + "10.244.104.0/26 via 192.168.50.11 dev ens33 proto bird\n"
    + "10.244.135.0/26 via 192.168.50.12 dev ens33 proto bird\n"
    + "10.244.166.128 dev cali717821d73f3 scope link\n"
    + "blackhole 10.244.166.128/26 proto bird\n"
    + DOCKER
    + UPLINK
    + UPLINK_V6,
    (pool(), *NODES, *BLOCKS, COREDNS),
    (TO_NODE2, TO_NODE3),
    (GATEWAY,),
)


def but(name: str, table: str, *, of: State = DOCUMENT, with_: tuple[Listed, ...] = (), **rest: object) -> State:
    """``of``, but with other resources in place of those of the same name, and ``rest``."""
    resources = {**of.by_key, **{one.resource.key: one for one in with_}}
    return replace(of, name=name, table=table, resources=tuple(resources.values()), **rest)  # type: ignore[arg-type]


ALONE = State(
    "one node, alone",
    DEFAULT
    + "10.244.166.128 dev cali717821d73f3 scope link\nblackhole 10.244.166.128/26 proto bird\n"
    + DOCKER
    + UPLINK
    + UPLINK_V6,
    (pool(), NODES[0], BLOCKS[0], BLOCKS[3], COREDNS),
    (),
    (GATEWAY,),
)

EMPTY = State("nothing of ours at all", DEFAULT + DOCKER + UPLINK + UPLINK_V6, foreign=(GATEWAY,))

NODE_DELETED = State(
    "node3 was deleted",
    DOCUMENT.table.replace("10.244.135.0/26 via 192.168.50.12 dev ens33 proto bird\n", ""),
    (pool(), *NODES[:2], BLOCKS[0], BLOCKS[1], BLOCKS[3], BLOCKS[4], COREDNS),
    (TO_NODE2,),
    (GATEWAY,),
)

BORROWED = but(
    "node2 borrowed an address of ours, and we one of node3's",
    DEFAULT
    + "10.244.104.0/26 via 192.168.50.11 dev ens33 proto bird\n"
    + "10.244.135.0/26 via 192.168.50.12 dev ens33 proto bird\n"
    + "10.244.135.7 dev cali0000000000b scope link\n"
    + "10.244.166.128 dev cali717821d73f3 scope link\n"
    + "blackhole 10.244.166.128/26 proto bird\n"
    + "10.244.166.130 via 192.168.50.11 dev ens33 proto bird\n"
    + DOCKER
    + UPLINK
    + UPLINK_V6,
    with_=(pod("node1", "borrower", "10.244.135.7/32", device="cali0000000000b"),),
    learned=(TO_NODE2, TO_NODE3, learned("10.244.166.130/32", "192.168.50.11")),
)

MOVED_AWAY = but(
    "node2's block belongs to node3",
    DOCUMENT.table.replace("10.244.104.0/26 via 192.168.50.11", "10.244.104.0/26 via 192.168.50.12"),
    with_=(block("node3", "10.244.104.0/26"), affinity("node2", "10.244.104.0/26", "pendingDeletion")),
    learned=(learned("10.244.104.0/26", "192.168.50.12"), TO_NODE3),
)

MOVED_HERE = but(
    "node2's block belongs to us, and a pod has an address of it",
    DEFAULT
    + "blackhole 10.244.104.0/26 proto bird\n"
    + "10.244.104.5 dev cali0000000000b scope link\n"
    + "10.244.135.0/26 via 192.168.50.12 dev ens33 proto bird\n"
    + "10.244.166.128 dev cali717821d73f3 scope link\n"
    + "blackhole 10.244.166.128/26 proto bird\n"
    + DOCKER
    + UPLINK
    + UPLINK_V6,
    with_=(affinity("node1", "10.244.104.0/26"), pod("node1", "mover", "10.244.104.5/32", device="cali0000000000b")),
    learned=(TO_NODE3,),
)

NOT_CONFIRMED = but(
    "our block is claimed but not confirmed",
    DOCUMENT.table.replace("blackhole 10.244.166.128/26 proto bird\n", ""),
    with_=(affinity("node1", "10.244.166.128/26", "pending"),),
)

SMALL_BLOCKS = but(
    "blocks of one address, and a block that is a pod's",
    DOCUMENT.table.replace(
        "blackhole 10.244.166.128/26 proto bird\n",
        "blackhole 10.244.166.128/26 proto bird\n10.244.200.1 dev cali0000000000b scope link\n",
    ),
    with_=(
        affinity("node1", "10.244.200.1/32"),
        affinity("node1", "10.244.200.2/32"),
        pod("node1", "lonely", "10.244.200.1/32", device="cali0000000000b"),
    ),
)

DISABLED = but("the pool is disabled", DOCUMENT.table, with_=(pool(disabled=True),))

CROSS_SUBNET = but("the pool asks for ipip across subnets only", DOCUMENT.table, with_=(pool(ipipMode="CrossSubnet"),))

BY_BLOCKS = but(
    "the pool asks for vxlan across subnets only, so blocks tell where nodes are",
    DOCUMENT.table.replace(
        "10.244.166.128 dev",
        "10.244.135.9 via 192.168.50.11 dev ens33 proto bird\n10.244.166.128 dev",
    ),
    with_=(pool(vxlanMode="CrossSubnet"), block("node3", "10.244.135.0/26", borrowed={9: "node2"})),
    learned=(learned("10.244.104.0/26", "192.168.50.99"),),
)

NO_UPLINK = but(
    "the uplink is down",
    "10.244.166.128 dev cali717821d73f3 scope link\nblackhole 10.244.166.128/26 proto bird\n" + DOCKER,
    foreign=(),
    down=frozenset({"ens33"}),
)

IN_THE_WAY = but(
    "another program has a route to node2's block",
    DOCUMENT.table.replace(
        "10.244.104.0/26 via 192.168.50.11 dev ens33 proto bird",
        "10.244.104.0/26 via 192.168.50.77 dev ens33 proto static",
    ),
    foreign=(GATEWAY, foreign("10.244.104.0/26", "192.168.50.77")),
)

OFF_LINK = but(
    "node3 is in another subnet, behind a router of its own",
    DOCUMENT.table.replace("10.244.135.0/26 via 192.168.50.12", "10.244.135.0/26 via 192.168.50.2").replace(
        UPLINK, UPLINK + "192.168.51.0/24 via 192.168.50.2 dev ens33 proto static\n"
    ),
    with_=(node("node3", "192.168.51.12/24"),),
    learned=(TO_NODE2, learned("10.244.135.0/26", "192.168.51.12")),
    foreign=(GATEWAY, foreign("192.168.51.0/24", "192.168.50.2")),
)

BEHIND_DEFAULT = but(
    "node3 is in another subnet, behind the default gateway",
    DOCUMENT.table.replace("10.244.135.0/26 via 192.168.50.12", "10.244.135.0/26 via 192.168.50.1"),
    with_=(node("node3", "192.168.51.12/24"),),
    learned=(TO_NODE2, learned("10.244.135.0/26", "192.168.51.12")),
)

EXTERNAL = but(
    "a router announces networks outside the pools, one of them our own link",
    DOCUMENT.table.replace(DOCKER, "172.16.8.0/22 via 192.168.50.254 dev ens33 proto bird\n" + DOCKER),
    learned=(
        TO_NODE2,
        TO_NODE3,
        learned("172.16.8.0/22", "192.168.50.254"),
        learned("192.168.50.0/24", "192.168.50.254"),
    ),
)

TWO_WAYS = but(
    "two routers announce one network",
    DOCUMENT.table.replace(
        DOCKER,
        "172.16.8.0/22 proto bird nexthop via 192.168.50.253 dev ens33 weight 1 "
        "nexthop via 192.168.50.254 dev ens33 weight 1\n" + DOCKER,
    ),
    learned=(TO_NODE2, TO_NODE3, learned("172.16.8.0/22", "192.168.50.253", "192.168.50.254")),
)

TWO_LIVES = but(
    "a pod was made anew before its former life was forgotten",
    DOCUMENT.table.replace("cali717821d73f3", "cali0000000000b"),
    with_=(
        pod("node1", "coredns", "10.244.166.128/32", device="cali717821d73f3", created="2024-01-01T00:00:00Z"),
        pod("node1", "coredns-2", "10.244.166.128/32", device="cali0000000000b", created="2024-01-02T00:00:00Z"),
    ),
)

DUAL_STACK = but(
    "both families",
    DOCUMENT.table.replace(
        UPLINK_V6,
        "fd00:10:244::/122 via fd01::11 dev ens33 proto bird metric 1024 pref medium\n"
        "blackhole fd00:10:244::40/122 dev lo proto bird metric 1024 pref medium\n"
        "fd00:10:244::41 dev cali717821d73f3 metric 1024 pref medium\n" + UPLINK_V6,
    ),
    with_=(
        pool("fd00:10:244::/64", "default-ipv6-ippool"),
        pod("node1", "coredns", "10.244.166.128/32", "fd00:10:244::41/128", device="cali717821d73f3"),
        affinity("node1", "fd00:10:244::40/122"),
    ),
    learned=(TO_NODE2, TO_NODE3, learned("fd00:10:244::/122", "fd01::11")),
)

NO_POOLS = State(
    "the pool was deleted and its pods and blocks are still there",
    DOCUMENT.table,
    (*NODES, *BLOCKS, COREDNS),
    DOCUMENT.learned,
    DOCUMENT.foreign,
)

STATES = (
    DOCUMENT,
    ALONE,
    EMPTY,
    NODE_DELETED,
    BORROWED,
    MOVED_AWAY,
    MOVED_HERE,
    NOT_CONFIRMED,
    SMALL_BLOCKS,
    DISABLED,
    CROSS_SUBNET,
    BY_BLOCKS,
    NO_UPLINK,
    IN_THE_WAY,
    OFF_LINK,
    BEHIND_DEFAULT,
    EXTERNAL,
    TWO_WAYS,
    TWO_LIVES,
    DUAL_STACK,
    NO_POOLS,
)
PODS_DEVICES = ("cali717821d73f3", "cali0000000000b")


def _pod_route(dst: str, device: str, *, metric: int = 0) -> Route:
    return Route(network(dst), (Hop(device),), protocol=Protocol.BOOT, scope=Scope.LINK, metric=metric)


def _via(dst: str, last: int, protocol: int, *, onlink: bool = False) -> Route:
    return Route(network(dst), (Hop("ens33", address(f"192.168.50.{last}"), onlink),), protocol=protocol)


def _blackhole(dst: Network, protocol: int) -> Route:
    return Route(dst, type=RouteType.BLACKHOLE, protocol=protocol)


LEFT_BY_FELIX = (
    _via("10.244.104.0/26", 11, Protocol.CALICO, onlink=True),
    _via("10.244.77.0/26", 11, Protocol.CALICO, onlink=True),
    _blackhole(network("10.244.166.128/26"), Protocol.CALICO),
    _pod_route("10.244.166.128/32", "cali717821d73f3", metric=1024),
    _pod_route("10.244.166.177/32", "cali0000000000b", metric=1024),
)
LEFT_BY_BIRD = (
    _via("10.244.104.0/26", 12, Protocol.BIRD),
    _via("10.244.77.0/26", 11, Protocol.BIRD),
    _blackhole(network("10.244.166.128/26"), Protocol.BIRD),
    _blackhole(network("10.244.104.64/26"), Protocol.BIRD),
    _pod_route("10.244.166.128/32", "cali717821d73f3", metric=1024),
)
LEFT = {"nothing": (), "upstream's felix": LEFT_BY_FELIX, "upstream's bird": LEFT_BY_BIRD}
