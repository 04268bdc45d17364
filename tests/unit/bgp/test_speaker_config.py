"""The file of a speaker that runs alone: what it may say, and which field is named when it says something else."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from bgp.export import Announcement
from bgp.filters import Circumstances, Filter, Verdict, screen
from bgp.message import Attributes
from bgp.neighbour import AddPath, NextHopMode
from bgp.section import BadConfig
from bgp.speaker_config import SpeakerConfig, read

LEAST = "asNumber: 65000\nrouterID: 10.0.0.1\n"
EVERYTHING = """
asNumber: 65000
addresses: [10.0.0.1, "fd00::1"]
clusterID: 1.0.0.1
listenPort: 1790
listenAddresses: [10.0.0.1]
restartTime: 2m
holdTime: 90
originate:
- 192.0.2.0/24
- {prefix: "2001:db8::/32", med: 5, communities: [65000:7, 65000:1:2], localPreference: 200, origin: egp}
filters:
  short:
    importV4: [{action: Reject, cidr: 10.0.0.0/8, matchOperator: In, prefixLength: {min: 25}}]
import: all
export: none
neighbours:
- {peerIP: 10.0.0.2, asNumber: 65000, reflectorClient: true, filters: [short], passive: true}
- peerIP: "10.0.0.3:1179"
  asNumber: 65001.1
  localASNumber: 65009
  families: [ipv6, ipv4]
  ttlSecurity: 1
  password: opensesame
  keepaliveTime: 5s
  maxRestartTime: 30
  maxPrefixes: 1000
  nextHopSelf: true
  numAllowedLocalASNumbers: 2
  survivesNotifications: false
  export: [{action: Reject, cidr: 192.0.2.0/24, matchOperator: Equal}, all]
- {peerIP: "fd00::9", asNumber: 65002, sourceAddress: "fd00::5", holdTime: 9}
"""


def test_the_least_that_a_file_must_say() -> None:
    config = read(LEAST)
    assert (str(config.router_id), config.local_as, config.neighbours, config.listen.port) == (
        "10.0.0.1",
        65000,
        (),
        179,
    )


def test_a_file_with_everything_in_it() -> None:
    config = read(EVERYTHING)
    client, external, long = config.neighbours
    assert (str(config.router_id), config.listen.port, str(config.policy.cluster_id)) == ("10.0.0.1", 1790, "1.0.0.1")
    assert (client.is_passive, client.is_internal, str(client.cluster_id)) == (True, True, "1.0.0.1")
    assert (client.restart_time_s, client.hold_time_s, client.local_address) == (120, 90, ip_address("10.0.0.1"))
    assert (external.port, external.peer_as, external.local_as) == (1179, 65001 << 16 | 1, 65009)
    assert (external.spoken, external.other_address) == ((4, 6), ip_address("fd00::1"))
    assert (external.ttl_hops, external.password, external.keepalive_time_s) == (1, "opensesame", 5)
    assert (external.restart_time_s, external.max_prefixes, external.next_hop_mode) == (30, 1000, NextHopMode.SELF)
    assert (external.allowed_local_as, external.survives_notifications) == (2, False)
    assert (long.local_address, long.hold_time_s, long.spoken) == (ip_address("fd00::5"), 9, (6,))
    told = config.originated[ip_network("2001:db8::/32")]
    assert (told.med, told.communities, told.local_pref) == (5, ((65000, 7), (65000, 1, 2)), 200)


@pytest.mark.parametrize(
    ("more", "needs_near"),
    [({}, True), ({"multihop": True}, False), ({"ttlSecurity": 2}, False), ({"asNumber": 65000}, False)],
)
def test_next_hops_of_another_as_must_be_near_unless_the_file_says_otherwise(
    more: dict[str, Any], needs_near: bool
) -> None:
    peer = {"peerIP": "10.0.0.2", "asNumber": 65001, "enforceFirstAS": True, **more}
    (found,) = read(json.dumps({"asNumber": 65000, "routerID": "10.0.0.1", "neighbours": [peer]})).neighbours
    assert (found.needs_near_next_hops, found.enforces_first_as) == (needs_near, not found.is_internal)


@pytest.mark.parametrize(
    ("word", "expected"),
    [("none", AddPath.NONE), ("receive", AddPath.RECEIVE), ("send", AddPath.SEND), ("both", AddPath.BOTH)],
)
def test_how_many_paths_are_taken_and_sent_is_a_word(word: str, expected: AddPath) -> None:
    peer = {"peerIP": "10.0.0.2", "asNumber": 65001, "addPath": word}
    (found,) = read(json.dumps({"asNumber": 65000, "routerID": "10.0.0.1", "neighbours": [peer]})).neighbours
    assert found.add_path is expected


def test_yaml_and_json_say_the_same() -> None:
    text = json.dumps({"asNumber": 65000, "routerID": "10.0.0.1", "neighbors": [{"peerIP": "10.0.0.2", "asNumber": 1}]})
    assert read(text) == read(LEAST + "neighbours: [{peerIP: 10.0.0.2, asNumber: 1}]")


def goes_out(filters: tuple[Filter, ...], dst: str, *, is_learned: bool) -> Verdict | None:
    circumstances = Circumstances(is_internal=False, is_learned=is_learned)
    return screen(ip_network(dst), Announcement(), filters, circumstances, is_import=False)[0]


def comes_in(filters: tuple[Filter, ...], dst: str) -> Verdict | None:
    circumstances = Circumstances(is_internal=False, is_learned=True)
    return screen(ip_network(dst), Attributes(None), filters, circumstances, is_import=True)[0]


def policy(text: str, whole: str = "") -> tuple[Filter, ...]:
    return read(LEAST + whole + f"neighbours: [{{peerIP: 10.0.0.2, asNumber: 65001{text}}}]").neighbours[0].filters


@pytest.mark.parametrize(
    ("text", "whole", "of_ours", "learned", "taken"),
    [
        ("", "", None, Verdict.REJECT, Verdict.ACCEPT),
        (", export: all", "", Verdict.ACCEPT, Verdict.ACCEPT, Verdict.ACCEPT),
        (", export: none", "", Verdict.REJECT, Verdict.REJECT, Verdict.ACCEPT),
        (", export: originated, import: none", "", None, Verdict.REJECT, Verdict.REJECT),
        ("", "export: all\n", Verdict.ACCEPT, Verdict.ACCEPT, Verdict.ACCEPT),
        (", import: none", "export: all\n", Verdict.ACCEPT, Verdict.ACCEPT, Verdict.REJECT),
    ],
)
def test_a_policy_is_a_word_and_the_whole_files_where_a_neighbour_has_none(
    text: str, whole: str, of_ours: Verdict | None, learned: Verdict, taken: Verdict
) -> None:
    filters = policy(text, whole)
    for dst in ("192.0.2.0/24", "2001:db8::/32"):
        assert goes_out(filters, dst, is_learned=False) == of_ours
        assert goes_out(filters, dst, is_learned=True) == learned
        assert comes_in(filters, dst) == taken


def test_a_policy_may_be_rules_that_end_with_a_word() -> None:
    rules = "[{action: Reject, cidr: 10.0.0.0/8, matchOperator: In}, all]"
    filters = policy(f", export: {rules}, import: {rules}")
    assert goes_out(filters, "10.1.0.0/16", is_learned=True) == comes_in(filters, "10.1.0.0/16") == Verdict.REJECT
    assert goes_out(filters, "11.0.0.0/8", is_learned=True) == comes_in(filters, "2001:db8::/32") == Verdict.ACCEPT


NEIGHBOUR = LEAST + "neighbours: [{peerIP: 10.0.0.2, asNumber: 65001, "
WRONG = [
    ("asNumber: is missing", "routerID: 10.0.0.1"),
    ("routerID: is missing", "asNumber: 1"),
    ("asNumber: must be an AS number", LEAST.replace("65000", "0")),
    ("routerID: '10.0.0' is no address", LEAST.replace("10.0.0.1", "'10.0.0'")),
    ("neighbors: must be a list", LEAST + "neighbors: 5"),
    ("neighbours[0]: must hold fields", LEAST + "neighbours: [10.0.0.2]"),
    ("neighbours[0].peerIP: is missing", LEAST + "neighbours: [{asNumber: 1}]"),
    ("neighbours[0].peerIP: '10.0.0.256' is no address", LEAST + "neighbours: [{peerIP: 10.0.0.256, asNumber: 1}]"),
    ("neighbours[1].peerIP: 10.0.0.2 is that of neighbours[0] too",
     LEAST + "neighbours: [{peerIP: 10.0.0.2, asNumber: 1}, {peerIP: 10.0.0.2, asNumber: 2}]"),
    ("neighbours[0].pasive: no such field; passive is one", NEIGHBOUR + "pasive: true}]"),
    ("neighbours[0].passive: must be true or false", NEIGHBOUR + "passive: 1}]"),
    ("neighbours[0].holdTime: must be 0 or at least 3", NEIGHBOUR + "holdTime: 2}]"),
    ("neighbours[0].families[0]: must be ipv4 or ipv6", NEIGHBOUR + "families: [ipv5]}]"),
    ("neighbours[0].families: addresses has no IPv6 address", NEIGHBOUR + "families: [ipv4, ipv6]}]"),
    ("neighbours[0].filters[0]: there is no filter 'x'", NEIGHBOUR + "filters: [x]}]"),
    ("neighbours[0].nodeSelector: means something in a cluster", NEIGHBOUR + "nodeSelector: all()}]"),
    ("neighbours[0].reflectorClient: only a neighbour of our own AS", NEIGHBOUR + "reflectorClient: true}]"),
    ("neighbours[0].export: must be all, none, originated", NEIGHBOUR + "export: some}]"),
    ("neighbours[0].import: BGPFilter of the file", NEIGHBOUR + "import: [{action: Maybe}]}]"),
    ("neighbours[0].sourceAddress: must be an IPv4", NEIGHBOUR + "sourceAddress: 'fd00::1'}]"),
    ("originate[1].prefix: must be a text", LEAST + "originate: [10.0.0.0/8, [1]]"),
    ("originate[0].prefix: 10.0.0.1/8 has host bits set", LEAST + "originate: [10.0.0.1/8]"),
    ("originate[0].nextHop: must be an IPv4", LEAST + "originate: [{prefix: 10.0.0.0/8, nextHop: 'fd00::1'}]"),
    ("originate[0].communities[0]: community '65000'",
     LEAST + "originate: [{prefix: 10.0.0.0/8, communities: ['65000']}]"),
    ("filters.f.importv4: no such field; importV4 is one", LEAST + "filters: {f: {importv4: []}}"),
    ("restartTime: must be seconds from 0 to 4095", LEAST + "restartTime: 2h"),
    ("the file: ", "a: [1"),
    ("the file: ", "{"),
    ("the file: must hold fields", "5"),
]  # fmt: skip


@pytest.mark.parametrize(("expected", "text"), WRONG, ids=[case[0] for case in WRONG])
def test_what_is_wrong_is_said_with_the_fields_name(expected: str, text: str) -> None:
    with pytest.raises(BadConfig) as found:
        read(text)
    assert str(found.value).startswith(expected)


def test_hundreds_of_neighbours_are_read() -> None:
    lines = "".join(f"- {{peerIP: 10.{n // 250}.{n % 250}.9, asNumber: {n + 1}}}\n" for n in range(500))
    found: SpeakerConfig = read(LEAST + "neighbours:\n" + lines)
    assert len({each.name for each in found.neighbours}) == 500


@pytest.mark.parametrize(("mode", "is_watched"), [("", False), ("None", False), ("BFDIfDirectlyConnected", True)])
def test_bfd_watches_a_neighbour_where_the_file_says_so(mode: str, is_watched: bool) -> None:
    more = f", failureDetectionMode: {mode}" if mode else ""
    (found,) = read(LEAST + f"neighbours: [{{peerIP: 10.0.0.2, asNumber: 65000{more}}}]").neighbours
    assert found.is_watched is is_watched


def test_bfd_over_more_than_one_hop_is_refused_with_the_reason() -> None:
    with pytest.raises(BadConfig, match=r"failureDetectionMode: must be None or .*\(RFC 5883\) is not built"):
        read(LEAST + "neighbours: [{peerIP: 10.0.0.2, asNumber: 65000, failureDetectionMode: Multihop}]")
