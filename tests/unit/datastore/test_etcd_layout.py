"""Keys and values are Calico's: etcd.json is all that it left in etcd, for three nodes with pods and tunnels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from datastore import etcd_layout as layout
from datastore.codec import decode
from datastore.etcd_layout import Unreadable
from datastore.resource import Key, Resource
from datastore.resources import AffinityState, BlockAffinity, IPAMBlock, IPAMConfig
from datastore.store import Rejected

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[2] / "golden" / "etcd.json").read_text())


def go_text(value: Any) -> str:
    """As Go's encoder writes it; none of the golden values holds a character that it would escape."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def read(key: str, value: str) -> Resource:
    return layout.read(key.encode(), value.encode(), revision="7")


@pytest.mark.parametrize("key", GOLDEN)
def test_what_calico_stored_is_read_and_written_back_to_the_byte(key: str) -> None:
    value = go_text(GOLDEN[key])
    resource = read(key, value)
    assert layout.object_at(key.encode()) == resource.key
    if key.encode() == layout.CONFIG_MIRROR:
        assert layout.mirror_of(resource).decode() == value
        return
    assert layout.key_for(resource).decode() == key
    assert key.encode() in layout.keys_of(resource.key)
    assert layout.value_of(resource).decode() == value


def test_a_block_says_what_it_says_in_kubernetes() -> None:
    key = "/calico/ipam/v2/assignment/ipv4/block/10.244.104.0-26"
    resource = read(key, go_text(GOLDEN[key]))
    block = decode(IPAMBlock, resource)
    assert (resource.name, str(block.cidr), block.node) == ("10-244-104-0-26", "10.244.104.0/26", "node2")
    assert (block.claimed_at, block.slots[:3], block.attributes[0].handle) == (
        "2026-11-22T06:00:52Z",
        (0, 1, None),
        "k8s-pod-network.cid0002",
    )


def test_a_block_without_affinity_says_so_as_go_does() -> None:
    spec = {"cidr": "10.0.0.0/30", "deleted": False, "allocations": [], "strictAffinity": False}
    block = Resource("IPAMBlock", "10-0-0-0-30", spec=spec)
    assert layout.value_of(block) == b'{"cidr":"10.0.0.0/30","affinity":null,"allocations":[],"deleted":false}'


def test_sequence_numbers_stand_in_the_order_of_go_which_is_that_of_text() -> None:
    block = Resource("IPAMBlock", "10-0-0-0-26", spec={"sequenceNumberForAllocation": {"2": 1, "10": 1}})
    assert b'{"10":1,"2":1}' in layout.value_of(block)


def test_a_block_of_long_ago_names_its_host_without_saying_that_it_is_one() -> None:
    block = read("/calico/ipam/v2/assignment/ipv4/block/10.0.0.0-26", '{"cidr":"10.0.0.0/26","hostAffinity":"n"}')
    assert block.spec == {"cidr": "10.0.0.0/26", "affinity": "host:n"}


def test_an_affinity_without_a_value_is_one_of_long_ago_and_confirmed() -> None:
    affinity = decode(BlockAffinity, read("/calico/ipam/v2/host/node1/ipv4/block/10.0.0.0-26", ""))
    assert (affinity.resource.name, affinity.node, str(affinity.cidr)) == ("node1-10-0-0-0-26", "node1", "10.0.0.0/26")
    assert (affinity.state, affinity.is_confirmed) == (AffinityState.LEGACY, True)


def test_what_is_absent_from_the_ipam_configuration_is_zero_and_not_the_default() -> None:
    config = decode(IPAMConfig, read("/calico/ipam/v2/config", '{"maxBlocksPerHost":4}'))
    assert (config.strict_affinity, config.auto_allocate_blocks, config.max_blocks_per_host) == (False, False, 4)
    assert layout.value_of(config.resource) == b'{"maxBlocksPerHost":4}'


def test_an_ipam_configuration_that_does_not_say_whether_blocks_are_allocated_means_that_they_are() -> None:
    config = Resource("IPAMConfiguration", "default", spec={"strictAffinity": True})
    assert layout.value_of(config) == b'{"strict_affinity":true,"auto_allocate_blocks":true}'


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("node-1-10-244-0-0-26", ["host/node-1/ipv4/block/10.244.0.0-26"]),
        ("n-fd00---122", ["host/n/ipv6/block/fd00::-122"]),
        (
            "n-fd00-10--40-122",
            ["host/n/ipv6/block/fd00:10::40-122", "host/n-fd00/ipv6/block/10::40-122"],
        ),
        ("node1", []),
        ("node1-10-0-0-1-26", []),
        ("10-0-0-0-26", []),
    ],
)
def test_an_affinitys_name_tells_its_node_and_block_or_those_it_may_mean(name: str, meant: list[str]) -> None:
    found = [key.decode().removeprefix("/calico/ipam/v2/") for key in layout.keys_of(Key("BlockAffinity", name))]
    assert [key for key in found if key.startswith("host/")] == meant


def test_an_affinity_whose_name_says_something_else_has_no_place() -> None:
    with pytest.raises(Rejected, match="named after its node and its block"):
        layout.key_for(Resource("BlockAffinity", "other", spec={"node": "n", "cidr": "10.0.0.0/26"}))


def test_a_handle_is_looked_for_in_every_spelling_and_nowhere_else() -> None:
    spans = layout.spellings(Key("IPAMHandle", "lb-ab1"))
    assert [span.start.decode().rpartition("/")[2] for span in spans] == ["L", "lB", "lb-A", "lb-aB"]
    hidden = b"/calico/ipam/v2/handle/lb-Ab1"
    assert [span for span in spans if span.start <= hidden < span.end] == [spans[2]]
    assert layout.object_at(hidden) == Key("IPAMHandle", "lb-ab1")


def test_a_handle_keeps_its_spelling() -> None:
    handle = read("/calico/ipam/v2/handle/lb-Ab1", '{"block":{"10.0.0.0/26":1},"deleted":false}')
    assert (handle.name, handle.spec["handleID"]) == ("lb-ab1", "lb-Ab1")
    assert layout.key_for(handle) == b"/calico/ipam/v2/handle/lb-Ab1"


def test_characters_that_go_escapes_are_escaped() -> None:
    pool = Resource("IPPool", "p", annotations={"a": "<&>\u2028ü🐱\x7f\n"})
    assert '"a":"\\u003c\\u0026\\u003e\\u2028ü🐱\x7f\\n"' in layout.value_of(pool).decode()


def test_a_generated_name_stands_where_go_has_it() -> None:
    pool = Resource("IPPool", "p", metadata={"generateName": "g", "finalizers": ["f"]}, uid="u")
    assert b'"metadata":{"name":"p","generateName":"g","uid":"u","finalizers":["f"]}' in layout.value_of(pool)


@pytest.mark.parametrize(
    "key",
    [
        "/calico/resources/v3/projectcalico.org/nodes/a/b",
        "/calico/resources/v3/projectcalico.org/novelties/a",
        "/calico/resources/v3/projectcalico.org/networkpolicies/a",
        "/calico/ipam/v2/host/node1",
        "/calico/ipam/v2/assignment/ipv4/block/nonsense",
        "/calico/felix/v2/no-region/host/node1/status",
        "/registry/nodes/a",
    ],
)
def test_a_key_of_something_else_is_nothing_of_ours(key: str) -> None:
    assert layout.object_at(key.encode()) is None


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ('{"metadata":[1]}', "its metadata is not a JSON object"),
        ('{"metadata":{"name":"other"}}', r"it says that it is IPPool\(other\)"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused_with_its_reason(value: str, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        read("/calico/resources/v3/projectcalico.org/ippools/a", value)


def test_names_that_would_lead_out_of_their_folder_are_refused() -> None:
    for key in (Key("IPPool", "a/b"), Key("IPPool", ""), Key("NetworkPolicy", "a"), Key("IPAMBlock", "x")):
        with pytest.raises(Rejected):
            layout.keys_of(key)
