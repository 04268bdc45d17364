"""How much of a network is set aside."""

from ipaddress import ip_network

import pytest

from ipam.reserved import Reserved


@pytest.mark.parametrize(
    ("reserved", "besides", "count"),
    [
        ([], [], 0),
        (["10.0.0.1/32", "10.0.0.2/31"], [], 3),
        (["10.0.0.0/30", "10.0.0.2/31"], [], 4),
        (["10.0.0.0/30"], ["10.0.0.0/26", "10.0.0.64/26"], 128),
        (["10.0.0.252/30", "10.0.1.0/30"], [], 4),
        (["10.0.0.0/8"], [], 256),
        (["fd00::/64", "11.0.0.0/8"], [], 0),
    ],
)
def test_an_address_that_is_reserved_twice_counts_once(reserved: list[str], besides: list[str], count: int) -> None:
    found = Reserved(map(ip_network, reserved)).count(ip_network("10.0.0.0/24"), map(ip_network, besides))
    assert found == count
