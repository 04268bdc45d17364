"""Who may speak and how far it may be (TCP-MD5, RFC 5082), what is said at the end (RFC 9003), commands and edits."""

from __future__ import annotations

import re
import socket
from ipaddress import ip_address

import pytest

from bgp.guard import set_password
from tests.conformance.peer import IPV6_UNICAST, Peer, connected, established
from tests.conformance.router import (
    ADDRESS,
    EXTERNAL,
    INTERNAL,
    NEAR,
    OBSERVER,
    PASSWORD,
    SIGNED,
    Router,
    wait_until,
)
from tests.unit.bgp.bgp_bytes import message, nlri, update

pytestmark = pytest.mark.root


def dial(router: Router, address: str, *, password: str = "", ttl: int = 64) -> Peer:
    sock = router.elsewhere.socket(socket.SOCK_STREAM)
    sock.settimeout(0.7)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
    if password:
        set_password(sock, ip_address(ADDRESS), password)
    sock.bind((address, 0))
    sock.connect((ADDRESS, 179))
    return Peer(router, address, sock)


@pytest.mark.parametrize("password", ["", "wrong", PASSWORD + " "])
def test_who_signs_with_another_key_or_none_is_not_heard(router: Router, password: str) -> None:
    """RFC 2385."""
    with pytest.raises(TimeoutError):
        dial(router, SIGNED, password=password)


def test_who_signs_with_the_key_is_a_neighbour(router: Router) -> None:
    """RFC 2385."""
    dial(router, SIGNED, password=PASSWORD).establish().close()


def test_who_signs_though_no_key_is_known_is_not_heard(router: Router) -> None:
    """RFC 2385."""
    with pytest.raises(TimeoutError):
        dial(router, EXTERNAL, password=PASSWORD)


def test_a_key_that_changes_ends_no_other_session(router: Router) -> None:
    with established(router, EXTERNAL) as other:
        signed = dial(router, SIGNED, password=PASSWORD).establish()
        before = list(router.config["neighbours"])
        router.config["neighbours"] = [
            {**each, "password": "changed"} if each["peerIP"] == SIGNED else each for each in before
        ]
        router.apply()
        other.announce("203.0.113.0/24")
        signed.close()
        with pytest.raises(TimeoutError):
            dial(router, SIGNED, password=PASSWORD)
        wait_until(lambda: router.ask("status"))
        router.config["neighbours"] = before
        router.apply()
        other.settle()
        assert router.peer(EXTERNAL)["timesEstablished"] >= 1
        assert router.received(EXTERNAL, "203.0.113.0/24") == "accepted"
    wait_until(lambda: router.state(SIGNED) == "Active", within_s=10)


def test_a_neighbour_whose_packets_have_come_a_way_is_not_heard(router: Router) -> None:
    """RFC 5082, 3: TTL 255, here with ttlSecurity 1."""
    far = dial(router, NEAR, ttl=64)
    far.say(far.opening())
    assert far.next_kind() == "end"
    far.close()


def test_a_neighbour_next_to_us_is_heard(router: Router) -> None:
    """RFC 5082, 3."""
    near = dial(router, NEAR, ttl=255)
    near.sock.settimeout(5)
    near.establish().close()


def test_all_that_we_send_has_a_ttl_of_255(router: Router) -> None:
    """RFC 5082, 3."""
    with connected(router, EXTERNAL) as peer:
        peer.sock.setsockopt(socket.IPPROTO_IP, 21, 255)  # IP_MINTTL
        peer.establish()


# What is said at the end.


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (b"\6\2\x05hello", "hello"),
        (b"\6\4\x05hello", "hello"),
        (b"\6\2\x06h\xc3\xa9llo", "h\u00e9llo"),
        (b"\6\2\x00", ""),
        (b"\6\2", ""),
        (b"\6\2\x05h\xff\xfelo", "h\ufffd\ufffdlo"),
        (b"\6\2\x05h\n\x1b[2", "h\ufffd\ufffd[2"),
        (b"\6\2\xffhi", "hi"),
        (b"\6\2\xff" + b"x" * 255, "x" * 255),
        (b"\6\2\x02hello", "he"),
        (b"\6\3\x05hello", ""),
    ],
    ids=["2", "2 reset", "2 UTF-8", "2 empty", "2 none", "2 bad UTF-8", "2 control characters", "2 too long",
         "RFC 9003 255 octets", "2 something behind", "2 only shutdown and reset"],
)  # fmt: skip
def test_a_shutdown_that_says_why_is_shown(router: Router, said: bytes, shown: str) -> None:
    """RFC 8203 and 9003: what a stranger writes is shown, never obeyed."""
    with established(router, EXTERNAL) as peer:
        peer.say(message(3, said))
        assert peer.ending() == "end"
    wait_until(lambda: router.state(EXTERNAL) == "Active")
    assert router.peer(EXTERNAL)["lastErrorText"] == shown


@pytest.mark.parametrize("text", ["until noon", "", "\u00fc" * 100])
def test_our_shutdown_says_why_and_holds_until_it_is_lifted(router: Router, text: str) -> None:
    """RFC 9003: whole characters, and no more than every reader takes."""
    with established(router, EXTERNAL) as peer:
        router.ask("shutdown", peer=EXTERNAL, text=text)
        words = text.encode()[:128]
        data = (bytes((len(words),)) + words).hex() if text else ""
        assert peer.ending() == f"6/2 {data}".strip()
    refused = dial(router, EXTERNAL)
    assert refused.next_kind() == "end"
    router.ask("enable", peer=EXTERNAL)
    with established(router, EXTERNAL):
        pass


# Commands and edits.


def test_prefixes_are_announced_and_withdrawn_by_command(router: Router) -> None:
    with established(router, EXTERNAL, IPV6_UNICAST) as peer:
        router.ask("announce", prefixes=["198.51.100.0/24", {"prefix": "2001:db8:7::/48", "communities": ["65000:7"]}])
        assert peer.hears(nlri("198.51.100.0/24"))
        assert b"\xfd\xe8\0\7" in peer.hears(b"\x30\x20\x01\x0d\xb8\0\7")
        router.ask("withdraw", prefixes=["198.51.100.0/24", "2001:db8:7::/48"])
        assert peer.hears(b"\0\4" + nlri("198.51.100.0/24"))


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"do": "announce"}, "prefixes: must be a list"),
        ({"do": "announce", "prefixes": ["10.0.0.1/8"]}, "prefixes[0].prefix: 10.0.0.1/8 has host bits set"),
        ({"do": "withdraw", "prefixes": ["10.0.0.0/8"]}, "not announced: 10.0.0.0/8"),
        ({"do": "shutdown", "peer": "10.9.9.9"}, "there is no peer '10.9.9.9'"),
        ({"do": "routes", "which": "all"}, "must be one of best"),
        ({"do": "routes", "prefix": "x"}, "'x' does not appear"),
    ],
)
def test_a_command_that_means_nothing_is_answered_with_the_reason(
    router: Router, asked: dict[str, object], why: str
) -> None:
    with pytest.raises(AssertionError, match="^" + re.escape(why)):
        router.ask(**asked)  # type: ignore[arg-type]


def test_an_edit_of_one_neighbour_ends_no_other_session_and_loses_no_route(router: Router) -> None:
    before = dict(router.config)
    with established(router, EXTERNAL) as peer, established(router, OBSERVER) as other:
        other.announce("203.0.113.0/24")
        router.config = {
            **before,
            "originate": ["192.0.2.0/24", "198.51.100.0/24"],
            "neighbours": [
                {**each, "asNumber": 65099} if each["peerIP"] == EXTERNAL else each for each in before["neighbours"]
            ],
        }
        router.apply()
        assert peer.ending() == "6/6"
        other.hears(nlri("198.51.100.0/24"))
        assert router.best("203.0.113.0/24")
        router.config = before
        router.apply()
        assert other.hears(b"\0\4" + nlri("198.51.100.0/24"))
        other.settle()
        assert router.state(OBSERVER) == "Established"


def test_a_neighbour_that_is_removed_hears_so_and_its_routes_go(router: Router) -> None:
    """RFC 4486, 3."""
    with established(router, INTERNAL) as peer:
        peer.announce("203.0.113.0/24")
        router.ask("remove", peer=INTERNAL)
        assert peer.ending() == "6/3"
        assert not router.best("203.0.113.0/24")
    refused = dial(router, INTERNAL)
    assert refused.next_kind() == "end"
    router.ask("reload")
    with established(router, INTERNAL):
        pass


def test_a_file_that_cannot_be_read_changes_nothing(router: Router) -> None:
    with established(router, EXTERNAL) as peer:
        good = router.file.read_text()
        router.file.write_text(good.replace('"passive"', '"pasive"'))
        with pytest.raises(AssertionError, match=r"neighbours\[0\]\.pasive: no such field; passive is one"):
            router.ask("reload")
        router.file.write_text(good)
        peer.say(update())
        peer.settle()
        assert router.state(EXTERNAL) == "Established"
