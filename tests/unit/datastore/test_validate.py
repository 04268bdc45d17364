"""What each kind may hold; tests/golden/rules.txt has the documents as users write them, and what they are told.

Calico's own tests ask the same of its validator (libcalico-go/lib/validator/v3/validator_test.go).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from datastore.admission import admitted
from datastore.schema import table_of
from datastore.schema.reading import read
from datastore.store import Rejected
from datastore.validate.pool_change import completed


def document(kind: str, spec: str, name: str = "n", namespace: str = "") -> dict[str, Any]:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    whole = {
        "apiVersion": "projectcalico.org/v3",
        "kind": kind,
        "metadata": metadata,
        "spec": yaml.safe_load(spec) or {},
    }
    return read(table_of(kind), whole)


def told(found: dict[str, Any]) -> str:
    """What is wrong, or nothing."""
    try:
        admitted(completed(found) if found["kind"] == "IPPool" else found)
    except Rejected as error:
        return str(error)
    return ""


RULES = (Path(__file__).parents[2] / "golden" / "rules.txt").read_text()
"""A document a line; below what is wrong with it, if something is."""

CASES = re.findall(r"^(\w+) (\{.*\})\n(?:    (.+)\n)?", RULES, re.MULTILINE)


@pytest.mark.parametrize(("kind", "spec", "wrong"), CASES)
def test_what_is_allowed_is_admitted_and_the_rest_told_with_its_field(kind: str, spec: str, wrong: str) -> None:
    found = told(document(kind, spec, name="default" if kind == "BGPConfiguration" else "n"))
    assert bool(found) is bool(wrong)
    assert wrong in found


def test_no_rule_was_overlooked() -> None:
    lines = [line for line in RULES.splitlines() if line and not line.startswith(("#", " "))]
    assert len(CASES) == len(lines) > 50


@pytest.mark.parametrize(
    ("name", "labels", "wrong"),
    [
        ("a" * 254, {}, "Metadata.Name"),
        ("-a", {}, "Metadata.Name"),
        ("a", {"b c": "d"}, "Metadata.Labels"),
        ("a", {"b": "c d"}, "Metadata.Labels"),
        ("a", {"example.com/b": "c"}, ""),
    ],
)
def test_names_and_labels_are_kubernetes_own(name: str, labels: dict[str, str], wrong: str) -> None:
    found = document("GlobalNetworkSet", "{}", name=name)
    found["metadata"]["labels"] = labels
    assert (wrong in told(found)) if wrong else told(found) == ""


@pytest.mark.parametrize(
    ("name", "order", "is_good"), [("default", 1_000_000, True), ("default", 5, False), ("a", 5, True)]
)
def test_the_order_of_calicos_own_tiers_is_fixed(name: str, order: int, is_good: bool) -> None:
    assert (told(document("Tier", f"{{order: {order}}}", name=name)) == "") is is_good
