"""A tunnel that the kernel does not make is told with all that follows from it."""

from __future__ import annotations

from felix.lacking import Lack, lacks
from felix.tunnels import Tunnel
from tests.clusters import node, pool

ME = node("node1", "192.168.50.10/24")
NEAR = node("node2", "192.168.50.11/24")
FAR = node("node3", "192.168.51.12/24", vxlan="10.244.135.1")
REFUSED = {"tunl0": "EOPNOTSUPP (Unknown device type)"}
POOLS = [pool("10.244.0.0/16", "p", ipipMode="Always"), pool("10.245.0.0/16", "plain")]


def found(*others: object, up: frozenset[Tunnel] = frozenset(), refused: dict[str, str] = REFUSED) -> list[Lack]:
    return list(lacks(refused, POOLS, ME, [ME, NEAR, *others], up))  # type: ignore[list-item]


def test_within_one_subnet_packets_go_without_encapsulation_and_that_is_said() -> None:
    (lack,) = found()
    assert str(lack) == (
        "tunl0, which pool p asks for, cannot be made: EOPNOTSUPP (Unknown device type); see whether the kernel has "
        "the module ipip (modprobe ipip); until then packets go without encapsulation"
    )
    assert str(lack.event("node1").about) == "Node(node1)"


def test_a_node_beyond_a_router_gets_no_packets_and_is_named() -> None:
    (lack,) = found(FAR)
    assert lack.unreached == ("node3",)
    assert str(lack).endswith("without encapsulation, and NOT AT ALL to node3, beyond a router")


def test_another_tunnel_that_both_have_reaches_it() -> None:
    (lack,) = found(FAR, up=frozenset({Tunnel.VXLAN}))
    assert lack.unreached == ()


def test_a_device_that_no_pool_asks_for_is_nobodys_lack() -> None:
    assert found(FAR, refused={"vxlan.calico": "EOPNOTSUPP"}) == []
    assert found(FAR, refused={}) == []
