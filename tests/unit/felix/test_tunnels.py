"""Who needs an address for which tunnel, and what is fixed of each kind."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from datastore.codec import decode, encode
from datastore.resource import Resource
from datastore.resources import IPPool, Node
from felix.tunnels import Tunnel, derived_mac, eligible, keep, needed, peers_may_send, vtep_mac
from tests.clusters import node, pool

ME = node("node1", "192.168.50.10/24")
V6 = {"cidr": "fd00:10:244::/48", "name": "six"}


def words(pools: list[IPPool], me: Node = ME) -> str:
    return " ".join(sorted(tunnel.word for tunnel in needed(pools, me)))


@pytest.mark.parametrize(
    ("pools", "expected"),
    [
        ([pool()], ""),
        ([pool(ipipMode="Always")], "ipip"),
        ([pool(ipipMode="CrossSubnet")], "ipip"),
        ([pool(vxlanMode="Always")], "vxlan"),
        ([pool(vxlanMode="CrossSubnet"), pool("10.245.0.0/16", "two", ipipMode="Always")], "ipip vxlan"),
        ([pool(**V6, vxlanMode="Always")], "vxlan-v6"),
        ([pool(**V6, ipipMode="Always")], ""),
        ([pool(ipipMode="Always", disabled=True)], ""),
        ([pool(ipipMode="Always", allowedUses=["Workload"])], ""),
        ([pool(ipipMode="Always", allowedUses=[])], "ipip"),
        ([pool(ipipMode="Always", allowedUses=["Tunnel"])], "ipip"),
        ([pool(ipipMode="Always", nodeSelector="rack == 'b'")], ""),
        ([pool(ipipMode="Always", nodeSelector="rack ==")], ""),
        ([pool(ipipMode="Always", nodeSelector="rack =="), pool("10.245.0.0/16", "b", ipipMode="Always")], "ipip"),
    ],
)
def test_a_tunnel_is_needed_when_a_pool_that_serves_this_node_may_use_it(pools: list[IPPool], expected: str) -> None:
    assert words(pools) == expected


def test_a_pool_that_is_being_deleted_gives_no_tunnel_address() -> None:
    one = pool(ipipMode="Always")
    going = replace(one, resource=replace(one.resource, metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}))
    assert (words([one]), words([going])) == ("ipip", "")


def test_a_selector_reads_the_labels_of_the_node() -> None:
    me = replace(ME, resource=replace(ME.resource, labels={"rack": "b"}))
    assert words([pool(ipipMode="Always", nodeSelector="rack == 'b'")], me) == "ipip"


def test_eligible_pools_come_in_the_order_of_their_names() -> None:
    pools = [pool("10.2.0.0/16", "b", ipipMode="Always"), pool("10.1.0.0/16", "a", ipipMode="Always"), pool()]
    assert [each.name for each in eligible(pools, ME, Tunnel.IPIP)] == ["a", "b"]


@pytest.mark.parametrize(
    ("tunnel", "handle", "attribute", "path"),
    [
        (Tunnel.IPIP, "ipip-tunnel-addr-node1", "ipipTunnelAddress", "bgp.ipv4IPIPTunnelAddr"),
        (Tunnel.VXLAN, "vxlan-tunnel-addr-node1", "vxlanTunnelAddress", "ipv4VXLANTunnelAddr"),
        (Tunnel.VXLAN_V6, "vxlan-v6-tunnel-addr-node1", "vxlanV6TunnelAddress", "ipv6VXLANTunnelAddr"),
    ],
)
def test_handles_attributes_and_fields_are_calicos(tunnel: Tunnel, handle: str, attribute: str, path: str) -> None:
    holder = tunnel.holder("node1")
    assert (holder.handle, dict(holder.owner)) == (handle, {"node": "node1", "type": attribute})
    address = ip_address("10.244.0.1" if tunnel.version == 4 else "fd00::1")
    there: Any = encode(tunnel.publish(decode(Node, Resource("Node", "node1")), address)).spec
    for step in path.split("."):
        there = there[step]
    assert there == str(address)


def test_a_node_that_publishes_nothing_any_more_is_as_it_was_before() -> None:
    for tunnel in Tunnel:
        address = ip_address("10.244.0.1" if tunnel.version == 4 else "fd00::1")
        published = tunnel.publish(ME, address)
        assert tunnel.published(published) == address
        assert encode(tunnel.publish(published, None)) == encode(ME)


def test_vtep_macs_are_those_that_calico_derives() -> None:
    assert derived_mac("node-1", Tunnel.VXLAN) == "66:b3:68:28:39:8e"
    assert derived_mac("node-1", Tunnel.VXLAN_V6) == "66:24:ac:63:df:6c"


def test_a_mac_that_a_node_publishes_goes_before_the_derived_one() -> None:
    flannels = replace(ME, vxlan_mac="0e:00:00:00:00:01")
    assert vtep_mac(flannels, Tunnel.VXLAN) == "0e:00:00:00:00:01"
    assert vtep_mac(flannels, Tunnel.VXLAN_V6) == derived_mac("node1", Tunnel.VXLAN_V6)


def test_overheads_are_an_outer_header_each() -> None:
    assert {tunnel.device: tunnel.overhead_bytes for tunnel in Tunnel} == {
        "tunl0": 20,
        "vxlan.calico": 50,
        "vxlan-v6.calico": 70,
    }


def test_the_published_address_is_kept_and_else_the_lowest_that_is_held() -> None:
    pools = [pool("10.244.0.0/16"), pool("10.245.0.0/16", "two")]
    low, high, stray = ip_address("10.244.0.1"), ip_address("10.245.0.1"), ip_address("10.9.0.1")
    assert keep([high, low], high, pools) == high
    assert keep([high, low], None, pools) == low
    assert keep([high, low], stray, pools) == low
    assert keep([stray], stray, pools) is None


def test_peers_may_send_for_as_long_as_another_node_publishes_an_address() -> None:
    mine = Tunnel.IPIP.publish(ME, ip_address("10.244.166.128"))
    other = node("node2", "192.168.50.11/24")
    assert not peers_may_send([mine, other], "node1", Tunnel.IPIP)
    others = Tunnel.IPIP.publish(other, ip_address("10.244.104.0"))
    assert peers_may_send([ME, others], "node1", Tunnel.IPIP)
    assert not peers_may_send([ME, others], "node1", Tunnel.VXLAN)
