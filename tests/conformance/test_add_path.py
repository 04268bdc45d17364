"""RFC 7911: several paths to one destination, taken and sent, with whom that was agreed on."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest

from tests.conformance.peer import IPV6_UNICAST, Peer, connected, established
from tests.conformance.router import EXTERNAL, MANY, RESTARTING, Router, wait_until
from tests.unit.bgp.bgp_bytes import KEEPALIVE, attribute, capability, message, nlri, path, update

pytestmark = pytest.mark.root

DST, OTHER = "203.0.113.0/24", "203.0.112.0/24"
RECEIVE, SEND, BOTH = 1, 2, 3


def add_path(value: int, *, afi: int = 1) -> bytes:
    return capability(69, struct.pack("!HBB", afi, 1, value))


def numbered(number: int, prefix: str = DST) -> bytes:
    return struct.pack("!L", number) + nlri(prefix)


def through(peer: Peer, *more: int) -> bytes:
    return attribute(1, b"\0") + path(65044, *more) + attribute(3, ip_address(peer.address).packed)


def known(router: Router, dst: str = DST) -> dict[int | None, list[int]]:
    """The AS paths that it has of the peer, by their number."""
    found = router.ask("routes", which="received", peer=MANY, prefix=dst)
    return {each.get("pathID"): each["asPath"] for each in found}


def offer(router: Router, address: str) -> str:
    with connected(router, address) as peer:
        found = peer.next()
        assert found is not None
        return found[1].hex()


def test_it_is_offered_where_it_is_configured(router: Router) -> None:
    """4."""
    assert "4508" + "00010103" + "00020103" in offer(router, MANY)
    assert "4504" not in offer(router, EXTERNAL)


def test_paths_of_one_destination_come_and_go_by_their_numbers(router: Router) -> None:
    """3: an announcement with a number replaces that path alone, a withdrawal ends that alone."""
    with established(router, MANY, add_path(BOTH)) as peer:
        peer.say(update(through(peer, 65001), numbered(7)), update(through(peer), numbered(0xFFFFFFFF)))
        wait_until(lambda: known(router) == {7: [65044, 65001], 0xFFFFFFFF: [65044]})
        assert router.best(DST)["asPath"] == [65044]
        peer.say(update(through(peer, 65001, 65002), numbered(7)))
        wait_until(lambda: known(router)[7] == [65044, 65001, 65002])
        peer.say(update(withdrawn=numbered(9)), update(withdrawn=numbered(0xFFFFFFFF)))
        wait_until(lambda: known(router) == {7: [65044, 65001, 65002]})
        assert router.best(DST)["asPath"] == [65044, 65001, 65002]
        peer.say(update(withdrawn=numbered(7)))
        wait_until(lambda: not router.best(DST))


def test_one_path_that_is_refused_leaves_the_others(router: Router) -> None:
    with established(router, MANY, add_path(BOTH)) as peer:
        peer.say(update(through(peer, 65000), numbered(1)), update(through(peer, 65001, 65002), numbered(2)))
        wait_until(lambda: len(known(router)) == 2)
        assert router.best(DST)["asPath"] == [65044, 65001, 65002]


def test_a_bad_attribute_withdraws_the_path_that_came_with_it(router: Router) -> None:
    """RFC 7606, 2."""
    with established(router, MANY, add_path(BOTH)) as peer:
        peer.say(update(through(peer), numbered(1)), update(through(peer, 65001), numbered(2)))
        bad = attribute(1, b"\7") + path(65044) + attribute(3, ip_address(MANY).packed)
        peer.say(update(bad, numbered(1)))
        wait_until(lambda: known(router) == {2: [65044, 65001]})


def test_in_ipv6_too(router: Router) -> None:
    """5, and RFC 4760."""
    with established(router, MANY, IPV6_UNICAST, add_path(BOTH, afi=2)) as peer:
        hop = b"\0\2\1\x10" + ip_address("fd00::9").packed + b"\0"
        usual = attribute(1, b"\0") + path(65044)
        for number in (1, 2):
            one = struct.pack("!L", number) + b"\x20\x20\x01\x0d\xb8"
            peer.say(update(usual + attribute(14, hop + one, flags=0x80)))
        peer.say(update(through(peer), nlri(DST)))
        wait_until(lambda: known(router) == {None: [65044]})
        assert set(known(router, "2001:db8::/32")) == {1, 2}
        gone = b"\0\2\1" + struct.pack("!L", 1) + b"\x20\x20\x01\x0d\xb8"
        peer.say(update(attribute(15, gone, flags=0x80)))
        wait_until(lambda: set(known(router, "2001:db8::/32")) == {2})


@pytest.mark.parametrize(
    ("offered", "comes_numbered", "goes_numbered"),
    [(add_path(SEND), True, False), (add_path(RECEIVE), False, True), (b"", False, False),
     (add_path(0), False, False), (add_path(4), False, False), (add_path(255), False, False)],
    ids=["it sends", "it receives", "nothing", "0", "4", "255"],
)  # fmt: skip
def test_numbers_stand_where_both_sides_have_said_so(
    router: Router, offered: bytes, comes_numbered: bool, goes_numbered: bool
) -> None:
    """4: any other value counts as not said."""
    with connected(router, MANY) as peer:
        peer.say(peer.opening(offered), KEEPALIVE)
        heard = [body for kind, body in peer.read_until_end_of_rib() if kind == "UPDATE"]
        assert any(nlri("192.0.2.0/24") in body for body in heard)
        assert any(numbered(1, "192.0.2.0/24") in body for body in heard) == goes_numbered
        peer.say(update(through(peer), numbered(5) if comes_numbered else nlri(DST)))
        wait_until(lambda: known(router) == {5 if comes_numbered else None: [65044]})


@pytest.mark.parametrize("body", [b"\0\0\0", b"\0\0\0\1", b"\0\0\0\1\x18\xcb"], ids=["3", "4", "half a prefix"])
def test_a_number_that_is_cut_short(router: Router, body: bytes) -> None:
    """RFC 7606, 5.3."""
    with established(router, MANY, add_path(BOTH)) as peer:
        peer.say(update(through(peer), body))
        assert peer.ending() == "3/10"


def test_a_capability_that_is_cut_short(router: Router) -> None:
    with connected(router, MANY) as peer:
        peer.say(peer.opening(capability(69, b"\0\1\1")))
        assert peer.ending() == "2/0"


def test_every_path_is_told_and_its_withdrawal_alone(router: Router) -> None:
    """2 and 3; nobody is told its own."""
    with (
        established(router, MANY, add_path(BOTH)) as hearer,
        established(router, EXTERNAL) as one,
        established(router, RESTARTING) as two,
    ):
        hearer.say(update(through(hearer), numbered(1)))
        wait_until(lambda: router.best(DST))
        one.say(update(one.attributes(65003, 65001), nlri(DST)))
        first = hearer.hears(nlri(DST))
        two.say(update(two.attributes(), nlri(DST)))
        second = hearer.hears(nlri(DST))
        numbers = [int.from_bytes(body[-8:-4], "big") for body in (first, second)]
        assert len(set(numbers)) == 2
        one.say(update(withdrawn=nlri(DST)))
        assert hearer.hears(numbered(numbers[0]))[:10] == b"\0\x08" + numbered(numbers[0])
        two.say(update(withdrawn=nlri(DST)))
        assert hearer.hears(numbered(numbers[1]))[:10] == b"\0\x08" + numbered(numbers[1])
        told = router.ask("routes", which="advertised", peer=EXTERNAL, prefix=DST)
        assert told == []


def test_a_refresh_brings_every_path_again_and_sweeps_those_that_are_not_said(router: Router) -> None:
    """RFC 2918; RFC 7313, 4."""
    with established(router, MANY, add_path(BOTH), capability(2), capability(70)) as peer:
        with established(router, EXTERNAL) as one, established(router, RESTARTING) as two:
            one.announce(DST)
            two.announce(DST)
            peer.hears(nlri(DST))
            peer.hears(nlri(DST))
            peer.say(message(5, b"\0\1\0\1"))
            while peer.next_kind() != "ROUTE-REFRESH":
                pass
            again = []
            while (found := peer.next()) is not None and found[0] == "UPDATE":
                again.append(found[1])
            assert sum(body.count(nlri(DST)) for body in again) == 2
        peer.say(update(through(peer), numbered(1, OTHER)), update(through(peer), numbered(2, OTHER)))
        peer.say(message(5, b"\0\1\1\1"), update(through(peer), numbered(2, OTHER)), message(5, b"\0\1\2\1"))
        wait_until(lambda: set(known(router, OTHER)) == {2})
