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
from felix.fib.model import Address, Hop, InterfaceAddress, Protocol
from felix.fib.tunnel import Entry, Forwarding, Neighbour, TunnelDevice, Vxlan
from felix.tunnels import Tunnel, vtep_mac

VNI = 4096
PORT = 4789


def way_to(peer: Address, tunnel: Tunnel, mtu_bytes: int) -> Way:
    """``peer`` is the tunnel address that the node publishes."""
    return Way((Hop(tunnel.device, peer, onlink=True),), mtu_bytes, Protocol.BOOT)


def device(
    me: Node,
    nodes: Iterable[Node],
    tunnel: Tunnel,
    address: Address | None,
    mtu_bytes: int,
    addresses: Iterable[InterfaceAddress],
) -> TunnelDevice | None:
    """``addresses`` are those of this node's devices; None when none of these has the node's own."""
    local = own_address(me, tunnel)
    parent = next((one.device for one in addresses if one.address == local), "")
    if local is None or not parent:
        return None
    entries = frozenset(entry for node in nodes if node.name != me.name for entry in _entries(node, tunnel))
    vxlan = Vxlan(VNI, PORT, local, parent)
    return TunnelDevice(tunnel.device, mtu_bytes, address, vtep_mac(me, tunnel), vxlan, entries)


def own_address(node: Node, tunnel: Tunnel) -> Address | None:
    interface = node.ipv4 if tunnel.version == 4 else node.ipv6
    return None if interface is None else interface.ip


def _entries(node: Node, tunnel: Tunnel) -> Iterator[Entry]:
    published, local = tunnel.published(node), own_address(node, tunnel)
    if published is not None and local is not None:
        mac = vtep_mac(node, tunnel)
        yield Forwarding(tunnel.device, mac, local)
        yield Neighbour(tunnel.device, published, mac)
