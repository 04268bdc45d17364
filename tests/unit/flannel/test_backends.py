"""What each backend wants of the kernel, as ip route, ip link, ip neigh and bridge fdb would show it."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_interface

import pytest

from felix.fib.mirror import Surroundings
from felix.fib.model import Desired, Hop, Protocol, Route, Scope
from felix.fib.tunnel import MakeTunnel
from felix.ground import Ground
from flannel import netconf
from flannel.backends import catalogue, udp
from flannel.backends.backend import Backend, Me, Refused, Uplink
from flannel.go_json import BadDocument
from flannel.lease import Attributes, Lease, Subnets

V4 = IPv4Network("10.244.0.0/16")
ME = Me(Subnets(V4), Subnets(IPv4Network("10.244.0.0/24")), {"flannel.1": "0a:00:00:00:00:00"})
UPLINK = Uplink("eth0", 1500, IPv4Address("172.22.0.239"), None, IPv4Address("172.22.0.239"))
MAC = "0a:00:00:00:00:0{}"


def connected(text: str, device: str) -> Route:
    interface = ip_interface(text)
    return Route(interface.network, (Hop(device),), protocol=Protocol.KERNEL, scope=Scope.LINK, source=interface.ip)


GROUND = Ground(
    Surroundings(
        routes=(
            connected("172.22.0.239/20", "eth0"),
            Route(IPv4Network("0.0.0.0/0"), (Hop("eth0", ip_address("172.22.0.1")),)),
        )
    )
)


def lease(number: int, node: str, kind: str, data: str | None = None) -> Lease:
    told = f'{{"VNI":1,"VtepMAC":"{MAC.format(number)}"}}' if kind == "vxlan" and data is None else data or ""
    subnet = IPv4Network(f"10.244.{number}.0/24")
    return Lease(Subnets(subnet), Attributes(IPv4Address(node), backend=kind, data=told))


def backend(options: str, uplink: Uplink = UPLINK) -> Backend:
    config = netconf.read(f'{{"Network": "10.244.0.0/16", "Backend": {{{options}}}}}')
    return catalogue.configure(config, uplink)


def wanted(options: str, *peers: Lease, me: Me = ME) -> str:
    return shown(backend(options).desire(me, peers, GROUND))


def shown(desired: Desired) -> str:
    lines = [str(route) for route, _ in desired.routes.values()]
    for tunnel, _ in desired.tunnels.values():
        address = f" {tunnel.address}" if tunnel.address is not None else ""
        lines += [
            f"{MakeTunnel(tunnel)} mtu {tunnel.mtu_bytes} {tunnel.mac}{address}",
            *sorted(map(str, tunnel.entries)),
        ]
    lines += [f"pending {dst}: {why}" for dst, why in desired.pending.items()]
    return "".join(f"{line}\n" for line in lines)


THE_DOCUMENTS_VXLAN = """\
10.244.1.0/24 via 10.244.1.0 dev flannel.1 onlink
10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink
link add flannel.1 type vxlan id 1 local 172.22.0.239 dev eth0 dstport 8472 nolearning mtu 1450 0a:00:00:00:00:00\
 10.244.0.0
fdb 0a:00:00:00:00:01 dev flannel.1 dst 172.22.1.176
fdb 0a:00:00:00:00:02 dev flannel.1 dst 172.22.0.117
neigh 10.244.1.0 dev flannel.1 lladdr 0a:00:00:00:00:01
neigh 10.244.2.0 dev flannel.1 lladdr 0a:00:00:00:00:02
"""


def test_vxlan_is_the_documents_table_with_a_device_neighbours_and_forwarding_entries() -> None:
    peers = lease(1, "172.22.1.176", "vxlan"), lease(2, "172.22.0.117", "vxlan")
    assert wanted('"Type": "vxlan"', *peers) == THE_DOCUMENTS_VXLAN


def test_every_option_of_vxlan_reaches_the_device() -> None:
    text = wanted('"Type": "vxlan", "VNI": 7, "Port": 4789, "MTU": 1400, "GBP": true, "Learning": true')
    made = "link add flannel.7 type vxlan id 7 local 172.22.0.239 dev eth0 dstport 4789 learning gbp mtu 1350"
    assert text.strip().startswith(made)
    assert backend('"Type": "vxlan", "MTU": 1400').mtu_bytes == 1350


def test_with_direct_routing_only_peers_behind_a_router_go_through_the_tunnel() -> None:
    peers = lease(1, "172.22.1.176", "vxlan"), lease(2, "192.168.98.3", "vxlan")
    lines = wanted('"Type": "vxlan", "DirectRouting": true', *peers).splitlines()
    assert lines[:2] == ["10.244.1.0/24 via 172.22.1.176 dev eth0", "10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink"]
    assert "neigh 10.244.1.0 dev flannel.1 lladdr 0a:00:00:00:00:01" in lines, "a route that turns finds its entries"


def test_before_the_lease_the_device_stands_without_an_address() -> None:
    me = Me(Subnets(V4), macs={"flannel.1": "0a:00:00:00:00:00"})
    assert wanted('"Type": "vxlan"', me=me).endswith("mtu 1450 0a:00:00:00:00:00\n")


@pytest.mark.parametrize("data", ["", "null", "[]", '{"VNI":1}', '{"VtepMAC":"here"}', '{"VtepMAC":5}', "{"])
def test_a_vxlan_lease_without_a_mac_costs_that_peer_alone(data: str) -> None:
    text = wanted('"Type": "vxlan"', lease(1, "172.22.1.176", "vxlan", data), lease(2, "172.22.0.117", "vxlan"))
    assert "pending 10.244.1.0/24: the lease of 172.22.1.176 tells no VtepMAC" in text
    assert "10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink" in text


def test_old_leases_that_tell_nothing_but_a_mac_work() -> None:
    text = wanted('"Type": "vxlan"', lease(1, "172.22.1.176", "vxlan", '{"VtepMAC":"0A-00-00-00-00-01"}'))
    assert "neigh 10.244.1.0 dev flannel.1 lladdr 0a:00:00:00:00:01" in text


def test_the_lease_tells_the_mac_as_compact_text_with_the_mac_last() -> None:
    assert backend('"Type": "vxlan"').data(ME.macs) == ('{"VNI":1,"VtepMAC":"0a:00:00:00:00:00"}', "")


def test_host_gw_is_the_documents_table() -> None:
    peers = lease(1, "172.22.1.176", "host-gw"), lease(2, "172.22.0.117", "host-gw")
    wanted_text = "10.244.1.0/24 via 172.22.1.176 dev eth0\n10.244.2.0/24 via 172.22.0.117 dev eth0\n"
    assert wanted('"Type": "host-gw"', *peers) == wanted_text
    assert backend('"Type": "host-gw"').mtu_bytes == 1500


def test_a_host_gw_peer_behind_a_router_is_named_with_the_remedy_and_the_others_work() -> None:
    text = wanted('"Type": "host-gw"', lease(1, "192.168.98.3", "host-gw"), lease(2, "172.22.0.117", "host-gw"))
    assert "10.244.2.0/24 via 172.22.0.117 dev eth0\n" in text
    assert "pending 10.244.1.0/24: node 192.168.98.3 is not on a link of this node" in text
    assert "use backend vxlan (with DirectRouting" in text


def test_behind_a_nat_host_gw_is_refused_in_the_originals_words() -> None:
    behind = Uplink("eth0", 1500, IPv4Address("10.0.2.15"), None, IPv4Address("192.0.2.9"))
    with pytest.raises(Refused, match="your PublicIP differs from interface IP, meaning that probably you're on a NAT"):
        backend('"Type": "host-gw"', behind)


def test_ipip_has_one_device_and_the_peers_as_gateways() -> None:
    assert wanted('"Type": "ipip"', lease(1, "172.22.1.176", "ipip")) == (
        "10.244.1.0/24 via 172.22.1.176 dev flannel.ipip onlink\n"
        "link add flannel.ipip type ipip local 172.22.0.239 mtu 1480  10.244.0.0\n"
    )


def test_ipip_with_direct_routing_keeps_onlink() -> None:
    peers = lease(1, "172.22.1.176", "ipip"), lease(2, "192.168.98.3", "ipip")
    lines = wanted('"Type": "ipip", "DirectRouting": true', *peers).splitlines()
    assert lines[:2] == [
        "10.244.1.0/24 via 172.22.1.176 dev eth0 onlink",
        "10.244.2.0/24 via 192.168.98.3 dev flannel.ipip onlink",
    ]


def test_udp_is_one_route_and_a_table_of_peers_of_any_type() -> None:
    peers = lease(1, "172.22.1.176", ""), lease(2, "172.22.0.117", "vxlan")
    text = "10.244.0.0/16 dev flannel0\npending 10.244.2.0/24: its lease is of type vxlan, this node's udp or alloc\n"
    assert wanted('"Type": "udp", "Port": 7890', *peers) == text
    assert {str(net): str(node) for net, node in udp.table(peers).items()} == {
        "10.244.1.0/24": "172.22.1.176",
        "10.244.2.0/24": "172.22.0.117",
    }
    assert backend('"Type": "udp"').mtu_bytes == 1472


def test_alloc_wants_nothing() -> None:
    assert wanted('"Type": "alloc"', lease(1, "172.22.1.176", "")) == ""


def test_a_lease_of_another_type_waits_and_what_the_kernel_holds_for_it_stays() -> None:
    text = wanted('"Type": "host-gw"', lease(1, "172.22.1.176", "vxlan"))
    assert text == "pending 10.244.1.0/24: its lease is of type vxlan, this node's host-gw\n"


@pytest.mark.parametrize("kind", ["wireguard", "ipsec", "extension", "aws-vpc", "gce", "ali-vpc", "tencent-vpc"])
def test_the_originals_other_backends_are_refused_with_a_sentence(kind: str) -> None:
    with pytest.raises(Refused, match=f"backend type {kind} is the original's alone: set Backend.Type to one of vxlan"):
        backend(f'"Type": "{kind}"')


@pytest.mark.parametrize("kind", ["", "vxlann"])
def test_a_backend_that_nobody_knows_is_refused(kind: str) -> None:
    with pytest.raises(Refused, match="unknown backend type"):
        backend(f'"Type": "{kind}"')


@pytest.mark.parametrize("option", ['"VNI": 16777216', '"Port": 65536', '"MTU": "1400"', '"DirectRouting": 1'])
def test_an_option_that_cannot_be_is_named(option: str) -> None:
    name = option.split('"')[1]
    with pytest.raises(BadDocument, match=rf"^Backend\.{name}: "):
        backend(f'"Type": "vxlan", {option}')


BOTH = '{"Network": "10.244.0.0/16", "EnableIPv6": true, "IPv6Network": "fd00:10::/48", "Backend": {"Type": "vxlan"}}'


def test_vxlan_over_ipv6_has_a_device_of_its_own_and_takes_20_bytes_more() -> None:
    both = Uplink("eth0", 1500, IPv4Address("172.22.0.239"), IPv6Address("2001:db8::1"), IPv4Address("172.22.0.239"))
    made = catalogue.configure(netconf.read(BOTH), both)
    subnets = Subnets(IPv4Network("10.244.1.0/24"), IPv6Network("fd00:10:0:1::/64"))
    data = '{"VNI":1,"VtepMAC":"0a:00:00:00:00:01"}'
    attributes = Attributes(IPv4Address("172.22.1.176"), IPv6Address("2001:db8::2"), "vxlan", data, data)
    me = Me(
        Subnets(V4, IPv6Network("fd00:10::/48")), Subnets(IPv4Network("10.244.0.0/24"), IPv6Network("fd00:10::/64"))
    )
    text = shown(made.desire(me, [Lease(subnets, attributes)], GROUND))
    assert "fd00:10:0:1::/64 via fd00:10:0:1:: dev flannel-v6.1 metric 1024 onlink pref medium\n" in text
    assert "neigh fd00:10:0:1:: dev flannel-v6.1 lladdr 0a:00:00:00:00:01\n" in text
    assert "flannel-v6.1 type vxlan id 1 local 2001:db8::1 dev eth0 dstport 8472 nolearning mtu 1430" in text
    assert made.mtu_bytes == 1430


def test_a_peer_without_an_ipv6_address_is_still_reached_over_ipv4() -> None:
    both = Uplink("eth0", 1500, IPv4Address("172.22.0.239"), IPv6Address("2001:db8::1"), IPv4Address("172.22.0.239"))
    made = catalogue.configure(netconf.read(BOTH), both)
    subnets = Subnets(IPv4Network("10.244.1.0/24"), IPv6Network("fd00:10:0:1::/64"))
    peer = Lease(subnets, lease(1, "172.22.1.176", "vxlan").attributes)
    text = shown(made.desire(Me(Subnets(V4, IPv6Network("fd00:10::/48"))), [peer], GROUND))
    assert "10.244.1.0/24 via 10.244.1.0 dev flannel.1 onlink" in text
    assert "pending fd00:10:0:1::/64: its lease tells no IPv6 address of the node" in text
