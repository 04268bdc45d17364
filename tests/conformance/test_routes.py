"""What is done with routes that are well said: loops, next hops, passing on, reflecting, old speakers, the choice."""

from __future__ import annotations

import struct
from contextlib import ExitStack
from ipaddress import ip_address

import pytest

from tests.conformance.peer import EXTENDED, IPV6_UNICAST, Peer, as_of, established
from tests.conformance.router import (
    ADDRESS,
    CLIENT,
    EXTERNAL,
    FAR_HOPS,
    INTERNAL,
    OBSERVER,
    OTHER_CLIENT,
    OTHER_INTERNAL,
    RESTARTING,
    Router,
    wait_until,
)
from tests.lab.namespace import ip
from tests.unit.bgp.bgp_bytes import attribute, nlri, path, update

pytestmark = pytest.mark.root

OPT, TRANS = 0x80, 0xC0
DST = "203.0.113.0/24"
ORIGIN = attribute(1, b"\0")


def hop(address: str) -> bytes:
    return attribute(3, ip_address(address).packed)


def external(*numbers: int, next_hop: str = EXTERNAL, more: bytes = b"") -> bytes:
    return ORIGIN + path(*(numbers or (65003,))) + hop(next_hop) + more


def internal(*numbers: int, next_hop: str = INTERNAL, more: bytes = b"", preference: int = 100) -> bytes:
    as_path = path(*numbers) if numbers else attribute(2, b"")
    return ORIGIN + as_path + hop(next_hop) + attribute(5, struct.pack("!L", preference)) + more


LONG_PATH = b"\x50\x02" + struct.pack("!H", 3 * 802) + 3 * (b"\x02\xc8" + 200 * struct.pack("!L", 65003))

EXTERNAL_CASES = [
    ("4271 9.1.2 our AS in the path", external(65003, 65000), DST, "refused: loop"),
    ("4271 9.1.2 our AS in a set", ORIGIN + attribute(2, struct.pack("!BBLBBLL", 2, 1, 65003, 1, 2, 65010, 65000))
     + hop(EXTERNAL), DST, "refused: loop"),
    ("4271 6.3 next hop 0.0.0.0", external(next_hop="0.0.0.0"), DST, "refused: next-hop"),
    ("4271 6.3 next hop 127.0.0.1", external(next_hop="127.0.0.1"), DST, "refused: next-hop"),
    ("4271 6.3 next hop 224.0.0.1", external(next_hop="224.0.0.1"), DST, "refused: next-hop"),
    ("4271 6.3 next hop 240.0.0.1", external(next_hop="240.0.0.1"), DST, "refused: next-hop"),
    ("4271 6.3 next hop 255.255.255.255", external(next_hop="255.255.255.255"), DST, "refused: next-hop"),
    ("4271 6.3 our own address", external(next_hop=ADDRESS), DST, "refused: next-hop"),
    ("4271 5.1.3 a third party's next hop", external(next_hop="10.0.0.200"), DST, "accepted"),
    ("4271 5.1.3 a next hop on no network of ours", external(next_hop="172.31.0.9"), DST, "refused: next-hop"),
    ("1812 5.3.7 127.0.0.0/8", external(), "127.0.0.0/8", "refused: martian"),
    ("1812 5.3.7 127.1.2.0/24", external(), "127.1.2.0/24", "refused: martian"),
    ("1812 5.3.7 0.0.0.0/8", external(), "0.0.0.0/8", "refused: martian"),
    ("1812 5.3.7 224.0.0.0/4", external(), "224.0.0.0/4", "refused: martian"),
    ("1812 5.3.7 239.1.2.3/32", external(), "239.1.2.3/32", "refused: martian"),
    ("1812 5.3.7 255.255.255.255/32", external(), "255.255.255.255/32", "refused: martian"),
    ("4271 4.3 a default route", external(), "0.0.0.0/0", "accepted"),
    ("4271 4.3 half a default route", external(), "0.0.0.0/1", "accepted"),
    ("4271 4.3 the other half", external(), "128.0.0.0/1", "accepted"),
    ("1812 5.3.7 240.0.0.0/4", external(), "240.0.0.0/4", "refused: martian"),
    ("4271 6.3 a path that begins with another AS, which need not be checked", external(65099, 65003), DST, "accepted"),
    ("4271 4.3 a host route", external(), "203.0.113.7/32", "accepted"),
    ("4271 5.1.2 a segment of 60", external(65003, *range(1000, 1059)), DST, "accepted"),
    ("4271 5.1.2 a path of 600 in three segments", ORIGIN + LONG_PATH + hop(EXTERNAL), DST, "accepted"),
    ("4456 8 our identifier as originator, from outside", external(more=attribute(9, b"\x0a\0\0\1", flags=OPT)), DST,
     "accepted"),
    ("4456 8 our cluster in the list, from outside", external(more=attribute(10, b"\1\0\0\1", flags=OPT)), DST,
     "accepted"),
]  # fmt: skip

INTERNAL_CASES = [
    ("4456 8 our identifier as originator", internal(more=attribute(9, b"\x0a\0\0\1", flags=OPT)), "refused: loop"),
    ("4456 8 our cluster in the list", internal(more=attribute(10, b"\2\0\0\2\1\0\0\1", flags=OPT)), "refused: loop"),
    ("4456 8 other clusters", internal(more=attribute(10, b"\2\0\0\2\3\0\0\3", flags=OPT)), "accepted"),
    ("4271 9.1.2 our AS in the path", internal(65010, 65000), "refused: loop"),
    ("4271 6.3 next hop 0.0.0.0", internal(next_hop="0.0.0.0"), "refused: next-hop"),
    ("4271 6.3 our own address", internal(next_hop=ADDRESS), "refused: next-hop"),
]


@pytest.mark.parametrize(
    ("raw", "dst", "expected"), [case[1:] for case in EXTERNAL_CASES], ids=[case[0] for case in EXTERNAL_CASES]
)
def test_a_route_of_an_external_peer(router: Router, raw: bytes, dst: str, expected: str) -> None:
    with established(router, EXTERNAL) as peer:
        peer.say(update(raw, nlri(dst)))
        peer.settle()
        assert router.received(EXTERNAL, dst) == expected
        assert bool(router.best(dst)) == (expected == "accepted")


@pytest.mark.parametrize(
    ("raw", "expected"), [case[1:] for case in INTERNAL_CASES], ids=[case[0] for case in INTERNAL_CASES]
)
def test_a_route_of_an_internal_peer(router: Router, raw: bytes, expected: str) -> None:
    with established(router, INTERNAL) as peer:
        peer.say(update(raw, nlri(DST)))
        peer.settle()
        assert router.received(INTERNAL, DST) == expected


def test_a_best_route_is_in_the_kernel_until_it_is_withdrawn(router: Router) -> None:
    """RFC 4271, 9.1 and 3.2; a refused one never is."""
    with established(router, EXTERNAL) as peer:
        peer.announce(DST)
        wait_until(lambda: f"{DST} via {EXTERNAL} dev near" in router.kernel())
        peer.say(update(external(65003, 65000), nlri(DST)))
        peer.settle()
        wait_until(lambda: DST not in " ".join(router.kernel()))
        peer.announce(DST)
        wait_until(lambda: f"{DST} via {EXTERNAL} dev near" in router.kernel())
        peer.say(update(withdrawn=nlri(DST)))
        wait_until(lambda: DST not in " ".join(router.kernel()))


@pytest.mark.parametrize(("numbers", "expected"), [((65043, 65010), "accepted"), ((65010, 65043), "refused: first-as")])
def test_the_first_as_of_a_path_is_checked_where_that_is_asked_for(
    router: Router, numbers: tuple[int, ...], expected: str
) -> None:
    """RFC 4271, 6.3."""
    with established(router, FAR_HOPS) as peer:
        peer.say(update(external(*numbers, next_hop=FAR_HOPS), nlri(DST)))
        peer.settle()
        assert router.received(FAR_HOPS, DST) == expected


# Passing on.


def told(router: Router, to: str, raw: bytes, *, by: str = EXTERNAL, four: bool = True) -> dict[int, tuple[int, bytes]]:
    """The attributes with which a neighbour hears of it: flags and value by code."""
    with established(router, to, four=four) as hearer, established(router, by) as peer:
        peer.say(update(raw, nlri(DST)))
        return attributes_of(hearer.hears(nlri(DST)))


def attributes_of(body: bytes) -> dict[int, tuple[int, bytes]]:
    withdrawn = int.from_bytes(body[:2], "big")
    at = 4 + withdrawn
    end = at + int.from_bytes(body[2 + withdrawn : at], "big")
    found = {}
    while at < end:
        flags, code = body[at], body[at + 1]
        header = 4 if flags & 0x10 else 3
        length = int.from_bytes(body[at + 2 : at + header], "big")
        found[code] = (flags & 0xE0, body[at + header : at + header + length])
        at += header + length
    return found


def as_path(*numbers: int, size: int = 4) -> tuple[int, bytes]:
    return 0x40, bytes((2, len(numbers))) + b"".join(number.to_bytes(size, "big") for number in numbers)


def test_another_as_hears_our_as_first_and_our_address(router: Router) -> None:
    """RFC 4271, 5.1.2 and 5.1.3; 5.1.5: no LOCAL_PREF; 5.1.4: no MED of others."""
    found = told(router, OBSERVER, external(65003, 65010, more=attribute(4, struct.pack("!L", 7), flags=OPT)))
    assert found[2] == as_path(65000, 65003, 65010)
    assert found[3] == (0x40, ip_address(ADDRESS).packed)
    assert {4, 5}.isdisjoint(found)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (attribute(8, b"\xfd\xeb\0\7", flags=TRANS), {8: (0xC0, b"\xfd\xeb\0\7")}),
        (attribute(32, bytes(range(12)), flags=TRANS), {32: (0xC0, bytes(range(12)))}),
        (attribute(8, b"\xfd\xeb\0\7", flags=TRANS | 0x20), {8: (0xE0, b"\xfd\xeb\0\7")}),
        (attribute(32, bytes(range(12)), flags=TRANS | 0x20), {32: (0xE0, bytes(range(12)))}),
        (attribute(16, bytes(range(8)), flags=TRANS | 0x20), {16: (0xE0, bytes(range(8)))}),
        (attribute(16, bytes(range(8)), flags=TRANS), {16: (0xC0, bytes(range(8)))}),
        (attribute(99, b"?", flags=TRANS), {99: (0xE0, b"?")}),
        (attribute(99, b"?", flags=TRANS | 0x20), {99: (0xE0, b"?")}),
        (attribute(99, b"?", flags=OPT), {}),
        (attribute(6, b""), {6: (0x40, b"")}),
        (attribute(7, b"\0\0\xfd\xeb\x0a\0\0\3", flags=TRANS), {7: (0xC0, b"\0\0\xfd\xeb\x0a\0\0\3")}),
        (attribute(9, b"\1\2\3\4", flags=OPT), {}),
        (attribute(10, b"\1\2\3\4", flags=OPT), {}),
        (attribute(8, b"", flags=TRANS)[:0], {}),
    ],
    ids=[
        "1997 communities",
        "8092 large communities",
        "4271 5 partial communities stay partial",
        "4271 5 partial large communities stay partial",
        "4271 5 partial extended communities stay partial",
        "4360 extended communities",
        "4271 5 unknown transitive, now partial",
        "4271 5 partial stays partial",
        "4271 5 unknown, not transitive",
        "4271 5.1.6 atomic aggregate",
        "4271 5.1.7 aggregator",
        "4456 8 originator stays inside",
        "4456 8 cluster list stays inside",
        "4271 5 nothing more",
    ],
)
def test_what_else_is_passed_on(router: Router, given: bytes, expected: dict[int, tuple[int, bytes]]) -> None:
    found = told(router, OBSERVER, external(more=given))
    assert {code: each for code, each in found.items() if code > 3} == expected


def segments(*found: tuple[int, ...] | list[int]) -> bytes:
    """A list is a set."""
    return b"".join(
        bytes((1 if isinstance(each, list) else 2, len(each))) + b"".join(struct.pack("!L", number) for number in each)
        for each in found
    )


SETS = [
    ("at the end", segments((65003, 65010), [65011, 65012]), segments((65000, 65003, 65010), [65011, 65012])),
    ("at the beginning", segments([65011, 65012], (65010,)), segments((65000,), [65011, 65012], (65010,))),
    ("two of them", segments((65003,), [1, 2], [3, 4]), segments((65000, 65003), [1, 2], [3, 4])),
    ("between sequences", segments((65003,), [1, 2], (5, 6)), segments((65000, 65003), [1, 2], (5, 6))),
    ("a full segment", segments(tuple(range(1, 256))), segments((65000, *range(1, 255)), (255,))),
]


@pytest.mark.parametrize(("given", "expected"), [case[1:] for case in SETS], ids=[case[0] for case in SETS])
def test_a_path_of_any_segments_is_passed_on_with_our_as_before_it(
    router: Router, given: bytes, expected: bytes
) -> None:
    """RFC 4271, 5.1.2."""
    raw = ORIGIN + b"\x50\x02" + struct.pack("!H", len(given)) + given + hop(EXTERNAL)
    assert told(router, OBSERVER, raw)[2] == (0x40, expected)


def test_a_set_goes_to_an_old_speaker_too(router: Router) -> None:
    """RFC 6793, 4.2.2."""
    raw = ORIGIN + attribute(2, segments((65003,), [4200000001, 65012])) + hop(EXTERNAL)
    found = told(router, OBSERVER, raw, four=False)
    assert found[2][1] == struct.pack("!BBHHBBHH", 2, 2, 65000, 65003, 1, 2, 23456, 65012)
    assert found[17][1] == segments((65000, 65003), [4200000001, 65012])


def large(octets: int) -> bytes:
    """Large communities of about so many octets."""
    value = b"".join(struct.pack("!LLL", 65003, 0, number) for number in range(octets // 12))
    return b"\xd0\x20" + struct.pack("!H", len(value)) + value


def test_a_route_for_which_a_neighbour_has_no_room_is_withdrawn_from_it(router: Router) -> None:
    """RFC 8654, 4: it was told before, and 4,096 octets are not enough now."""
    with established(router, OBSERVER) as hearer, established(router, EXTERNAL, EXTENDED) as peer:
        peer.say(update(external(), nlri(DST)))
        hearer.hears(nlri(DST))
        peer.say(update(external(more=large(4500)), nlri(DST)))
        assert hearer.hears(nlri(DST)).startswith(b"\0\4" + nlri(DST))
        peer.say(update(external(), nlri(DST)))
        assert attributes_of(hearer.hears(nlri(DST)))[2] == as_path(65000, 65003)


def test_where_room_is_scarce_an_aggregator_is_left_out(router: Router) -> None:
    """RFC 8654, 4, with RFC 7606's attribute discard."""
    more = attribute(6, b"") + attribute(7, b"\0\0\xfd\xeb\x0a\0\0\3", flags=TRANS) + large(4032)
    with established(router, OBSERVER) as hearer, established(router, EXTERNAL, EXTENDED) as peer:
        peer.say(update(external(more=more), nlri(DST)))
        found = attributes_of(hearer.hears(nlri(DST)))
    assert set(found) == {1, 2, 3, 32}


def test_a_message_of_65535_octets_is_read_and_passed_on_to_who_can_read_it(router: Router) -> None:
    """RFC 8654, 3."""
    usual = external()
    value = bytes(65535 - 23 - len(usual) - 4 - len(nlri(DST)))
    raw = update(usual + b"\xd0\x63" + struct.pack("!H", len(value)) + value, nlri(DST))
    assert len(raw) == 65535
    with established(router, EXTERNAL, EXTENDED) as peer:
        peer.say(raw)
        wait_until(lambda: router.received(EXTERNAL, DST) == "accepted")
    with established(router, OBSERVER, EXTENDED) as hearer, established(router, EXTERNAL, EXTENDED) as peer:
        peer.say(update(external(more=large(60000)), nlri(DST)))
        assert len(attributes_of(hearer.hears(nlri(DST)))[32][1]) == 60000


@pytest.mark.parametrize(
    ("community", "is_told"),
    [(b"\xff\xff\xff\1", False), (b"\xff\xff\xff\2", False), (b"\xff\xff\xff\3", False), (b"\xfd\xeb\0\1", True)],
    ids=["1997 NO_EXPORT", "1997 NO_ADVERTISE", "1997 NO_EXPORT_SUBCONFED", "1997 any other"],
)
def test_well_known_communities_are_kept(router: Router, community: bytes, is_told: bool) -> None:
    with established(router, OBSERVER) as hearer, established(router, EXTERNAL) as peer:
        peer.say(update(external(more=attribute(8, community, flags=TRANS)), nlri(DST)))
        peer.say(update(external(), nlri("203.0.112.0/24")))
        heard = hearer.hears(nlri("203.0.112.0/24"))
        peer.settle()
        advertised = {each["prefix"] for each in router.ask("routes", which="advertised", peer=OBSERVER)}
        assert (DST in advertised) == is_told
        assert is_told or nlri(DST) not in heard


def test_nobody_is_told_what_came_from_him(router: Router) -> None:
    """RFC 4271, 9.1.3."""
    with established(router, OBSERVER) as peer:
        peer.announce(DST)
        peer.settle()
        assert DST not in {each["prefix"] for each in router.ask("routes", which="advertised", peer=OBSERVER)}


def test_attributes_are_in_order_and_those_of_other_families_first(router: Router) -> None:
    """RFC 4271, 5: ascending; RFC 7606, 5.1: MP_REACH and MP_UNREACH before all."""
    more = (
        attribute(32, bytes(12), flags=TRANS) + attribute(99, b"?", flags=TRANS) + attribute(8, bytes(4), flags=TRANS)
    )
    long = attribute(14, b"\0\2\1\x10" + ip_address("fd00::3").packed + b"\0\x20\x20\x01\x0d\xb8", flags=OPT)
    with established(router, OBSERVER, IPV6_UNICAST) as hearer, established(router, EXTERNAL, IPV6_UNICAST) as peer:
        peer.say(update(external(more=more), nlri(DST)))
        assert list(attributes_of(hearer.hears(nlri(DST)))) == [1, 2, 3, 8, 32, 99]
        peer.say(update(ORIGIN + path(65003) + more + long))
        assert list(attributes_of(hearer.hears(b"\x20\x20\x01\x0d\xb8"))) == [14, 1, 2, 8, 32, 99]
        peer.say(update(attribute(15, b"\0\2\1\x20\x20\x01\x0d\xb8", flags=OPT)))
        assert list(attributes_of(hearer.hears(b"\x20\x20\x01\x0d\xb8"))) == [15]


def test_a_better_path_replaces_and_a_withdrawal_brings_back_what_was_told(router: Router) -> None:
    """RFC 4271, 9.2."""
    with (
        established(router, OBSERVER) as hearer,
        established(router, EXTERNAL) as one,
        established(router, RESTARTING) as two,
    ):
        one.say(update(external(65003, 65010), nlri(DST)))
        assert attributes_of(hearer.hears(nlri(DST)))[2] == as_path(65000, 65003, 65010)
        two.say(update(two.attributes(), nlri(DST)))
        assert attributes_of(hearer.hears(nlri(DST)))[2] == as_path(65000, 65008)
        two.say(update(withdrawn=nlri(DST)))
        assert attributes_of(hearer.hears(nlri(DST)))[2] == as_path(65000, 65003, 65010)
        one.close()
        assert hearer.hears(nlri(DST)).startswith(b"\0\4" + nlri(DST))


# Reflection.


def test_a_client_hears_what_another_inside_has_said(router: Router) -> None:
    """RFC 4456, 8: originator and cluster list; RFC 4271, 5.1.3: the next hop stays; 5.1.5: so does the preference."""
    found = told(router, CLIENT, internal(preference=150), by=INTERNAL)
    assert found[9] == (0x80, ip_address(INTERNAL).packed)
    assert found[10] == (0x80, b"\1\0\0\1")
    assert found[3] == (0x40, ip_address(INTERNAL).packed)
    assert found[5] == (0x40, struct.pack("!L", 150))
    assert found[2] == (0x40, b"")


def test_originator_and_clusters_that_were_there_stay(router: Router) -> None:
    """RFC 4456, 8."""
    more = attribute(9, b"\x0a\0\0\x63", flags=OPT) + attribute(10, b"\2\0\0\2", flags=OPT)
    found = told(router, CLIENT, internal(more=more), by=INTERNAL)
    assert (found[9][1], found[10][1]) == (b"\x0a\0\0\x63", b"\1\0\0\1\2\0\0\2")


@pytest.mark.parametrize(
    ("by", "to"),
    [
        (CLIENT, (INTERNAL, OTHER_CLIENT, OTHER_INTERNAL, OBSERVER)),
        (INTERNAL, (CLIENT, OTHER_CLIENT, OBSERVER)),
        (EXTERNAL, (INTERNAL, CLIENT, OTHER_INTERNAL, OTHER_CLIENT, OBSERVER)),
    ],
    ids=["from a client to all", "from the others to clients", "from outside to all"],
)
def test_who_is_told_what_others_have_said(router: Router, by: str, to: tuple[str, ...]) -> None:
    """RFC 4456, 6; RFC 4271, 9.2."""
    every = (INTERNAL, CLIENT, OTHER_INTERNAL, OTHER_CLIENT, OBSERVER)
    with ExitStack() as peers:
        sessions = {each: peers.enter_context(established(router, each)) for each in {*every, by}}
        sessions[by].say(update(sessions[by].attributes(), nlri(DST)))
        wait_until(lambda: router.best(DST))
        told_to = {each for each in every if router.ask("routes", which="advertised", peer=each, prefix=DST)}
    assert told_to == set(to)


def test_an_external_route_is_told_inside_with_its_next_hop(router: Router) -> None:
    """RFC 4271, 5.1.3 2): to internal peers the next hop is not changed."""
    found = told(router, CLIENT, external(more=attribute(4, struct.pack("!L", 7), flags=OPT)))
    assert found[3] == (0x40, ip_address(EXTERNAL).packed)
    assert found[5] == (0x40, struct.pack("!L", 100))
    assert found[4] == (0x80, struct.pack("!L", 7))
    assert {9, 10}.isdisjoint(found)


# The choice, RFC 4271, 9.1.2.2: each case is the worse path, then the better one.

MED_OF_1 = attribute(4, struct.pack("!L", 1), flags=OPT)


def _of_client(*numbers: int, more: bytes = b"") -> bytes:
    return internal(*numbers, next_hop=CLIENT, more=more)


CHOICES = [
    (
        "9.1.1 the higher local preference",
        (INTERNAL, internal(65020)),
        (CLIENT, internal(65020, 65021, preference=200)),
    ),
    ("9.1.2.2 a the shorter path", (RESTARTING, (65008, 65010)), (EXTERNAL, (65003,))),
    ("9.1.2.2 b the lower origin", (EXTERNAL, attribute(1, b"\2")), (RESTARTING, attribute(1, b"\1"))),
    ("9.1.2.2 d external before internal", (INTERNAL, internal(65003)), (EXTERNAL, external())),
    (
        "9.1.2.2 a a set counts as one",
        (RESTARTING, (65008, 65010, 65011)),
        (EXTERNAL, ORIGIN + attribute(2, segments((65003,), [1, 2, 3])) + hop(EXTERNAL)),
    ),
    ("9.1.2.2 c no MED is the lowest", (INTERNAL, internal(65020, more=MED_OF_1)), (CLIENT, _of_client(65020))),
    ("9.1.2.2 f the lower identifier", (RESTARTING, (65008,)), (EXTERNAL, (65003,))),
    (
        "4456 9 the originator stands for the identifier",
        (INTERNAL, internal(more=attribute(9, b"\x0a\0\0\x09", flags=OPT))),
        (CLIENT, _of_client()),
    ),
    (
        "4456 9 the shorter cluster list",
        (INTERNAL, internal(more=attribute(9, b"\x0a\0\0\x63", flags=OPT) + attribute(10, bytes(8), flags=OPT))),
        (CLIENT, _of_client(more=attribute(9, b"\x0a\0\0\x63", flags=OPT) + attribute(10, bytes(4), flags=OPT))),
    ),
    (
        "9.1.2.2 g the lower address",
        (CLIENT, _of_client(more=attribute(9, b"\x0a\0\0\x63", flags=OPT))),
        (INTERNAL, internal(more=attribute(9, b"\x0a\0\0\x63", flags=OPT))),
    ),
]


@pytest.mark.parametrize(("worse", "better"), [case[1:] for case in CHOICES], ids=[case[0] for case in CHOICES])
@pytest.mark.parametrize("is_better_first", [True, False], ids=["the better first", "the better last"])
def test_the_better_of_two_paths_is_used(
    router: Router, worse: tuple[str, object], better: tuple[str, object], is_better_first: bool
) -> None:
    with established(router, worse[0]) as bad, established(router, better[0]) as good:
        for peer, what in sorted(
            [(bad, worse[1]), (good, better[1])], key=lambda each: (each[0] is good) != is_better_first
        ):
            peer.say(update(_raw(peer, what), nlri(DST)))
            peer.settle()
        assert router.best(DST)["peer"] == f"Global_{better[0].replace('.', '_')}"


def _raw(peer: Peer, what: object) -> bytes:
    if isinstance(what, tuple):
        return ORIGIN + path(*what) + hop(peer.address)
    assert isinstance(what, bytes)
    return what + path(as_of(peer.address)) + hop(peer.address) if len(what) == 4 else what


def test_the_lower_med_of_one_as_is_better_and_of_two_it_says_nothing(router: Router) -> None:
    """RFC 4271, 9.1.2.2 c."""

    def med(value: int) -> bytes:
        return attribute(4, struct.pack("!L", value), flags=OPT)

    with established(router, EXTERNAL) as low, established(router, RESTARTING) as high:
        low.say(update(external(65003, 65020, more=med(9)), nlri(DST)))
        high.say(update(ORIGIN + path(65008, 65020) + hop(RESTARTING) + med(1), nlri(DST)))
        low.settle()
        high.settle()
        assert router.best(DST)["peer"] == "Global_10_0_0_3"
    with established(router, INTERNAL) as one, established(router, CLIENT) as two:
        one.say(update(internal(65020, more=med(9)), nlri(DST)))
        two.say(update(internal(65020, next_hop=CLIENT, more=med(1)), nlri(DST)))
        one.settle()
        two.settle()
        assert router.best(DST)["peer"] == "Global_10_0_0_5"


def test_a_route_whose_next_hop_cannot_be_reached_is_not_used_until_it_can(router: Router) -> None:
    """RFC 4271, 9.1.2.1; of a neighbour that may have next hops behind other routers."""
    with established(router, FAR_HOPS) as short, established(router, RESTARTING) as long:
        short.say(update(external(65043, next_hop="172.31.0.9"), nlri(DST)))
        long.say(update(ORIGIN + path(65008, 65010) + hop(RESTARTING), nlri(DST)))
        short.settle()
        long.settle()
        assert router.received(FAR_HOPS, DST) == "refused: next-hop-unreachable"
        assert router.best(DST)["peer"] == "Global_10_0_0_8"
        ip(f"route add 172.31.0.0/24 via {INTERNAL}")
        wait_until(lambda: router.best(DST)["peer"] == "Global_10_0_0_43")
        wait_until(lambda: f"{DST} via {INTERNAL} dev near" in router.kernel())
        ip("route del 172.31.0.0/24")
        wait_until(lambda: router.best(DST)["peer"] == "Global_10_0_0_8")
        wait_until(lambda: f"{DST} via {RESTARTING} dev near" in router.kernel())


def test_of_two_paths_that_are_as_good_one_is_written(router: Router) -> None:
    """RFC 4271, 9.1.2.2 f; mergePaths asks for both."""
    with established(router, EXTERNAL) as one, established(router, RESTARTING) as two:
        one.announce(DST)
        two.announce(DST)
        wait_until(lambda: f"{DST} via {EXTERNAL} dev near" in router.kernel())


# Old speakers, RFC 6793.


def old(*numbers: int, more: bytes = b"") -> bytes:
    return ORIGIN + path(*numbers, size=2) + hop(EXTERNAL) + more


def as4_path(*numbers: int, kind: int = 2) -> bytes:
    value = bytes((kind, len(numbers))) + b"".join(struct.pack("!L", number) for number in numbers)
    return attribute(17, value, flags=TRANS)


AGGREGATED = attribute(7, struct.pack("!H4s", 23456, b"\x0a\0\0\3"), flags=TRANS)
NOT_AGGREGATED = attribute(7, struct.pack("!H4s", 65003, b"\x0a\0\0\3"), flags=TRANS)
LONG_AGGREGATOR = attribute(18, struct.pack("!L4s", 4200000001, b"\x0a\0\0\3"), flags=TRANS)
OLD = [
    ("4.2.3 both paths are put together", old(65003, 23456, more=as4_path(4200000001)), [65003, 4200000001]),
    ("4.2.3 the whole path in both", old(65003, 23456, more=as4_path(65003, 4200000001)), [65003, 4200000001]),
    ("4.2.3 a longer AS4_PATH is ignored", old(65003, more=as4_path(65003, 4200000001)), [65003]),
    ("4.2.3 without AS4_PATH", old(65003, 23456), [65003, 23456]),
    ("6 AS4_PATH that overruns", old(65003, 23456, more=attribute(17, b"\2\2\0\0\0\1", flags=TRANS)), [65003, 23456]),
    ("6 AS4_PATH of 1 octet", old(65003, 23456, more=attribute(17, b"\2", flags=TRANS)), [65003, 23456]),
    ("6 AS4_PATH with an empty segment", old(65003, 23456, more=attribute(17, b"\2\0", flags=TRANS)), [65003, 23456]),
    ("6 AS4_PATH with a segment of type 9", old(65003, 23456, more=as4_path(4200000001, kind=9)), [65003, 23456]),
    ("6 AS4_PATH with AS 0", old(65003, 23456, more=as4_path(0)), [65003, 23456]),
    ("6 confederation segments are left out of AS4_PATH",
     old(65003, 23456, more=attribute(17, struct.pack("!BBLBBL", 3, 1, 65099, 2, 1, 4200000001), flags=TRANS)),
     [65003, 4200000001]),
    ("4.2.3 an aggregator that is not AS_TRANS", old(65003, 23456, more=as4_path(4200000001) + NOT_AGGREGATED),
     [65003, 23456]),
    ("4.2.3 an aggregator that is AS_TRANS",
     old(65003, 23456, more=as4_path(4200000001) + AGGREGATED + LONG_AGGREGATOR), [65003, 4200000001]),
    ("6 AS4_AGGREGATOR of 7 octets", old(65003, more=attribute(18, bytes(7), flags=TRANS)), [65003]),
    ("9.1.2 our AS in AS4_PATH is a loop", old(65003, 23456, more=as4_path(65000)), None),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "expected"), [case[1:] for case in OLD], ids=[case[0] for case in OLD])
def test_the_path_of_an_old_speaker(router: Router, raw: bytes, expected: list[int] | None) -> None:
    with established(router, EXTERNAL, four=False) as peer:
        peer.say(update(raw, nlri(DST)))
        peer.say(update(old(65003), nlri("203.0.112.0/24")))
        wait_until(lambda: router.received(EXTERNAL, "203.0.112.0/24"))
        found = router.best(DST)
        assert found.get("asPath") == expected


def test_an_old_speaker_hears_as_trans_and_the_rest_beside_it(router: Router) -> None:
    """RFC 6793, 4.2.2."""
    given = external(65003, 4200000001, more=attribute(7, struct.pack("!L4s", 4200000001, b"\x0a\0\0\3"), flags=TRANS))
    found = told(router, OBSERVER, given, four=False)
    assert found[2] == as_path(65000, 65003, 23456, size=2)
    assert found[17][1] == as_path(65000, 65003, 4200000001)[1]
    assert found[7][1] == struct.pack("!H4s", 23456, b"\x0a\0\0\3")
    assert found[18][1] == struct.pack("!L4s", 4200000001, b"\x0a\0\0\3")


def test_an_old_speakers_aggregator_is_passed_on_whole(router: Router) -> None:
    """RFC 6793, 4.2.3."""
    with established(router, OBSERVER) as hearer, established(router, EXTERNAL, four=False) as peer:
        peer.say(update(old(65003, more=AGGREGATED + LONG_AGGREGATOR), nlri(DST)))
        found = attributes_of(hearer.hears(nlri(DST)))
    assert found[7][1] == struct.pack("!L4s", 4200000001, b"\x0a\0\0\3")
    assert 18 not in found
