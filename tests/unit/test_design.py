"""DESIGN.md names modules, functions and tests. None of them may be gone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DESIGN = (ROOT / "DESIGN.md").read_text()
TESTS = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", DESIGN)))
DECISIONS = re.findall(r"^\| [^|]+\? \| `([\w/]+\.py)` \| `(\w+)` \| `tests/", DESIGN, re.MULTILINE)
FILES = sorted(set(re.findall(r"`([a-z_]+/[\w/]+\.py)`", DESIGN)))


@pytest.mark.parametrize(("path", "name"), TESTS)
def test_a_test_that_the_design_names_is_there(path: str, name: str) -> None:
    assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE), f"{path} has no {name}"


@pytest.mark.parametrize(("path", "name"), DECISIONS)
def test_a_decision_is_where_the_design_says(path: str, name: str) -> None:
    assert re.search(rf"^(async )?(def|class) {name}\b", (ROOT / path).read_text(), re.MULTILINE)


@pytest.mark.parametrize("path", FILES)
def test_a_file_that_the_design_names_is_there(path: str) -> None:
    assert (ROOT / path).exists()


def test_the_ten_questions_and_the_ten_invariants_are_all_there() -> None:
    assert len(DECISIONS) == 10
    assert re.findall(r"^\| (\d+) \|", DESIGN, re.MULTILINE) == [str(number) for number in range(1, 11)]
