"""The first pools as the environment says them."""

from __future__ import annotations

from ipaddress import ip_interface, ip_network

import pytest

from datastore.codec import encode
from datastore.resources import IPPool
from felix.startup.environment import BadEnvironment
from felix.startup.pools import wanted


def pool(version: int = 4, /, **environ: str) -> IPPool:
    found = wanted({f"CALICO_IPV{version}POOL_{name}": value for name, value in environ.items()}, version)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("said", "meant"),
    [("Always", "Always"), ("ALWAYS", "Always"), ("cross-subnet", "CrossSubnet"), ("Off", "Never"), ("", "Never")],
)
def test_the_first_pools_mode_is_read_as_upstream_reads_it(said: str, meant: str) -> None:
    assert encode(pool(IPIP=said)).spec["ipipMode"] == meant
    assert encode(pool(VXLAN=said)).spec["vxlanMode"] == meant


def test_everything_about_the_pool_can_be_said() -> None:
    made = pool(
        CIDR="10.0.0.0/16", NAME="mine", BLOCK_SIZE="28", NAT_OUTGOING="No", NODE_SELECTOR="rack == 'a'",
        DISABLE_BGP_EXPORT="true",
    )  # fmt: skip
    assert made.name == "mine"
    assert encode(made).spec == {
        "cidr": "10.0.0.0/16",
        "vxlanMode": "Never",
        "ipipMode": "Never",
        "blockSize": 28,
        "nodeSelector": "rack == 'a'",
        "disableBGPExport": True,
        "allowedUses": ["Workload", "Tunnel"],
        "assignmentMode": "Automatic",
    }


def test_a_network_that_nobody_asked_for_holds_no_address_of_the_machine() -> None:
    for hosts, cidr in (
        ([], "192.168.0.0/16"),
        (["10.0.0.1/24", "192.168.50.10/24"], "172.16.0.0/16"),
        (["192.168.50.10/24", "172.16.5.1/24", "172.17.0.1/16"], "172.18.0.0/16"),
    ):
        found = wanted({}, 4, hosts=[ip_interface(host) for host in hosts])
        assert found is not None and str(found.cidr) == cidr


def test_an_ipv6_pool_is_made_where_ipv6_is_asked_for() -> None:
    ula = ip_network("fd01:2:3::/48")
    assert wanted({}, 6, ula=ula) is None
    assert wanted({"IP6": "none"}, 6, ula=ula) is None
    asked = wanted({"IP6": "autodetect"}, 6, ula=ula)
    told = pool(6, CIDR="fd00:10:244::/64", VXLAN="Always")
    assert asked is not None
    assert (str(asked.cidr), asked.block_size, asked.nat_outgoing, asked.name) == (
        "fd01:2:3::/48",
        122,
        False,
        "default-ipv6-ippool",
    )
    assert (str(told.cidr), told.vxlan_mode.value) == ("fd00:10:244::/64", "Always")


def test_no_pool_is_wanted_where_none_is_said() -> None:
    assert wanted({"NO_DEFAULT_POOLS": "True"}, 4) is None
    assert wanted({"CALICO_IPV4POOL_CIDR": "none"}, 4) is None


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("CIDR", "10.0.0.1/16", "CALICO_IPV4POOL_CIDR=10.0.0.1/16: must be none or a network, like 10.244.0.0/16: "),
        ("CIDR", "10.0.0.0/27", "CALICO_IPV4POOL_CIDR=10.0.0.0/27: is smaller than a block (/26)"),
        ("CIDR", "fd00::/64", "CALICO_IPV4POOL_CIDR=fd00::/64: must be an IPv4 network"),
        ("BLOCK_SIZE", "33", "CALICO_IPV4POOL_BLOCK_SIZE=33: must be a number from 20 to 32"),
        ("IPIP", "Sometimes", "CALICO_IPV4POOL_IPIP=Sometimes: must be Never (or Off), Always or CrossSubnet"),
        ("NODE_SELECTOR", "rack =", "CALICO_IPV4POOL_NODE_SELECTOR=rack =: must be a selector, like rack == 'a': "),
    ],
)
def test_a_variable_that_cannot_be_meant_is_named(variable: str, value: str, said: str) -> None:
    with pytest.raises(BadEnvironment) as caught:
        pool(**{variable: value})
    assert str(caught.value).startswith(said)


def test_no_pools_and_a_network_for_one_contradict_each_other() -> None:
    environ = {"NO_DEFAULT_POOLS": "true", "CALICO_IPV4POOL_CIDR": "10.0.0.0/16"}
    with pytest.raises(
        BadEnvironment, match=r"^CALICO_IPV4POOL_CIDR=10\.0\.0\.0/16: must be empty where NO_DEFAULT_POOLS is"
    ):
        wanted(environ, 4)


def test_one_pool_is_not_encapsulated_twice() -> None:
    with pytest.raises(BadEnvironment, match="one of them must be Never"):
        pool(IPIP="Always", VXLAN="CrossSubnet")
