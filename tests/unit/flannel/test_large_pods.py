"""Which pods were born with a larger MTU than the network carries now, and what TCP is told for them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address

from felix.fib.mirror import Surroundings
from felix.fib.model import InterfaceAddress, Link
from flannel import netconf
from flannel.backends import catalogue
from flannel.backends.backend import Uplink
from flannel.large_pods import large_pods, segments
from flannel.lease import Subnets

OWN = Subnets(IPv4Network("10.5.1.0/24"))
V4, V6 = IPv4Address("192.0.2.1"), IPv6Address("2001:db8::1")
UPLINK = Uplink("eth0", 1500, V4, V6, V4, V6)


def around(*ports: tuple[str, int, int]) -> Surroundings:
    """cni0 with the subnet's first address, docker0 with another; name, MTU and bridge of each port."""
    links = [Link("cni0", 5, "bridge"), Link("docker0", 6, "bridge"), Link("eth0", 2)]
    links += [Link(name, 10 + place, "veth", mtu_bytes=mtu, master=at) for place, (name, mtu, at) in enumerate(ports)]
    addresses = {
        InterfaceAddress("cni0", ip_address("10.5.1.1"), 24),
        InterfaceAddress("docker0", ip_address("172.17.0.1"), 16),
        InterfaceAddress("flannel.1", ip_address("10.5.1.0"), 32),
    }
    return Surroundings({link.name: link for link in links}, frozenset(addresses))


def found(*ports: tuple[str, int, int], offered: int = 1450, own: Subnets = OWN) -> list[str]:
    return [f"{pod.device} {pod.mtu_bytes}" for pod in large_pods(around(*ports), own, offered)]


def test_only_pods_of_the_own_bridge_that_are_larger_are_named() -> None:
    ports = ("veth2", 1500, 5), ("veth1", 1500, 5), ("veth3", 1450, 5), ("veth4", 1500, 6), ("veth5", 1500, 0)
    assert found(*ports) == ["veth1 1500", "veth2 1500"]


def test_where_the_network_carries_as_much_nobody_is() -> None:
    assert found(("veth1", 1500, 5), offered=1500) == []


def test_before_there_is_a_lease_nobody_is_known() -> None:
    assert found(("veth1", 1500, 5), own=Subnets()) == []


def test_it_says_what_happens_to_the_pod_and_what_to_do() -> None:
    (pod,) = large_pods(around(("veth1", 1500, 5)), OWN, 1450)
    what = "the pod behind veth1 has MTU 1500, the network carries 1450"
    assert str(pod) == f"{what}: its TCP connections are clamped; a new pod in its place has the right one"


def told(backend: str, more: str = "") -> dict[str, int]:
    config = netconf.read(f'{{"Network": "10.5.0.0/16", {more} "Backend": {{"Type": "{backend}"}}}}')
    return dict(segments(catalogue.configure(config, UPLINK), large_pods(around(("veth1", 1600, 5)), OWN, 1450)))


def test_each_tunnel_has_the_segment_that_fits_and_backends_without_one_have_none() -> None:
    v6 = '"EnableIPv6": true, "IPv6Network": "fd00:5::/48",'
    assert told("vxlan") == {"flannel.1": 1410}
    assert told("vxlan", v6) == {"flannel.1": 1410, "flannel-v6.1": 1390}
    assert (told("ipip"), told("udp")) == ({"flannel.ipip": 1440}, {"flannel0": 1432})
    assert (told("host-gw"), told("alloc")) == ({}, {})


def test_while_all_pods_fit_nothing_is_clamped() -> None:
    config = netconf.read('{"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan"}}')
    assert segments(catalogue.configure(config, UPLINK), ()) == {}
