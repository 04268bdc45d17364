"""What the netlink bytes around the routes mean: batches, answers, and what is not a route."""

from __future__ import annotations

import contextlib
from ipaddress import ip_address, ip_network
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from felix.fib import rtmsg
from felix.fib.model import AddRoute, DeleteRoute, Hop, ReplaceRoute, Route, RouteOp
from felix.fib.rtmsg import Answer, Flag, Malformed, Message, MessageType

VIA = (Hop("ens33", ip_address("192.168.50.11")),)
INDEXES = {"ens33": 2}


def adds(count: int) -> list[RouteOp]:
    return [AddRoute(Route(ip_network((0x0A000000 + 64 * n, 26)), VIA)) for n in range(count)]


def test_a_route_is_these_bytes() -> None:
    data = rtmsg.encode(AddRoute(Route(ip_network("10.244.104.0/26"), VIA)), 5, INDEXES)
    assert data.hex(" ", 4) == (
        "34000000 18000106 05000000 00000000 "  # 52 bytes, RTM_NEWROUTE, REQUEST|EXCL|CREATE, sequence 5
        "021a0000 fe0c0001 00000000 "  # inet /26, main, bird, global, unicast
        "08000100 0af46800 08000500 c0a8320b 08000400 02000000"  # dst, gateway, oif
    )


def test_a_new_key_is_exclusive_and_a_replacement_does_not_create() -> None:
    route = Route(ip_network("10.0.0.0/26"), VIA)
    ops: list[RouteOp] = [AddRoute(route), ReplaceRoute(route, route), DeleteRoute(route)]
    messages = [message for op in ops for message in rtmsg.split(rtmsg.encode(op, 1, INDEXES))]
    assert [(message.kind, message.flags) for message in messages] == [
        (MessageType.NEW_ROUTE, Flag.REQUEST | Flag.CREATE | Flag.EXCLUSIVE),
        (MessageType.NEW_ROUTE, Flag.REQUEST | Flag.REPLACE),
        (MessageType.DELETE_ROUTE, Flag.REQUEST),
    ]


def test_only_the_last_message_of_a_batch_asks_for_an_answer() -> None:
    batches = list(rtmsg.encode_batches(adds(100), 1000, INDEXES, rtmsg.encode, longest_bytes=2000))
    assert [(batch.first, batch.last) for batch in batches] == [(1000, 1038), (1039, 1077), (1078, 1099)]
    for batch in batches:
        messages = list(rtmsg.split(batch.data))
        assert [message.sequence for message in messages] == list(range(batch.first, batch.last + 1))
        assert [message.sequence for message in messages if message.flags & Flag.ACK] == [batch.last]


def test_nothing_to_write_is_no_batch() -> None:
    assert list(rtmsg.encode_batches([], 1, INDEXES, rtmsg.encode)) == []


def test_a_device_without_an_index_is_named_in_the_error() -> None:
    with pytest.raises(rtmsg.UnknownDevice, match="cali0"):
        rtmsg.encode(AddRoute(Route(ip_network("10.0.0.1/32"), (Hop("cali0"),))), 1, INDEXES)


def answer(code: int, *, flags: int = 0, rest: bytes = b"") -> Message:
    request = rtmsg.encode(adds(1)[0], 77, INDEXES)
    return Message(MessageType.ERROR, flags, 77, 0, pack("=i", code) + request[:16] + rest)


def test_an_answer_names_its_request() -> None:
    assert rtmsg.decode_answer(answer(0, flags=Flag.CAPPED)) == Answer(77, 0)
    assert rtmsg.decode_answer(answer(-17, flags=Flag.CAPPED)) == Answer(77, 17)


def test_the_kernels_words_are_read_behind_a_header_and_behind_a_whole_request() -> None:
    words = b"Nexthop has invalid gateway\0"
    attribute = pack("=HH", 4 + len(words), 1) + words
    capped = answer(-101, flags=Flag.CAPPED | Flag.ACK_ATTRIBUTES, rest=attribute)
    whole = answer(-101, flags=Flag.ACK_ATTRIBUTES, rest=rtmsg.encode(adds(1)[0], 77, INDEXES)[16:] + attribute)
    assert rtmsg.decode_answer(capped) == Answer(77, 101, "Nexthop has invalid gateway")
    assert rtmsg.decode_answer(whole) == Answer(77, 101, "Nexthop has invalid gateway")


def test_a_device_that_is_not_known_is_shown_by_its_index() -> None:
    (message,) = rtmsg.split(rtmsg.encode(adds(1)[0], 1, INDEXES))
    assert str(rtmsg.decode_route(message.body, {})) == "10.0.0.0/26 via 192.168.50.11 dev if2 proto bird"


def test_a_cached_route_and_another_family_are_no_routes() -> None:
    (message,) = rtmsg.split(rtmsg.encode(adds(1)[0], 1, INDEXES))
    cloned = message.body[:8] + pack("=I", 0x200) + message.body[12:]
    mpls = bytes([28]) + message.body[1:]
    assert rtmsg.decode_route(cloned, {}) is None
    assert rtmsg.decode_route(mpls, {}) is None


@given(st.binary(max_size=80))
def test_bytes_that_are_no_messages_are_malformed_and_nothing_else(data: bytes) -> None:
    try:
        for message in rtmsg.split(data):
            rtmsg.decode_answer(message)
    except Malformed:
        pass


@given(st.binary(max_size=80))
def test_bytes_that_are_no_route_are_malformed_or_no_route(data: bytes) -> None:
    with contextlib.suppress(Malformed):
        rtmsg.decode_route(b"\x02" + data, {})


@given(st.integers(0, 51), st.integers(0, 255))
def test_a_damaged_route_never_breaks_the_reader(position: int, value: int) -> None:
    data = bytearray(rtmsg.encode(adds(1)[0], 1, INDEXES))
    data[position] = value
    try:
        for message in rtmsg.split(bytes(data)):
            rtmsg.decode_route(message.body, {})
    except Malformed:
        pass
