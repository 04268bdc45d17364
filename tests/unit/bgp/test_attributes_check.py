"""RFC 7606: one case for each attribute and each way to get it wrong."""

import struct

import pytest

from bgp.attributes_check import Facts, Verdict, judge
from tests.unit.bgp.bgp_bytes import EMPTY_PATH, LOCAL_PREF, NEXT_HOP, ORIGIN, USUAL, attribute, path

INTERNAL = Facts(is_internal=True, has_four_octet_as=True)
EXTERNAL = Facts(is_internal=False, has_four_octet_as=True)
OLD_SPEAKER = Facts(is_internal=False, has_four_octet_as=False)

OPTIONAL, OPTIONAL_TRANSITIVE = 0x80, 0xC0
VALID_EXTERNAL = ORIGIN + path(65001) + NEXT_HOP


def verdict(raw: bytes, facts: Facts = INTERNAL, *, has_nlri: bool = True) -> str:
    """``withdraw: origin: value 5``."""
    found = judge(raw, facts, has_nlri=has_nlri)
    return "; ".join([found.verdict.name.lower(), *(fault.rsplit(": ", 1)[0] for fault in found.faults)])


CASES = [
    ("keep", USUAL),
    ("keep", USUAL + attribute(4, bytes(4), flags=OPTIONAL)),
    ("keep", USUAL + attribute(6, b"")),
    ("keep", USUAL + attribute(7, bytes((0, 0, 0, 1, 10, 0, 0, 1)), flags=OPTIONAL_TRANSITIVE)),
    ("keep", USUAL + attribute(8, bytes(8), flags=OPTIONAL_TRANSITIVE)),
    ("keep", USUAL + attribute(9, bytes(4), flags=OPTIONAL)),
    ("keep", USUAL + attribute(10, bytes(8), flags=OPTIONAL)),
    ("keep", USUAL + attribute(16, bytes(16), flags=OPTIONAL_TRANSITIVE)),
    ("keep", USUAL + attribute(32, bytes(24), flags=OPTIONAL_TRANSITIVE)),
    # 7.1
    ("withdraw; origin: value 5", attribute(1, b"\x05") + EMPTY_PATH + NEXT_HOP + LOCAL_PREF),
    ("withdraw; origin: length 2", attribute(1, b"\x00\x00") + EMPTY_PATH + NEXT_HOP + LOCAL_PREF),
    ("withdraw; origin: length 0", attribute(1, b"") + EMPTY_PATH + NEXT_HOP + LOCAL_PREF),
    ("withdraw; origin: flags 0xc0", attribute(1, b"\x00", flags=0xC0) + EMPTY_PATH + NEXT_HOP + LOCAL_PREF),
    ("withdraw; origin: missing", EMPTY_PATH + NEXT_HOP + LOCAL_PREF),
    # 7.2
    ("withdraw; as-path: missing", ORIGIN + NEXT_HOP + LOCAL_PREF),
    ("withdraw; as-path: segment type 5", ORIGIN + path(65001, kind=5) + NEXT_HOP + LOCAL_PREF),
    ("withdraw; as-path: confederation segment", ORIGIN + path(65001, kind=3) + NEXT_HOP + LOCAL_PREF),
    ("withdraw; as-path: confederation segment", ORIGIN + path(65001, kind=4) + NEXT_HOP + LOCAL_PREF),
    ("withdraw; as-path: empty segment", ORIGIN + path() + NEXT_HOP + LOCAL_PREF),
    ("withdraw; as-path: segment overruns", ORIGIN + attribute(2, b"\x02\x02\0\0\0\1") + NEXT_HOP + LOCAL_PREF),
    ("withdraw; as-path: segment header cut short", ORIGIN + attribute(2, b"\x02") + NEXT_HOP + LOCAL_PREF),
    ("withdraw; as-path: AS 0", ORIGIN + path(65001, 0) + NEXT_HOP + LOCAL_PREF),
    ("withdraw; as-path: flags 0x80", ORIGIN + attribute(2, b"", flags=0x80) + NEXT_HOP + LOCAL_PREF),
    # 7.3
    ("withdraw; next-hop: length 5", ORIGIN + EMPTY_PATH + attribute(3, bytes(5)) + LOCAL_PREF),
    ("withdraw; next-hop: length 0", ORIGIN + EMPTY_PATH + attribute(3, b"") + LOCAL_PREF),
    ("withdraw; next-hop: missing", ORIGIN + EMPTY_PATH + LOCAL_PREF),
    # 7.4
    ("withdraw; med: length 3", USUAL + attribute(4, bytes(3), flags=OPTIONAL)),
    ("withdraw; med: flags 0x40", USUAL + attribute(4, bytes(4), flags=0x40)),
    # 7.5
    ("withdraw; local-pref: length 5", ORIGIN + EMPTY_PATH + NEXT_HOP + attribute(5, bytes(5))),
    ("withdraw; local-pref: missing", ORIGIN + EMPTY_PATH + NEXT_HOP),
    # 7.6 and 7.7
    ("discard; atomic-aggregate: length 1", USUAL + attribute(6, b"\0")),
    ("discard; aggregator: length 6", USUAL + attribute(7, bytes(6), flags=OPTIONAL_TRANSITIVE)),
    ("discard; aggregator: AS 0", USUAL + attribute(7, bytes(8), flags=OPTIONAL_TRANSITIVE)),
    ("withdraw; atomic-aggregate: flags 0x80", USUAL + attribute(6, b"", flags=OPTIONAL)),
    # 7.8
    ("withdraw; community: length 3", USUAL + attribute(8, bytes(3), flags=OPTIONAL_TRANSITIVE)),
    ("withdraw; community: length 0", USUAL + attribute(8, b"", flags=OPTIONAL_TRANSITIVE)),
    # 7.9 and 7.10
    ("withdraw; originator-id: length 3", USUAL + attribute(9, bytes(3), flags=OPTIONAL)),
    ("withdraw; cluster-list: length 3", USUAL + attribute(10, bytes(3), flags=OPTIONAL)),
    ("withdraw; cluster-list: length 0", USUAL + attribute(10, b"", flags=OPTIONAL)),
    # 7.11 and 7.12
    ("reset; mp-reach: length 2", USUAL + attribute(14, b"\0\1", flags=OPTIONAL)),
    ("reset; mp-unreach: length 2", USUAL + attribute(15, b"\0\1", flags=OPTIONAL)),
    ("withdraw; mp-reach: flags 0x40", USUAL + attribute(14, b"\0\1\1\4" + bytes(9))),
    ("reset; mp-reach: next hop of 0 octets", USUAL + attribute(14, b"\0\1\1" + bytes(9), flags=OPTIONAL)),
    ("reset; mp-reach: twice", USUAL + 2 * attribute(14, b"\0\1\1\4" + bytes(9), flags=OPTIONAL)),
    ("reset; mp-unreach: twice", USUAL + 2 * attribute(15, b"\0\1\1", flags=OPTIONAL)),
    ("discard; mp-reach: family 2/1", USUAL + attribute(14, b"\0\2\1" + bytes(20), flags=OPTIONAL)),
    # 7.14 and RFC 8092
    ("withdraw; extended-community: length 7", USUAL + attribute(16, bytes(7), flags=OPTIONAL_TRANSITIVE)),
    ("withdraw; large-community: length 13", USUAL + attribute(32, bytes(13), flags=OPTIONAL_TRANSITIVE)),
    # RFC 6793: from a speaker that has four-octet AS numbers these have no business here
    ("discard; as4-path: from a four-octet speaker", USUAL + attribute(17, bytes(6), flags=OPTIONAL_TRANSITIVE)),
    ("discard; as4-aggregator: from a four-octet speaker", USUAL + attribute(18, bytes(8), flags=OPTIONAL_TRANSITIVE)),
    # 3 (g), 4, RFC 4271 6.3
    ("discard; origin: twice", USUAL + attribute(1, b"\x01")),
    ("withdraw; attributes: length overruns", USUAL + attribute(8, bytes(4), flags=OPTIONAL_TRANSITIVE, length=12)),
    ("withdraw; attributes: length overruns", USUAL + b"\x40\x06"),
    ("withdraw; attributes: length overruns", USUAL + b"\x50\x06\x00"),
    ("withdraw; attribute 99: unknown well-known", USUAL + attribute(99, bytes(4), flags=0x40)),
    ("keep", USUAL + attribute(99, bytes(4), flags=OPTIONAL)),
    ("keep", USUAL + attribute(99, bytes(4), flags=OPTIONAL_TRANSITIVE)),
]  # fmt: skip


@pytest.mark.parametrize(("expected", "raw"), CASES, ids=[case[0] for case in CASES])
def test_an_attribute_of_an_internal_peer_gets_the_verdict_of_the_rfc(expected: str, raw: bytes) -> None:
    assert verdict(raw) == expected


EXTERNAL_CASES = [
    ("keep", VALID_EXTERNAL),
    ("discard; local-pref: from an external peer", VALID_EXTERNAL + LOCAL_PREF),
    ("discard; local-pref: from an external peer", VALID_EXTERNAL + attribute(5, b"")),
    ("discard; originator-id: from an external peer", VALID_EXTERNAL + attribute(9, bytes(3), flags=OPTIONAL)),
    ("discard; cluster-list: from an external peer", VALID_EXTERNAL + attribute(10, bytes(3), flags=OPTIONAL)),
]


@pytest.mark.parametrize(("expected", "raw"), EXTERNAL_CASES, ids=[case[0] for case in EXTERNAL_CASES])
def test_what_belongs_inside_an_as_is_discarded_from_an_external_peer(expected: str, raw: bytes) -> None:
    assert verdict(raw, EXTERNAL) == expected


AS4_PATH = struct.pack("!BBL", 2, 1, 70000)
OLD_CASES = [
    ("keep", ORIGIN + path(23456, size=2) + NEXT_HOP + attribute(17, AS4_PATH, flags=OPTIONAL_TRANSITIVE)),
    ("keep", ORIGIN + path(65001, size=2) + NEXT_HOP + attribute(7, b"\xfe\x00\x0a\0\0\1", flags=OPTIONAL_TRANSITIVE)),
    ("discard; as4-path: segment type 9",
     ORIGIN + path(23456, size=2) + NEXT_HOP + attribute(17, b"\x09" + AS4_PATH[1:], flags=OPTIONAL_TRANSITIVE)),
    ("discard; as4-path: empty",
     ORIGIN + path(23456, size=2) + NEXT_HOP + attribute(17, b"", flags=OPTIONAL_TRANSITIVE)),
    ("discard; as4-aggregator: length 6",
     ORIGIN + path(65001, size=2) + NEXT_HOP + attribute(18, bytes(6), flags=OPTIONAL_TRANSITIVE)),
    ("withdraw; as-path: segment overruns", ORIGIN + attribute(2, b"\x02\x02\0\1") + NEXT_HOP),
]  # fmt: skip


@pytest.mark.parametrize(("expected", "raw"), OLD_CASES, ids=[case[0] for case in OLD_CASES])
def test_a_speaker_with_two_octet_as_numbers_is_judged_as_such(expected: str, raw: bytes) -> None:
    assert verdict(raw, OLD_SPEAKER) == expected


def test_the_strongest_verdict_wins() -> None:
    raw = attribute(1, b"\x05") + EMPTY_PATH + NEXT_HOP + LOCAL_PREF + attribute(6, b"\0")
    assert verdict(raw) == "withdraw; origin: value 5; atomic-aggregate: length 1"


def test_only_what_is_kept_goes_on_to_be_decoded() -> None:
    found = judge(USUAL + attribute(6, b"\0") + attribute(99, b"x", flags=OPTIONAL), INTERNAL, has_nlri=True)
    assert found.kept == USUAL


def test_the_first_of_two_alike_is_kept() -> None:
    assert judge(USUAL + attribute(1, b"\x02"), INTERNAL, has_nlri=True).kept == USUAL


def test_bits_that_say_nothing_do_not_reach_the_decoder() -> None:
    partial = attribute(1, b"\x00", flags=0x6F) + EMPTY_PATH + NEXT_HOP + LOCAL_PREF
    found = judge(partial, INTERNAL, has_nlri=True)
    assert (found.verdict, found.kept) == (Verdict.KEEP, USUAL)


def test_a_longer_length_field_is_read_and_kept() -> None:
    long = bytes((0x50, 1, 0, 1, 0)) + EMPTY_PATH + NEXT_HOP + LOCAL_PREF
    found = judge(long, INTERNAL, has_nlri=True)
    assert (found.verdict, found.kept) == (Verdict.KEEP, long)


def test_next_hop_belongs_to_the_nlri_field_only() -> None:
    reach = attribute(14, b"\0\1\1\4\x0a\0\0\2\0" + b"\x1a\x0a\x01\x00\x00", flags=OPTIONAL)
    assert verdict(ORIGIN + EMPTY_PATH + LOCAL_PREF + reach, has_nlri=False) == "keep"


def test_without_routes_an_error_that_withdraws_resets() -> None:
    """Section 5.2: nobody can tell which routes were meant."""
    assert verdict(attribute(1, b"\x05"), has_nlri=False) == "reset; origin: value 5; routes: none to withdraw"


def test_without_routes_nothing_is_missing() -> None:
    assert verdict(ORIGIN, has_nlri=False) == "keep"
    assert verdict(attribute(6, b"\0"), has_nlri=False) == "discard; atomic-aggregate: length 1"


def test_an_update_of_another_family_alone_is_left_out() -> None:
    other = attribute(14, b"\0\2\1" + bytes(20), flags=OPTIONAL)
    assert verdict(ORIGIN + EMPTY_PATH + LOCAL_PREF + other, has_nlri=False) == "discard; mp-reach: family 2/1"
