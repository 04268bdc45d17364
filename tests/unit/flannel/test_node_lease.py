"""A lease as annotations, literally as the original writes them, and what is read from those of others."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest

from flannel import node_lease
from flannel.go_json import BadDocument
from flannel.lease import Attributes

NAMES = node_lease.names()
MAC = '{"VNI":1,"VtepMAC":"12:c6:65:89:b4:e3"}'
IP = IPv4Address("192.0.2.3")


def node(said: dict[str, str], **spec: Any) -> dict[str, Any]:
    texts = {f"flannel.alpha.coreos.com/{word}": text for word, text in said.items()}
    return {"metadata": {"name": "node2", "annotations": texts}, "spec": spec}


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        (
            Attributes(IP, backend="vxlan", data=MAC),
            {"backend-data": MAC, "backend-type": "vxlan", "kube-subnet-manager": "true", "public-ip": "192.0.2.3"},
        ),
        (
            Attributes(IP, backend="host-gw"),
            {
                "backend-data": "null",
                "backend-type": "host-gw",
                "kube-subnet-manager": "true",
                "public-ip": "192.0.2.3",
            },
        ),
        (
            Attributes(IP),
            {"backend-data": "null", "backend-type": "", "kube-subnet-manager": "true", "public-ip": "192.0.2.3"},
        ),
        (
            Attributes(IP, IPv6Address("2001:db8::3"), "vxlan", MAC, MAC),
            {
                "backend-data": MAC,
                "backend-type": "vxlan",
                "backend-v6-data": MAC,
                "kube-subnet-manager": "true",
                "public-ip": "192.0.2.3",
                "public-ipv6": "2001:db8::3",
            },
        ),
    ],
)
def test_attributes_are_written_and_read_literally(attributes: Attributes, said: dict[str, str]) -> None:
    written = node_lease.write(attributes, NAMES)
    assert written == node(said)["metadata"]["annotations"]
    assert node_lease.read(node(said), NAMES) == attributes


@pytest.mark.parametrize(
    ("prefix", "name"),
    [
        ("flannel.alpha.coreos.com", "flannel.alpha.coreos.com/backend-type"),
        ("org.com", "org.com/backend-type"),
        ("org.com/", "org.com/backend-type"),
        ("org.com/9", "org.com/9-backend-type"),
        ("org.com/9-", "org.com/9-backend-type"),
    ],
)
def test_a_prefix_is_completed_as_the_original_does(prefix: str, name: str) -> None:
    assert node_lease.names(prefix)["backend-type"] == name


@pytest.mark.parametrize("prefix", ["org", "org/", "Org.com", "org.com/a/b", "org.com/A", ""])
def test_a_prefix_that_kubernetes_would_not_take_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="a lower-case domain name"):
        node_lease.names(prefix)


def test_a_node_is_nobodys_peer_until_a_daemon_has_said_so() -> None:
    assert node_lease.read_lease(node({}, podCIDR="10.244.1.0/24"), NAMES) is None
    said = {"kube-subnet-manager": "yes", "public-ip": "192.0.2.3"}
    assert node_lease.read_lease(node(said, podCIDR="10.244.1.0/24"), NAMES) is None


@pytest.mark.parametrize(
    ("spec", "subnets"),
    [
        ({"podCIDR": "10.244.1.0/24"}, "10.244.1.0/24"),
        ({"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24", "fd00::/64"]}, "10.244.1.0/24, fd00::/64"),
        ({"podCIDRs": ["fd00::/64", "10.244.1.0/24"]}, "10.244.1.0/24, fd00::/64"),
        ({}, ""),
    ],
)
def test_the_subnet_is_the_podcidr(spec: dict[str, Any], subnets: str) -> None:
    assert str(node_lease.pod_cidrs(node({}, **spec))) == subnets


@pytest.mark.parametrize("texts", [["10.1.0.0/24", "10.2.0.0/24", "fd00::/64"], ["10.1.0.0/24", "10.2.0.0/24"], ["x"]])
def test_podcidrs_that_cannot_be_meant_are_refused(texts: list[str]) -> None:
    with pytest.raises(BadDocument, match="node 'node2' has"):
        node_lease.pod_cidrs(node({}, podCIDRs=texts))


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"public-ip": "here"}, "flannel.alpha.coreos.com/public-ip: 'here' is not an IPv4 address"),
        ({"public-ip": "192.0.2.3", "backend-data": "{"}, "flannel.alpha.coreos.com/backend-data: is not JSON"),
    ],
)
def test_what_cannot_be_read_names_the_annotation(said: dict[str, str], why: str) -> None:
    with pytest.raises(BadDocument) as caught:
        node_lease.read(node({"kube-subnet-manager": "true", **said}), NAMES)
    assert str(caught.value).startswith(why)


def test_an_operators_addresses_win() -> None:
    said = {"public-ip-overwrite": "203.0.113.7", "node-public-ip": "192.0.2.77"}
    assert node_lease.overwritten(Attributes(IP), node(said), NAMES).public_ip == IPv4Address("203.0.113.7")
    assert node_lease.asked_addresses(node(said), NAMES) == (IPv4Address("192.0.2.77"), None)
