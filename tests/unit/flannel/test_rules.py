"""flannel's rules, literally: iptables as the original's end-to-end tests compare it, nftables as its chains are."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

import pytest

from felix.firewall.model import NOTHING, Table
from flannel import iptables_text, nft_text
from flannel.lease import Subnets
from flannel.rules import Wanted, rules

NETWORKS = Subnets(IPv4Network("10.42.0.0/16"), IPv6Network("2001:cafe:42::/56"))
SUBNETS = Subnets(IPv4Network("10.42.1.0/24"), IPv6Network("2001:cafe:42:1::/64"))
ALL = rules(NETWORKS, SUBNETS, Wanted(masquerades=True))

NAT = """\
*nat
:FLANNEL-POSTRTG - [0:0]
-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.42.1.0/24 -d 10.42.0.0/16 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.42.0.0/16 -d 10.42.1.0/24 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG ! -s 10.42.0.0/16 -d 10.42.1.0/24 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.42.0.0/16 ! -d 224.0.0.0/4 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
-A FLANNEL-POSTRTG ! -s 10.42.0.0/16 -d 10.42.0.0/16 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
COMMIT
"""
FILTER = """\
*filter
:FLANNEL-FWD - [0:0]
-A FLANNEL-FWD -s 10.42.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
-A FLANNEL-FWD -d 10.42.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
COMMIT
"""
KUBE = ":KUBE-POSTROUTING - [0:0]\n-A POSTROUTING -j KUBE-POSTROUTING"


def saved(nat: str = NAT, filter_: str = FILTER) -> str:
    return f"# Generated\n{nat}# Completed\n{filter_}"


def test_an_empty_machine_gets_both_tables() -> None:
    assert iptables_text.edits(ALL.v4, "") == NAT + FILTER


def test_what_is_there_is_left_alone_beside_other_programs_rules() -> None:
    other = NAT.replace("*nat\n", f"*nat\n{KUBE}\n").replace(
        "COMMIT", "-A POSTROUTING -s 10.9.0.0/16 -j ACCEPT\nCOMMIT"
    )
    assert iptables_text.edits(ALL.v4, saved(other)) == ""


@pytest.mark.parametrize(
    "broken",
    [
        NAT.replace("--random-fully", "--random"),
        "".join(line for line in NAT.splitlines(keepends=True) if "224.0.0.0" not in line),
        NAT.replace("-s 10.42.1.0/24 -d", "-s 10.42.9.0/24 -d"),
    ],
)
def test_a_rule_that_is_missing_or_another_makes_the_chain_new_and_leaves_the_jump(broken: str) -> None:
    found = iptables_text.edits(ALL.v4, saved(broken))
    assert found == NAT.replace('-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG\n', "")


def test_a_jump_that_is_missing_or_doubled_is_set_right() -> None:
    jump = '-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG\n'
    assert iptables_text.edits(ALL.v4, saved(NAT.replace(jump, ""))) == f"*nat\n{jump}COMMIT\n"
    removal = jump.replace("-A", "-D", 1)
    assert iptables_text.edits(ALL.v4, saved(NAT.replace(jump, jump * 2))) == f"*nat\n{removal * 2}{jump}COMMIT\n"


def test_without_masquerading_its_chain_goes_and_its_jump_first() -> None:
    wanted = rules(NETWORKS, SUBNETS, Wanted())
    assert iptables_text.edits(wanted.v4, saved()) == (
        '*nat\n-D POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG\n'
        "-F FLANNEL-POSTRTG\n-X FLANNEL-POSTRTG\nCOMMIT\n"
    )


def test_removal_takes_both_chains_from_both_tables() -> None:
    found = iptables_text.edits(NOTHING.v4, saved())
    assert [line for line in found.splitlines() if line.startswith("-X")] == ["-X FLANNEL-POSTRTG", "-X FLANNEL-FWD"]
    assert iptables_text.edits(NOTHING.v4, "") == ""


def test_ipv6_has_the_same_rules_with_its_own_multicast() -> None:
    text = iptables_text.edits(ALL.v6, "")
    assert "-A FLANNEL-POSTRTG -s 2001:cafe:42::/56 ! -d ff00::/8 -m comment" in text
    assert text.count("-A ") == NAT.count("-A ") + FILTER.count("-A ")


def test_the_random_choice_of_ports_can_be_switched_off() -> None:
    wanted = rules(NETWORKS, SUBNETS, Wanted(masquerades=True, is_random=False))
    assert "--random-fully" not in iptables_text.edits(wanted.v4, "")


def test_a_family_that_is_off_has_no_rules() -> None:
    only_v4 = rules(Subnets(NETWORKS.v4), Subnets(SUBNETS.v4), Wanted(masquerades=True))
    assert not only_v4.v6.chains
    assert [entry.table for entry in only_v4.v4.entries] == [Table.NAT, Table.FILTER]


CLAMPED = rules(NETWORKS, SUBNETS, Wanted(masquerades=True), {"flannel.1": 1410})
MANGLE = """\
*mangle
:FLANNEL-MSS - [0:0]
-A FLANNEL-MSS -i flannel.1 -p tcp -m tcp --tcp-flags SYN,RST SYN -m comment --comment "flanneld mss" \
-j TCPMSS --set-mss 1410
-A FLANNEL-MSS -o flannel.1 -p tcp -m tcp --tcp-flags SYN,RST SYN -m comment --comment "flanneld mss" \
-j TCPMSS --set-mss 1410
-A FORWARD -m comment --comment "flanneld mss" -j FLANNEL-MSS
COMMIT
"""


def test_tcp_through_a_tunnel_is_clamped_beside_the_originals_rules_and_only_while_it_must() -> None:
    assert iptables_text.edits(CLAMPED.v4, saved()) == MANGLE
    assert iptables_text.edits(CLAMPED.v4, saved() + MANGLE) == ""
    assert iptables_text.edits(ALL.v4, saved() + MANGLE).splitlines()[-3:] == [
        "-F FLANNEL-MSS",
        "-X FLANNEL-MSS",
        "COMMIT",
    ]


def test_a_segment_of_ipv6_is_20_bytes_smaller() -> None:
    assert "--set-mss 1390" in iptables_text.edits(CLAMPED.v6, "")


def test_nftables_clamp_in_a_chain_of_their_own() -> None:
    lines, syn = nft_text.written(CLAMPED.v4).splitlines(), "tcp flags & (syn | rst) == syn"
    assert lines[-2:] == [
        f'add rule ip flannel-ipv4 clamp {way} "flannel.1" {syn} tcp option maxseg size set 1410'
        for way in ("iifname", "oifname")
    ]


def test_nftables_get_the_originals_tables_and_chains_in_one_transaction() -> None:
    assert nft_text.written(ALL.v4) == NFT


NFT = """\
add table ip flannel-ipv4
delete table ip flannel-ipv4
add table ip flannel-ipv4 { comment "rules for flannel-ipv4" ; }
add chain ip flannel-ipv4 postrtg { type nat hook postrouting priority srcnat ; policy accept ; \
comment "chain to manage traffic masquerading by flannel" ; }
add rule ip flannel-ipv4 postrtg meta mark & 0x4000 == 0x4000 return
add rule ip flannel-ipv4 postrtg ip saddr 10.42.1.0/24 ip daddr 10.42.0.0/16 return
add rule ip flannel-ipv4 postrtg ip saddr 10.42.0.0/16 ip daddr 10.42.1.0/24 return
add rule ip flannel-ipv4 postrtg ip saddr != 10.42.0.0/16 ip daddr 10.42.1.0/24 return
add rule ip flannel-ipv4 postrtg ip saddr 10.42.0.0/16 ip daddr != 224.0.0.0/4 masquerade fully-random
add rule ip flannel-ipv4 postrtg ip saddr != 10.42.0.0/16 ip daddr 10.42.0.0/16 masquerade fully-random
add chain ip flannel-ipv4 forward { type filter hook forward priority filter ; policy accept ; \
comment "chain to accept flannel traffic" ; }
add rule ip flannel-ipv4 forward ip saddr 10.42.0.0/16 accept
add rule ip flannel-ipv4 forward ip daddr 10.42.0.0/16 accept
"""
