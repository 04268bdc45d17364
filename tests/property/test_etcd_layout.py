"""Whatever is written to etcd is read back as it was, and every name leads to its key."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from datastore import etcd_layout as layout
from datastore import etcd_wire as wire
from datastore import names
from datastore.resource import KINDS, Resource

SEGMENT = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?", fullmatch=True)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)
DOCUMENT = st.dictionaries(TEXT, JSON, max_size=4)
BLOCK = st.one_of(
    st.builds(
        lambda bits, size: ip_network((bits >> 32 - size << 32 - size, size)),
        st.integers(0, 2**32 - 1),
        st.integers(20, 32),
    ),
    st.builds(
        lambda bits, size: ip_network((bits >> 128 - size << 128 - size, size)),
        st.integers(2**125, 2**126) | st.sampled_from([0xFD00 << 112, 0xFD00 << 112 | 0x40 << 16]),
        st.integers(116, 128),
    ),
)
PLAIN = sorted(layout.HAS_IDENTITY)


@given(
    st.sampled_from(PLAIN), SEGMENT, SEGMENT, DOCUMENT, DOCUMENT | st.none(), st.dictionaries(TEXT, TEXT, max_size=2)
)
def test_a_document_comes_back_as_it_was(
    kind: str, name: str, namespace: str, spec: dict[str, Any], status: dict[str, Any] | None, labels: dict[str, str]
) -> None:
    space = namespace if KINDS[kind].is_namespaced else ""
    resource = Resource(kind, name, space, spec, status, labels, uid="u", created="c", revision="5")
    at = layout.key_for(resource)
    assert layout.read(at, layout.value_of(resource), revision="5") == resource
    assert (layout.object_at(at), layout.keys_of(resource.key)) == (resource.key, (at,))
    span = layout.keys_of_kind(kind, namespace=space)
    assert span.start <= at < span.end


@given(
    SEGMENT, BLOCK, st.sampled_from(["host", "virtual"]), st.sampled_from(["", "pending", "confirmed"]), st.booleans()
)
def test_an_affinity_comes_back_and_is_found_by_its_name(
    node: str, block: Any, owner: str, state: str, is_deleted: bool
) -> None:
    spec = {"state": state, "node": node, "type": owner, "cidr": str(block), "deleted": is_deleted}
    resource = Resource("BlockAffinity", names.of_affinity(node, block), spec=spec, revision="5")
    at = layout.key_for(resource)
    assert layout.read(at, layout.value_of(resource), revision="5") == resource
    assert layout.object_at(at) == resource.key
    assert at in layout.keys_of(resource.key)
    for span in (layout.keys_of_kind("BlockAffinity"), layout.keys_of_kind("BlockAffinity", node=node)):
        assert span.start <= at < span.end or (span.start.endswith(b"/") and owner == "virtual")


@given(
    BLOCK,
    st.dictionaries(st.sampled_from(["allocations", "sequenceNumber", "affinityClaimTime", "deleted", "new"]), JSON),
)
def test_a_block_comes_back_as_it_was(block: Any, rest: dict[str, Any]) -> None:
    spec = {"cidr": str(block), **rest}
    resource = Resource("IPAMBlock", names.of_cidr(block), spec=spec, revision="5")
    at = layout.key_for(resource)
    assert layout.read(at, layout.value_of(resource), revision="5") == resource
    assert (layout.object_at(at), layout.keys_of(resource.key)) == (resource.key, (at,))


@given(st.from_regex(r"[A-Za-z0-9._-]{1,30}", fullmatch=True), st.dictionaries(SEGMENT, st.integers(0, 64), max_size=3))
def test_a_handle_comes_back_and_is_found_however_it_is_spelled(handle: str, blocks: dict[str, int]) -> None:
    spec = {"handleID": handle, "block": blocks, "deleted": False}
    resource = Resource("IPAMHandle", names.of_handle(handle), spec=spec, revision="5")
    at = layout.key_for(resource)
    assert layout.read(at, layout.value_of(resource), revision="5") == resource
    searched = [at == key for key in layout.keys_of(resource.key)]
    searched += [span.start <= at < span.end for span in layout.spellings(resource.key)]
    assert any(searched)


@given(st.integers(-(2**63), 2**63 - 1), st.binary(max_size=300), st.binary(max_size=300))
def test_what_etcd_tells_of_a_key_is_read(revision: int, key: bytes, value: bytes) -> None:
    stored = wire._bytes(1, key) + wire._number(3, revision) + wire._number(4, 1) + wire._bytes(5, value)
    header = wire._message(1, wire._number(1, 2**64 - 1) + wire._number(3, revision))
    assert wire.range_answer(header + wire._message(2, stored)) == wire.Found(
        (wire.Stored(key, value, revision),), revision
    )


@given(st.binary(max_size=60))
def test_no_bytes_make_the_reader_of_answers_fail_otherwise_than_it_says(data: bytes) -> None:
    for read in (wire.range_answer, wire.txn_answer, wire.watch_answer):
        try:
            read(data)
        except wire.Malformed:
            continue
