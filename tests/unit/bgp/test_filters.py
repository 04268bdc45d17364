"""Which rule of a BGPFilter decides, and what it does to the route."""

from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from bgp.export import Announcement
from bgp.filters import Circumstances, Unreadable, community, from_text, read, screen
from bgp.message import Attributes

TABLE = [
    # the rule, the destination, whether it matches
    ({}, "10.1.0.0/24", True),
    ({"cidr": "10.1.0.0/16", "matchOperator": "In"}, "10.1.0.0/24", True),
    ({"cidr": "10.1.0.0/16", "matchOperator": "In"}, "10.1.0.0/16", True),
    ({"cidr": "10.1.0.0/16", "matchOperator": "In"}, "10.0.0.0/8", False),
    ({"cidr": "10.1.0.0/16", "matchOperator": "In"}, "10.2.0.0/24", False),
    ({"cidr": "10.1.0.0/16", "matchOperator": "NotIn"}, "10.1.0.0/24", False),
    ({"cidr": "10.1.0.0/16", "matchOperator": "NotIn"}, "10.2.0.0/24", True),
    ({"cidr": "10.1.0.0/16", "matchOperator": "Equal"}, "10.1.0.0/16", True),
    ({"cidr": "10.1.0.0/16", "matchOperator": "Equal"}, "10.1.0.0/24", False),
    ({"cidr": "10.1.0.0/16", "matchOperator": "NotEqual"}, "10.1.0.0/16", False),
    ({"cidr": "10.1.0.0/16", "matchOperator": "NotEqual"}, "10.1.0.0/24", True),
    ({"cidr": "10.1.0.0/16", "matchOperator": "In", "prefixLength": {"min": 24, "max": 26}}, "10.1.0.0/24", True),
    ({"cidr": "10.1.0.0/16", "matchOperator": "In", "prefixLength": {"min": 24, "max": 26}}, "10.1.0.0/26", True),
    ({"cidr": "10.1.0.0/16", "matchOperator": "In", "prefixLength": {"min": 24, "max": 26}}, "10.1.0.0/23", False),
    ({"cidr": "10.1.0.0/16", "matchOperator": "In", "prefixLength": {"min": 24, "max": 26}}, "10.1.0.0/27", False),
    ({"cidr": "10.1.0.0/16", "matchOperator": "In", "prefixLength": {"min": 8}}, "10.0.0.0/12", False),
    ({"cidr": "10.1.0.0/16", "matchOperator": "NotIn", "prefixLength": {"max": 26}}, "10.1.0.0/27", True),
    ({"cidr": "10.1.0.0/16", "matchOperator": "Equal", "prefixLength": {"min": 16}}, "10.1.0.0/16", False),
    ({"cidr": "10.1.0.0/16", "matchOperator": "NotEqual", "prefixLength": {"min": 16}}, "10.1.0.0/16", True),
    ({"cidr": "fd00::/16", "matchOperator": "In"}, "fd00:1::/64", True),
    ({"cidr": "fd00::/16", "matchOperator": "In", "prefixLength": {"min": 65}}, "fd00:1::/64", False),
    ({"cidr": "fd00::/16", "matchOperator": "Equal"}, "fd00::/16", True),
    ({"peerType": "eBGP"}, "10.1.0.0/24", True),
    ({"peerType": "iBGP"}, "10.1.0.0/24", False),
    ({"source": "RemotePeers"}, "10.1.0.0/24", True),
    ({"interface": "cali*"}, "10.1.0.0/24", False),
    ({"communities": {"values": ["65000:7"]}}, "10.1.0.0/24", True),
    ({"communities": {"values": ["65000:8"]}}, "10.1.0.0/24", False),
    ({"communities": {"values": ["65000:1:2"]}}, "10.1.0.0/24", True),
    ({"asPathPrefix": [65001]}, "10.1.0.0/24", True),
    ({"asPathPrefix": [65001, 65002]}, "10.1.0.0/24", True),
    ({"asPathPrefix": [65001, 65002, 65003]}, "10.1.0.0/24", False),
    ({"asPathPrefix": [65002]}, "10.1.0.0/24", False),
    ({"priority": 1024}, "10.1.0.0/24", True),
    ({"priority": 512}, "10.1.0.0/24", False),
    ({"cidr": "10.1.0.0/16", "matchOperator": "In", "asPathPrefix": [65009]}, "10.1.0.0/24", False),
]
LEARNED = Attributes(
    ip_address("10.0.0.254"),
    local_pref=2**31 - 1 - 1024,
    as_path=(65001, 65002),
    communities=((65000, 7), (65000, 1, 2)),
)
EXTERNAL = Circumstances(is_internal=False, is_learned=True)


def verdict(dst: str, *rules: dict[str, Any], circumstances: Circumstances = EXTERNAL) -> str:
    version = ip_network(dst).version
    one = read("f", {f"importV{version}": list(rules)})
    found, _ = screen(ip_network(dst), LEARNED, (one,), circumstances, is_import=True)
    return found.value if found is not None else "usual"


@pytest.mark.parametrize(("rule", "dst", "matches"), TABLE, ids=[f"{rule} {dst}" for rule, dst, _ in TABLE])
def test_a_rule_matches_when_all_its_conditions_hold(rule: dict[str, Any], dst: str, matches: bool) -> None:
    assert verdict(dst, {**rule, "action": "Reject"}) == ("Reject" if matches else "usual")


def test_the_first_rule_that_matches_decides() -> None:
    rules = (
        {"cidr": "10.9.0.0/16", "matchOperator": "In", "action": "Reject"},
        {"cidr": "10.1.2.0/24", "matchOperator": "Equal", "action": "Accept"},
        {"cidr": "10.1.0.0/16", "matchOperator": "In", "action": "Reject"},
    )
    assert [verdict(dst, *rules) for dst in ("10.1.2.0/24", "10.1.3.0/24", "10.2.0.0/24")] == [
        "Accept", "Reject", "usual"
    ]  # fmt: skip


def test_filters_are_asked_in_order_and_each_direction_has_its_own_rules() -> None:
    first = read("a", {"exportV4": [{"action": "Reject"}]})
    second = read("b", {"importV4": [{"action": "Accept"}], "exportV4": [{"action": "Accept"}]})
    dst = ip_network("10.1.0.0/24")
    found = [screen(dst, LEARNED, (first, second), EXTERNAL, is_import=way)[0] for way in (True, False)]
    assert [each.value for each in found if each] == ["Accept", "Reject"]


def test_the_device_is_known_of_pods_of_this_node() -> None:
    pods = read("pods", {"exportV4": [{"interface": "cali*", "action": "Reject"}]})
    one = read("one", {"exportV4": [{"interface": "eth0", "action": "Reject"}]})
    pod = Circumstances(is_internal=True, is_learned=False, device="cali")
    found = [
        screen(ip_network("10.1.0.5/32"), Announcement(), (each,), pod, is_import=False)[0] for each in (pods, one)
    ]
    assert [each.value if each else "usual" for each in found] == ["Reject", "usual"]


def test_our_own_routes_do_not_come_from_remote_peers() -> None:
    remote = read("f", {"exportV4": [{"source": "RemotePeers", "action": "Reject"}]})
    own = Circumstances(is_internal=True, is_learned=False)
    assert screen(ip_network("10.1.0.0/24"), Announcement(), (remote,), own, is_import=False)[0] is None


OPERATIONS = [
    {"addCommunity": {"value": "65000:9"}},
    {"addCommunity": {"value": "65000:7"}},
    {"addCommunity": {"value": "1:2:3"}},
    {"prependASPath": {"prefix": [65100, 65101]}},
    {"setPriority": {"value": 512}},
]


def test_operations_change_what_is_accepted() -> None:
    rule = {"action": "Accept", "operations": OPERATIONS}
    one = read("f", {"importV4": [rule], "exportV4": [rule]})
    dst = ip_network("10.1.0.0/24")
    _, learned = screen(dst, LEARNED, (one,), EXTERNAL, is_import=True)
    assert learned.communities == ((65000, 7), (65000, 1, 2), (65000, 9), (1, 2, 3))
    assert learned.as_path == (65100, 65101, 65001, 65002)
    assert learned.local_pref == 2147483135
    _, told = screen(dst, Announcement(), (one,), EXTERNAL, is_import=False)
    assert (told.as_path, told.communities) == ((65100, 65101), ((65000, 9), (65000, 7), (1, 2, 3)))


@pytest.mark.parametrize(
    "rule",
    [
        {"action": "Perhaps"},
        {"action": "Accept", "cidr": "10.1.0.0/33", "matchOperator": "In"},
        {"action": "Accept", "cidr": "10.1.0.0/16", "matchOperator": "Near"},
        {"action": "Accept", "communities": {"values": ["65536:1"]}},
        {"action": "Accept", "operations": [{}]},
        {},
    ],
)
def test_a_rule_that_cannot_be_meant_is_told_with_the_filters_name(rule: dict[str, Any]) -> None:
    with pytest.raises(Unreadable, match="BGPFilter odd: "):
        read("odd", {"importV4": [rule]})


def test_a_filter_is_its_text() -> None:
    one = read("f", {"importV4": [{"action": "Reject"}]})
    assert from_text("f", one.text) == one
    assert from_text("f", one.text).imports == one.imports
    assert one != read("f", {"importV4": [{"action": "Accept"}]})


@pytest.mark.parametrize("text", ["1", "1:2:3:4", "65536:1", "4294967296:1:1", "a:b", "-1:1"])
def test_a_community_has_two_or_three_numbers(text: str) -> None:
    with pytest.raises(ValueError):
        community(text)
