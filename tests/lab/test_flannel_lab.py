"""A lab of flannel's: the documents' tables, pods through the CNI protocol, and another backend under traffic."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest

from lab import cluster, flannel
from tests.lab.conftest import lab_of
from tests.lab.testbed import Testbed

pytestmark = pytest.mark.root

ME = "192.168.50.0/24 dev ens33 proto kernel scope link src 192.168.50.10 metric 100\n"
DEFAULT = "default via 192.168.50.1 dev ens33 proto static metric 100\n"
PODS = "10.244.0.0/24 dev cni0 proto kernel scope link src 10.244.0.1\n"
TABLES = {
    "vxlan": "10.244.1.0/24 via 10.244.1.0 dev flannel.1 onlink\n10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink\n",
    "host-gw": "10.244.1.0/24 via 192.168.50.11 dev ens33\n10.244.2.0/24 via 192.168.50.12 dev ens33\n",
}
TABLES["vxlan-direct"] = TABLES["host-gw"]
MTUS = {"vxlan": 1450, "vxlan-direct": 1450, "host-gw": 1500, "udp": 1472}


@contextmanager
def lab(backend: str, *, is_routed: bool = False, has_ipv6: bool = False) -> Iterator[Testbed]:
    wish = cluster.Wish(network="flannel", backend=backend, is_routed=is_routed, has_ipv6=has_ipv6)
    labs = lab_of(replace(wish, name=f"t-flannel-{backend}"[:30]))
    yield next(labs)
    next(labs, None)


@pytest.mark.parametrize("backend", TABLES)
def test_the_table_is_the_documents_and_pods_reach_each_other(backend: str) -> None:
    with lab(backend) as bed, bed.pods(("node1", "a"), ("node2", "b"), ("node3", "c")) as (_, second, third):
        bed.eventually(
            lambda: bed.routes("node1") == DEFAULT + PODS + TABLES[backend] + ME, what="the documents' table"
        )
        assert bed.ping("node1", "a", second) == bed.ping("node1", "a", third) == 1
        assert f"mtu {MTUS[backend]}" in bed.run("node1", "ip", "link", "show", "eth0", pod="a")
        size = MTUS[backend] - 28
        assert bed.ping("node1", "a", second, size=size, dont_fragment=True) == 1


def test_udp_reaches_all_pods_through_one_route() -> None:
    with lab("udp") as bed, bed.pods(("node1", "a"), ("node2", "b")) as (_, second):
        bed.eventually(lambda: "10.244.0.0/16 dev flannel0\n" in bed.routes("node1"), what="one route")
        bed.eventually(lambda: bed.ping("node1", "a", second), what="an answer")
        assert bed.ping("node1", "a", second, size=MTUS["udp"] - 28, dont_fragment=True) == 1


@pytest.mark.uml
def test_ipip_has_a_device_of_its_own_and_the_nodes_as_gateways_also_behind_a_router() -> None:
    with lab("ipip", is_routed=True) as bed, bed.pods(("node1", "a"), ("node2", "b"), ("node3", "c")) as all_:
        gateways = (("1", "192.168.50.11"), ("2", "192.168.51.12"))
        table = "".join(f"10.244.{n}.0/24 via {node} dev flannel.ipip onlink\n" for n, node in gateways)
        bed.eventually(lambda: table in bed.routes("node1"), what="both through the tunnel")
        assert [bed.ping("node1", "a", address) for address in all_[1:]] == [1, 1]
        device = bed.run("node1", "ip", "-details", "address", "show", "flannel.ipip")
        assert "ipip remote any local 192.168.50.10" in device
        assert "inet 10.244.0.0/32" in device and "mtu 1480" in device
        assert bed.ping("node1", "a", all_[1], size=1480 - 28, dont_fragment=True) == 1
        before = bed.routes("node1")
        bed.run("node1", "ip", "link", "del", "flannel.ipip")
        bed.eventually(lambda: bed.routes("node1") == before, what="the device is made again")
        assert bed.ping("node1", "a", all_[2]) == 1


def test_between_subnets_direct_routing_uses_the_tunnel_and_host_gw_names_the_peer() -> None:
    with lab("vxlan-direct", is_routed=True) as bed, bed.pods(("node1", "a"), ("node2", "b"), ("node3", "c")) as all_:
        table = "10.244.1.0/24 via 192.168.50.11 dev ens33\n10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink\n"
        bed.eventually(lambda: table in bed.routes("node1"), what="one direct, one through the tunnel")
        assert [bed.ping("node1", "a", address) for address in all_[1:]] == [1, 1]
        flannel.switch(bed.reload(), "host-gw", lambda line: None)
        assert bed.ping("node1", "a", all_[1]) == 1
        assert "10.244.2.0/24" not in bed.run("node1", "ip", "route", "show", "dev", "ens33")
        assert "is not on a link of this node" in bed.log("node1", "flanneld")


@pytest.mark.parametrize("ways", [("vxlan", "host-gw"), ("host-gw", "vxlan"), ("vxlan", "vxlan-direct")], ids=str)
def test_another_backend_under_traffic_loses_nothing_and_pods_keep_their_addresses(ways: tuple[str, str]) -> None:
    before, after = ways
    with lab(before) as bed, bed.pods(("node1", "a"), ("node2", "b")) as addresses:
        bed.eventually(lambda: bed.ping("node1", "a", addresses[1]), what="an answer")
        with bed.flow(("node1", "a"), ("node2", "b")) as flow:
            flannel.switch(bed.reload(), after, lambda line: None)
            bed.eventually(lambda: TABLES[after] in bed.routes("node1"), what=f"the table of {after}")
        assert flow.lost == 0
        assert [bed.address("node1", "a"), bed.address("node2", "b")] == addresses


TABLES_V6 = {
    "vxlan": "fd00:10:244:0:1::/80 via fd00:10:244:0:1:: dev flannel-v6.1 metric 1024 onlink pref medium\n",
    "host-gw": "fd00:10:244:0:1::/80 via fd00:50::11 dev ens33 metric 1024 pref medium\n",
}
MTUS_V6 = {"vxlan": 1430, "host-gw": 1500}


def address_v6(bed: Testbed, node: str, pod: str) -> str:
    shown = json.loads(bed.run(node, "ip", "-6", "-json", "address", "show", "dev", "eth0", "scope", "global", pod=pod))
    return str(shown[0]["addr_info"][0]["local"])


@pytest.mark.parametrize("backend", TABLES_V6)
def test_pods_with_both_families_reach_each_other_over_either_and_the_world_over_ipv6_as_their_node(
    backend: str,
) -> None:
    with lab(backend, has_ipv6=True) as bed, bed.pods(("node1", "a"), ("node2", "b")) as (_, second):
        bed.eventually(lambda: TABLES_V6[backend] in bed.run("node1", "ip", "-6", "route"), what="the IPv6 route")
        far = address_v6(bed, "node2", "b")
        assert far.startswith("fd00:10:244:0:1::")
        ping = ("ping", "-n", "-q", "-c", "1", "-W", "1", "-s", str(MTUS_V6[backend] - 48), "-M", "do", far)
        assert bed.ping("node1", "a", second) == 1
        # The bridge asks for a second or two whether somebody else has its address.
        bed.eventually(lambda: " 1 received" in bed.run("node1", *ping, pod="a", may_fail=True), what="an answer")
        assert bed.run("node1", "cat", "/run/flannel/subnet.env").splitlines() == [
            "FLANNEL_NETWORK=10.244.0.0/16",
            "FLANNEL_SUBNET=10.244.0.1/24",
            "FLANNEL_IPV6_NETWORK=fd00:10:244::/64",
            "FLANNEL_IPV6_SUBNET=fd00:10:244::1/80",
            f"FLANNEL_MTU={MTUS_V6[backend]}",
            "FLANNEL_IPMASQ=true",
        ]
        masquerade = "ip6 saddr fd00:10:244::/64 ip6 daddr != ff00::/8 masquerade fully-random"
        assert masquerade in bed.run("node1", "nft", "list", "table", "ip6", "flannel-ipv6")
        asking = bed.start("node2", sender_of_one, pod="")
        bed.run("node1", sys.executable, "-IS", "-c", ASK_V6, pod="a")
        assert asking.result() == "fd00:50::10", "what leaves the network carries its node's address"


PORT_V6 = 7010
ASK_V6 = f"import socket; socket.create_connection(('fd00:50::11', {PORT_V6}), 5)"


def sender_of_one(ready: Callable[[], None]) -> str:
    """Who opens a connection to this node."""
    with socket.create_server(("", PORT_V6), family=socket.AF_INET6) as listener:
        ready()
        connection, sender = listener.accept()
        connection.close()
    return str(sender[0])


def test_an_ipv6_tunnel_that_is_deleted_comes_back_with_its_neighbours() -> None:
    with lab("vxlan", has_ipv6=True) as bed, bed.pods(("node1", "a"), ("node2", "b")):
        far = address_v6(bed, "node2", "b")
        ping = ("ping", "-n", "-q", "-c", "1", "-W", "1", far)
        bed.eventually(lambda: " 1 received" in bed.run("node1", *ping, pod="a", may_fail=True), what="an answer")
        bed.run("node1", "ip", "link", "del", "flannel-v6.1")
        bed.eventually(lambda: TABLES_V6["vxlan"] in bed.run("node1", "ip", "-6", "route"), what="its route again")
        bed.eventually(lambda: " 1 received" in bed.run("node1", *ping, pod="a", may_fail=True), what="another answer")


LARGE_BYTES, PORT, STALLED_S = 300_000, 7009, 5.0


def take(ready: Callable[[], None]) -> int:
    """How much of one connection comes before it ends or stalls."""
    with socket.create_server(("", PORT)) as listener:
        ready()
        connection, _ = listener.accept()
        connection.settimeout(STALLED_S)
        total = 0
        with connection, suppress(TimeoutError):
            while some := connection.recv(1 << 16):
                total += len(some)
    return total


def test_pods_of_host_gw_keep_working_through_vxlan_and_are_listed_until_they_are_made_anew() -> None:
    with lab("host-gw") as bed, bed.pods(("node1", "a"), ("node2", "b")) as (_, second):
        bed.eventually(lambda: bed.ping("node1", "a", second), what="an answer")
        flannel.switch(bed.reload(), "vxlan", lambda line: None)
        bed.eventually(lambda: TABLES["vxlan"] in bed.routes("node1"), what="the table of vxlan")
        assert "mtu 1500" in bed.run("node1", "ip", "link", "show", "eth0", pod="a")
        bed.eventually(lambda: "MTU 1500, the network carries 1450" in bed.log("node1", "flanneld"), what="a word")
        clamp = ("nft", "list", "table", "ip", "flannel-ipv4")
        bed.eventually(lambda: "maxseg size set 1410" in bed.run("node1", *clamp), what="TCP to be clamped")
        let_nobody_hear_of_smaller_paths(bed)
        taking = bed.start("node2", take, pod="b")
        send = f"import socket; socket.create_connection(({second!r}, {PORT})).sendall(bytes({LARGE_BYTES}))"
        bed.run("node1", sys.executable, "-IS", "-c", send, pod="a")
        assert taking.result() == LARGE_BYTES
        for node, pod in (("node1", "a"), ("node2", "b")):
            bed.del_pod(node, pod)
            bed.add_pod(node, pod)
        assert "mtu 1450" in bed.run("node1", "ip", "link", "show", "eth0", pod="a")
        bed.eventually(lambda: "maxseg" not in bed.run("node1", *clamp), what="TCP to be left alone again")


def let_nobody_hear_of_smaller_paths(bed: Testbed) -> None:
    """As where somebody filters ICMP: then only the segments' size is left to help."""
    for node in ("node1", "node2"):
        bed.run(node, "nft", "add table ip deaf")
        bed.run(node, "nft", "add chain ip deaf out { type filter hook output priority 0 ; }")
        bed.run(node, "nft", "add rule ip deaf out icmp type destination-unreachable drop")


def test_a_node_that_joins_is_reached_and_one_that_is_deleted_leaves_nothing() -> None:
    with lab("vxlan") as bed:
        cluster.add_node(bed.lab.name, lambda line: None)
        bed.eventually(lambda: "10.244.3.0/24 via 10.244.3.0 dev flannel.1 onlink" in bed.routes("node1"), what="node4")
        cluster.delete_node(bed.lab.name, "node4")
        bed.reload()
        bed.eventually(lambda: "10.244.3.0" not in bed.routes("node1"), what="no route to node4")
        bed.eventually(lambda: "10.244.3.0" not in bed.run("node1", "ip", "neigh"), what="no neighbour either")
