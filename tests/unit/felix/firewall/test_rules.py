"""Which rules a node needs, in the words of iptables."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

from felix.firewall.model import FamilyRules, Hook, Table
from felix.firewall.rules import Encap, Facts, HostAction, Pool, Tunnel, rules
from tests.unit.felix.firewall.words import chain_text, rules_text, sets_text

POOL = Pool(ip_network("10.244.0.0/16"), nat_outgoing=True)
POOL6 = Pool(ip_network("fd00:10:244::/64"), nat_outgoing=True)
NODES = frozenset(map(ip_network, ("192.168.50.10/32", "192.168.50.12/32")))
IPIP = Tunnel(Encap.IPIP, "tunl0")
VXLAN = Tunnel(Encap.VXLAN, "vxlan.calico")
PLAIN = Facts(pools=frozenset({POOL}), hosts=NODES, vxlan_members=NODES)


def v4(facts: Facts) -> FamilyRules:
    return rules(facts).v4


def with_options(**options: object) -> Facts:
    return replace(PLAIN, options=replace(PLAIN.options, **options))  # type: ignore[arg-type]


def test_a_node_without_encapsulation_has_few_rules() -> None:
    family = v4(PLAIN)
    assert rules_text(family, Table.RAW) == (
        "PREROUTING + --jump cali-PREROUTING\n"
        "cali-PREROUTING --in-interface cali+ -m rpfilter --invert --validmark --jump DROP\n"
    )
    assert rules_text(family, Table.MANGLE) == ""
    assert rules_text(family, Table.NAT) == (
        "POSTROUTING - --jump cali-POSTROUTING\n"
        "cali-POSTROUTING --jump cali-fip-snat\n"
        "cali-POSTROUTING --jump cali-nat-outgoing\n"
        "cali-fip-snat (empty)\n"
        "cali-nat-outgoing -m set --match-set cali40masq-ipam-pools src"
        " -m set ! --match-set cali40all-ipam-pools dst --jump MASQUERADE --random-fully\n"
    )
    assert rules_text(family, Table.FILTER) == (
        "INPUT + --jump cali-INPUT\n"
        "FORWARD + --jump cali-FORWARD\n"
        "FORWARD - --in-interface cali+ --jump ACCEPT\n"
        "FORWARD - --out-interface cali+ --jump ACCEPT\n"
        "cali-INPUT --in-interface cali+ --goto cali-wl-to-host\n"
        "cali-FORWARD --in-interface cali+ --jump cali-from-wl-dispatch\n"
        "cali-wl-to-host --jump cali-from-wl-dispatch\n"
        "cali-wl-to-host -m conntrack --ctstate RELATED,ESTABLISHED --jump ACCEPT\n"
        'cali-wl-to-host -m comment --comment "Configured DefaultEndpointToHostAction" --jump DROP\n'
        'cali-from-wl-dispatch -m comment --comment "Drop VXLAN encapped packets originating in workloads"'
        " -p 17 -m multiport --destination-ports 4789 --jump DROP\n"
        'cali-from-wl-dispatch -m comment --comment "Drop IPinIP encapped packets originating in workloads"'
        " -p 4 --jump DROP\n"
    )
    assert sets_text(family) == "cali40all-ipam-pools: 10.244.0.0/16\ncali40masq-ipam-pools: 10.244.0.0/16\n"


def test_only_members_may_send_ipip() -> None:
    family = v4(replace(PLAIN, tunnels=(IPIP,)))
    assert chain_text(family, Table.FILTER, "cali-INPUT").splitlines()[:2] == [
        '-m comment --comment "Allow IPIP packets from Calico hosts" -p 4'
        " -m set --match-set cali40all-hosts-net src -m addrtype --dst-type LOCAL --jump ACCEPT",
        '-m comment --comment "Drop IPIP packets from non-Calico hosts" -p 4 --jump DROP',
    ]
    assert "cali40all-hosts-net: 192.168.50.10/32, 192.168.50.12/32\n" in sets_text(family)


def test_only_members_may_send_vxlan_and_it_is_not_tracked() -> None:
    family = v4(replace(PLAIN, tunnels=(replace(VXLAN, port=8472),)))
    assert chain_text(family, Table.FILTER, "cali-INPUT").splitlines()[:2] == [
        '-m comment --comment "Allow IPv4 VXLAN packets from allowed hosts" -p 17 -m multiport'
        " --destination-ports 8472 -m set --match-set cali40all-vxlan-net src"
        " -m addrtype --dst-type LOCAL --jump ACCEPT",
        '-m comment --comment "Drop IPv4 VXLAN packets from non-allowed hosts" -p 17 -m multiport'
        " --destination-ports 8472 -m addrtype --dst-type LOCAL --jump DROP",
    ]
    untracked = "-p udp -m multiport --destination-ports 8472 --jump NOTRACK\n"
    assert chain_text(family, Table.RAW, "cali-PREROUTING").startswith(untracked)
    assert chain_text(family, Table.RAW, "cali-OUTPUT") == untracked
    assert "8472" in chain_text(family, Table.FILTER, "cali-from-wl-dispatch")


def test_the_hosts_own_packets_into_a_tunnel_get_its_address() -> None:
    here = "-m addrtype ! --src-type LOCAL --limit-iface-out -m addrtype --src-type LOCAL --jump MASQUERADE"
    family = v4(replace(PLAIN, tunnels=(IPIP,)))
    assert chain_text(family, Table.NAT, "cali-POSTROUTING").splitlines()[2:] == [
        f"--out-interface tunl0 {here} --random-fully"
    ]
    both = v4(replace(PLAIN, tunnels=(replace(IPIP, has_address=False), VXLAN)))
    assert chain_text(both, Table.NAT, "cali-POSTROUTING").splitlines()[2:] == [
        f"-p 17 --out-interface vxlan.calico {here} --to-ports 4790-65535 --random-fully",
        f"--out-interface vxlan.calico {here} --random-fully",
    ]


def test_each_ip_version_has_its_own_pools_tunnels_and_members() -> None:
    v6_tunnel = Tunnel(Encap.VXLAN, "vxlan-v6.calico", version=6)
    found = rules(replace(PLAIN, pools=frozenset({POOL, POOL6}), tunnels=(IPIP, v6_tunnel)))
    assert "tunl0" in chain_text(found.v4, Table.NAT, "cali-POSTROUTING")
    assert "tunl0" not in chain_text(found.v6, Table.NAT, "cali-POSTROUTING")
    assert "vxlan-v6.calico" in chain_text(found.v6, Table.NAT, "cali-POSTROUTING")
    assert "Allow IPv6 VXLAN" in chain_text(found.v6, Table.FILTER, "cali-INPUT")
    assert "cali60masq-ipam-pools: fd00:10:244::/64\n" in sets_text(found.v6)
    assert chain_text(found.v6, Table.FILTER, "cali-wl-to-host").count("--icmpv6-type") == 6


def test_ipv6_is_left_alone_where_it_is_off() -> None:
    assert rules(with_options(has_ipv6=False)).v6 == FamilyRules(6)


def test_nothing_is_masqueraded_without_nat_outgoing() -> None:
    family = v4(replace(PLAIN, pools=frozenset({replace(POOL, nat_outgoing=False)})))
    assert chain_text(family, Table.NAT, "cali-nat-outgoing") == ""
    assert sets_text(family) == ""


def test_nat_outgoing_takes_ports_an_address_a_device_and_spares_hosts() -> None:
    facts = with_options(
        nat_ports=(32768, 65535),
        nat_addresses={4: ip_address("192.168.50.200")},
        nat_out_device="ens+",
        nat_spares_hosts=True,
    )
    leaves = (
        "-m set --match-set cali40masq-ipam-pools src -m set ! --match-set cali40all-ipam-pools dst"
        " -m set ! --match-set cali40all-hosts-net dst"
    )
    to_address = "--jump SNAT --to-source 192.168.50.200"
    assert chain_text(v4(facts), Table.NAT, "cali-nat-outgoing").splitlines() == [
        f"{leaves} -p tcp --out-interface ens+ {to_address}:32768-65535 --random-fully",
        f"{leaves} -p tcp --out-interface ens+ --jump RETURN",
        f"{leaves} -p udp --out-interface ens+ {to_address}:32768-65535 --random-fully",
        f"{leaves} -p udp --out-interface ens+ --jump RETURN",
        f"{leaves} --out-interface ens+ {to_address} --random-fully",
    ]


def test_what_pods_send_to_their_host_is_the_configurations_choice() -> None:
    for action, target in ((HostAction.ACCEPT, "ACCEPT"), (HostAction.RETURN, "RETURN"), (HostAction.DROP, "DROP")):
        text = chain_text(v4(with_options(host_action=action)), Table.FILTER, "cali-wl-to-host")
        assert text.splitlines()[-1].endswith(f"--jump {target}")


def test_pods_may_be_allowed_to_encapsulate() -> None:
    facts = with_options(pods_may_send_ipip=True, pods_may_send_vxlan=True)
    assert chain_text(v4(facts), Table.FILTER, "cali-from-wl-dispatch") == ""


def test_denied_packets_may_be_rejected_but_not_before_the_filter_table() -> None:
    family = v4(replace(with_options(rejects=True), tunnels=(IPIP,)))
    assert 'Reject IPIP packets from non-Calico hosts" -p 4 --jump REJECT' in rules_text(family, Table.FILTER)
    assert "REJECT" not in rules_text(family, Table.RAW)


def test_some_pods_may_send_with_other_addresses() -> None:
    facts = replace(PLAIN, free_sources={"cali1": (ip_network("10.1.0.0/24"), ip_network("fd01::/64"))})
    assert rules_text(v4(facts), Table.RAW).splitlines()[1:] == [
        "cali-PREROUTING --in-interface cali+ --jump cali-rpf-skip",
        "cali-PREROUTING --in-interface cali+ -m rpfilter --invert --validmark --jump DROP",
        "cali-rpf-skip --in-interface cali1 --source 10.1.0.0/24 --jump ACCEPT",
    ]


def test_a_lowered_mtu_clamps_connections_both_ways() -> None:
    found = rules(replace(PLAIN, clamp={"cali1": 1380}))
    syn = "-p tcp -m tcp --tcp-flags SYN,RST SYN --jump TCPMSS --set-mss"
    assert rules_text(found.v4, Table.MANGLE) == (
        "FORWARD + --jump cali-FORWARD\n"
        f"cali-FORWARD --in-interface cali1 {syn} 1380\n"
        f"cali-FORWARD --out-interface cali1 {syn} 1380\n"
    )
    assert f"{syn} 1360\n" in rules_text(found.v6, Table.MANGLE)


def test_our_rules_may_stand_behind_the_hosts_own() -> None:
    family = v4(with_options(inserts_first=False))
    for table, hook in ((Table.RAW, Hook.PREROUTING), (Table.FILTER, Hook.INPUT), (Table.FILTER, Hook.FORWARD)):
        first, last = family.hooked(table, hook)
        assert not first
        assert last


def test_members_that_overlap_are_one() -> None:
    inner = Pool(ip_network("10.244.64.0/18"), nat_outgoing=True)
    assert sets_text(v4(replace(PLAIN, pools=frozenset({POOL, inner})))) == sets_text(v4(PLAIN))
