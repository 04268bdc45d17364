"""What the packet filter is asked for, from what is known: view → :class:`felix.firewall.rules.Facts`. Pure.

Every node of the cluster is a member, whether or not it publishes a tunnel address: one that has just withdrawn its own
may have packets under way. A tunnel counts from the moment that it is wanted until its device is gone or down, so that
no device is ever open to strangers.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network

from felix import mtu
from felix.fib.model import Network
from felix.firewall.rules import Encap, Facts, Options, Pool, Tunnel
from felix.tunnels import Tunnel as Kind
from felix.view import View

_TCP_IN_IPV4_BYTES = 40
_ENCAPS = {Kind.IPIP: Encap.IPIP, Kind.VXLAN: Encap.VXLAN, Kind.VXLAN_V6: Encap.VXLAN}


def facts(view: View, options: Options, *, clamps: bool = False) -> Facts:
    """``clamps``: a pod of this node sends larger packets than tunnels take, so connections through them are told."""
    hosts = frozenset(_hosts(view)) | frozenset(view.settings.external_nodes)
    tunnels = tuple(_tunnels(view))
    return Facts(
        pools=frozenset(Pool(pool.cidr, pool.nat_outgoing) for pool in view.pools.values()),
        hosts=hosts,
        vxlan_members=hosts,
        tunnels=tunnels,
        clamp=_clamps(view) if clamps else {},
        options=options,
    )


def _clamps(view: View) -> dict[str, int]:
    """The largest segment of TCP over IPv4 that fits, in bytes, by tunnel device."""
    host_bytes = mtu.of_host(view.surroundings.links.values(), view.settings.mtu_iface_pattern)
    return {kind.device: mtu.of_tunnel(kind, host_bytes, view.settings) - _TCP_IN_IPV4_BYTES for kind in _wanted(view)}


def _hosts(view: View) -> Iterator[Network]:
    for node in view.nodes.values():
        for interface in (node.ipv4, node.ipv6):
            if interface is not None:
                yield ip_network(interface.ip)


def _tunnels(view: View) -> Iterator[Tunnel]:
    for kind in _wanted(view):
        has_address = view.held.get(kind) is not None
        yield Tunnel(_ENCAPS[kind], kind.device, kind.version, view.settings.vxlan_port, has_address=has_address)


def _wanted(view: View) -> Iterator[Kind]:
    """The tunnels that are wanted, or not gone yet."""
    links = view.surroundings.links
    for kind in Kind:
        link = links.get(kind.device)
        if view.held.get(kind) is not None or (link is not None and link.is_up):
            yield kind
