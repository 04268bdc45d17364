"""Whatever bytes a peer sends, the codec answers with values: 10,000 mutated messages and none of them raises."""

from ipaddress import IPv4Address, ip_address
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from bgp.attributes_check import Facts, judge
from bgp.message import Fault, Opened
from bgp.neighbour import AddPath
from bgp.wire import Codec, Ends
from tests.unit.bgp.bgp_bytes import (
    FOUR_OCTET,
    IPV4_UNICAST,
    LOCAL_PREF,
    NEXT_HOP,
    USUAL,
    attribute,
    capability,
    message,
    nlri,
    open_message,
    path,
    update,
)

GRACEFUL = capability(64, bytes.fromhex("8078000101" + "80"))
OPENING = open_message(parameters=IPV4_UNICAST + FOUR_OCTET + GRACEFUL + capability(2) + capability(70))

BASES = [
    OPENING,
    open_message(parameters=IPV4_UNICAST + capability(69, bytes((0, 1, 1, 3))) + capability(73, b"\x04host\x00")),
    update(USUAL, nlri("10.1.0.0/26", "10.2.0.0/16", "0.0.0.0/0")),
    update(withdrawn=nlri("10.1.0.0/26")),
    update(),
    update(
        USUAL
        + attribute(8, bytes(8), flags=0xC0)
        + attribute(9, bytes(4), flags=0x80)
        + attribute(10, bytes(8), flags=0x80)
        + attribute(16, bytes(8), flags=0xC0)
        + attribute(32, bytes(12), flags=0xC0),
        nlri("10.1.0.0/26"),
    ),
    update(
        attribute(1, b"\0")
        + path(65001, 65002)
        + attribute(14, b"\0\1\1\4\x0a\0\0\x09\0" + nlri("10.1.0.0/26"), flags=0x80)
    ),
    update(attribute(15, b"\0\1\1" + nlri("10.1.0.0/26"), flags=0x80)),
    update(USUAL, b"\0\0\0\7" + nlri("10.1.0.0/26") + b"\0\0\0\x08" + nlri("10.1.0.0/26")),
    update(
        attribute(1, b"\0") + attribute(2, b"\2\1\0\0\xfd\xe9\1\1\0\0\xfd\xea") + NEXT_HOP + LOCAL_PREF,
        nlri("10.1.0.0/26"),
    ),
    message(3, b"\x06\x02\x05hello"),
    message(4, b""),
    message(5, b"\x00\x01\x00\x01"),
]


def mutated(random: Random) -> bytes:
    data = bytearray(random.choice(BASES))
    for _ in range(random.randint(1, 6)):
        at = random.randrange(16, len(data)) if random.random() < 0.9 else random.randrange(len(data))
        match random.randrange(5):
            case 0:
                data[at] = random.randrange(256)
            case 1:
                data[at] ^= 1 << random.randrange(8)
            case 2:
                del data[at : at + random.randint(1, 8)]
            case 3:
                data[at:at] = random.randbytes(random.randint(1, 8))
            case 4:
                data += random.choice(BASES)[19:]
        if len(data) < 20:
            data += bytes(20)
    if random.random() < 0.8:
        data[16:18] = len(data).to_bytes(2, "big")
    return bytes(data)


def codec(*, peer_as: int, is_open: bool, add_path: AddPath) -> Codec:
    ends = Ends(
        ip_address("10.0.0.1"), ip_address("10.0.0.2"), 64512, peer_as, IPv4Address("10.0.0.1"), add_path=add_path
    )
    found = Codec(ends)
    if is_open:
        more = capability(65, peer_as.to_bytes(4, "big")) + capability(69, b"\0\1\1\3")
        assert all(isinstance(each, Opened) for each in found.read(open_message(parameters=IPV4_UNICAST + more)))
    return found


@settings(max_examples=250, deadline=None)
@given(st.integers(min_value=0), st.sampled_from([64512, 65001]), st.booleans(), st.sampled_from(AddPath))
def test_mutated_messages_end_in_a_verdict(seed: int, peer_as: int, is_open: bool, add_path: AddPath) -> None:
    """40 messages an example."""
    random = Random(seed)
    for _ in range(40):
        for each in codec(peer_as=peer_as, is_open=is_open, add_path=add_path).read(mutated(random)):
            if isinstance(each, Fault):
                assert 1 <= each.code <= 7


@settings(max_examples=1000, deadline=None)
@given(st.binary(max_size=80), st.booleans(), st.booleans(), st.booleans())
def test_the_attribute_check_has_an_answer_to_any_bytes(
    raw: bytes, is_internal: bool, has_four_octet_as: bool, has_nlri: bool
) -> None:
    """What it keeps is judged the same when it is judged again, apart from what is then missing."""
    facts = Facts(is_internal=is_internal, has_four_octet_as=has_four_octet_as)
    kept = judge(raw, facts, has_nlri=has_nlri).kept
    again = judge(kept, facts, has_nlri=has_nlri)
    assert again.kept == kept
    assert all("missing" in fault for fault in again.faults)
