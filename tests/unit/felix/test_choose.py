"""The pool decides who tells where a destination is and how it is sent."""

from __future__ import annotations

from functools import partial

import pytest

from datastore.resources import IPPool
from felix.choose import Choice, Peer, choose, source_for
from felix.tunnels import Tunnel
from tests.clusters import address, node, pool

ME = node("node1", "192.168.50.10/24")
p = partial(pool, "10.244.0.0/16", "p")
NEAR = node("node2", "192.168.50.11/24", ipip="10.244.104.0", vxlan="10.244.104.1")
FAR = node("node3", "192.168.51.12/24", ipip="10.244.135.0", vxlan="10.244.135.1")
ALL_UP = frozenset(Tunnel)
NEAR_PEER, FAR_PEER = Peer(address("192.168.50.11"), NEAR), Peer(address("192.168.51.12"), FAR)


def said(choice: Choice) -> str:
    return f"{'direct' if choice.tunnel is None else choice.tunnel.device}: {choice.rule}"


@pytest.mark.parametrize(
    ("of", "peer", "answer"),
    [
        (None, FAR_PEER, "bgp, direct: outside the pools"),
        (p(), NEAR_PEER, "bgp, direct: pool p"),
        (p(), FAR_PEER, "bgp, direct: pool p"),
        (p(disabled=True), FAR_PEER, "bgp, direct: pool p"),
        (p(ipipMode="Always"), NEAR_PEER, "bgp, tunl0: pool p, ipipMode Always"),
        (p(ipipMode="Always", disabled=True), NEAR_PEER, "bgp, tunl0: pool p, ipipMode Always"),
        (p(ipipMode="CrossSubnet"), NEAR_PEER, "bgp, direct: pool p, ipipMode CrossSubnet, same subnet"),
        (p(ipipMode="CrossSubnet"), FAR_PEER, "bgp, tunl0: pool p, ipipMode CrossSubnet"),
        (p(vxlanMode="Always"), NEAR_PEER, "blocks, vxlan.calico: pool p, vxlanMode Always"),
        (p(vxlanMode="CrossSubnet"), NEAR_PEER, "blocks, direct: pool p, vxlanMode CrossSubnet, same subnet"),
        (p(vxlanMode="CrossSubnet"), FAR_PEER, "blocks, vxlan.calico: pool p, vxlanMode CrossSubnet"),
    ],
)
def test_a_pool_a_node_and_a_peer_make_a_choice(of: IPPool | None, peer: Peer, answer: str) -> None:
    assert f"{source_for(of).value}, {said(choose(of, ME, peer, ALL_UP))}" == answer


@pytest.mark.parametrize("mode", ["Always", "CrossSubnet"])
@pytest.mark.parametrize(("kind", "tunnel"), [("ipip", Tunnel.IPIP), ("vxlan", Tunnel.VXLAN)])
def test_what_one_of_the_two_cannot_do_is_sent_directly_and_says_why(kind: str, mode: str, tunnel: Tunnel) -> None:
    of = p(**{f"{kind}Mode": mode})
    mute = Peer(FAR_PEER.address, node("node3", "192.168.51.12/24"))
    stranger = Peer(address("192.168.51.77"))
    rule = f"direct: pool p, {kind}Mode {mode}, but direct for now: "
    assert said(choose(of, ME, mute, ALL_UP)) == f"{rule}node3 publishes no {kind} tunnel address"
    assert said(choose(of, ME, stranger, ALL_UP)) == f"{rule}192.168.51.77 is no node's address"
    assert said(choose(of, ME, FAR_PEER, frozenset())) == f"{rule}{tunnel.device} is not up here"


def test_between_two_tunnels_the_old_one_serves_until_the_new_one_does() -> None:
    still_ipip = Peer(FAR_PEER.address, node("node3", "192.168.51.12/24", ipip="10.244.135.0"))
    assert said(choose(p(vxlanMode="Always"), ME, still_ipip, ALL_UP)) == (
        "tunl0: pool p, vxlanMode Always, but tunl0 for now: node3 publishes no vxlan tunnel address"
    )
    assert said(choose(p(ipipMode="Always"), ME, FAR_PEER, frozenset({Tunnel.VXLAN}))) == (
        "vxlan.calico: pool p, ipipMode Always, but vxlan.calico for now: tunl0 is not up here"
    )


def test_ipv6_goes_through_its_own_vxlan_device_and_never_through_ipip() -> None:
    six = Peer(address("fd01::2"), node("node2", "192.168.50.11/24", vxlan_v6="fd00::1"))
    assert said(choose(p(vxlanMode="Always"), ME, six, ALL_UP)) == "vxlan-v6.calico: pool p, vxlanMode Always"
    assert said(choose(p(ipipMode="Always"), ME, six, ALL_UP)) == "direct: pool p"


def test_a_node_that_is_not_known_yet_is_in_nobodys_subnet() -> None:
    assert choose(p(ipipMode="CrossSubnet"), None, NEAR_PEER, ALL_UP).tunnel is Tunnel.IPIP
