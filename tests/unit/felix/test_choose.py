"""The pool decides who tells where a destination is and how it is sent."""

from __future__ import annotations

from functools import partial

import pytest

from datastore.resources import IPPool
from felix.choose import choose, source_for
from tests.clusters import address, node, pool

ME = node("node1", "192.168.50.10/24")
p = partial(pool, "10.244.0.0/16", "p")
NEAR, FAR = "192.168.50.11", "192.168.51.12"


@pytest.mark.parametrize(
    ("of", "peer", "answer"),
    [
        (None, FAR, "bgp, direct: outside the pools"),
        (p(), NEAR, "bgp, direct: pool p"),
        (p(), FAR, "bgp, direct: pool p"),
        (p(disabled=True), FAR, "bgp, direct: pool p"),
        (p(ipipMode="Always"), NEAR, "bgp, ipip: pool p, ipipMode Always"),
        (
            p(ipipMode="CrossSubnet"),
            NEAR,
            "bgp, direct: pool p, ipipMode CrossSubnet, same subnet",
        ),
        (p(ipipMode="CrossSubnet"), FAR, "bgp, ipip: pool p, ipipMode CrossSubnet"),
        (p(vxlanMode="Always"), NEAR, "blocks, vxlan: pool p, vxlanMode Always"),
        (
            p(vxlanMode="CrossSubnet"),
            NEAR,
            "blocks, direct: pool p, vxlanMode CrossSubnet, same subnet",
        ),
        (p(vxlanMode="CrossSubnet"), FAR, "blocks, vxlan: pool p, vxlanMode CrossSubnet"),
    ],
)
def test_a_pool_a_node_and_a_peer_make_a_choice(of: IPPool | None, peer: str, answer: str) -> None:
    choice = choose(of, ME, address(peer))
    assert f"{source_for(of).value}, {choice.encap.value}: {choice.rule}" == answer


def test_a_node_that_is_not_known_yet_is_in_nobodys_subnet() -> None:
    assert choose(p(ipipMode="CrossSubnet"), None, address(NEAR)).encap.value == "ipip"
