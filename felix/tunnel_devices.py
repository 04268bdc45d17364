"""Which tunnel devices this node must have, and with what on them: part of :mod:`felix.desired`. Pure.

- Needed: this node holds an address for it (:mod:`felix.tunnel_addresses`), because a pool wants to come through it.
- Not needed any more, but up: it goes on receiving for as long as another node publishes an address of its kind, with
  the own address while that is held, without one after that. A node withdraws its address when none of its own routes
  goes through the device any more; until then it may not have seen that the pool's mode has changed.
"""

from __future__ import annotations

from collections.abc import Iterator

from datastore.resources import Node
from felix import mtu
from felix.encap import ipip, vxlan
from felix.fib.model import Why
from felix.fib.tunnel import TunnelDevice, Vxlan
from felix.tunnels import Tunnel, eligible, peers_may_send, vtep_mac
from felix.view import View


def wanted(view: View) -> Iterator[tuple[str, tuple[TunnelDevice, Why]]]:
    """By device name. Nothing for a tunnel of which it is not known yet whether it is needed."""
    me = view.me
    if me is None:
        return
    for tunnel in view.held:
        why = _why(view, me, tunnel)
        device = _device(view, me, tunnel) if why else None
        if device is not None:
            yield tunnel.device, (device, Why(why))


def _why(view: View, me: Node, tunnel: Tunnel) -> str:
    if view.held[tunnel] is not None:
        names = ", ".join(pool.name for pool in eligible(view.pools.values(), me, tunnel))
        return f"pool {names} may be reached through it" if names else "its address is being given back"
    link = view.surroundings.links.get(tunnel.device)
    if link is not None and link.is_up and peers_may_send(view.nodes.values(), view.node, tunnel):
        return "other nodes may still send through it"
    return ""


def _device(view: View, me: Node, tunnel: Tunnel) -> TunnelDevice | None:
    around, address, settings = view.surroundings, view.held[tunnel], view.settings
    mtu_bytes = mtu.of_tunnel(tunnel, mtu.of_host(around.links.values(), settings.mtu_iface_pattern), settings)
    if tunnel is Tunnel.IPIP:
        return ipip.device(address, mtu_bytes)
    local = vxlan.own_address(me, tunnel)
    parent = next((one.device for one in around.addresses if one.address == local), "")
    if local is None or not parent:
        return None
    made = Vxlan(settings.vxlan_vni, settings.vxlan_port, local, parent)
    peers = (node for node in view.nodes.values() if node.name != me.name)
    return vxlan.device(tunnel, made, mtu_bytes, address, vtep_mac(me, tunnel), peers)
