"""flanneld on the real kernel with a real etcd: what it writes, what it restores, and what it never loses."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.machine.kernel import has_ipip
from tests.lab.flannel_nodes import PREFIX, Flow, Site, eventually, site

pytestmark = [pytest.mark.root, pytest.mark.server]

VXLAN, HOST_GW = '"Type": "vxlan"', '"Type": "host-gw"'
BOTH = pytest.mark.parametrize("backend", [VXLAN, HOST_GW], ids=["vxlan", "host-gw"])


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as made:
        yield made


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path, 2) as made:
        yield made


def test_three_nodes_of_vxlan_reach_each_other_through_what_the_original_would_write(three: Site) -> None:
    three.configure(VXLAN)
    three.start_all("-ip-masq")
    one, two, _ = three.nodes
    base = two.subnet.partition("/")[0]
    assert f"{two.subnet} via {base} dev flannel.1 onlink" in one.routes()
    assert f"{base} lladdr {two.mac()} PERMANENT" in one.neighbours()
    assert f"{two.mac()} dst {two.address} self permanent" in one.forwarding()
    device = one.device()
    assert "vxlan id 1 local 192.168.99.1 dev eth0 srcport 0 0 dstport 8472 nolearning" in device
    assert f"inet {one.subnet.partition('/')[0]}/32 scope global flannel.1" in device
    assert "mtu 1450" in device
    assert one.env == {
        "FLANNEL_NETWORK": "10.5.0.0/16",
        "FLANNEL_SUBNET": one.subnet.replace(".0/", ".1/"),
        "FLANNEL_MTU": "1450",
        "FLANNEL_IPMASQ": "true",
    }
    data = f'{{"VNI":1,"VtepMAC":"{one.mac()}"}}'
    value = f'{{"PublicIP":"192.168.99.1","PublicIPv6":null,"BackendType":"vxlan","BackendData":{data}}}'
    assert three.etcd.value(three.key_of(one)) == value
    assert three.all_reach_all()


def test_three_nodes_of_host_gw_reach_each_other_by_the_documents_routes(three: Site) -> None:
    three.configure(HOST_GW)
    three.start_all()
    one, two, third = three.nodes
    assert sorted(one.routes()) == sorted(
        [f"{two.subnet} via 192.168.99.2 dev eth0", f"{third.subnet} via 192.168.99.3 dev eth0"]
    )
    assert one.env["FLANNEL_MTU"] == "1500"
    assert "flannel" not in one.where.ip("-br link")
    assert three.all_reach_all()


@BOTH
@pytest.mark.parametrize("kill", [False, True], ids=["SIGTERM", "kill -9"])
def test_a_restart_under_traffic_loses_nothing(two: Site, backend: str, kill: bool) -> None:
    two.configure(backend)
    two.start_all()
    before = two.nodes[0].state(), two.nodes[1].state()
    with Flow(*two.nodes) as flow:
        for node in two.nodes:
            node.restart(kill=kill)
    assert flow.lost == 0
    assert (two.nodes[0].state(), two.nodes[1].state()) == before


@BOTH
def test_sigterm_ends_it_cleanly_and_leaves_routes_lease_and_file(two: Site, backend: str) -> None:
    two.configure(backend)
    two.start_all()
    one = two.nodes[0]
    before = one.state()
    assert one.stop() == 0
    assert one.state() == before
    assert one.env_path.exists()
    assert two.etcd.value(two.key_of(one))
    assert "shutdownHandler sent cancel signal..." in one.log
    assert one.log.strip().endswith("Exiting cleanly...")


DAMAGE = {
    "route": "route del {subnet}",
    "route by hand": "route replace {subnet} via 192.168.99.254 dev eth0",
    "neighbour": "neigh del {base} dev flannel.1",
    "another mac": "neigh replace {base} lladdr 02:00:00:00:00:99 dev flannel.1 nud permanent",
    "address": "addr flush dev flannel.1",
    "mac": "link set flannel.1 address 02:00:00:00:00:98",
    "mtu": "link set flannel.1 mtu 1200",
    "down": "link set flannel.1 down",
    "device": "link del flannel.1",
    "device in another way": "link del flannel.1",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_what_is_broken_by_hand_is_whole_again_within_a_second(two: Site, damage: str) -> None:
    two.configure(VXLAN)
    two.start_all()
    one, other = two.nodes

    def look() -> tuple[str, str]:
        return one.state(), one.device().partition("link/ether")[2].partition("valid_lft")[0]

    before = look()
    one.where.ip(damage.format(subnet=other.subnet, base=other.subnet.partition("/")[0]))
    if damage.startswith("link del"):
        eventually(lambda: "flannel.1" in one.where.ip("-br link"))
    taken_s = eventually(lambda: look() == before, patience_s=5)
    assert taken_s < 1.0
    eventually(lambda: one.pings(other))


def test_a_forwarding_entry_that_is_deleted_comes_back_within_a_second(two: Site) -> None:
    two.configure(VXLAN)
    two.start_all()
    one, other = two.nodes
    before = one.state()
    one.run("bridge", "fdb", "del", other.mac(), "dev", "flannel.1", "dst", other.address)
    assert eventually(lambda: one.state() == before, patience_s=5) < 1.0


@pytest.mark.parametrize(
    "backend", [VXLAN, HOST_GW, '"Type": "vxlan", "DirectRouting": true'], ids=["vxlan", "host-gw", "direct"]
)
def test_a_link_that_flaps_is_over_within_a_second(two: Site, backend: str) -> None:
    two.configure(backend)
    two.start_all()
    one, other = two.nodes
    before = one.state()
    one.where.ip("link set eth0 down")
    one.where.ip("link set eth0 up")
    assert eventually(lambda: one.state() == before, patience_s=5) < 1.0
    eventually(lambda: one.pings(other))


@BOTH
def test_one_unreadable_key_takes_no_route_away(two: Site, backend: str) -> None:
    two.configure(backend)
    two.start_all()
    before = two.nodes[0].state()
    with Flow(*two.nodes) as flow:
        for key, value in (("foo", "x"), ("10.5.200.0-24", "{"), ("10.5.201.0-24", '{"PublicIP":"x"}')):
            two.etcd.put(f"{PREFIX}/subnets/{key}", value)
        two.etcd.put(two.key_of(two.nodes[1]), "not json")
        eventually(lambda: "is not JSON" in two.nodes[0].log)
    assert flow.lost == 0
    assert two.nodes[0].state() == before


@BOTH
def test_a_peer_that_left_while_the_daemon_was_away_is_gone_after_the_start(three: Site, backend: str) -> None:
    three.configure(backend)
    three.start_all()
    one, other, third = three.nodes
    key = three.key_of(third)
    one.stop()
    third.stop()
    three.etcd.ctl("del", key)
    one.start()
    eventually(lambda: len(one.routes()) == 1)
    assert third.subnet not in one.state()
    assert third.address not in one.state()
    if backend == VXLAN:
        eventually(lambda: (len(one.neighbours()), len(one.forwarding())) == (1, 1))
    assert one.pings(other)


@BOTH
def test_a_lease_that_ends_takes_its_entries_and_nothing_else(three: Site, backend: str) -> None:
    three.configure(backend)
    three.start_all()
    one, _, third = three.nodes
    third.stop()
    three.etcd.ctl("del", three.key_of(third))
    eventually(lambda: third.subnet not in one.state() and third.address not in one.state())
    assert len(one.routes()) == 1


def test_without_etcd_routes_stay_and_a_daemon_that_starts_waits_for_it(two: Site) -> None:
    two.configure(VXLAN)
    two.start_all()
    one = two.nodes[0]
    before = one.state()
    with Flow(*two.nodes) as flow:
        two.etcd.freeze()
        one.stop(kill=True)
        inode = one.env_path.stat().st_ino
        one.start(waits=False)
        eventually(lambda: "Couldn't fetch network config" in one.log)
        two.etcd.go_on()
        eventually(lambda: one.is_ready() and one.env_path.stat().st_ino != inode)
    assert flow.lost == 0
    assert one.state() == before


def test_the_mac_comes_back_with_the_device_after_a_boot(two: Site) -> None:
    two.configure(VXLAN)
    two.start_all()
    one, other = two.nodes
    mac = one.mac()
    one.stop()
    one.where.ip("link del flannel.1")
    one.start()
    assert one.mac() == mac
    eventually(lambda: other.pings(one))


def test_a_peer_with_another_address_and_mac_leaves_no_old_entry(two: Site) -> None:
    two.configure(VXLAN)
    two.start_all()
    one, other = two.nodes
    data = '{"VNI":1,"VtepMAC":"02:00:00:00:00:77"}'
    value = f'{{"PublicIP":"192.168.99.77","PublicIPv6":null,"BackendType":"vxlan","BackendData":{data}}}'
    old_mac = other.mac()
    two.etcd.put(two.key_of(other), value)
    eventually(lambda: "02:00:00:00:00:77 dst 192.168.99.77 self permanent" in one.forwarding())
    eventually(lambda: old_mac not in one.state())


def test_foreign_routes_and_devices_are_left_alone(two: Site) -> None:
    two.configure(VXLAN)
    one = two.nodes[0]
    for command in (
        "route add 10.5.250.0/24 via 192.168.99.254",
        "route add 10.5.251.0/24 via 192.168.99.254 proto static",
        "route add blackhole 10.5.252.0/24",
        "link add flannel.99 type vxlan id 99 dstport 8472 local 192.168.99.1 dev eth0",
        "addr add 10.99.0.0/32 dev flannel.99",
        "link set flannel.99 up",
        "neigh add 10.99.1.0 lladdr 02:00:00:00:00:55 dev flannel.99 nud permanent",
    ):
        one.where.ip(command)

    def look() -> list[str]:
        routes = [route for route in one.routes() if "dev flannel.1 " not in route]
        return [*routes, one.device("flannel.99").partition("inet6")[0], *one.neighbours("flannel.99")]

    foreign = look()
    for node in two.nodes:
        node.start()
    eventually(lambda: len(one.routes()) == 4)
    assert look() == foreign


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ('{"Network": "10.5.0.0/16", "SubnetLen": "24"}', "SubnetLen: a whole number is expected"),
        ('{"Network": "10.5.0.0/29"}', "network is too small"),
        ('{"Network": "10.5.0.0/16", "Backend": {"Type": "wireguard"}}', "is the original's alone"),
        ('{"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan", "VNI": -1}}', "Backend.VNI: -1 is not between"),
    ],
)
def test_a_wrong_configuration_is_told_with_the_field(two: Site, config: str, why: str) -> None:
    two.etcd.put(f"{PREFIX}/config", config)
    one = two.nodes[0]
    one.start(waits=False)
    eventually(lambda: why in one.log)
    assert "Traceback" not in one.log


def test_without_ipip_in_the_kernel_it_ends_with_status_1_and_what_to_do(two: Site) -> None:
    if has_ipip():
        pytest.skip("this kernel has ipip")
    two.configure('"Type": "ipip"')
    one = two.nodes[0]
    one.start(waits=False)
    assert one.process is not None
    assert one.process.wait(timeout=10) == 1
    assert "this kernel has no ipip: load its module (modprobe ipip), or set Backend.Type to another one" in one.log
    assert "Traceback" not in one.log


def test_a_lease_that_is_deleted_ends_its_owner_and_it_gets_the_same_subnet_again(two: Site) -> None:
    two.configure(VXLAN)
    two.start_all()
    one = two.nodes[0]
    subnet, before = one.subnet, one.state()
    assert one.process is not None
    two.etcd.ctl("del", two.key_of(one))
    assert one.process.wait(timeout=10) == 1
    assert "Lease has been revoked. Shutting down daemon." in one.log
    assert one.state() == before
    one.start(waits=False)
    eventually(lambda: f"Found previously leased subnet ({subnet}), reusing" in one.log)


def test_a_changed_vni_leaves_one_device(two: Site) -> None:
    two.configure(VXLAN)
    two.start_all()
    two.configure('"Type": "vxlan", "VNI": 7, "MTU": 1400')
    for node in two.nodes:
        node.restart()
    one, other = two.nodes
    eventually(lambda: "flannel.1" not in one.where.ip("-br link"), patience_s=30)
    assert "mtu 1350" in one.device("flannel.7")
    eventually(lambda: one.pings(other))


@pytest.mark.parametrize(("before", "after"), [(VXLAN, HOST_GW), (HOST_GW, VXLAN)], ids=["to host-gw", "to vxlan"])
def test_a_rolling_switch_of_backends_loses_nothing_and_leaves_nothing(two: Site, before: str, after: str) -> None:
    two.configure(before)
    two.start_all()
    one, other = two.nodes
    with Flow(one, other) as flow, Flow(other, one) as back:
        two.configure(after)
        for node in two.nodes:
            node.restart()
        device = "eth0" if after == HOST_GW else "flannel.1"
        eventually(lambda: all(f"dev {device}" in route for node in two.nodes for route in node.routes()))
    assert (flow.lost, back.lost) == (0, 0)
    if after == HOST_GW:
        eventually(lambda: not any("flannel.1" in node.where.ip("-br link") for node in two.nodes), patience_s=30)


def test_a_signal_while_it_waits_ends_it_at_once(two: Site) -> None:
    one = two.nodes[0]
    one.start(waits=False)
    eventually(lambda: "flannel config not found in etcd store" in one.log)
    assert one.process is not None
    one.process.send_signal(signal.SIGINT)
    assert one.process.wait(timeout=2) == 0


def test_an_etcd_that_is_emptied_costs_no_packet_and_every_node_gets_its_subnet_again(two: Site) -> None:
    two.configure(VXLAN)
    two.start_all()
    before = [(node.subnet, node.state()) for node in two.nodes]
    with Flow(*two.nodes) as flow:
        two.etcd.clear()
        for node in two.nodes:
            assert node.process is not None
            assert node.process.wait(timeout=10) == 1
            node.start(waits=False)
            eventually(lambda node=node: "flannel config not found in etcd store" in node.log)  # type: ignore[misc]
        inodes = [node.env_path.stat().st_ino for node in two.nodes]
        two.configure(VXLAN)
        for node, inode in zip(two.nodes, inodes, strict=True):
            eventually(lambda node=node, inode=inode: node.env_path.stat().st_ino != inode)  # type: ignore[misc]
    assert flow.lost == 0
    eventually(lambda: [(node.subnet, node.state()) for node in two.nodes] == before)


@pytest.mark.long
def test_an_hour_without_etcd_loses_nothing_and_what_changed_is_learned_when_it_is_back(three: Site) -> None:
    three.configure(VXLAN)
    three.start_all()
    one, other, third = three.nodes
    with Flow(one, other, per_s=20) as flow:
        three.etcd.freeze()
        time.sleep(3600)  # what is asked is what becomes of watches, connections and leases in so long a time
        three.etcd.go_on()
        third.stop()
        three.etcd.ctl("del", three.key_of(third))
        eventually(lambda: third.subnet not in one.state() and third.address not in one.state(), patience_s=60)
    assert flow.lost == 0
    assert one.pings(other)
    assert all(node.process is not None and node.process.poll() is None for node in (one, other))


@pytest.mark.long
def test_ten_minutes_between_stop_and_start_lose_nothing(two: Site) -> None:
    """Longer than anything that is learned would last: neighbours are permanent, and the kernel needs nobody."""
    two.configure(VXLAN)
    two.start_all()
    with Flow(*two.nodes) as flow:
        for node in two.nodes:
            node.stop()
        time.sleep(600)  # what is asked is what becomes of a kernel that is left alone for so long
        for node in two.nodes:
            before = node.env_path.stat().st_ino
            node.start(waits=False)
            eventually(lambda node=node, before=before: node.is_ready() and node.env_path.stat().st_ino != before)  # type: ignore[misc]
    assert flow.lost == 0
