"""A network that knows its hash is found by a plain one, and finds it."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network

import pytest

from bgp.destination import DestinationV4, DestinationV6


@pytest.mark.parametrize("text", ["10.128.3.64/26", "0.0.0.0/0", "192.0.2.1/32", "fd00:10::/122", "::/0"])
def test_one_equals_the_plain_network_and_is_found_by_it(text: str) -> None:
    plain = ip_network(text)
    packed = int(plain.network_address), plain.prefixlen
    known = DestinationV4(packed) if plain.version == 4 else DestinationV6(packed)
    assert (known, str(known), hash(known)) == (plain, text, hash(plain))
    assert {plain: 1}[known] == 1
    assert plain in {known}
    assert isinstance(known, IPv4Network | IPv6Network)


def test_bits_behind_the_prefix_are_refused() -> None:
    with pytest.raises(ValueError, match="host bits"):
        DestinationV4((0x0A000001, 26))
