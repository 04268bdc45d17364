"""RFC 7606 and 4271, 6.3: what becomes of the routes of an UPDATE in which something is wrong, and of its session.

A route is announced well, then once more with the error. It is ``kept`` where only an attribute goes, ``withdrawn``
where the UPDATE counts as a withdrawal, and where the session has to end the NOTIFICATION stands.
"""

from __future__ import annotations

import itertools
import struct
from ipaddress import ip_address, ip_network

import pytest

from tests.conformance.peer import IPV6_UNICAST, established
from tests.conformance.router import EXTERNAL, INTERNAL, Router
from tests.unit.bgp.bgp_bytes import attribute, message, nlri, update, update_body
from tests.unit.bgp.bgp_bytes import path as path_of

pytestmark = pytest.mark.root

OPT, TRANS, WELL = 0x80, 0xC0, 0x40
KEPT, WITHDRAWN = "kept", "withdrawn"
_numbers = itertools.count()

ORIGIN, PATH = attribute(1, b"\0"), path_of(65003)
HOP = attribute(3, ip_address(EXTERNAL).packed)
INTERNAL_PATH, INTERNAL_HOP = attribute(2, b""), attribute(3, ip_address(INTERNAL).packed)
PREFERENCE = attribute(5, struct.pack("!L", 100))
USUAL = ORIGIN + PATH + HOP
INTERNAL_USUAL = ORIGIN + INTERNAL_PATH + INTERNAL_HOP + PREFERENCE


def segment(kind: int, *numbers: int, count: int | None = None) -> bytes:
    counted = len(numbers) if count is None else count
    return bytes((kind, counted)) + b"".join(struct.pack("!L", number) for number in numbers)


OWN = segment(2, 65003)

EXTERNAL_CASES = [
    # ORIGIN
    ("7606 7.1 origin of 0 octets", attribute(1, b"") + PATH + HOP, WITHDRAWN),
    ("7606 7.1 origin of 2 octets", attribute(1, b"\0\0") + PATH + HOP, WITHDRAWN),
    ("7606 7.1 origin 3", attribute(1, b"\3") + PATH + HOP, WITHDRAWN),
    ("7606 7.1 origin 255", attribute(1, b"\xff") + PATH + HOP, WITHDRAWN),
    ("7606 3c origin optional", attribute(1, b"\0", flags=TRANS) + PATH + HOP, WITHDRAWN),
    ("7606 3c origin not transitive", attribute(1, b"\0", flags=0) + PATH + HOP, WITHDRAWN),
    ("7606 3d origin missing", PATH + HOP, WITHDRAWN),
    ("7606 3g origin twice", USUAL + attribute(1, b"\1"), KEPT),
    ("4271 4.3 origin with an extended length", b"\x50\x01\x00\x01\x00" + PATH + HOP, KEPT),
    ("4271 4.3 unused flag bits", attribute(1, b"\0", flags=WELL | 0x0F) + PATH + HOP, KEPT),
    # AS_PATH
    ("7606 7.2 segment type 0", ORIGIN + attribute(2, OWN + segment(0, 65010)) + HOP, WITHDRAWN),
    ("7606 7.2 segment type 5", ORIGIN + attribute(2, OWN + segment(5, 65010)) + HOP, WITHDRAWN),
    ("7606 7.2 segment type 255", ORIGIN + attribute(2, segment(255, 65003)) + HOP, WITHDRAWN),
    ("7606 7.2 empty segment", ORIGIN + attribute(2, OWN + segment(2)) + HOP, WITHDRAWN),
    ("7606 7.2 segment overruns", ORIGIN + attribute(2, segment(2, 65003, count=2)) + HOP, WITHDRAWN),
    ("7606 7.2 segment underruns", ORIGIN + attribute(2, OWN + b"\x02") + HOP, WITHDRAWN),
    ("7606 7.2 segment half an AS short", ORIGIN + attribute(2, OWN[:-2]) + HOP, WITHDRAWN),
    ("5065 5 confederation sequence", ORIGIN + attribute(2, segment(3, 65010) + OWN) + HOP, WITHDRAWN),
    ("5065 5 confederation set", ORIGIN + attribute(2, segment(4, 65010) + OWN) + HOP, WITHDRAWN),
    ("7607 2 AS 0 in the path", ORIGIN + path_of(65003, 0, 65010) + HOP, WITHDRAWN),
    ("7607 2 AS 0 in a set", ORIGIN + attribute(2, OWN + segment(1, 0, 65010)) + HOP, WITHDRAWN),
    ("7606 3c path optional", ORIGIN + attribute(2, OWN, flags=TRANS) + HOP, WITHDRAWN),
    ("7606 3d path missing", ORIGIN + HOP, WITHDRAWN),
    ("7606 3g path twice", USUAL + path_of(65003, 65010), KEPT),
    ("4271 4.3 a set in the path", ORIGIN + attribute(2, OWN + segment(1, 65010, 65011)) + HOP, KEPT),
    # NEXT_HOP
    ("7606 7.3 next hop of 0 octets", ORIGIN + PATH + attribute(3, b""), WITHDRAWN),
    ("7606 7.3 next hop of 3 octets", ORIGIN + PATH + attribute(3, bytes(3)), WITHDRAWN),
    ("7606 7.3 next hop of 5 octets", ORIGIN + PATH + attribute(3, bytes(5)), WITHDRAWN),
    ("7606 7.3 next hop of 16 octets", ORIGIN + PATH + attribute(3, bytes(16)), WITHDRAWN),
    ("7606 3c next hop optional", ORIGIN + PATH + attribute(3, HOP[3:], flags=TRANS), WITHDRAWN),
    ("7606 3d next hop missing", ORIGIN + PATH, WITHDRAWN),
    ("7606 3d no attributes at all", b"", WITHDRAWN),
    # MED
    ("7606 7.4 MED of 3 octets", USUAL + attribute(4, bytes(3), flags=OPT), WITHDRAWN),
    ("7606 7.4 MED of 0 octets", USUAL + attribute(4, b"", flags=OPT), WITHDRAWN),
    ("7606 7.4 MED of 5 octets", USUAL + attribute(4, bytes(5), flags=OPT), WITHDRAWN),
    ("7606 3c MED transitive", USUAL + attribute(4, bytes(4), flags=TRANS), WITHDRAWN),
    ("7606 3c MED well-known", USUAL + attribute(4, bytes(4), flags=WELL), WITHDRAWN),
    ("7606 3g MED twice", USUAL + 2 * attribute(4, bytes(4), flags=OPT), KEPT),
    # LOCAL_PREF
    ("7606 7.5 local preference from outside", USUAL + PREFERENCE, KEPT),
    ("7606 7.5 local preference of 3 octets from outside", USUAL + attribute(5, bytes(3)), KEPT),
    # ATOMIC_AGGREGATE, AGGREGATOR
    ("7606 7.6 atomic aggregate", USUAL + attribute(6, b""), KEPT),
    ("7606 7.6 atomic aggregate of 1 octet", USUAL + attribute(6, b"\0"), KEPT),
    ("7606 3c atomic aggregate optional", USUAL + attribute(6, b"", flags=TRANS), WITHDRAWN),
    ("7606 7.7 aggregator", USUAL + attribute(7, bytes((0, 0, 253, 235, 10, 0, 0, 3)), flags=TRANS), KEPT),
    ("7606 7.7 aggregator of 6 octets", USUAL + attribute(7, bytes(6), flags=TRANS), KEPT),
    ("7606 7.7 aggregator of 0 octets", USUAL + attribute(7, b"", flags=TRANS), KEPT),
    ("7607 2 AS 0 in the aggregator", USUAL + attribute(7, bytes((0, 0, 0, 0, 10, 0, 0, 3)), flags=TRANS), KEPT),
    ("7606 3c aggregator not optional", USUAL + attribute(7, bytes(8), flags=WELL), WITHDRAWN),
    # Communities
    ("7606 7.8 communities of 0 octets", USUAL + attribute(8, b"", flags=TRANS), WITHDRAWN),
    ("7606 7.8 communities of 3 octets", USUAL + attribute(8, bytes(3), flags=TRANS), WITHDRAWN),
    ("7606 7.8 communities of 6 octets", USUAL + attribute(8, bytes(6), flags=TRANS), WITHDRAWN),
    ("7606 3c communities not transitive", USUAL + attribute(8, bytes(4), flags=OPT), WITHDRAWN),
    ("1997 communities", USUAL + attribute(8, bytes(8), flags=TRANS), KEPT),
    ("7606 3g communities twice", USUAL + 2 * attribute(8, bytes(4), flags=TRANS), KEPT),
    ("7606 7.14 extended communities of 0 octets", USUAL + attribute(16, b"", flags=TRANS), WITHDRAWN),
    ("7606 7.14 extended communities of 7 octets", USUAL + attribute(16, bytes(7), flags=TRANS), WITHDRAWN),
    ("7606 7.14 extended communities of 12 octets", USUAL + attribute(16, bytes(12), flags=TRANS), WITHDRAWN),
    ("4360 extended communities", USUAL + attribute(16, bytes(16), flags=TRANS), KEPT),
    ("7606 7.15 IPv6 extended communities of 19 octets", USUAL + attribute(25, bytes(19), flags=TRANS), WITHDRAWN),
    ("7606 7.15 IPv6 extended communities of 0 octets", USUAL + attribute(25, b"", flags=TRANS), WITHDRAWN),
    ("5701 IPv6 extended communities", USUAL + attribute(25, bytes(20), flags=TRANS), KEPT),
    ("8092 5 large communities of 0 octets", USUAL + attribute(32, b"", flags=TRANS), WITHDRAWN),
    ("8092 5 large communities of 11 octets", USUAL + attribute(32, bytes(11), flags=TRANS), WITHDRAWN),
    ("8092 3 large communities", USUAL + attribute(32, bytes(24), flags=TRANS), KEPT),
    # What belongs inside an AS
    ("7606 7.9 originator from outside", USUAL + attribute(9, bytes(4), flags=OPT), KEPT),
    ("7606 7.9 originator of 3 octets from outside", USUAL + attribute(9, bytes(3), flags=OPT), KEPT),
    ("7606 7.10 cluster list from outside", USUAL + attribute(10, b"\1\0\0\1", flags=OPT), KEPT),
    ("7606 7.10 cluster list of 0 octets from outside", USUAL + attribute(10, b"", flags=OPT), KEPT),
    # Of old speakers
    ("6793 6 AS4_PATH from a new speaker", USUAL + attribute(17, OWN, flags=TRANS), KEPT),
    ("6793 6 bad AS4_PATH from a new speaker", USUAL + attribute(17, b"\2\x09", flags=TRANS), KEPT),
    ("6793 6 AS4_AGGREGATOR from a new speaker", USUAL + attribute(18, bytes(8), flags=TRANS), KEPT),
    # Unknown ones
    ("4271 5 unknown optional transitive", USUAL + attribute(99, b"?", flags=TRANS), KEPT),
    ("4271 5 unknown optional transitive, empty", USUAL + attribute(99, b"", flags=TRANS), KEPT),
    ("4271 5 unknown optional", USUAL + attribute(99, b"?", flags=OPT), KEPT),
    ("4271 5 unknown, partial", USUAL + attribute(99, b"?", flags=TRANS | 0x20), KEPT),
    ("7606 3c unknown well-known", USUAL + attribute(99, b"?", flags=WELL), WITHDRAWN),
    ("4271 5 unknown 255 octets long and more", USUAL + b"\xd0\x63\x01\x2c" + bytes(300), KEPT),
    ("7606 3g unknown twice", USUAL + 2 * attribute(99, b"?", flags=TRANS), KEPT),
    # Boundaries
    ("7606 4 one octet is left", USUAL + b"\x40", WITHDRAWN),
    ("7606 4 two octets are left", USUAL + b"\xc0\x08", WITHDRAWN),
    ("7606 4 extended length, three octets are left", USUAL + b"\xd0\x08\x00", WITHDRAWN),
    ("7606 4 the last attribute overruns", USUAL + attribute(8, bytes(4), flags=TRANS, length=5), WITHDRAWN),
    ("7606 4 the last overruns by much", USUAL + attribute(8, bytes(4), flags=TRANS, length=255), WITHDRAWN),
    ("7606 4 an attribute in the midst overruns", ORIGIN + attribute(2, OWN, length=200) + HOP, WITHDRAWN),
    ("7606 3h two errors, the stronger counts", attribute(1, b"\7") + PATH + HOP + attribute(6, b"\0"), WITHDRAWN),
    ("4271 4.3 attributes in another order", HOP + PATH + ORIGIN, KEPT),
    ("4271 5 a bad attribute that is not the last", attribute(8, bytes(3), flags=TRANS) + USUAL, WITHDRAWN),
    ("4271 5 a discarded attribute that is not the last", attribute(6, b"\0") + USUAL, KEPT),
    # Next hops that are none: the route is not used (4271 6.3), which is no error of the message
    ("4760 7 IPv4 unicast in MP_REACH beside the field",
     USUAL + attribute(14, b"\0\1\1\4" + HOP[3:] + b"\0" + nlri("100.127.9.0/24"), flags=OPT), KEPT),
    ("7606 3g MP_REACH twice", USUAL + 2 * attribute(14, b"\0\1\1\4" + HOP[3:] + b"\0", flags=OPT), "3/1"),
    ("7606 3g MP_UNREACH twice", USUAL + 2 * attribute(15, b"\0\1\1", flags=OPT), "3/1"),
    ("4760 3 another family", USUAL + attribute(14, b"\0\x19\x41\0\0", flags=OPT), KEPT),
    ("7606 5.3 MP_REACH of 0 octets", USUAL + attribute(14, b"", flags=OPT), "3/9 800e00"),
    ("7606 5.3 MP_REACH of 3 octets", USUAL + attribute(14, b"\0\1\1", flags=OPT), "3/9 800e03000101"),
    ("7606 5.3 MP_REACH without its reserved octet", USUAL + attribute(14, b"\0\1\1\4" + HOP[3:], flags=OPT),
     "3/9 800e0800010104" + "0a000003"),
    ("7606 7.11 MP_REACH with a next hop of 3", USUAL + attribute(14, b"\0\1\1\3\1\2\3\0", flags=OPT),
     "3/9 800e080001010301020300"),
    ("7606 7.11 MP_REACH whose next hop overruns", USUAL + attribute(14, b"\0\1\1\xff\1\2\3\0", flags=OPT),
     "3/9 800e08000101ff01020300"),
    ("7606 7.12 MP_UNREACH of 2 octets", USUAL + attribute(15, b"\0\1", flags=OPT), "3/9 800f020001"),
    ("7606 7.12 MP_UNREACH of 0 octets", USUAL + attribute(15, b"", flags=OPT), "3/9 800f00"),
]  # fmt: skip

INTERNAL_CASES = [
    ("7606 7.5 local preference of 3 octets",
     ORIGIN + INTERNAL_PATH + INTERNAL_HOP + attribute(5, bytes(3)), WITHDRAWN),
    ("7606 7.5 local preference of 0 octets", ORIGIN + INTERNAL_PATH + INTERNAL_HOP + attribute(5, b""), WITHDRAWN),
    ("7606 3d local preference missing", ORIGIN + INTERNAL_PATH + INTERNAL_HOP, WITHDRAWN),
    ("7606 3c local preference optional", ORIGIN + INTERNAL_PATH + INTERNAL_HOP + attribute(5, bytes(4), flags=TRANS),
     WITHDRAWN),
    ("7606 3g local preference twice", INTERNAL_USUAL + PREFERENCE, KEPT),
    ("4271 5.1.2 an empty path", INTERNAL_USUAL, KEPT),
    ("7606 7.9 originator of 3 octets", INTERNAL_USUAL + attribute(9, bytes(3), flags=OPT), WITHDRAWN),
    ("7606 7.9 originator of 0 octets", INTERNAL_USUAL + attribute(9, b"", flags=OPT), WITHDRAWN),
    ("7606 7.9 originator of 8 octets", INTERNAL_USUAL + attribute(9, bytes(8), flags=OPT), WITHDRAWN),
    ("7606 3c originator transitive", INTERNAL_USUAL + attribute(9, b"\1\2\3\4", flags=TRANS), WITHDRAWN),
    ("4456 8 originator", INTERNAL_USUAL + attribute(9, b"\1\2\3\4", flags=OPT), KEPT),
    ("7606 7.10 cluster list of 3 octets", INTERNAL_USUAL + attribute(10, bytes(3), flags=OPT), WITHDRAWN),
    ("7606 7.10 cluster list of 0 octets", INTERNAL_USUAL + attribute(10, b"", flags=OPT), WITHDRAWN),
    ("7606 3c cluster list transitive", INTERNAL_USUAL + attribute(10, b"\2\0\0\2", flags=TRANS), WITHDRAWN),
    ("4456 8 cluster list", INTERNAL_USUAL + attribute(10, b"\2\0\0\2\3\0\0\3", flags=OPT), KEPT),
    ("7606 7.8 communities of 0 octets", INTERNAL_USUAL + attribute(8, b"", flags=TRANS), WITHDRAWN),
    ("7606 7.1 origin 3", attribute(1, b"\3") + INTERNAL_PATH + INTERNAL_HOP + PREFERENCE, WITHDRAWN),
    ("7606 7.6 atomic aggregate of 1 octet", INTERNAL_USUAL + attribute(6, b"\0"), KEPT),
    ("7606 7.7 aggregator of 6 octets", INTERNAL_USUAL + attribute(7, bytes(6), flags=TRANS), KEPT),
]  # fmt: skip


def prefix() -> str:
    number = next(_numbers)
    return f"20.{number >> 8}.{number & 255}.0/24"


def verdict(router: Router, address: str, raw: bytes) -> str:
    with established(router, address) as peer:
        dst = prefix()
        peer.announce(dst)
        assert router.received(address, dst) == "accepted"
        peer.say(update(raw, nlri(dst)))
        try:
            peer.settle()
        except (AssertionError, OSError):
            return peer.ending()
        return {"accepted": KEPT, "": WITHDRAWN}.get(found := router.received(address, dst), found)


def reset(router: Router, address: str, raw: bytes) -> str:
    with established(router, address) as peer:
        peer.say(update(raw, nlri(prefix())))
        return peer.ending()


@pytest.mark.parametrize(
    ("raw", "expected"), [case[1:] for case in EXTERNAL_CASES], ids=[case[0] for case in EXTERNAL_CASES]
)
def test_an_update_of_an_external_peer(router: Router, raw: bytes, expected: str) -> None:
    judge = verdict if expected in (KEPT, WITHDRAWN) else reset
    assert judge(router, EXTERNAL, raw) == expected


@pytest.mark.parametrize(
    ("raw", "expected"), [case[1:] for case in INTERNAL_CASES], ids=[case[0] for case in INTERNAL_CASES]
)
def test_an_update_of_an_internal_peer(router: Router, raw: bytes, expected: str) -> None:
    assert verdict(router, INTERNAL, raw) == expected


FIELDS = [
    ("4271 6.3 withdrawn length overruns", message(2, b"\x00\x05\x00\x00"), "3/1"),
    ("4271 6.3 withdrawn length 65535", message(2, b"\xff\xff\x00\x00"), "3/1"),
    ("4271 6.3 attributes' length overruns", message(2, b"\x00\x00\x00\x01"), "3/1"),
    ("4271 6.3 attributes' length 65535", message(2, b"\x00\x00\xff\xff" + USUAL), "3/1"),
    ("4271 6.3 no room for the attributes' length", message(2, b"\x00\x02\x08\x0a"), "3/1"),
    ("7606 5.3 prefix length 33", update(USUAL, b"\x21\x0a\x00\x00\x00\x00"), "3/10"),
    ("7606 5.3 prefix length 255", update(USUAL, b"\xff\x0a\x00\x00\x00\x00"), "3/10"),
    ("7606 5.3 prefix overruns", update(USUAL, b"\x18\x0a\x00"), "3/10"),
    ("7606 5.3 the second prefix overruns", update(USUAL, nlri("10.9.0.0/16") + b"\x20\x0a"), "3/10"),
    ("7606 5.3 withdrawn prefix length 33", update(withdrawn=b"\x21\x0a\x00\x00\x00\x00"), "3/10"),
    ("7606 5.3 withdrawn prefix overruns", update(withdrawn=b"\x18\x0a"), "3/10"),
    ("7606 5.2 an error and no routes", update(attribute(1, b"\7") + PATH + HOP, b""), "3/1"),
]


@pytest.mark.parametrize(("data", "expected"), [case[1:] for case in FIELDS], ids=[case[0] for case in FIELDS])
def test_fields_of_which_nobody_can_tell_where_they_end(router: Router, data: bytes, expected: str) -> None:
    with established(router, EXTERNAL) as peer:
        peer.say(data)
        assert peer.ending() == expected


LONG_HOP = ip_address("fd00::3").packed
LOCAL_HOP = ip_address("fe80::3").packed


def reach(
    hop: bytes, prefixes: bytes, *, reserved: bytes = b"\0", flags: int = OPT, family: bytes = b"\0\2\1"
) -> bytes:
    return attribute(14, family + bytes((len(hop),)) + hop + reserved + prefixes, flags=flags)


LONG = [
    ("4760 3", reach(LONG_HOP, b"\x20\x20\x01\x0d\xb8"), KEPT),
    ("2545 3 a link-local address behind", reach(LONG_HOP + LOCAL_HOP, b"\x20\x20\x01\x0d\xb8"), KEPT),
    ("4760 3 the reserved octet is ignored", reach(LONG_HOP, b"\x20\x20\x01\x0d\xb8", reserved=b"\xff"), KEPT),
    ("7606 3c not optional", reach(LONG_HOP, b"\x20\x20\x01\x0d\xb8", flags=WELL), WITHDRAWN),
    ("7606 3c transitive", reach(LONG_HOP, b"\x20\x20\x01\x0d\xb8", flags=TRANS), WITHDRAWN),
    ("7606 7.1 origin 3", attribute(1, b"\3") + reach(LONG_HOP, b"\x20\x20\x01\x0d\xb8"), WITHDRAWN),
    ("7606 7.11 next hop of 4", reach(LONG_HOP[:4], b"\x20\x20\x01\x0d\xb8"), "3/9"),
    ("7606 7.11 next hop of 17", reach(LONG_HOP + b"\0", b"\x20\x20\x01\x0d\xb8"), "3/9"),
    ("7606 7.11 next hop of 0", reach(b"", b"\x20\x20\x01\x0d\xb8"), "3/9"),
    ("7606 5.3 prefix length 129", reach(LONG_HOP, b"\x81" + bytes(17)), "3/10"),
    ("7606 5.3 prefix overruns", reach(LONG_HOP, b"\x40\x20\x01"), "3/10"),
    ("4760 3 no prefixes", reach(LONG_HOP, b""), KEPT),
    ("4760 3 NEXT_HOP beside it is ignored", HOP + reach(LONG_HOP, b"\x20\x20\x01\x0d\xb8"), KEPT),
]


@pytest.mark.parametrize(("raw", "expected"), [case[1:] for case in LONG], ids=[case[0] for case in LONG])
def test_an_update_in_ipv6(router: Router, raw: bytes, expected: str) -> None:
    with established(router, EXTERNAL, IPV6_UNICAST) as peer:
        origin = b"" if raw.startswith(attribute(1, b"\3")) else ORIGIN
        peer.say(update(ORIGIN + PATH + reach(LONG_HOP, b"\x20\x20\x01\x0d\xb8")))
        peer.say(update(origin + PATH + raw))
        if expected not in (KEPT, WITHDRAWN):
            assert peer.ending().startswith(expected)
            return
        peer.settle()
        assert {"accepted": KEPT, "": WITHDRAWN}[router.received(EXTERNAL, "2001:db8::/32")] == expected


def test_ipv4_may_come_and_go_in_the_attributes_of_other_families(router: Router) -> None:
    """RFC 4760, 3 and 4."""
    with established(router, EXTERNAL) as peer:
        dst = prefix()
        peer.say(update(ORIGIN + PATH + reach(HOP[3:], nlri(dst), family=b"\0\1\1")))
        peer.settle()
        assert router.received(EXTERNAL, dst) == "accepted"
        peer.say(update(attribute(15, b"\0\1\1" + nlri(dst), flags=OPT)))
        peer.settle()
        assert router.received(EXTERNAL, dst) == ""


@pytest.mark.parametrize("dst", ["::1/128", "::/128", "fe80::/64", "ff02::/16"])
def test_a_martian_of_ipv6_is_refused(router: Router, dst: str) -> None:
    """RFC 1812, 5.3.7; RFC 4291, 2.5."""
    network = ip_network(dst)
    packed = bytes((network.prefixlen,)) + network.network_address.packed[: network.prefixlen // 8]
    with established(router, EXTERNAL, IPV6_UNICAST) as peer:
        peer.say(update(ORIGIN + PATH + reach(LONG_HOP, packed)))
        peer.settle()
        assert router.received(EXTERNAL, dst) == "refused: martian"


def test_a_route_that_is_withdrawn_and_announced_at_once_is_announced(router: Router) -> None:
    """RFC 4271, 4.3."""
    with established(router, EXTERNAL) as peer:
        dst = prefix()
        peer.say(message(2, update_body(USUAL, nlri(dst), nlri(dst))))
        peer.settle()
        assert router.received(EXTERNAL, dst) == "accepted"


def test_the_withdrawn_routes_of_a_bad_update_are_withdrawn(router: Router) -> None:
    """RFC 7606, 2."""
    with established(router, EXTERNAL) as peer:
        one, two = prefix(), prefix()
        peer.announce(one, two)
        peer.say(update(attribute(1, b"\7") + PATH + HOP, nlri(one), nlri(two)))
        peer.settle()
        assert (router.received(EXTERNAL, one), router.received(EXTERNAL, two)) == ("", "")


def test_the_bits_behind_a_prefix_have_no_meaning(router: Router) -> None:
    """RFC 4271, 4.3."""
    with established(router, EXTERNAL) as peer:
        peer.say(update(USUAL, b"\x11\x15\x01\xff"))
        peer.settle()
        assert router.received(EXTERNAL, "21.1.128.0/17") == "accepted"


def test_the_end_of_another_session_is_nobody_elses(router: Router) -> None:
    """RFC 4271, 6: an error ends the session on which it was found."""
    with established(router, INTERNAL) as steady, established(router, EXTERNAL) as peer:
        dst = prefix()
        steady.announce(dst)
        peer.say(message(2, b"\xff\xff\x00\x00"))
        assert peer.ending() == "3/1"
        assert router.received(INTERNAL, dst) == "accepted"
        assert router.state(INTERNAL) == "Established"
