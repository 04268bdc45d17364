"""How fast failures are noticed, from the environment; and what the next process finds."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest

from bgp.bfd.remembered import load, save
from bgp.bfd.session import Memory, Timing
from bgp.bfd.settings import BadEnvironment, read
from bgp.bfd.watch import Watch


def test_without_a_word_it_is_300_ms_and_3() -> None:
    assert read({}) == read({"CALICO_BFD_INTERVAL_MS": ""}) == Timing(300_000, 3)


def test_a_machine_may_be_slower() -> None:
    assert read({"CALICO_BFD_INTERVAL_MS": "1000", "CALICO_BFD_MULTIPLIER": "5"}) == Timing(1_000_000, 5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CALICO_BFD_INTERVAL_MS", "9"),
        ("CALICO_BFD_INTERVAL_MS", "60001"),
        ("CALICO_BFD_INTERVAL_MS", "300ms"),
        ("CALICO_BFD_INTERVAL_MS", "-300"),
        ("CALICO_BFD_MULTIPLIER", "0"),
        ("CALICO_BFD_MULTIPLIER", "256"),
    ],
)
def test_what_cannot_be_meant_is_told_with_its_name_and_what_is_allowed(name: str, value: str) -> None:
    with pytest.raises(BadEnvironment, match=f"{name}={value}: must be a number from"):
        read({name: value})


def test_what_a_process_leaves_is_found_by_the_next(tmp_path: Path) -> None:
    left = {
        Watch(ip_address("10.0.0.2"), ip_address("10.0.0.1")): Memory(1, 77, 300_000, 300_000, 3, True),
        Watch(ip_address("fd00::2")): None,
    }
    save(tmp_path / "bfd.json", left)
    assert load(tmp_path / "bfd.json") == left
    assert [each.name for each in tmp_path.iterdir()] == ["bfd.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 9}', '{"version": 1, "sessions": [["x", "", null]]}'])
def test_a_file_that_cannot_be_read_is_as_good_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "bfd.json").write_text(text)
    assert load(tmp_path / "bfd.json") == {}
    assert load(tmp_path / "none.json") == {}
