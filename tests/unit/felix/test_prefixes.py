"""Longest-prefix match says what a walk over all entries says."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from felix.fib.model import Address, Network
from felix.prefixes import PrefixTable
from tests.routes import addresses, networks

TABLE = PrefixTable([(ip_network(text), text) for text in ("0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "fd00::/8")])

any_network = st.sampled_from([4, 6]).flatmap(networks)
any_address = st.sampled_from([4, 6]).flatmap(addresses)


def test_the_most_specific_comes_first() -> None:
    found = [value for _, value in TABLE.containing(ip_address("10.1.2.3"))]
    assert found == ["10.1.0.0/16", "10.0.0.0/8", "0.0.0.0/0"]


def test_a_network_is_covered_by_itself_and_not_by_a_part_of_it() -> None:
    assert [value for _, value in TABLE.covering(ip_network("10.0.0.0/8"))] == ["10.0.0.0/8", "0.0.0.0/0"]


def test_families_do_not_mix() -> None:
    assert [value for _, value in TABLE.containing(ip_address("fd00::1"))] == ["fd00::/8"]
    assert list(TABLE.containing(ip_address("::1"))) == []


@given(st.lists(any_network), any_address, any_network)
def test_a_table_says_what_a_walk_says(entries: list[Network], address: Address, network: Network) -> None:
    table = PrefixTable((entry, None) for entry in entries)
    holding = {entry for entry in entries if address in entry}
    around = {entry for entry in entries if entry.version == network.version and network.subnet_of(entry)}  # type: ignore[arg-type]
    assert [found for found, _ in table.containing(address)] == sorted(holding, key=lambda one: -one.prefixlen)
    assert [found for found, _ in table.covering(network)] == sorted(around, key=lambda one: -one.prefixlen)
