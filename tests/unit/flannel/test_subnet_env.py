"""subnet.env: exact text, whole or not at all, and what an earlier daemon left in it."""

from __future__ import annotations

import os
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from flannel import subnet_env, subnet_file
from flannel.lease import Subnets
from flannel.subnet_env import SubnetEnv

NETWORKS = Subnets(IPv4Network("10.42.0.0/16"), IPv6Network("2001:cafe:42::/56"))
SUBNETS = Subnets(IPv4Network("10.42.0.0/24"), IPv6Network("2001:cafe:42::/64"))
BOTH = SubnetEnv(NETWORKS, SUBNETS, 1450, masquerades=True)
TEXT = """FLANNEL_NETWORK=10.42.0.0/16
FLANNEL_SUBNET=10.42.0.1/24
FLANNEL_IPV6_NETWORK=2001:cafe:42::/56
FLANNEL_IPV6_SUBNET=2001:cafe:42::1/64
FLANNEL_MTU=1450
FLANNEL_IPMASQ=true
"""


def test_the_text_of_both_families() -> None:
    assert BOTH.text() == TEXT
    assert subnet_env.read(TEXT) == BOTH


def test_the_documents_file_is_written_for_ipv4_alone() -> None:
    subnets = Subnets(IPv4Network("10.244.0.0/24"))
    env = SubnetEnv(Subnets(IPv4Network("10.244.0.0/16")), subnets, 1500, masquerades=True)
    wanted = "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.0.1/24\nFLANNEL_MTU=1500\nFLANNEL_IPMASQ=true\n"
    assert env.text() == wanted


def test_what_cannot_be_read_counts_as_not_there() -> None:
    text = "FLANNEL_NETWORK=10.42.0.0/16,10.43.0.0/16\nFLANNEL_SUBNET=10.42.0.300/24\n# x\nFLANNEL_MTU=many\nZ=1\n"
    assert subnet_env.read(text) == SubnetEnv()


def test_the_file_is_replaced_as_a_whole_and_everybody_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "flannel" / "subnet.env"
    before = os.umask(0o077)
    try:
        subnet_file.write(path, BOTH)
        first = path.stat().st_ino
        subnet_file.write(path, BOTH)
    finally:
        os.umask(before)
    assert path.read_text() == TEXT
    assert path.stat().st_ino != first
    assert path.stat().st_mode & 0o777 == 0o644
    assert [one.name for one in path.parent.iterdir()] == ["subnet.env"]
    assert subnet_file.previous(path) == BOTH


def test_without_a_file_nothing_is_known(tmp_path: Path) -> None:
    assert subnet_file.previous(tmp_path / "subnet.env") == SubnetEnv()
