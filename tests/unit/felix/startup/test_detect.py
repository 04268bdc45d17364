"""Which address of a machine is the node's: every method, and that nothing but what it is about changes the choice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_interface
from itertools import permutations

import pytest

from felix.startup.address import choose
from felix.startup.detect import ANYWHERE, Link, Machine, Undetected, detect, method_of
from felix.startup.environment import BadEnvironment


def link(name: str, index: int, *addresses: str, is_up: bool = True) -> Link:
    return Link(name, index, is_up, tuple(ip_interface(address) for address in addresses))


def machine(*links: Link, default: str = "ens33", sources: Mapping[str, str] | None = None) -> Machine:
    told = {name: ip_address(source) for name, source in (sources or {}).items()}
    return Machine(links, [default] if default else [], told)


ENS33 = link("ens33", 2, "192.168.50.12/24", "192.168.50.10/24", "192.168.50.11/24", "fe80::1/64", "2001:db8:1::5/64")
OTHERS = (
    link("lo", 1, "127.0.0.1/8"),
    link("docker0", 3, "172.17.0.1/16"),
    link("kube-ipvs0", 4, "10.96.0.1/32", "10.96.0.10/32"),
    link("tunl0", 5, "10.244.166.129/32"),
    link("vxlan.calico", 6, "10.244.166.130/32"),
    link("veth12", 7, "10.1.1.1/24"),
    link("cali12345678901", 8, "10.2.2.2/32"),
    link("cni0", 9, "10.244.0.1/24"),
    link("flannel.1", 10, "10.244.0.0/32"),
    link("virbr0", 11, "192.168.122.1/24"),
    link("nodelocaldns", 12, "169.254.20.10/32"),
    link("ens40", 13, "172.20.0.1/24", is_up=False),
)
HOST = machine(*OTHERS, ENS33)


def found(text: str, on: Machine = HOST, *, version: int = 4, chosen: str = "", internal: str = "") -> str:
    known = ip_interface(chosen) if chosen else None
    addresses = [ip_address(each) for each in internal.split()]
    choice = detect(method_of("M", text), version, on, internal=addresses, chosen=known)
    return f"{choice.address}: {choice.why}"


def test_of_three_addresses_of_the_uplink_the_kernels_own_is_taken() -> None:
    here = replace(HOST, sources={ANYWHERE[4]: ip_address("192.168.50.11")})
    assert found("first-found", here) == (
        "192.168.50.11/24: first-found: ens33 has the default route, and packets leave from it"
    )


def test_without_a_hint_it_is_the_lowest_in_whatever_order_the_kernel_tells_them() -> None:
    for addresses in permutations(ENS33.addresses):
        for links in ((*OTHERS, replace(ENS33, addresses=addresses)), (replace(ENS33, addresses=addresses), *OTHERS)):
            assert found("", machine(*links)) == (
                "192.168.50.10/24: first-found: ens33 has the default route, the lowest of 3 there"
            )


def test_once_chosen_it_stays_whatever_appears_beside_it() -> None:
    newer = link("ens50", 99, "10.0.0.1/24")
    here = machine(newer, *OTHERS, ENS33, default="ens50", sources={ANYWHERE[4]: "10.0.0.1"})
    assert found("", here, chosen="192.168.50.12/24") == "192.168.50.12/24: it was chosen before and is still on ens33"
    assert found("", here).startswith("10.0.0.1/24: first-found: ens50 has the default route")


def test_one_that_is_gone_or_on_a_device_that_is_down_gives_way() -> None:
    assert found("", chosen="192.168.50.99/24").startswith("192.168.50.10/24")
    assert found("", chosen="172.20.0.1/24").startswith("192.168.50.10/24")


def test_a_new_prefix_length_is_taken_over() -> None:
    assert found("", chosen="192.168.50.10/32").startswith("192.168.50.10/24: it was chosen before")


def test_a_machine_without_a_fitting_device_is_told_why_for_each() -> None:
    with pytest.raises(Undetected) as caught:
        found("", machine(*OTHERS))
    assert str(caught.value) == (
        "no IPv4 address fits first-found: ens40 is down; nodelocaldns is never a node's own; virbr0 is none unless it "
        "is named; flannel.1 is never a node's own; cni0 is never a node's own; cali12345678901 is never a node's own; "
        "veth12 is none unless it is named; vxlan.calico is never a node's own; tunl0 is never a node's own; "
        "kube-ipvs0 is never a node's own; docker0 is never a node's own; lo is none unless it is named"
    )


def test_kubernetes_address_of_the_node_is_the_default_where_there_is_one() -> None:
    told = "Kubernetes knows the node by it, and ens33 has it"
    for method in ("", "kubernetes-internal-ip"):
        assert found(method, internal="2001:db8:1::5 192.168.50.12") == f"192.168.50.12/24: {told}"
    assert found("", internal="192.168.50.12", chosen="192.168.50.10/24").startswith("192.168.50.12/24")
    assert found("first-found", internal="192.168.50.12").startswith("192.168.50.10/24")
    assert found("", internal="198.51.100.7") == (
        "198.51.100.7/32: Kubernetes knows the node by it, though no device here has it"
    )
    with pytest.raises(Undetected, match="the Node has no InternalIP of IPv4"):
        found("kubernetes-internal-ip", internal="2001:db8:1::5")


def test_can_reach_takes_the_address_that_packets_leave_from() -> None:
    here = machine(*OTHERS, ENS33, sources={"8.8.8.8": "192.168.50.11"})
    assert found("can-reach=8.8.8.8", here) == "192.168.50.11/24: packets to 8.8.8.8 leave from it, on ens33"
    with pytest.raises(Undetected, match=r"can-reach=8\.8\.8\.8: no route leads there"):
        found("can-reach=8.8.8.8")
    with pytest.raises(Undetected, match="which no device has"):
        found("can-reach=8.8.8.8", machine(ENS33, sources={"8.8.8.8": "10.9.9.9"}))


def test_interface_takes_the_first_name_that_matches_and_never_one_of_calicos() -> None:
    here = machine(*OTHERS, ENS33, link("eth0", 20, "10.5.0.1/24"))
    assert found("interface=eth.*,ens", here).startswith("10.5.0.1/24: interface=eth.*,ens: on eth0")
    assert found("interface=ens33").startswith("192.168.50.10/24")
    assert found("interface=veth12").startswith("10.1.1.1/24")
    for name in ("kube-ipvs0", "tunl0", "cali.*", "docker0", "vxlan.calico"):
        with pytest.raises(Undetected):
            found(f"interface=^{name}$")


def test_skip_interface_leaves_out_what_matches_beside_what_is_always_left_out() -> None:
    here = machine(*OTHERS, ENS33, link("eth0", 20, "10.5.0.1/24"))
    assert found("skip-interface=ens.*", here).startswith("10.5.0.1/24")
    with pytest.raises(Undetected, match="ens33 is skipped"):
        found("skip-interface=ens.*,eth.*", here)


def test_cidr_takes_what_lies_in_one_of_the_networks() -> None:
    here = machine(*OTHERS, ENS33, link("ens34", 20, "10.5.0.1/24"))
    assert found("cidr=10.0.0.0/8,172.16.0.0/12", here).startswith("10.5.0.1/24: cidr=10.0.0.0/8,172.16.0.0/12: on")
    with pytest.raises(Undetected, match="has no such address"):
        found("cidr=203.0.113.0/24", here)


def test_ipv6_is_found_in_the_same_way_and_never_link_local() -> None:
    assert found("first-found", version=6).startswith("2001:db8:1::5/64")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("first", "M=first: must be first-found, kubernetes-internal-ip, can-reach=DESTINATION"),
        ("interface=", "M=interface=: something must stand behind interface="),
        ("interface=e(", "M=interface=e(: e(: missing ), unterminated subpattern"),
        ("cidr=10.0.0.0/8,10/33", "M=cidr=10.0.0.0/8,10/33: 10/33: "),
    ],
)
def test_a_method_that_cannot_be_meant_is_named(value: str, said: str) -> None:
    with pytest.raises(BadEnvironment) as caught:
        method_of("M", value)
    assert str(caught.value).startswith(said)


# --- what $IP says ------------------------------------------------------------------------------------------------


def chosen(environ: dict[str, str], *, known: str = "", version: int = 4, on: Machine = HOST) -> str:
    choice = choose(environ, version, on, known=ip_interface(known) if known else None)
    return f"{choice.address}: {choice.why}"


@pytest.mark.parametrize(
    ("ip", "known", "said"),
    [
        ("192.168.50.11", "", "192.168.50.11/24: IP says so"),
        ("192.168.50.11/16", "", "192.168.50.11/16: IP says so"),
        ("10.9.9.9", "", "10.9.9.9/32: IP says so, though no device here has it"),
        ("", "10.7.7.7/24", "10.7.7.7/24: the node has it, and IP says nothing"),
        ("none", "10.7.7.7/24", "10.7.7.7/24: IP=none: 10.7.7.7/24 stays"),
        ("none", "", "None: "),
        ("", "", "192.168.50.10/24: first-found: ens33 has the default route, the lowest of 3 there"),
        (
            "autodetect",
            "10.7.7.7/24",
            "192.168.50.10/24: first-found: ens33 has the default route, the lowest of 3 there",
        ),
    ],
)
def test_ip_is_told_kept_or_detected(ip: str, known: str, said: str) -> None:
    assert chosen({"IP": ip}, known=known) == said


def test_ipv6_is_detected_only_where_it_is_asked_for() -> None:
    assert chosen({}, version=6) == "None: "
    assert chosen({"IP6": "autodetect"}, version=6).startswith("2001:db8:1::5/64: ")


def test_a_known_address_is_kept_where_none_can_be_detected() -> None:
    told = chosen({"IP": "autodetect", "IP_AUTODETECTION_METHOD": "interface=wlan0"}, known="10.7.7.7/24")
    assert told.startswith("10.7.7.7/24: kept, because none could be detected: no IPv4 address fits interface=wlan0: ")


@pytest.mark.parametrize(
    ("ip", "said"),
    [
        ("10.0.0.300", "IP=10.0.0.300: must be autodetect, none, or an IPv4 address with or without its prefix length"),
        ("fd00::1", "IP=fd00::1: must be an IPv4 address; an IPv6 address belongs into IP6"),
    ],
)
def test_an_address_that_cannot_be_meant_is_named(ip: str, said: str) -> None:
    with pytest.raises(BadEnvironment) as caught:
        chosen({"IP": ip})
    assert str(caught.value).startswith(said)


def test_a_machine_without_an_address_is_told_what_was_asked() -> None:
    with pytest.raises(
        BadEnvironment, match=r"^IP=autodetect: failed to autodetect an IPv4 address: no IPv4 address fits"
    ):
        chosen({"IP": "autodetect"}, on=machine(*OTHERS))
