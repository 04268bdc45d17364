"""What a YAML scalar without quotation marks means. Source: go-yaml v2, resolve.go."""

from __future__ import annotations

import re
from math import isfinite
from typing import Any

MERGE = "<<"
"""As a key: the mapping beside it is merged into this one."""

_WORDS: dict[str, Any] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
}
_NUMERIC = re.compile(r"[-+.\d]", re.ASCII)
_INTEGER = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9]\d*))", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?", re.ASCII)
_BASES = (16, 2, 8, 10)


def meaning(text: str) -> Any:
    """What a scalar without quotation marks means."""
    if text in _WORDS:
        return _WORDS[text]
    if _NUMERIC.match(text):
        return _number(text)
    return text


def _number(text: str) -> int | float | str:
    digits = text.replace("_", "")
    if found := _INTEGER.fullmatch(digits):
        sign, *numerals = found.groups()
        value = next(int(each, base) for each, base in zip(numerals, _BASES, strict=True) if each)
        if value < 1 << 64:
            return -value if sign == "-" else value
    if not _FLOAT.fullmatch(digits):
        return text
    decimal = float(digits)
    return decimal if isfinite(decimal) else text


def is_text(scalar: str) -> bool:
    """Whether a scalar without quotation marks would be read as the text that it is, by any reader of YAML."""
    return isinstance(meaning(scalar), str) and scalar != MERGE and not _OTHERS.fullmatch(scalar)


_OTHERS = re.compile(
    r"\d{4}-\d{1,2}-\d{1,2}(?:[Tt ]\s*\d{1,2}:\d{1,2}:\d{1,2}(?:\.\d*)?\s*(?:Z|[-+]\d{1,2}(?::?\d\d)?)?)?"
    r"|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?",
    re.ASCII,
)
"""Times, and what old readers take for numbers to the base of sixty."""
