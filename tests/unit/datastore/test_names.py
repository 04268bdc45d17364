"""Golden vectors of the derived names: upstream's own, or computed with upstream's code."""

from ipaddress import ip_network

import pytest

from datastore import names


@pytest.mark.parametrize(
    ("namespace", "pod", "device"),
    [
        ("default", "nginx", "calic440f455693"),
        ("kube-system", "coredns-abc", "cali3d5d6ab04b5"),
        ("kube-system", "coredns-698fcc7d7c-n8j7q", "calic3d023fea71"),
        ("kube-system", "coredns-698fcc7d7c-r6tsw", "cali8e3712e48ff"),
    ],
)
def test_a_pods_device_is_named_after_its_namespace_and_name(namespace: str, pod: str, device: str) -> None:
    assert names.pod_device(namespace, pod) == device


def test_another_containers_device_is_named_after_its_id() -> None:
    assert names.container_device("717821d73f3ab8812") == "cali717821d73f3"


@pytest.mark.parametrize(
    ("cidr", "name"),
    [
        ("10.65.0.0/26", "10-65-0-0-26"),
        ("fd00:10:244::40/122", "fd00-10-244--40-122"),
        ("fd00::/122", "fd00---122"),
    ],
)
def test_a_cidr_becomes_a_name_by_dashes(cidr: str, name: str) -> None:
    assert names.of_cidr(ip_network(cidr)) == name


def test_an_affinity_is_named_after_node_and_block() -> None:
    assert names.of_affinity("node-1", ip_network("192.168.221.64/26")) == "node-1-192-168-221-64-26"


def test_a_long_node_name_is_cut_and_hashed_so_that_the_affinity_fits() -> None:
    name = names.of_affinity("n" * 250, ip_network("192.168.221.64/26"))
    assert len(name) == 252
    assert name.startswith("n" * 222 + "-192-168-221-64-26-")


def test_dashes_inside_the_parts_of_an_endpoints_name_are_doubled() -> None:
    assert names.of_endpoint("node-1", "k8s", "web-0", "eth0") == "node--1-k8s-web--0-eth0"


def test_an_affinity_is_labelled_with_a_hash_of_its_node() -> None:
    assert names.affinity_labels("node-1", ip_network("10.0.0.0/26")) == {
        "projectcalico.org/affinity-type": "host",
        "projectcalico.org/hostname-hash": "A3XPYDATRKB7Q4SM2O5FN4RXIHBFIL2PITFX26BAIP5XAB2X74CA",
        "projectcalico.org/ip-version": "4",
    }
