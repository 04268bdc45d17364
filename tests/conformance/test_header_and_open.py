"""RFC 4271, 6.1 and 6.2, and what later RFCs say of headers and OPENs: each error with its code, subcode and data."""

from __future__ import annotations

import struct

import pytest

from tests.conformance.peer import EXTENDED, IPV6_UNICAST, as_of, connected, established, four_octet
from tests.conformance.router import EXTERNAL, INTERNAL, Router
from tests.unit.bgp.bgp_bytes import IPV4_UNICAST, KEEPALIVE, capability, message, open_message

pytestmark = pytest.mark.root

HEADERS = [
    ("RFC 4271 6.1 marker, first octet", message(4, b"", marker=b"\0" + b"\xff" * 15), "1/1"),
    ("RFC 4271 6.1 marker, last octet", message(4, b"", marker=b"\xff" * 15 + b"\xfe"), "1/1"),
    ("RFC 4271 6.1 length 0", message(4, b"", length=0), "1/2 0000"),
    ("RFC 4271 6.1 length 18", message(4, b"", length=18), "1/2 0012"),
    ("RFC 4271 6.1 length 4097", message(2, b"", length=4097), "1/2 1001"),
    ("RFC 4271 6.1 length 65535", message(2, b"", length=65535), "1/2 ffff"),
    ("RFC 4271 6.1 OPEN of 28", message(1, bytes(9)), "1/2 001c"),
    ("RFC 4271 6.1 UPDATE of 22", message(2, bytes(3)), "1/2 0016"),
    ("RFC 4271 6.1 NOTIFICATION of 20", message(3, b"\x06"), "1/2 0014"),
    ("RFC 4271 6.1 KEEPALIVE of 20", message(4, b"\0"), "1/2 0014"),
    ("RFC 4271 6.1 KEEPALIVE of 4096", message(4, bytes(4077)), "1/2 1000"),
    ("RFC 4271 6.1 type 0", message(0, b""), "1/3 00"),
    ("RFC 4271 6.1 type 6", message(6, b""), "1/3 06"),
    ("RFC 4271 6.1 type 7", message(7, bytes(100)), "1/3 07"),
    ("RFC 4271 6.1 type 128", message(128, bytes(9)), "1/3 80"),
    ("RFC 4271 6.1 type 255", message(255, b""), "1/3 ff"),
    ("RFC 7313 5 ROUTE-REFRESH of 22", message(5, bytes(3)), "7/1 " + message(5, bytes(3)).hex()),
    ("RFC 7313 5 ROUTE-REFRESH of 24", message(5, bytes(5)), "7/1 " + message(5, bytes(5)).hex()),
    ("RFC 7313 5 ROUTE-REFRESH of 19", message(5, b""), "7/1 " + message(5, b"").hex()),
]


@pytest.mark.parametrize(("data", "expected"), [case[1:] for case in HEADERS], ids=[case[0] for case in HEADERS])
def test_a_wrong_header_in_established(router: Router, data: bytes, expected: str) -> None:
    with established(router, EXTERNAL) as peer:
        peer.say(data)
        assert peer.ending() == expected


@pytest.mark.parametrize("body", [b"\0\1\3", b"\0\1\3\1\1", b"\0\1\xff" + bytes(50)])
def test_a_refresh_of_an_unknown_subtype_is_ignored_however_long(router: Router, body: bytes) -> None:
    """RFC 7313, 5."""
    with established(router, EXTERNAL) as peer:
        peer.say(message(5, body))
        peer.settle()


def test_a_notification_is_no_longer_than_a_message_may_be(router: Router) -> None:
    """RFC 4271, 4; RFC 7313, 5: the message that was wrong goes back, as far as there is room."""
    with established(router, EXTERNAL) as peer:
        wrong = message(5, b"\0\1\0\1" + bytes(4073))
        peer.say(wrong)
        assert peer.ending() == f"7/1 {wrong[: 4096 - 21].hex()}"


IN_OPEN_SENT = [case for case in HEADERS if "RFC 7313" not in case[0]]


@pytest.mark.parametrize(
    ("data", "expected"), [case[1:] for case in IN_OPEN_SENT], ids=[case[0] for case in IN_OPEN_SENT]
)
def test_a_wrong_header_in_open_sent(router: Router, data: bytes, expected: str) -> None:
    with connected(router, EXTERNAL) as peer:
        peer.say(data)
        assert peer.ending() == expected


@pytest.mark.parametrize(
    ("data", "expected"), [case[1:] for case in IN_OPEN_SENT], ids=[case[0] for case in IN_OPEN_SENT]
)
def test_a_wrong_header_in_open_confirm(router: Router, data: bytes, expected: str) -> None:
    with connected(router, EXTERNAL) as peer:
        peer.say(peer.opening(), data)
        assert peer.ending() == expected


EXTENDED_HEADERS = [
    ("RFC 8654 4 OPEN of 4097", message(1, bytes(4078)), "1/2 1001"),
    ("RFC 8654 4 KEEPALIVE of 4097", message(4, bytes(4078)), "1/2 1001"),
    ("RFC 8654 4 marker still counts", message(2, bytes(5000), marker=bytes(16)), "1/1"),
]


@pytest.mark.parametrize(
    ("data", "expected"), [case[1:] for case in EXTENDED_HEADERS], ids=[case[0] for case in EXTENDED_HEADERS]
)
def test_a_wrong_header_where_messages_may_be_longer(router: Router, data: bytes, expected: str) -> None:
    with established(router, EXTERNAL, EXTENDED) as peer:
        peer.say(data)
        assert peer.ending() == expected


THEIRS = as_of(EXTERNAL)
GOOD = IPV4_UNICAST + four_octet(THEIRS)


def opening(parameters: bytes = GOOD, *, length: int | None = None, **more: object) -> bytes:
    wanted = {"my_as": THEIRS, "router_id": EXTERNAL, "hold": 90, **more}
    return open_message(parameters=parameters, parameters_length=length, **wanted)  # type: ignore[arg-type]


def extended(parameters: bytes, *, length: int | None = None) -> bytes:
    """RFC 9072: two octets of length, for the whole and for each."""
    widened = b"\x02" + struct.pack("!H", len(parameters) - 2) + parameters[2:]
    counted = len(widened) if length is None else length
    body = struct.pack("!BHH4sB", 4, THEIRS, 90, bytes((10, 0, 0, 3)), 255) + b"\xff" + struct.pack("!H", counted)
    return message(1, body + widened)


OPENS = [
    ("RFC 4271 6.2 version 0", opening(version=0), "2/1 0004"),
    ("RFC 4271 6.2 version 3", opening(version=3), "2/1 0004"),
    ("RFC 4271 6.2 version 5", opening(version=5), "2/1 0004"),
    ("RFC 4271 6.2 another AS", opening(my_as=64999, parameters=IPV4_UNICAST), "2/2"),
    ("RFC 4271 6.2 our AS", opening(my_as=65000, parameters=IPV4_UNICAST), "2/2"),
    ("RFC 6793 4.1 another AS in the capability", opening(IPV4_UNICAST + four_octet(64999)), "2/2"),
    ("RFC 7607 2 AS 0", opening(my_as=0, parameters=IPV4_UNICAST), "2/2"),
    ("RFC 7607 2 AS 0 in the capability", opening(IPV4_UNICAST + four_octet(0)), "2/2"),
    ("RFC 6286 2.2 identifier 0", opening(router_id="0.0.0.0"), "2/3"),
    ("RFC 4271 6.2 hold time 1", opening(hold=1), "2/6"),
    ("RFC 4271 6.2 hold time 2", opening(hold=2), "2/6"),
    ("RFC 5492 5 parameter 1, deprecated", opening(b"\x01\x02\0\0" + GOOD), "2/4"),
    ("RFC 5492 5 unknown parameter", opening(b"\x09\x01\0" + GOOD), "2/4"),
    ("RFC 4271 6.2 parameters longer than the message", opening(length=200), "2/0"),
    ("RFC 4271 6.2 parameters shorter than the message", opening(length=4), "2/0"),
    ("RFC 4271 6.2 a parameter that overruns", opening(b"\x02\x20" + GOOD[2:]), "2/0"),
    ("RFC 4271 6.2 half a parameter", opening(GOOD + b"\x02"), "2/0"),
    ("RFC 5492 4 a capability that overruns", opening(GOOD + b"\x02\x02\x41\x04"), "2/0"),
    ("RFC 5492 4 half a capability", opening(GOOD + b"\x02\x01\x41"), "2/0"),
    ("RFC 6793 3 AS capability of 3", opening(IPV4_UNICAST + capability(65, bytes(3))), "2/0"),
    ("RFC 4760 8 family capability of 3", opening(capability(1, bytes(3)) + four_octet(THEIRS)), "2/0"),
    ("RFC 4724 3 restart capability of 1", opening(GOOD + capability(64, b"\0")), "2/0"),
    ("RFC 5492 5 no common family", opening(capability(1, b"\0\1\0\2") + four_octet(THEIRS)),
     "2/7 010400010001010400020001"),
    ("RFC 9072 2 length overruns", extended(GOOD, length=999), "2/0"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "expected"), [case[1:] for case in OPENS], ids=[case[0] for case in OPENS])
def test_a_wrong_open(router: Router, data: bytes, expected: str) -> None:
    with connected(router, EXTERNAL) as peer:
        peer.say(data)
        assert peer.ending() == expected


def test_the_identifier_of_an_internal_peer_is_not_ours(router: Router) -> None:
    """RFC 4271, 6.2."""
    with connected(router, INTERNAL) as peer:
        peer.say(open_message(my_as=65000, router_id="10.0.0.1", parameters=IPV4_UNICAST + four_octet(65000)))
        assert peer.ending() == "2/3"


FINE = [
    ("RFC 6286 2.1 our identifier in another AS", opening(router_id="10.0.0.1")),
    ("RFC 6286 2.1 an identifier that is no unicast address", opening(router_id="239.1.2.3")),
    ("RFC 4271 4.2 hold time 0", opening(hold=0)),
    ("RFC 4271 4.2 hold time 3", opening(hold=3)),
    ("RFC 4271 4.2 hold time 65535", opening(hold=65535)),
    ("RFC 4760 8 no capability is IPv4 unicast", opening(b"")),
    ("RFC 5492 3 unknown capabilities", opening(GOOD + capability(239, bytes(40)) + capability(0))),
    ("RFC 5492 4 all capabilities in one parameter", opening(b"\x02\x0c" + IPV4_UNICAST[2:] + four_octet(THEIRS)[2:])),
    ("RFC 5492 4 the same capability twice", opening(GOOD + GOOD)),
    ("RFC 5492 4 an empty parameter", opening(b"\x02\0" + GOOD)),
    ("RFC 6793 4.1 AS_TRANS", opening(my_as=23456)),
    ("RFC 4760 8 other families beside ours", opening(GOOD + capability(1, b"\0\x19\0\x46") + IPV6_UNICAST)),
    ("RFC 4724 3 restart capability without families", opening(GOOD + capability(64, b"\0\x78"))),
    ("RFC 4724 3 restart capability with other families", opening(GOOD + capability(64, b"\0\x78\0\x19\x46\x80"))),
    ("RFC 9072 2", extended(GOOD[:8])),
]


@pytest.mark.parametrize("data", [case[1] for case in FINE], ids=[case[0] for case in FINE])
def test_an_open_that_is_none_of_these_is_taken(router: Router, data: bytes) -> None:
    with connected(router, EXTERNAL) as peer:
        peer.say(data, KEEPALIVE)
        assert [peer.next_kind(), peer.next_kind()] == ["OPEN", "KEEPALIVE"]
        peer.read_until_end_of_rib()


def test_our_own_open(router: Router) -> None:
    """RFC 4271, 4.2; 5492; 4760; 6793; 4724 and 8538; 2918; 7313; 8654."""
    with connected(router, EXTERNAL) as peer:
        found = peer.next()
        assert found is not None
        kind, body = found
        assert (kind, body[:9].hex()) == ("OPEN", "04" + "fde8" + "005a" + "0a000001")
        for wanted in ("010400010001", "010400020001", "41040000fde8", "4600", "0200", "0600"):
            assert wanted in body.hex()
        assert "400a4003" + "00010180" + "00020180" in body.hex()
