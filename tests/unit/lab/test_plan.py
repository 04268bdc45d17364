"""What a lab will look like."""

import pytest

from lab import plan
from lab.plan import BadWish
from lab.probe import parse_ipv4


def test_nodes_sit_at_10_11_12_on_the_uplink() -> None:
    assert [(node.name, str(node.address)) for node in plan.nodes(3, is_routed=False)] == [
        ("node1", "192.168.50.10/24"),
        ("node2", "192.168.50.11/24"),
        ("node3", "192.168.50.12/24"),
    ]


def test_with_a_router_the_last_node_is_behind_it() -> None:
    last = plan.nodes(3, is_routed=True)[-1]
    assert (str(last.address), last.gateway) == ("192.168.51.12/24", "192.168.51.1")
    assert plan.uplink_commands(last, 77) == [
        "link add port3 type veth peer name ens33 netns 77",
        "link set port3 master far up",
    ]


def test_a_node_gets_its_uplink_as_an_installer_would_configure_it() -> None:
    assert plan.node_commands(plan.node(1)) == [
        "link set lo up",
        "link set ens33 up",
        "address add 192.168.50.10/24 dev ens33 metric 100",
        "route add default via 192.168.50.1 dev ens33 proto static metric 100",
    ]


def test_a_large_lab_gets_a_wider_subnet_and_keeps_the_first_addresses() -> None:
    nodes = plan.nodes(500, is_routed=False)
    assert [str(nodes[at].address) for at in (0, 1, 499)] == [
        "192.168.50.10/16",
        "192.168.50.11/16",
        "192.168.51.253/16",
    ]
    assert len({node.address for node in nodes}) == 500


@pytest.mark.parametrize(("count", "is_routed"), [(0, False), (1, True)])
def test_a_lab_that_cannot_be_is_refused(count: int, is_routed: bool) -> None:
    with pytest.raises(BadWish):
        plan.nodes(count, is_routed=is_routed)


def test_a_captured_packet_reads_like_tcpdump() -> None:
    tcp = bytes.fromhex("45000034000040004006000 0".replace(" ", "")) + bytes([10, 244, 166, 128, 10, 244, 104, 1])
    packet = tcp + bytes.fromhex("a0000050") + bytes(28)
    assert str(parse_ipv4(packet)) == "IP 10.244.166.128.40960 > 10.244.104.1.80: TCP, length 52"
    outer = bytes.fromhex("450000480000400040040000") + bytes([192, 168, 50, 10, 192, 168, 50, 11])
    assert str(parse_ipv4(outer + packet)) == (
        "IP 192.168.50.10 > 192.168.50.11: IPIP, length 72 [IP 10.244.166.128.40960 > 10.244.104.1.80: TCP, length 52]"
    )
    assert parse_ipv4(b"\x60" + bytes(40)) is None
