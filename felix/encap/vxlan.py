"""VXLAN: ``10.244.104.0/26 via 10.244.104.0 dev vxlan.calico onlink mtu 1450``.

The gateway is the peer's tunnel address; a neighbour entry gives it a MAC and a forwarding entry finds the MAC at the
peer's own address, so nothing is learned and nothing asked for. Entries stand for every peer that publishes, whether
or not a route needs them now: a route that turns finds them there.

Source: Calico felix/dataplane/linux (vxlan_mgr), felix/vxlanfdb.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from datastore.resources import Node
from felix.encap.way import Way
from felix.fib.model import Address, Hop, Protocol
from felix.fib.tunnel import Entry, Forwarding, Neighbour, TunnelDevice, Vxlan
from felix.tunnels import Tunnel, vtep_mac


def way_to(peer: Address, tunnel: Tunnel, mtu_bytes: int) -> Way:
    """``peer`` is the tunnel address that the node publishes."""
    return way_over(tunnel.device, peer, mtu_bytes)


def way_over(device: str, peer: Address, mtu_bytes: int = 0) -> Way:
    """The same, for a tunnel of any name."""
    return Way((Hop(device, peer, onlink=True),), mtu_bytes, Protocol.BOOT)


def device(
    tunnel: Tunnel, made: Vxlan, mtu_bytes: int, address: Address | None, mac: str, peers: Iterable[Node]
) -> TunnelDevice:
    entries = frozenset(entry for peer in peers for entry in _entries(peer, tunnel))
    return TunnelDevice(tunnel.device, mtu_bytes, address, mac, made, entries)


def own_address(node: Node, tunnel: Tunnel) -> Address | None:
    interface = node.ipv4 if tunnel.version == 4 else node.ipv6
    return None if interface is None else interface.ip


def _entries(node: Node, tunnel: Tunnel) -> Iterator[Entry]:
    published, local = tunnel.published(node), own_address(node, tunnel)
    if published is not None and local is not None:
        yield from entries_of(tunnel.device, published, vtep_mac(node, tunnel), local)


def entries_of(device: str, peer: Address, mac: str, node: Address) -> tuple[Entry, Entry]:
    """How ``peer``, a tunnel address, is found: behind ``mac``, at the address of its node."""
    return Forwarding(device, mac, node), Neighbour(device, peer, mac)
