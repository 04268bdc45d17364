"""Keys and values of leases, byte for byte as the original writes them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest

from flannel import lease
from flannel.go_json import BadDocument
from flannel.lease import Attributes, Subnets

MAC = '{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}'
V4 = IPv4Address("192.168.64.3")
GOLDEN = [
    (Attributes(IPv4Address("1.2.3.4")), '{"PublicIP":"1.2.3.4","PublicIPv6":null}'),
    (
        Attributes(IPv4Address("1.2.3.4"), backend="host-gw"),
        '{"PublicIP":"1.2.3.4","PublicIPv6":null,"BackendType":"host-gw"}',
    ),
    (
        Attributes(V4, backend="vxlan", data=MAC),
        f'{{"PublicIP":"192.168.64.3","PublicIPv6":null,"BackendType":"vxlan","BackendData":{MAC}}}',
    ),
    (
        Attributes(IPv4Address("192.0.2.3"), IPv6Address("2001:db8::3"), "vxlan", MAC, MAC),
        '{"PublicIP":"192.0.2.3","PublicIPv6":"2001:db8::3","BackendType":"vxlan",'
        f'"BackendData":{MAC},"BackendV6Data":{MAC}}}',
    ),
    (
        Attributes(V4, backend="extension", data='"a \\u0026 b"'),
        '{"PublicIP":"192.168.64.3","PublicIPv6":null,"BackendType":"extension","BackendData":"a \\u0026 b"}',
    ),
    (Attributes(), '{"PublicIP":"0.0.0.0","PublicIPv6":null}'),
]


@pytest.mark.parametrize(("attributes", "text"), GOLDEN)
def test_a_value_is_written_and_read_byte_for_byte(attributes: Attributes, text: str) -> None:
    assert lease.value(attributes) == text
    assert lease.read_value(text) == attributes


@pytest.mark.parametrize(
    ("key", "subnets"),
    [
        ("10.5.52.0-24", Subnets(IPv4Network("10.5.52.0/24"))),
        ("10.12.13.0-24&fd00:12:13::-56", Subnets(IPv4Network("10.12.13.0/24"), IPv6Network("fd00:12:13::/56"))),
    ],
)
def test_a_key_is_written_and_read_byte_for_byte(key: str, subnets: Subnets) -> None:
    assert lease.key(subnets) == key
    assert lease.read_key(f"/coreos.com/network/subnets/{key}") == subnets


BAD_KEYS = ["10", "10.12.13.0", "10.12.13-24", "10.300.13.0-24", "10.12.13.0-24x", "10.12.13.0-24&2001::-", "foo"]
BAD_KEYS += [f"10.12.13.0-24&{v6}" for v6 in (":12:13:-56", "20011::-56", "2001-56", "2001::")]


@pytest.mark.parametrize("key", [*BAD_KEYS, "10.12.13.0-33", "10.12.13.0-32"])
def test_what_is_no_subnets_key_is_not_taken_for_one(key: str) -> None:
    assert lease.read_key(key) is None


def test_old_values_and_those_of_people_are_read() -> None:
    data = '{"VtepMAC":"aa:bb:cc:dd:ee:ff"}'
    old = lease.read_value(f'{{"backendtype": "vxlan", "PublicIP":"1.2.3.4", "BackendData": {data}}}')
    assert old == Attributes(IPv4Address("1.2.3.4"), backend="vxlan", data=data)
    assert lease.read_value('{"PublicIP":"1.2.3.4","BackendData":null,"Zone":{"a":1}}') == Attributes(
        IPv4Address("1.2.3.4")
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is not JSON"),
        ('{"PublicIP":"1.2.3"}', "PublicIP: '1.2.3' is not an IPv4 address"),
        ('{"PublicIP":null}', "PublicIP: an IPv4 address is expected, not null"),
        ('{"PublicIP":"1.2.3.4","BackendType":1}', "BackendType: a text is expected"),
    ],
)
def test_a_value_that_cannot_be_read_says_why(text: str, why: str) -> None:
    with pytest.raises(BadDocument) as caught:
        lease.read_lease("10.5.52.0-24", text)
    assert str(caught.value).startswith(why)
