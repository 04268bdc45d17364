"""The original's calicoctl, which CALICOCTL names, and ours: given the same words they print the same, end with the
same status, and leave the same in the datastore.
"""

from __future__ import annotations

import copy
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.interop.calicoctl_pairs import Json, Pair, on_etcd, on_kubernetes
from tests.unit.calicoctl.shell import GOLDEN

pytestmark = pytest.mark.server

Path = tuple[str | int, ...]

DOCUMENTS: list[Json] = list(yaml.safe_load_all((GOLDEN / "every_kind.yaml").read_text()))
FORMS = ("", "-o wide", "-o yaml", "-o json", "-o name", "-A", "-n prod")
VALUES = ["", "Foo bar!", -1, 5_000_000_000, 1.5, True, None, [], {}, "10.0.0.0/33", "fd00::1", "10s", "has("]
NAMES = ["", "A", "a_b", "x" * 254, "node.x"]


PLACES = {"etcd": on_etcd, "kubernetes": on_kubernetes}


@pytest.fixture(scope="module", params=PLACES)
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    program = shutil.which(os.environ.get("CALICOCTL", ""))
    if program is None:
        pytest.skip("CALICOCTL names no program: set it to the original's calicoctl")
    with PLACES[request.param](program) as made:
        yield made


EACH = pytest.mark.parametrize("document", DOCUMENTS, ids=[each["kind"] for each in DOCUMENTS])


@EACH
def test_every_kind_is_made_shown_changed_and_deleted_alike(pair: Pair, document: Json) -> None:
    kind, shown = document["kind"], [f"get {document['kind']} {form}" for form in FORMS]
    differences = [pair.differ(words, document) for words in ("create -f -", "create -f -", "apply -f -")]
    differences += [pair.differ(words) for words in shown]
    differences += [pair.differ(f"label {kind} {document['metadata']['name']} a=b -n prod")]
    differences += [pair.differ(words, document) for words in ("replace -f -", "delete -f -", "delete -f -")]
    differences += [pair.differ(words) for words in shown]
    _expect_none(differences)


@EACH
def test_documents_without_a_field_are_taken_or_refused_alike(pair: Pair, document: Json) -> None:
    pair.differ("apply -f -", document)
    _expect_none([pair.differ("replace -f -", _without(document, path)) for path in _paths(document["spec"])])


@EACH
@pytest.mark.long
def test_documents_with_a_bad_value_are_taken_or_refused_alike(pair: Pair, document: Json) -> None:
    pair.differ("apply -f -", document)
    bad = [_with(document, ("spec", *path), value) for path in _paths(document["spec"]) for value in VALUES]
    bad += [_with(document, ("metadata", "name"), name) for name in NAMES]
    _expect_none([pair.differ("replace -f -", each) for each in bad])


def _expect_none(differences: list[str]) -> None:
    told = "\n".join(filter(None, differences))
    assert not told, told


def _paths(value: Any, above: Path = ()) -> Iterator[Path]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        yield (*above, key)
        yield from _paths(each, (*above, key))


def _with(document: Json, path: Path, value: Any) -> Json:
    changed = copy.deepcopy(document)
    _parent(changed, path)[path[-1]] = value
    return changed


def _without(document: Json, path: Path) -> Json:
    changed = copy.deepcopy(document)
    del _parent(changed, ("spec", *path))[path[-1]]
    return changed


def _parent(document: Json, path: Path) -> Any:
    inside: Any = document
    for key in path[:-1]:
        inside = inside[key]
    return inside
