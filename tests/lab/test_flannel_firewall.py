"""flannel's rules in this kernel: as iptables -S and nft list them, put back when taken, of one flavour at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.flannel_nodes import FlannelNode, Site, eventually, site

pytestmark = [pytest.mark.root, pytest.mark.server]

NFT = '"EnableNFTables": true,'
IPTABLES = "iptables-nft"


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path, 2) as made:
        yield made


def listed(node: FlannelNode) -> str:
    nat = node.run(IPTABLES, "-t", "nat", "-S", "FLANNEL-POSTRTG") + node.run(
        IPTABLES, "-t", "nat", "-S", "POSTROUTING"
    )
    return nat + node.run(IPTABLES, "-S", "FLANNEL-FWD") + node.run(IPTABLES, "-S", "FORWARD")


def started(two: Site, more: str = "") -> FlannelNode:
    node = two.nodes[0]
    node.run(IPTABLES, "-A", "INPUT", "-j", "ACCEPT")  # somebody filters by this form
    two.configure('"Type": "host-gw"', more=more)
    node.start("-ip-masq", "-iptables-resync=1")
    return node


def test_iptables_lists_the_originals_rules_literally(two: Site) -> None:
    node = started(two)
    p, n = node.subnet, "10.5.0.0/16"
    masq = '-m comment --comment "flanneld masq" -j'
    assert listed(node).splitlines() == [
        "-N FLANNEL-POSTRTG",
        f"-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 {masq} RETURN",
        f"-A FLANNEL-POSTRTG -s {p} -d {n} {masq} RETURN",
        f"-A FLANNEL-POSTRTG -s {n} -d {p} {masq} RETURN",
        f"-A FLANNEL-POSTRTG ! -s {n} -d {p} {masq} RETURN",
        f"-A FLANNEL-POSTRTG -s {n} ! -d 224.0.0.0/4 {masq} MASQUERADE --random-fully",
        f"-A FLANNEL-POSTRTG ! -s {n} -d {n} {masq} MASQUERADE --random-fully",
        "-P POSTROUTING ACCEPT",
        f"-A POSTROUTING {masq} FLANNEL-POSTRTG",
        "-N FLANNEL-FWD",
        f'-A FLANNEL-FWD -s {n} -m comment --comment "flanneld forward" -j ACCEPT',
        f'-A FLANNEL-FWD -d {n} -m comment --comment "flanneld forward" -j ACCEPT',
        "-P FORWARD ACCEPT",
        '-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD',
    ]


@pytest.mark.parametrize(
    "damage",
    [
        ("-t", "nat", "-F", "FLANNEL-POSTRTG"),
        ("-t", "nat", "-D", "FLANNEL-POSTRTG", "3"),
        ("-t", "nat", "-F", "POSTROUTING"),
        ("-F", "FORWARD"),
        ("-F",),
    ],
    ids=" ".join,
)
def test_rules_that_are_taken_away_come_back_within_the_resync(two: Site, damage: tuple[str, ...]) -> None:
    node = started(two)
    before = listed(node)
    node.run(IPTABLES, *damage)
    assert listed(node) != before
    eventually(lambda: listed(node) == before, patience_s=8)


def test_nftables_hold_the_originals_chains_and_come_back_at_once(two: Site) -> None:
    node = started(two, NFT)
    text = node.run("nft", "list", "table", "ip", "flannel-ipv4")
    wanted = [
        "type nat hook postrouting priority srcnat; policy accept;",
        f"ip saddr {node.subnet} ip daddr 10.5.0.0/16 return",
        f"ip saddr != 10.5.0.0/16 ip daddr {node.subnet} return",
        "ip saddr 10.5.0.0/16 ip daddr != 224.0.0.0/4 masquerade fully-random",
        "type filter hook forward priority filter; policy accept;",
        "ip daddr 10.5.0.0/16 accept",
        'comment "rules for flannel-ipv4"',
        'comment "chain to accept flannel traffic"',
    ]
    assert [line for line in wanted if line not in text] == []
    assert "flannel-ipv6" in node.run("nft", "list", "tables")
    node.run("nft", "flush", "chain", "ip", "flannel-ipv4", "forward")
    eventually(lambda: node.run("nft", "list", "table", "ip", "flannel-ipv4") == text, patience_s=8)
    node.run("nft", "delete", "table", "ip", "flannel-ipv4")
    eventually(lambda: node.run("nft", "list", "table", "ip", "flannel-ipv4") == text, patience_s=8)


def test_a_switch_of_flavours_leaves_the_rules_of_one(two: Site) -> None:
    node = started(two)
    two.configure('"Type": "host-gw"', more=NFT)
    node.restart("-ip-masq")
    eventually(lambda: "FLANNEL" not in listed(node))
    assert "masquerade" in node.run("nft", "list", "table", "ip", "flannel-ipv4")
    two.configure('"Type": "host-gw"')
    node.restart("-ip-masq")
    eventually(lambda: "flannel-ipv" not in node.run("nft", "list", "tables"))
    assert "MASQUERADE" in listed(node)


def test_foreign_rules_keep_their_place(two: Site) -> None:
    node = two.nodes[0]
    foreign = [
        "-A POSTROUTING -s 10.9.0.0/16 -j MASQUERADE",
        "-A POSTROUTING -d 10.8.0.0/16 -j RETURN",
    ]
    for rule in foreign:
        node.run(IPTABLES, "-t", "nat", *rule.split())
    started(two)
    lines = listed(node).splitlines()
    assert [line for line in lines if line in foreign] == foreign


def test_without_the_flags_there_are_no_rules(two: Site) -> None:
    node = two.nodes[0]
    two.configure('"Type": "host-gw"')
    node.start("-iptables-forward-rules=false")
    assert "FLANNEL" not in listed(node)


def test_what_leaves_the_network_carries_the_nodes_address(two: Site) -> None:
    two.configure('"Type": "host-gw"')
    two.start_all("-ip-masq")
    one, other = two.nodes
    with other.where.udp_socket() as far, one.where.udp_socket() as pod:
        far.bind((other.address, 7))
        far.settimeout(5)
        pod.bind((one.pod, 7))
        pod.sendto(b"x", (other.address, 7))
        assert far.recvfrom(16)[1][0] == one.address
        far_pod = other.where.udp_socket()
        far_pod.bind((other.pod, 7))
        far_pod.settimeout(5)
        pod.sendto(b"x", (other.pod, 7))
        assert far_pod.recvfrom(16)[1][0] == one.pod
        far_pod.close()
