"""The codec: what ExaBGP makes and reads, and the corrections around it, on whole messages."""

import ast
import struct
from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path

import pytest

from bgp.export import Announcement
from bgp.message import (
    EndOfRib,
    Fault,
    KeptAlive,
    Learned,
    Notified,
    Opened,
    Origin,
    Received,
    Refresh,
    Refreshing,
)
from bgp.wire import Codec, Ends, Packer
from tests.unit.bgp.bgp_bytes import (
    EMPTY_PATH,
    FOUR_OCTET,
    IPV4_UNICAST,
    LOCAL_PREF,
    MARKER,
    NEXT_HOP,
    ORIGIN,
    USUAL,
    attribute,
    capability,
    message,
    nlri,
    open_message,
    path,
    update,
)

OPTIONAL, OPTIONAL_TRANSITIVE = 0x80, 0xC0

HERE, THERE = ip_address("10.0.0.1"), ip_address("10.0.0.2")


def ends(*, local_as: int = 64512, peer_as: int = 64512, **more: object) -> Ends:
    return Ends(HERE, THERE, local_as, peer_as, IPv4Address("10.0.0.1"), **more)  # type: ignore[arg-type]


def fresh(*, local_as: int = 64512, peer_as: int = 64512) -> Codec:
    return Codec(ends(local_as=local_as, peer_as=peer_as))


def opened(opening: bytes = b"", *, local_as: int = 64512, peer_as: int = 64512) -> Codec:
    """A codec that has read a peer's OPEN."""
    codec = fresh(local_as=local_as, peer_as=peer_as)
    usual = IPV4_UNICAST + capability(65, struct.pack("!L", peer_as)) + capability(2) + capability(70)
    opening = opening or open_message(my_as=min(peer_as, 23456), parameters=usual)
    (found,) = codec.read(opening)
    assert isinstance(found, Opened), found
    return codec


def said(codec: Codec, data: bytes) -> list[str]:
    return [line(each) for each in codec.read(data)]


def line(each: Received) -> str:
    match each:
        case Learned(withdrawn, announced, attributes, faults):
            parts = [f"-{dst}" for dst in withdrawn] + [f"+{dst}" for dst in announced]
            via = [f"via {attributes.next_hop}"] if attributes is not None else []
            return " ".join([*parts, *via, *(f"({fault})" for fault in faults)])
        case Fault(_, code, subcode, data, _):
            return f"{code}/{subcode} {data.hex()}".strip()
        case Notified(code, subcode, text):
            return f"notified {code}/{subcode} {text}".strip()
        case Refresh(what):
            return f"refresh {what.name.lower() if what is not None else 'of no use'}"
        case EndOfRib():
            return "end of rib"
        case KeptAlive():
            return "keepalive"
        case Opened():
            return f"open AS {each.peer_as} id {each.router_id} hold {each.hold_time_s}"


# OPEN, ours.


def test_the_open_says_what_birds_say_and_no_more() -> None:
    text = Codec(ends()).open().hex()
    assert (
        text
        == (
            "ff" * 16 + "0043" + "01"
            "04fc0000f00a00000126"  # version 4, AS 64512, hold 240, router id, length of the parameters
            "0206010400010001"  # IPv4 unicast
            "02064104" + "0000fc00"  # four-octet AS
            "0208400600780001" + "0100"  # graceful restart: 120 s, neither bit
            "02020200"  # route refresh
            "02024600"  # enhanced route refresh
            "02020600"  # extended messages
        )
    )


@pytest.mark.parametrize(
    ("has_restarted", "keeps_forwarding", "flags"),
    [
        (False, False, ("0078", "00")),
        (True, False, ("8078", "00")),
        (True, True, ("8078", "80")),
        (False, True, ("0078", "80")),
    ],
)
def test_the_restart_and_forwarding_bits_are_set_when_they_are_true(
    has_restarted: bool, keeps_forwarding: bool, flags: tuple[str, str]
) -> None:
    text = Codec(ends(has_restarted=has_restarted, keeps_forwarding=keeps_forwarding)).open().hex()
    assert f"02084006{flags[0]}000101{flags[1]}" in text


def test_an_as_number_beyond_two_octets_is_sent_as_as_trans() -> None:
    text = Codec(ends(local_as=4200000001)).open().hex()
    assert text[38:44] == "04" + "5ba0"
    assert "4104fa56ea01" in text


# OPEN, theirs.


def test_an_open_is_agreed_with() -> None:
    (found,) = fresh().read(
        open_message(hold=90, parameters=IPV4_UNICAST + FOUR_OCTET + capability(64, bytes.fromhex("8078000101" + "80")))
    )
    assert isinstance(found, Opened)
    assert (found.peer_as, found.hold_time_s, str(found.router_id)) == (64512, 90, "10.0.0.2")
    assert found.graceful is not None
    assert (found.graceful.restart_time_s, found.graceful.has_restarted, set(found.graceful.forwarding)) == (
        120,
        True,
        {4},
    )
    assert found.capabilities == ("restart-able", "AS4")


def test_a_peer_that_only_reads_end_of_rib_is_not_able_to_restart() -> None:
    (found,) = fresh().read(open_message(parameters=IPV4_UNICAST + FOUR_OCTET + capability(64, bytes.fromhex("0078"))))
    assert isinstance(found, Opened)
    assert found.graceful is not None
    assert not found.graceful.is_able
    assert "restart-aware" in found.capabilities


def test_the_four_octet_capability_counts_whatever_the_field_says() -> None:
    assert said(
        fresh(peer_as=70000), open_message(my_as=23456, parameters=capability(65, struct.pack("!L", 70000)))
    ) == ["open AS 70000 id 10.0.0.2 hold 240"]
    assert said(fresh(), open_message(my_as=64512, parameters=capability(65, struct.pack("!L", 70000)))) == ["2/2"]


def test_a_peer_without_the_multiprotocol_capability_speaks_ipv4_unicast() -> None:
    codec = fresh()
    assert said(codec, open_message(parameters=b"")) == ["open AS 64512 id 10.0.0.2 hold 240"]
    assert said(codec, update(USUAL, nlri("10.1.0.0/26"))) == ["+10.1.0.0/26 via 10.0.0.2"]


OPEN_ERRORS = [
    ("2/1 0004", open_message(version=3)),
    ("2/2", open_message(my_as=64513, parameters=IPV4_UNICAST)),
    ("2/2", open_message(my_as=0, parameters=IPV4_UNICAST)),
    ("2/2", open_message(parameters=capability(65, bytes(4)))),
    ("2/3", open_message(router_id="0.0.0.0")),
    ("2/3", open_message(router_id="10.0.0.1")),
    ("2/6", open_message(hold=1)),
    ("2/6", open_message(hold=2)),
    ("2/4", open_message(parameters=b"\x09\x01\x00")),
    ("2/0", open_message(parameters_length=200)),
    ("2/0", open_message(parameters=capability(65, bytes(3)))),
    ("2/0", open_message(parameters=b"\x02\x06\x01\x04")),
    ("2/7 010400010001", open_message(parameters=capability(1, struct.pack("!HBB", 2, 0, 1)))),
    ("1/2 001c", message(1, bytes(9))),
]


@pytest.mark.parametrize(("expected", "opening"), OPEN_ERRORS)
def test_a_wrong_open_is_answered_with_its_error(expected: str, opening: bytes) -> None:
    assert said(fresh(), opening) == [expected]


def test_the_same_router_id_in_another_as_is_no_error() -> None:
    four_octet = capability(65, struct.pack("!L", 65001))
    opening = open_message(my_as=65001, router_id="10.0.0.1", parameters=four_octet)
    assert said(fresh(peer_as=65001), opening) == ["open AS 65001 id 10.0.0.1 hold 240"]


def test_a_hold_time_of_zero_is_agreed_to() -> None:
    assert said(fresh(), open_message(hold=0)) == ["open AS 64512 id 10.0.0.2 hold 0"]


# Headers.

HEADER_ERRORS = [
    ("1/1", message(4, b"", marker=bytes(16))),
    ("1/2 0012", message(4, b"", length=18)),
    ("1/2 0014", message(4, b"\x00")),
    ("1/2 0016", message(2, bytes(3))),
    ("1/2 0013", message(3, b"")),
    ("1/2 1001", message(2, b"", length=4097)),
    ("1/3 00", message(0, b"")),
    ("1/3 06", message(6, bytes(8))),
    ("1/3 ff", message(255, b"")),
]


@pytest.mark.parametrize(("expected", "data"), HEADER_ERRORS)
def test_a_wrong_header_is_answered_with_its_error(expected: str, data: bytes) -> None:
    assert said(opened(), data) == [expected]


def test_nothing_is_read_behind_an_error() -> None:
    codec = opened()
    assert said(codec, message(0, b"") + codec.keepalive()) == ["1/3 00"]
    assert said(codec, codec.keepalive()) == []


def test_messages_longer_than_4096_are_read_when_both_sides_said_so() -> None:
    extended = open_message(parameters=IPV4_UNICAST + FOUR_OCTET + capability(6))
    networks = [f"10.{n // 256}.{n % 256}.0/24" for n in range(2000)]
    large = update(USUAL, nlri(*networks))
    assert len(large) > 4096
    assert said(opened(extended), large)[0].startswith("+10.0.0.0/24 +10.0.1.0/24")
    assert said(opened(), large) == [f"1/2 {len(large):04x}"]


def test_messages_may_arrive_byte_by_byte_and_several_at_once() -> None:
    stream = update(USUAL, nlri("10.1.0.0/26")) + MARKER + b"\x00\x13\x04" + update(withdrawn=nlri("10.1.0.0/26"))
    expected = ["+10.1.0.0/26 via 10.0.0.2", "keepalive", "-10.1.0.0/26"]
    assert said(opened(), stream) == expected
    codec = opened()
    assert [each for byte in stream for each in said(codec, bytes((byte,)))] == expected


# UPDATE, theirs.


def test_an_update_with_everything_in_it() -> None:
    raw = (
        attribute(1, b"\x01")
        + path(65001, 4200000001)
        + NEXT_HOP
        + attribute(4, struct.pack("!L", 50), flags=OPTIONAL)
        + attribute(5, struct.pack("!L", 150))
        + attribute(9, bytes((10, 0, 0, 9)), flags=OPTIONAL)
        + attribute(10, bytes((10, 0, 0, 8, 10, 0, 0, 7)), flags=OPTIONAL)
    )
    (found,) = opened().read(update(raw, nlri("10.1.0.0/26")))
    assert isinstance(found, Learned)
    attributes = found.attributes
    assert attributes is not None
    assert (attributes.origin, attributes.as_path) == (Origin.EGP, (65001, 4200000001))
    assert (attributes.med, attributes.local_pref, attributes.neighbour_as) == (50, 150, 65001)
    assert (str(attributes.originator), [str(each) for each in attributes.clusters]) == (
        "10.0.0.9",
        ["10.0.0.8", "10.0.0.7"],
    )


def test_a_set_is_one_element_of_a_path() -> None:
    value = struct.pack("!BBLL", 2, 2, 65001, 65002) + struct.pack("!BBLLL", 1, 3, 65010, 65011, 65012)
    (found,) = opened().read(update(ORIGIN + attribute(2, value) + NEXT_HOP + LOCAL_PREF, nlri("10.1.0.0/26")))
    assert isinstance(found, Learned)
    assert found.attributes is not None
    assert found.attributes.as_path == (65001, 65002, (65010, 65011, 65012))


def test_a_two_octet_speakers_path_is_put_together_from_both_attributes() -> None:
    codec = fresh(peer_as=65001)
    assert said(codec, open_message(my_as=65001, parameters=IPV4_UNICAST)) == ["open AS 65001 id 10.0.0.2 hold 240"]
    four = attribute(17, struct.pack("!BBL", 2, 1, 4200000001), flags=OPTIONAL_TRANSITIVE)
    (found,) = codec.read(update(ORIGIN + path(65001, 23456, size=2) + NEXT_HOP + four, nlri("10.1.0.0/26")))
    assert isinstance(found, Learned)
    assert found.attributes is not None
    assert found.attributes.as_path == (65001, 4200000001)


def test_host_bits_of_a_prefix_have_no_meaning() -> None:
    assert said(opened(), update(USUAL, bytes((26, 10, 1, 0, 63)))) == ["+10.1.0.0/26 via 10.0.0.2"]


UPDATES = [
    (["+10.1.0.0/26 via 10.0.0.2"], update(USUAL, nlri("10.1.0.0/26"))),
    (["-10.1.0.0/26"], update(withdrawn=nlri("10.1.0.0/26"))),
    (
        ["-10.1.0.0/26", "+10.2.0.0/26 +0.0.0.0/0 via 10.0.0.2"],
        update(USUAL, nlri("10.2.0.0/26", "0.0.0.0/0"), nlri("10.1.0.0/26")),
    ),
    (["end of rib"], update()),
    (["-10.1.0.0/26 (origin: value 5: withdraw)"],
     update(attribute(1, b"\x05") + EMPTY_PATH + NEXT_HOP + LOCAL_PREF, nlri("10.1.0.0/26"))),
    (["-10.1.0.0/26 (as-path: missing: withdraw)"], update(ORIGIN + NEXT_HOP + LOCAL_PREF, nlri("10.1.0.0/26"))),
    (["-10.1.0.0/26 (cluster-list: length 3: withdraw)"],
     update(USUAL + attribute(10, bytes(3), flags=OPTIONAL), nlri("10.1.0.0/26"))),
    (["(aggregator: length 6: discard)", "+10.1.0.0/26 via 10.0.0.2"],
     update(USUAL + attribute(7, bytes(6), flags=OPTIONAL_TRANSITIVE), nlri("10.1.0.0/26"))),
    (["+10.1.0.0/26 via 0.0.0.0"],
     update(ORIGIN + EMPTY_PATH + attribute(3, bytes(4)) + LOCAL_PREF, nlri("10.1.0.0/26"))),
    (["3/1"], update(attribute(1, b"\x05"), withdrawn=nlri("10.1.0.0/26"))),
    (["3/10"], update(USUAL, b"\x21\x0a\x01\x00\x00\x00")),
    (["3/10"], update(USUAL, b"\x1a\x0a\x01")),
    (["3/10"], update(withdrawn=b"\x21\x0a\x01\x00\x00\x00")),
    (["3/1"], message(2, b"\x00\x00\x00\xff")),
    (["3/1"], message(2, b"\x00\xff\x00\x00")),
    (["3/1"], update(USUAL + 2 * attribute(14, b"\0\1\1\4" + bytes(9), flags=OPTIONAL), nlri("10.1.0.0/26"))),
    (["3/9 800e0a000101030a000000080a"],
     update(ORIGIN + EMPTY_PATH + LOCAL_PREF + attribute(14, b"\0\1\1\3\x0a\0\0\0\x08\x0a", flags=OPTIONAL))),
    (["+10.1.0.0/26 via 10.0.0.9"],
     update(ORIGIN + EMPTY_PATH + LOCAL_PREF
            + attribute(14, b"\0\1\1\4\x0a\0\0\x09\0" + nlri("10.1.0.0/26"), flags=OPTIONAL))),
    (["-10.1.0.0/26"], update(attribute(15, b"\0\1\1" + nlri("10.1.0.0/26"), flags=OPTIONAL))),
    (["end of rib"], update(attribute(15, b"\0\1\1", flags=OPTIONAL))),
    (["(mp-unreach: family 2/1: discard)"], update(attribute(15, b"\0\2\1", flags=OPTIONAL))),
]  # fmt: skip


@pytest.mark.parametrize(("expected", "data"), UPDATES, ids=[" ".join(case[0]) for case in UPDATES])
def test_an_update_says(expected: list[str], data: bytes) -> None:
    assert said(opened(), data) == expected


def test_an_external_peers_local_preference_is_discarded() -> None:
    codec = opened(peer_as=65001)
    (fault, found) = codec.read(update(ORIGIN + path(65001) + NEXT_HOP + LOCAL_PREF, nlri("10.1.0.0/26")))
    assert line(fault) == "(local-pref: from an external peer: discard)"
    assert isinstance(found, Learned)
    assert found.attributes is not None
    assert found.attributes.local_pref == 100


# UPDATE, ours.

BLOCKS = {ip_network(f"10.244.{n}.0/26"): Announcement() for n in range(3)}


def test_our_blocks_go_out_as_birds_do() -> None:
    (sent,) = opened().updates({}, BLOCKS)
    assert (
        sent.hex()
        == (
            "ff" * 16 + "003b" + "02" + "0000" + "0015"
            "40010100"  # ORIGIN IGP
            "400200"  # empty AS_PATH
            "4003040a000001"  # NEXT_HOP self
            "4005047ffffbff"  # LOCAL_PREF 2147482623
            "1a0af40000" + "1a0af40100" + "1a0af40200"
        )
    )


def test_an_external_peer_sees_our_as_and_no_local_preference() -> None:
    (sent,) = opened(local_as=64512, peer_as=65001).updates({}, BLOCKS)
    assert "40020602010000fc00" in sent.hex()
    assert "400504" not in sent.hex()


def test_a_two_octet_peer_gets_two_octets() -> None:
    codec = fresh(local_as=64512, peer_as=65001)
    assert said(codec, open_message(my_as=65001, parameters=IPV4_UNICAST))
    (sent,) = codec.updates({}, BLOCKS)
    assert "4002040201fc00" in sent.hex()


def test_only_the_difference_is_sent() -> None:
    before, after = BLOCKS, {**BLOCKS, ip_network("10.244.9.0/26"): Announcement()}
    codec, reader = opened(), opened()
    assert [each for sent in codec.updates(before, after) for each in said(reader, sent)] == [
        "+10.244.9.0/26 via 10.0.0.1"
    ]
    assert [each for sent in codec.updates(after, before) for each in said(reader, sent)] == ["-10.244.9.0/26"]
    assert codec.updates(after, after) == ()


def test_a_changed_announcement_is_sent_again() -> None:
    codec, reader = opened(), opened()
    elevated = dict.fromkeys(BLOCKS, Announcement(local_pref=2147483135))
    (sent,) = codec.updates(BLOCKS, elevated)
    (found,) = reader.read(sent)
    assert isinstance(found, Learned)
    assert found.attributes is not None
    assert (len(found.announced), found.attributes.local_pref) == (3, 2147483135)


def test_sessions_that_would_send_the_same_share_the_bytes() -> None:
    packer = Packer()
    one, two, other = Codec(ends(), packer), Codec(ends(), packer), Codec(ends(peer_as=65001), packer)
    for codec in (one, two):
        assert said(codec, open_message())
    assert said(other, open_message(my_as=65001, parameters=IPV4_UNICAST))
    assert one.updates({}, BLOCKS) != other.updates({}, BLOCKS)
    nothing: dict[object, object] = {}
    assert one.updates(nothing, BLOCKS) is two.updates(nothing, BLOCKS)  # type: ignore[arg-type]


def test_many_routes_fill_messages_up_to_what_was_agreed() -> None:
    many = {ip_network(f"10.{n // 256}.{n % 256}.0/26"): Announcement() for n in range(5000)}
    plain = opened().updates({}, many)
    extended = opened(open_message(parameters=IPV4_UNICAST + FOUR_OCTET + capability(6))).updates({}, many)
    assert max(map(len, plain)) <= 4096
    assert (len(plain), len(extended)) == (7, 1)


def test_end_of_rib_of_the_session() -> None:
    assert said(opened(), opened().end_of_rib()) == ["end of rib"]


# IPv6.


def ipv6_codec() -> Codec:
    here, there = ip_address("fd00::1"), ip_address("fd00::2")
    codec = Codec(Ends(here, there, 64512, 64512, IPv4Address("10.0.0.1")))
    opening = open_message(parameters=capability(1, struct.pack("!HBB", 2, 0, 1)) + FOUR_OCTET)
    assert said(codec, opening) == ["open AS 64512 id 10.0.0.2 hold 240"]
    return codec


def test_an_ipv6_session_carries_ipv6_routes() -> None:
    codec = ipv6_codec()
    (sent,) = codec.updates({}, {ip_network("fd00:10:244::/122"): Announcement(), **BLOCKS})
    assert said(ipv6_codec(), sent) == ["+fd00:10:244::/122 via fd00::1"]
    (sent,) = codec.updates({ip_network("fd00:10:244::/122"): Announcement()}, {})
    assert said(ipv6_codec(), sent) == ["-fd00:10:244::/122"]
    assert said(ipv6_codec(), codec.end_of_rib()) == ["end of rib"]


def test_of_two_ipv6_next_hops_the_global_one_counts() -> None:
    hops = ip_address("fd00::2").packed + ip_address("fe80::2").packed
    reach = attribute(14, b"\0\2\1\x20" + hops + b"\0" + b"\x10\xfd\x00", flags=OPTIONAL)
    assert said(ipv6_codec(), update(ORIGIN + EMPTY_PATH + LOCAL_PREF + reach)) == ["+fd00::/16 via fd00::2"]


# The rest.


@pytest.mark.parametrize(
    ("expected", "data"),
    [
        (["notified 6/2 hello"], message(3, b"\x06\x02\x05hello")),
        (["notified 6/3"], message(3, b"\x06\x03")),
        (["notified 4/0"], message(3, b"\x04\x00")),
        (["refresh request"], message(5, b"\x00\x01\x00\x01")),
        (["refresh begin"], message(5, b"\x00\x01\x01\x01")),
        (["refresh end"], message(5, b"\x00\x01\x02\x01")),
        (["refresh of no use"], message(5, b"\x00\x01\x07\x01")),
        (["refresh of no use"], message(5, b"\x00\x02\x00\x01")),
        (["7/1 " + message(5, bytes(3)).hex()], message(5, bytes(3))),
        (["7/1 " + message(5, bytes(5)).hex()], message(5, bytes(5))),
        (["keepalive"], message(4, b"")),
    ],
)
def test_other_messages_say(expected: list[str], data: bytes) -> None:
    assert said(opened(), data) == expected


def test_a_shutdown_can_say_why() -> None:
    codec = fresh()
    assert codec.notification(6, 2, text="maintenance").hex()[36:] == "030602" + "0b" + b"maintenance".hex()
    assert said(opened(), codec.notification(6, 2, text="maintenance")) == ["notified 6/2 maintenance"]
    assert codec.notification(6, 3).hex()[32:] == "0015" + "03" + "0603"


@pytest.mark.parametrize("what", list(Refreshing))
def test_refreshes_are_made_as_they_are_read(what: Refreshing) -> None:
    assert said(opened(), opened().refresh(what, 4)) == [f"refresh {what.name.lower()}"]


# The door.

ROOMS = ("bgp", "felix", "datastore", "ipam", "calicoctl", "cni_plugin", "lab", "flannel", "controllers")


DOOR = Path("bgp/wire")


def test_one_package_is_the_door_to_exabgp_and_to_bgps_bytes() -> None:
    """That ExaBGP makes and reads every message of a session is shown on the wire, in test_speaker."""
    root = Path(__file__).parents[3]
    modules = [path for room in ROOMS for path in sorted((root / room).rglob("*.py"))]
    assert {path.parent.relative_to(root) for path in modules if "exabgp" in imports(path)} == {DOOR}
    speaker = [path for path in modules if path.is_relative_to(root / "bgp") and "bfd" not in path.parts]
    assert {path.parent.relative_to(root) for path in speaker if "struct" in imports(path)} == {DOOR}


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for each in ast.walk(ast.parse(path.read_text())):
        if isinstance(each, ast.Import):
            found.update(alias.name.split(".")[0] for alias in each.names)
        elif isinstance(each, ast.ImportFrom) and each.module:
            found.add(each.module.split(".")[0])
    return found
