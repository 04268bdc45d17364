"""Documents are read and written as Calico does it: stored.json is what its client left in etcd."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from datastore.resource import KINDS
from datastore.schema import table_of
from datastore.schema.reading import Unreadable, canonical, read

STORED: list[dict[str, Any]] = json.loads((Path(__file__).parents[2] / "golden" / "stored.json").read_text())


def called(document: dict[str, Any]) -> str:
    return f"{document['kind']}-{document['metadata']['name']}"


@pytest.mark.parametrize("document", STORED, ids=called)
def test_what_upstream_stored_is_canonical_to_the_last_letter(document: dict[str, Any]) -> None:
    table = table_of(document["kind"])
    assert json.dumps(read(table, document)) == json.dumps(document)
    assert json.dumps(canonical(table, document)) == json.dumps(document)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_has_a_table(kind: str) -> None:
    assert table_of(kind).name == kind


def pool(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": {"name": "p"}, "spec": spec}


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        (
            pool(disabled="yes"),
            "json: cannot unmarshal string into Go struct field IPPoolSpec.spec.disabled of type bool",
        ),
        (
            pool(blockSize=1.5),
            "json: cannot unmarshal number 1.5 into Go struct field IPPoolSpec.spec.blockSize of type int",
        ),
        (
            pool(nodeSelector=[]),
            "json: cannot unmarshal array into Go struct field IPPoolSpec.spec.nodeSelector of type string",
        ),
        (pool(foo=1), 'json: unknown field "foo"'),
        (pool(foo={"bar": 1}), 'json: unknown field "foo"'),
    ],
)
def test_what_cannot_be_read_is_told_in_upstreams_words(document: dict[str, Any], complaint: str) -> None:
    with pytest.raises(Unreadable) as caught:
        read(table_of("IPPool"), document)
    assert str(caught.value) == complaint


def test_what_the_datastore_holds_beyond_what_we_know_stays() -> None:
    table = table_of("IPPool")
    assert canonical(table, pool(cidr="10.0.0.0/8", fromTheFuture={"a": 1}))["spec"] == {
        "cidr": "10.0.0.0/8",
        "fromTheFuture": {"a": 1},
    }
