"""YAML as upstream prints it: keys sorted, lists not indented, quotation marks only where a reader would stumble.

Source: sigs.k8s.io/yaml, which stands on go-yaml v2 (encode.go, sorter.go, emitterc.go).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cmp_to_key
from typing import Any

from calicoctl.yaml_words import is_text
from datastore.schema.go_text import number_text

WIDTH = 80
"""A text that is longer goes on in the next line, at a blank."""


def lines(value: Any) -> Iterator[str]:
    """The document, line by line, each with its end."""
    yield from _block(value, "", "")


def item_lines(value: Any) -> Iterator[str]:
    """One item of a list, for whoever writes a long one piece by piece."""
    yield from _block(value, "- ", "  ")


def _block(value: Any, lead: str, indent: str) -> Iterator[str]:
    """``lead`` stands before the first line, ``indent`` before the others."""
    if isinstance(value, Mapping) and value:
        for key in sorted(value, key=_ORDER):
            yield from _entry(value[key], f"{lead}{_key(key)}:", indent)
            lead = indent
    elif isinstance(value, list) and value:
        for item in value:
            yield from _block(item, f"{lead}- ", f"{indent}  ")
            lead = indent
    else:
        yield f"{lead}{_scalar(value, len(lead), indent)}\n"


def _entry(value: Any, named: str, indent: str) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        yield f"{named}\n"
        yield from _block(value, f"{indent}  ", f"{indent}  ")
    elif isinstance(value, list) and value:
        yield f"{named}\n"
        yield from _block(value, indent, indent)
    else:
        yield f"{named} {_scalar(value, len(named) + 1, f'{indent}  ')}\n"


def _key(text: str) -> str:
    """Keys stand in one line."""
    unfolded = -len(text) - WIDTH
    return _double(text, unfolded, "") if "\n" in text else _text(text, unfolded, "")


def _scalar(value: Any, column: int, indent: str) -> str:
    """``column`` is where it begins, ``indent`` where its further lines do."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return number_text(value)
        case str():
            return _text(value, column, indent)
        case list():
            return "[]"
        case _:
            return "{}"


def _text(text: str, column: int, indent: str) -> str:
    if _SPECIAL.search(text) or not is_text(text):
        return _double(text, column, indent)
    if "\n" in text:
        return _double(text, column, indent) if _RAGGED.search(text) else _literal(text, indent)
    if _is_plain(text):
        return _folded(text, column, indent, is_quoted=False)
    return _folded("'" + text.replace("'", "''") + "'", column, indent, is_quoted=True)


def _folded(text: str, column: int, indent: str, *, is_quoted: bool) -> str:
    """A blank between two words becomes a new line, where the line is long enough."""
    if column + len(text) <= WIDTH or " " not in text:
        return text
    written, line_begin = [], -column
    for at, each in enumerate(text):
        is_between = 0 < at < len(text) - 1 and text[at - 1] != " " and text[at + 1] != " "
        is_inside = not is_quoted or 1 < at < len(text) - 2
        if each == " " and is_between and is_inside and at - line_begin > WIDTH:
            written.append(f"\n{indent}")
            line_begin = at + 1 - len(indent)
        else:
            written.append(each)
    return "".join(written)


def _literal(text: str, indent: str) -> str:
    """Lines as they are. The mark says how many ends of line there are at the end, and how deep the first one is."""
    body = text.rstrip("\n")
    trailing = len(text) - len(body)
    mark = "-" if trailing == 0 else "+" if trailing > 1 or not body else ""
    depth = "2" if text[0] in " \n" else ""
    shown = "\n".join(f"{indent}{line}" if line else "" for line in body.split("\n"))
    return f"|{depth}{mark}\n{shown}" + "\n" * max(0, trailing - 1)


_RAGGED = re.compile(r" \n| \Z")
"""Blanks at the end of a line: a block would show none of them."""

_SPECIAL = re.compile("[^\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd]")
_SHORT = {
    "\0": "\\0",
    "\a": "\\a",
    "\b": "\\b",
    "\t": "\\t",
    "\n": "\\n",
    "\v": "\\v",
    "\f": "\\f",
    "\r": "\\r",
    "\x1b": "\\e",
    "\x85": "\\N",
    "\u2028": "\\L",
    "\u2029": "\\P",
    '"': '\\"',
    "\\": "\\\\",
}


def _double(text: str, column: int, indent: str) -> str:
    written, width = ['"'], column + 1
    for at, each in enumerate(text):
        if each == " " and 0 < at < len(text) - 1 and text[at - 1] != " " and width > WIDTH:
            written.append(f"\n{indent}" + ("\\" if text[at + 1] == " " else ""))
            width = len(indent)
            continue
        shown = _SHORT.get(each) or _escaped(each)
        written.append(shown)
        width += len(shown)
    return "".join(written) + '"'


def _escaped(character: str) -> str:
    if not _SPECIAL.match(character):
        return character
    code = ord(character)
    return f"\\x{code:02X}" if code < 0x100 else f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"


_INDICATORS = frozenset("#,[]{}&*!|>'\"%@`")


def _is_plain(text: str) -> bool:
    """Whether a reader would take it for one scalar, without quotation marks."""
    if text[:3] in ("---", "...") or text[0] in _INDICATORS or text[0] == " " or text[-1] == " ":
        return False
    if text[0] in "-?:" and (len(text) == 1 or text[1] == " "):
        return False
    return ": " not in text and " #" not in text and text[-1] != ":"


# --- the order of keys --------------------------------------------------------------------------------------------


def _compare(one: str, other: str) -> int:
    """Letters after everything else, and digits by the number that they make."""
    for at, (mine, yours) in enumerate(zip(one, other, strict=False)):
        if mine == yours:
            continue
        if mine.isalpha() or yours.isalpha():
            both = mine.isalpha() and yours.isalpha()
            return (-1 if mine < yours else 1) if both else (-1 if yours.isalpha() else 1)
        numbers = _number_at(one, at), _number_at(other, at)
        if numbers[0] != numbers[1]:
            return -1 if numbers[0] < numbers[1] else 1
        return -1 if mine < yours else 1
    return len(one) - len(other)


def _number_at(text: str, at: int) -> tuple[int, int]:
    """The number that the digits from ``at`` make, and how many they are; zeros inside a number count as part of it."""
    digits = re.match(r"\d*", text[at:])
    found = digits[0] if digits else ""
    is_inside = text[at : at + 1] == "0" and re.search(r"[1-9]\d*$", text[:at]) is not None
    return int(("1" if is_inside else "") + found or 0), len(found)


_ORDER = cmp_to_key(_compare)
