"""What the packet filter is asked for: members, tunnels and clamps, from what is known."""

from __future__ import annotations

from ipaddress import ip_address

from felix.admission import facts
from felix.fib.mirror import Surroundings
from felix.fib.model import Link
from felix.firewall.rules import Encap, Options
from felix.tunnels import Held, Tunnel
from felix.view import View
from tests.clusters import node, pool

ENS33 = Link("ens33", index=2, mtu_bytes=1500, is_up=True)


def view_of(held: Held, *links: Link) -> View:
    view = View("node1")
    view.see(Surroundings(links={link.name: link for link in links}))
    for resource in (node("node1", "192.168.50.10/24"), node("node2", "192.168.50.11/24"), pool(vxlanMode="Always")):
        view.put(resource)
    view.hold(held)
    return view


def test_every_node_is_a_member_whether_or_not_it_publishes_a_tunnel_address() -> None:
    found = facts(view_of({}), Options())
    assert sorted(map(str, found.hosts)) == ["192.168.50.10/32", "192.168.50.11/32"]
    assert found.vxlan_members == found.hosts


def test_a_tunnel_counts_from_when_it_is_wanted_until_its_device_is_down() -> None:
    device = Link("vxlan.calico", index=3, mtu_bytes=1450, is_up=True)
    wanted = facts(view_of({Tunnel.VXLAN: ip_address("10.244.0.0")}), Options())
    leaving = facts(view_of({Tunnel.VXLAN: None}, device), Options())
    gone = facts(view_of({Tunnel.VXLAN: None}), Options())
    assert [(each.encap, each.device, each.has_address) for each in wanted.tunnels] == [
        (Encap.VXLAN, "vxlan.calico", True)
    ]
    assert [(each.device, each.has_address) for each in leaving.tunnels] == [("vxlan.calico", False)]
    assert gone.tunnels == ()


def test_connections_are_clamped_to_the_tunnel_only_while_a_pod_has_more_than_it_takes() -> None:
    view = view_of({Tunnel.VXLAN: ip_address("10.244.0.0"), Tunnel.IPIP: None}, ENS33)
    assert facts(view, Options(), clamps=True).clamp == {"vxlan.calico": 1410}
    assert facts(view, Options()).clamp == {}
