"""Whatever is printed as YAML or JSON is read back as it was: by our reader, by PyYAML, by json."""

from __future__ import annotations

import json
from typing import Any

import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from calicoctl import box, json_out, table, yaml_in, yaml_out

# Where YAML's readers stumble: words that mean something, numbers, marks, blanks and ends of lines.
_WORDS = st.sampled_from(
    ["", "y", "no", "on", "True", "null", "~", "-", "?", ":", "- a", "a: b", "a #b", "#a", "'a", '"a', "{", "]", "!x",
     "%", "@x", "&a", "*a", "---", "...", "0x1f", "0o17", "1_000", "1e3", "1.5", ".5", "+1", ".inf", "80:59",
     "2020-09-28", "2020-09-28T06:00:00Z", "a\nb", "a\n", "\na", " a", "a ", "a\n b", " \n", "\n\n", "a\n\n", "a:",
     "<<", "\t", "\x85", "\u2028", "\ufeff", "é", "\U0001f600", "<&>"]
)  # fmt: skip
_characters = st.characters(codec="utf-8", exclude_characters="=")
_texts = _WORDS | st.text(_characters, max_size=30) | st.text("ab \n'\":#-", max_size=200)
_scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | _texts
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4), max_leaves=20
)


_plain = st.text("ab01 \n'\":#-[]{}", max_size=100)
_plain_values = st.recursive(_plain, lambda inner: st.lists(inner) | st.dictionaries(_plain, inner), max_leaves=10)


def printed(value: Any) -> str:
    return "".join(yaml_out.lines({"spec": value}))


@given(_values)
def test_yaml_comes_back_through_our_reader(value: Any) -> None:
    assert yaml_in.parse(printed(value)).value == {"spec": value}


@given(_values)
def test_yaml_comes_back_through_pyyaml(value: Any) -> None:
    assert yaml.safe_load(printed(value)) == {"spec": value}


@given(_plain_values)
def test_what_pyyaml_prints_comes_back_through_our_reader(value: Any) -> None:
    assert yaml_in.parse(yaml.safe_dump(value)).value == value


@given(st.floats(allow_nan=False, allow_infinity=False))
@example(1e6)
@example(1e21)
@example(5e-324)
@example(0.1)
def test_numbers_come_back(value: float) -> None:
    assert yaml_in.parse(printed(value)).value == {"spec": value}


@given(_values)
def test_json_comes_back(value: Any) -> None:
    assert json.loads(json_out.text(value)) == value


@given(_plain_values)
def test_json_is_yaml_too(value: Any) -> None:
    assert yaml_in.parse(json_out.text(value)).value == value


@given(st.lists(_values, min_size=1, max_size=4))
def test_a_list_printed_piece_by_piece_is_the_list(values: list[Any]) -> None:
    assert "spec:\n" + "".join("".join(yaml_out.item_lines(value)) for value in values) == printed(values)
    pieces = ",\n".join(json_out.indented(value, depth=1) for value in values)
    assert f"[\n{pieces}\n]" == json_out.text(values)


_cells = st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), max_size=12)


@given(st.integers(1, 5).flatmap(lambda width: st.lists(st.lists(_cells, min_size=width, max_size=width), min_size=1)))
def test_every_column_of_a_table_stands_in_one_place(rows: list[list[str]]) -> None:
    headings, *others = rows
    shown = list(table.lines(headings, others))
    widths = [max(5, max(map(len, column)) + 3) for column in zip(*rows, strict=True)]
    starts = [sum(widths[:at]) for at in range(len(widths))]
    cut = [[line[at : at + width].rstrip() for at, width in zip(starts, widths, strict=True)] for line in shown]
    assert cut == rows
    framed = list(box.lines(headings, others))
    assert len({len(line) for line in framed}) == 1
    assert [[cell.strip() for cell in line.strip("|\n").split(" | ")] for line in framed[1:2]] == [headings]
