"""Small clusters as felix sees them: resources by a few words each."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from bgp.learned import LearnedRoute
from datastore.codec import decode
from datastore.names import of_affinity, of_cidr, of_endpoint, pod_device
from datastore.resource import Resource
from datastore.resources import BlockAffinity, IPAMBlock, IPPool, Node, WorkloadEndpoint
from felix.fib.mirror import Surroundings
from felix.fib.model import Address, Hop, InterfaceAddress, Link, Network, Protocol, Route, Scope


def pool(cidr: str = "10.244.0.0/16", name: str = "default-ipv4-ippool", **spec: object) -> IPPool:
    return decode(IPPool, Resource("IPPool", name, spec={"cidr": cidr, **spec}))


def node(name: str, address: str, *, ipip: str = "", vxlan: str = "", vxlan_v6: str = "", address_v6: str = "") -> Node:
    """``ipip``, ``vxlan``, ``vxlan_v6``: the tunnel addresses that it publishes."""
    bgp = {"ipv4Address": address, "ipv6Address": address_v6, "ipv4IPIPTunnelAddr": ipip}
    spec = {"ipv4VXLANTunnelAddr": vxlan, "ipv6VXLANTunnelAddr": vxlan_v6}
    said = {key: value for key, value in spec.items() if value}
    return decode(Node, Resource("Node", name, spec={"bgp": {k: v for k, v in bgp.items() if v}, **said}))


def affinity(owner: str, cidr: str, state: str = "confirmed") -> BlockAffinity:
    name = of_affinity(owner, ip_network(cidr))
    return decode(BlockAffinity, Resource("BlockAffinity", name, spec={"node": owner, "cidr": cidr, "state": state}))


def block(owner: str, cidr: str, *, borrowed: dict[int, str] | None = None) -> IPAMBlock:
    """``borrowed``: ordinals of its addresses that other nodes hold."""
    size = ip_network(cidr).num_addresses
    holders = borrowed or {}
    spec = {
        "cidr": cidr,
        "affinity": f"host:{owner}",
        "allocations": [list(holders).index(n) if n in holders else None for n in range(size)],
        "unallocated": [n for n in range(size) if n not in holders],
        "attributes": [{"handle_id": "h", "secondary": {"node": holder}} for holder in holders.values()],
    }
    return decode(IPAMBlock, Resource("IPAMBlock", of_cidr(ip_network(cidr)), spec=spec))


def pod(on: str, name: str, *addresses: str, device: str = "", created: str = "") -> WorkloadEndpoint:
    spec = {
        "orchestrator": "k8s",
        "node": on,
        "pod": name,
        "endpoint": "eth0",
        "interfaceName": device or pod_device("default", name),
        "ipNetworks": list(addresses),
    }
    resource = Resource("WorkloadEndpoint", of_endpoint(on, "k8s", name, "eth0"), "default", spec=spec, created=created)
    return decode(WorkloadEndpoint, resource)


def learned(dst: str, *next_hops: str, peer: str = "") -> LearnedRoute:
    return LearnedRoute(ip_network(dst), tuple(ip_address(hop) for hop in next_hops), peer or next_hops[0])


def surroundings(
    *routes: Route,
    address: str = "192.168.50.10",
    connected: str = "192.168.50.0/24",
    tunnels: tuple[str, ...] = (),
) -> Surroundings:
    """One uplink ens33 with its connected route, and ``routes``; ``tunnels``: devices that are up as well."""
    own = ip_address(address)
    devices = (Link("ens33", 2, is_up=True), *(Link(name, 10 + n, is_up=True) for n, name in enumerate(tunnels)))
    return Surroundings(
        links={link.name: link for link in devices},
        addresses=frozenset({InterfaceAddress("ens33", own, ip_network(connected).prefixlen)}),
        routes=(connected_route(connected, source=address), *routes),
    )


def connected_route(dst: str, device: str = "ens33", *, source: str) -> Route:
    return Route(
        ip_network(dst),
        (Hop(device),),
        protocol=Protocol.KERNEL,
        scope=Scope.LINK,
        source=ip_address(source),
        metric=100,
    )


def foreign(dst: str, via: str, device: str = "ens33", protocol: int = Protocol.STATIC, *, metric: int = 0) -> Route:
    return Route(ip_network(dst), (Hop(device, ip_address(via)),), protocol=protocol, metric=metric)


def network(text: str) -> Network:
    return ip_network(text)


def address(text: str) -> Address:
    return ip_address(text)
