"""Rules in iptables' words: hashes that are upstream's, and edits that leave foreign rules alone."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest

from felix.firewall.iptables_text import Listed, parse, plan, restore_text, wanted
from felix.firewall.model import NOTHING, Hook, Table
from felix.firewall.rules import Encap, Facts, Pool, Tunnel, rules

FACTS = Facts(pools=frozenset({Pool(ip_network("10.244.0.0/16"), True)}), tunnels=(Tunnel(Encap.IPIP, "tunl0"),))
FAMILY = rules(FACTS).v4
NOBODY = Listed({hook.value: () for hook in Hook})

# As iptables-save shows them on any node of a Calico 3.2x cluster with IPIP.
UPSTREAMS = {
    (Table.RAW, "PREROUTING"): ["6gwbT8clXdHdC1b1"],
    (Table.NAT, "POSTROUTING"): ["O3lYWMrLQYEMJtB5"],
    (Table.NAT, "cali-POSTROUTING"): ["Z-c7XtVd2Bq7s_hA", "nYKhEzDlr11Jccal", "SXWvdsbh4Mw7wOln"],
    (Table.NAT, "cali-nat-outgoing"): ["flqWnvo8yq4ULQLa"],
    (Table.FILTER, "INPUT"): ["Cz_u1IQiXIMmKD4c"],
    (Table.FILTER, "FORWARD"): ["wUHhoiAYhphO9Mso"],
    (Table.FILTER, "cali-INPUT"): ["PajejrV4aFdkZojI", "_wjq-Yrma8Ly1Svo", "8TZGxLWh_Eiz66wc"],
    (Table.FILTER, "cali-wl-to-host"): ["Ee9Sbo10IpVujdIY"],
}


@pytest.mark.parametrize(("table", "chain"), UPSTREAMS)
def test_a_rule_that_upstream_has_too_has_upstreams_hash(table: Table, chain: str) -> None:
    found = wanted(FAMILY, table)
    held = found.hooks[chain].first or found.hooks[chain].last if chain in found.hooks else found.chains[chain]
    hashes = UPSTREAMS[table, chain]
    assert [one.hash for one in held][: len(hashes)] == hashes


def test_the_first_write_makes_chains_fills_them_and_leads_there() -> None:
    table = wanted(FAMILY, Table.RAW)
    assert restore_text(Table.RAW, plan(table, NOBODY)) == (
        "*raw\n"
        "-N cali-PREROUTING\n"
        '-A cali-PREROUTING -m comment --comment "cali:C5ai9FGCZex--0jx"'
        " --in-interface cali+ -m rpfilter --invert --validmark --jump DROP\n"
        '-I PREROUTING 1 -m comment --comment "cali:6gwbT8clXdHdC1b1" --jump cali-PREROUTING\n'
        "COMMIT\n"
    )


SAVED = """\
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER-USER - [0:0]
:cali-FORWARD - [0:0]
:cali-old - [0:0]
:cali-pinned - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -m comment --comment "cali:oooooooooooooooo" -j cali-old
-A FORWARD -i docker0 -j ACCEPT
-A DOCKER-USER -j cali-pinned
-A cali-FORWARD -i eth9 -j DROP
-A cali-FORWARD -m comment --comment "cali:X3vB2lGcBrfkYquC" -i cali+ -j cali-from-wl-dispatch
COMMIT
"""


def test_what_differs_is_rewritten_and_foreign_rules_keep_their_order() -> None:
    assert restore_text(Table.FILTER, plan(wanted(rules(Facts()).v4, Table.FILTER), parse(SAVED))).splitlines() == [
        "*filter",
        "-N cali-INPUT",
        "-N cali-wl-to-host",
        "-N cali-from-wl-dispatch",
        '-A cali-INPUT -m comment --comment "cali:FewJpBykm9iJ-YNH" --in-interface cali+ --goto cali-wl-to-host',
        "-F cali-FORWARD",
        '-A cali-FORWARD -m comment --comment "cali:X3vB2lGcBrfkYquC"'
        " --in-interface cali+ --jump cali-from-wl-dispatch",
        '-A cali-wl-to-host -m comment --comment "cali:Ee9Sbo10IpVujdIY" --jump cali-from-wl-dispatch',
        '-A cali-wl-to-host -m comment --comment "cali:nqbvpsxooysl1XUa"'
        " -m conntrack --ctstate RELATED,ESTABLISHED --jump ACCEPT",
        '-A cali-wl-to-host -m comment --comment "cali:gI6E7IrGZ8xnoum-"'
        ' -m comment --comment "Configured DefaultEndpointToHostAction" --jump DROP',
        '-A cali-from-wl-dispatch -m comment --comment "cali:5VejUiiK1HfYEc2p"'
        ' -m comment --comment "Drop VXLAN encapped packets originating in workloads"'
        " -p 17 -m multiport --destination-ports 4789 --jump DROP",
        '-A cali-from-wl-dispatch -m comment --comment "cali:ua6mdzEAqy66pjRg"'
        ' -m comment --comment "Drop IPinIP encapped packets originating in workloads" -p 4 --jump DROP',
        '-I INPUT 1 -m comment --comment "cali:Cz_u1IQiXIMmKD4c" --jump cali-INPUT',
        "-D FORWARD 2",
        '-I FORWARD 1 -m comment --comment "cali:wUHhoiAYhphO9Mso" --jump cali-FORWARD',
        '-A FORWARD -m comment --comment "cali:L6_dKV-Ix83WkY7-" --in-interface cali+ --jump ACCEPT',
        '-A FORWARD -m comment --comment "cali:fbAcFgGh4Qcmdh6N" --out-interface cali+ --jump ACCEPT',
        "-X cali-old",
        "COMMIT",
    ]


def test_a_chain_that_somebody_else_leads_to_is_emptied_but_stays() -> None:
    text = SAVED.replace("-A DOCKER-USER", "-A cali-pinned -j DROP\n-A DOCKER-USER")
    lines = restore_text(Table.FILTER, plan(wanted(NOTHING.v4, Table.FILTER), parse(text))).splitlines()
    assert "-F cali-pinned" in lines
    assert "-X cali-pinned" not in lines


def test_nothing_wanted_takes_all_that_is_ours_and_no_more() -> None:
    assert restore_text(Table.FILTER, plan(wanted(NOTHING.v4, Table.FILTER), parse(SAVED))).splitlines() == [
        "*filter",
        "-D FORWARD 2",
        "-F cali-FORWARD",
        "-X cali-FORWARD",
        "-X cali-old",
        "COMMIT",
    ]


def test_what_is_there_needs_no_edit() -> None:
    for table in Table:
        found = wanted(FAMILY, table)
        chains = {name: [one.hash for one in held] for name, held in found.chains.items()}
        hooks = {
            hook: [*(one.hash for one in ends.first), "", *(one.hash for one in ends.last)]
            for hook, ends in found.hooks.items()
        }
        assert plan(found, Listed(chains | hooks)) == []


def test_a_rule_of_ours_that_was_moved_behind_a_foreign_one_comes_first_again() -> None:
    found = wanted(FAMILY, Table.RAW)
    chains = {name: [one.hash for one in held] for name, held in found.chains.items()}
    edits = plan(found, Listed({**chains, "PREROUTING": ["", "6gwbT8clXdHdC1b1"]}))
    assert restore_text(Table.RAW, edits).splitlines()[1:-1] == [
        "-D PREROUTING 2",
        '-I PREROUTING 1 -m comment --comment "cali:6gwbT8clXdHdC1b1" --jump cali-PREROUTING',
    ]


def test_a_changed_rule_changes_its_hash_and_those_behind_it() -> None:
    before = [one.hash for one in wanted(FAMILY, Table.FILTER).chains["cali-INPUT"]]
    other = rules(replace(FACTS, options=replace(FACTS.options, rejects=True))).v4
    after = [one.hash for one in wanted(other, Table.FILTER).chains["cali-INPUT"]]
    assert before[0] == after[0]
    assert set(before[1:]).isdisjoint(after[1:])
