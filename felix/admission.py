"""What the packet filter is asked for, from what is known: view → :class:`felix.firewall.rules.Facts`. Pure.

Every node of the cluster is a member, whether or not it publishes a tunnel address: one that has just withdrawn its own
may have packets under way. A tunnel counts from the moment that it is wanted until its device is gone or down, so that
no device is ever open to strangers.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network

from felix.fib.model import Network
from felix.firewall.rules import Encap, Facts, Options, Pool, Tunnel
from felix.tunnels import Tunnel as Kind
from felix.view import View

_ENCAPS = {Kind.IPIP: Encap.IPIP, Kind.VXLAN: Encap.VXLAN, Kind.VXLAN_V6: Encap.VXLAN}


def facts(view: View, options: Options) -> Facts:
    hosts = frozenset(_hosts(view)) | frozenset(view.settings.external_nodes)
    return Facts(
        pools=frozenset(Pool(pool.cidr, pool.nat_outgoing) for pool in view.pools.values()),
        hosts=hosts,
        vxlan_members=hosts,
        tunnels=tuple(_tunnels(view)),
        options=options,
    )


def _hosts(view: View) -> Iterator[Network]:
    for node in view.nodes.values():
        for interface in (node.ipv4, node.ipv6):
            if interface is not None:
                yield ip_network(interface.ip)


def _tunnels(view: View) -> Iterator[Tunnel]:
    links = view.surroundings.links
    for kind in Kind:
        address, link = view.held.get(kind), links.get(kind.device)
        if address is not None or (link is not None and link.is_up):
            port = view.settings.vxlan_port
            yield Tunnel(_ENCAPS[kind], kind.device, kind.version, port, has_address=address is not None)
