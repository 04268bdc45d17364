"""The way to a next hop, read from the kernel's table."""

import sys
from ipaddress import IPv4Address

import pytest

from bgp.way_out import find, read_table


def word(address: str) -> str:
    return f"{int.from_bytes(IPv4Address(address).packed, sys.byteorder):08X}"


def line(device: str, dst: str, gateway: str, flags: int, metric: int, mask: str) -> str:
    return "\t".join(
        [device, word(dst), word(gateway), f"{flags:04X}", "0", "0", str(metric), word(mask), "0", "0", "0"]
    )


TABLE = "\n".join(
    [
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT",
        line("ens33", "0.0.0.0", "192.168.50.1", 3, 100, "0.0.0.0"),
        line("ens33", "192.168.50.0", "0.0.0.0", 1, 100, "255.255.255.0"),
        line("ens34", "192.168.50.0", "0.0.0.0", 1, 200, "255.255.255.0"),
        line("*", "10.244.166.128", "0.0.0.0", 0x201, 0, "255.255.255.192"),
        line("ens35", "10.9.0.0", "0.0.0.0", 0, 0, "255.255.0.0"),
    ]
)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.168.50.11", ("ens33", None)),
        ("192.168.51.12", ("ens33", IPv4Address("192.168.50.1"))),
        ("10.9.0.1", ("ens33", IPv4Address("192.168.50.1"))),
    ],
)
def test_the_longest_prefix_and_then_the_lowest_metric_counts(
    address: str, expected: tuple[str, IPv4Address | None]
) -> None:
    assert find(IPv4Address(address), read_table(TABLE)) == expected


def test_without_a_route_there_is_no_way() -> None:
    assert find(IPv4Address("192.168.50.11"), read_table("Iface ...\n")) is None
