"""One packet on its way through the udp backend."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest

from flannel.forwarding import TIME_EXCEEDED, UNREACHABLE, Peers, answer, checksum, is_packet, take_hop

OWN = IPv4Address("10.42.0.0")


def packet(
    destination: str = "10.42.2.7", ttl: int = 64, protocol: int = 17, payload: bytes = b"12345678abc"
) -> bytearray:
    head = bytearray(20)
    head[0], head[8], head[9] = 0x45, ttl, protocol
    head[2:4] = (20 + len(payload)).to_bytes(2, "big")
    head[12:16], head[16:20] = IPv4Address("10.42.1.5").packed, IPv4Address(destination).packed
    head[10:12] = checksum(bytes(head)).to_bytes(2, "big")
    return head + payload


def test_a_packet_is_whose_subnet_is_the_most_specific() -> None:
    table = {"10.42.2.0/24": "192.0.2.2", "10.42.2.128/25": "192.0.2.3", "10.42.16.0/20": "192.0.2.4"}
    peers = Peers({IPv4Network(subnet): IPv4Address(node) for subnet, node in table.items()})
    found = [peers.node_of(packet(to)) for to in ("10.42.2.7", "10.42.2.200", "10.42.31.1", "10.42.3.1")]
    assert found == ["192.0.2.2", "192.0.2.3", "192.0.2.4", None]


@pytest.mark.parametrize("ttl", range(2, 256))
def test_a_hop_is_taken_from_what_is_left_and_the_checksum_stays_right(ttl: int) -> None:
    one = packet(ttl=ttl)
    assert take_hop(one)
    assert one[8] == ttl - 1
    assert checksum(bytes(one[:20])) == 0
    assert one[12:] == packet()[12:]


@pytest.mark.parametrize("ttl", [0, 1])
def test_a_packet_that_has_no_hop_left_stays_as_it_is(ttl: int) -> None:
    one = packet(ttl=ttl)
    assert not take_hop(one)
    assert one == packet(ttl=ttl)


@pytest.mark.parametrize("kind", [UNREACHABLE, TIME_EXCEEDED])
def test_the_sender_is_told_from_this_nodes_address_with_what_it_sent(kind: tuple[int, int]) -> None:
    sent = packet()
    told = answer(sent, OWN, kind)
    assert told is not None
    assert (told[8], told[9], IPv4Address(told[12:16]), IPv4Address(told[16:20])) == (
        8,
        1,
        OWN,
        IPv4Address("10.42.1.5"),
    )
    assert (told[20], told[21]) == kind
    assert told[28:] == sent[:28]
    assert checksum(told[:20]) == checksum(told[20:]) == 0
    assert int.from_bytes(told[2:4], "big") == len(told)


def test_an_echo_request_is_answered_for_and_no_error_and_no_later_fragment_and_no_options() -> None:
    assert answer(packet(protocol=1, payload=b"\x08\0\0\0\0\0\0\0"), OWN, UNREACHABLE) is not None
    assert answer(packet(protocol=1, payload=b"\x03\0\0\0\0\0\0\0"), OWN, UNREACHABLE) is None
    fragment, options = packet(), packet()
    fragment[7], options[0] = 1, 0x46
    assert answer(fragment, OWN, UNREACHABLE) is None
    assert answer(options, OWN, UNREACHABLE) is None


@pytest.mark.parametrize(("data", "is_one"), [(b"", False), (b"\x45" * 19, False), (b"\x60" + b"\0" * 40, False)])
def test_what_is_no_packet_of_ipv4_is_not_taken_for_one(data: bytes, is_one: bool) -> None:
    assert is_packet(data) == is_one
    assert is_packet(packet())
