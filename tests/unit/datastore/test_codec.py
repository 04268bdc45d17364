"""Typed values keep what they do not know, and refuse what they cannot read."""

from dataclasses import replace
from ipaddress import ip_interface, ip_network

import pytest

from datastore.codec import decode, encode, from_json, to_json
from datastore.resource import Resource
from datastore.resources import ClusterInformation, EncapMode, IPAMBlock, IPPool, Node
from datastore.store import Rejected

POOL = Resource("IPPool", "p", spec={"cidr": "10.0.0.0/16", "ipipMode": "Never", "fromTheFuture": {"a": 1}})


def test_a_field_that_we_do_not_know_survives_a_change() -> None:
    pool = decode(IPPool, POOL)
    changed = encode(replace(pool, ipip_mode=EncapMode.ALWAYS))
    assert changed.spec == {"cidr": "10.0.0.0/16", "ipipMode": "Always", "fromTheFuture": {"a": 1}}


def test_a_value_that_is_not_changed_is_written_as_it_was() -> None:
    assert encode(decode(IPPool, POOL)) == POOL


def test_absent_fields_have_upstreams_defaults() -> None:
    pool = decode(IPPool, Resource("IPPool", "p", spec={"cidr": "fd00::/64"}))
    assert (pool.block_size, pool.node_selector, pool.vxlan_mode) == (122, "all()", EncapMode.NEVER)


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({}, "IPPool(p).spec.cidr"),
        ({"cidr": "nonsense"}, "IPPool(p).spec.cidr"),
        ({"cidr": "10.0.0.0/8", "ipipMode": "Off"}, "IPPool(p).spec.ipipMode"),
        ({"cidr": "10.0.0.0/8", "disabled": "yes"}, "IPPool(p).spec.disabled"),
    ],
)
def test_what_cannot_be_read_is_rejected_with_its_path(spec: dict[str, object], path: str) -> None:
    with pytest.raises(Rejected) as caught:
        decode(IPPool, Resource("IPPool", "p", spec=spec))
    assert caught.value.path == path


def test_a_nested_field_goes_and_its_siblings_stay() -> None:
    node = decode(Node, Resource("Node", "n", spec={"bgp": {"ipv4Address": "10.0.0.1/24", "x": 1}}))
    assert node.ipv4 == ip_interface("10.0.0.1/24")
    assert encode(replace(node, ipv4=None)).spec == {"bgp": {"x": 1}}


def test_a_block_reads_and_writes_its_arrays() -> None:
    spec = {
        "cidr": "10.0.0.0/30",
        "affinity": "host:a",
        "allocations": [0, None, None, None],
        "unallocated": [1, 2, 3],
        "attributes": [{"handle_id": "h", "secondary": {"node": "a"}, "alternateOwnerAttrs": {"k": "v"}}],
        "sequenceNumber": 5,
        "sequenceNumberForAllocation": {"0": 4},
        "deleted": False,
        "strictAffinity": False,
    }
    block = decode(IPAMBlock, Resource("IPAMBlock", "b", spec=spec))
    assert (block.cidr, block.node, block.taken_at) == (ip_network("10.0.0.0/30"), "a", {0: 4})
    assert encode(replace(block, sequence=6)).spec == {**spec, "sequenceNumber": 6}


def test_json_goes_through_unchanged() -> None:
    whole = {
        "kind": "IPPool",
        "apiVersion": "projectcalico.org/v3",
        "metadata": {"name": "p", "uid": "u", "creationTimestamp": "t", "labels": {"a": "b"}, "finalizers": ["f"]},
        "spec": {"cidr": "10.0.0.0/8"},
    }
    assert to_json(from_json(whole)) == whole


def test_a_locked_datastore_says_so_and_does_not_leave_the_field_out() -> None:
    """Calico's own programs follow a pointer here without asking whether there is one."""
    cluster = decode(ClusterInformation, Resource("ClusterInformation", "default", spec={"datastoreReady": True}))
    assert encode(replace(cluster, is_ready=False)).spec == {"datastoreReady": False}
