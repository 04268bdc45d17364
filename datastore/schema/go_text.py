"""How Go writes a value as text, where a user sees it: in tables, in messages, in JSON.

Source: Go's strconv, fmt (``%v``) and encoding/json.
"""

from __future__ import annotations

from collections.abc import Mapping as Json
from typing import Any

from datastore.schema.notation import Boolean, Decimal, Each, Field, Mapping, Number, Shape, Special, Struct, Written

_SHORTEST_EXPONENT = 6
"""``%v`` writes 1000000 as 1e+06."""

_JSON_EXPONENTS = range(-6, 21)


def value_text(value: Any) -> str:
    """``%v``: ``true``, ``1e+06``, ``[a b]``, ``map[k:v]``, ``<nil>``."""
    match value:
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
        case float():
            return number_text(value)
        case list():
            return f"[{' '.join(map(value_text, value))}]"
        case dict():
            return f"map[{' '.join(f'{key}:{value_text(value[key])}' for key in sorted(value))}]"
        case _:
            return str(value)


def text_of(shape: Shape, value: Any) -> str:
    """``%v`` of a Go value whose JSON this is: a struct shows the zeros of its absent fields as well."""
    match shape:
        case Struct():
            return f"{{{' '.join(_field_text(field, value or {}) for field in shape.fields)}}}"
        case Each():
            return f"[{' '.join(text_of(shape.item, item) for item in value or ())}]"
        case Mapping():
            return value_text(value or {})
        case Number() | Decimal():
            return value_text(value or 0)
        case Boolean():
            return value_text(bool(value))
        case Special(go="v1.Duration"):
            return f"{{{value or '0s'}}}"
        case _:
            return value_text("" if value is None else value)


def _field_text(field: Field, struct: Json[str, Any]) -> str:
    value = struct.get(field.name)
    return "<nil>" if value is None and field.written is Written.GIVEN else text_of(field.shape, value)


def number_text(value: int | float) -> str:
    """``strconv.FormatFloat(value, 'g', -1, 64)``; an int in digits."""
    if isinstance(value, int):
        return str(value)
    digits, exponent = _digits_of(value)
    if not -4 <= exponent < max(_SHORTEST_EXPONENT, 0):
        return _scientific(value, digits, exponent)
    return _plain(value, digits, exponent)


def decimal_text(value: int | float) -> str:
    """A Go float64 under ``%v``: also a whole one becomes 1e+06."""
    return number_text(float(value))


def json_number(value: int | float) -> str:
    """As encoding/json writes a float64; an int in digits."""
    if isinstance(value, int):
        return str(value)
    digits, exponent = _digits_of(value)
    if exponent in _JSON_EXPONENTS:
        return _plain(value, digits, exponent)
    mantissa, _, power = _scientific(value, digits, exponent).partition("e")
    return f"{mantissa}e{power[0]}{power[1:].lstrip('0')}" if power[0] == "-" else f"{mantissa}e{power}"


def _digits_of(value: float) -> tuple[str, int]:
    """The shortest digits that give this float back, and the power of ten of the first one."""
    mantissa, _, exponent = f"{abs(value):.17e}".partition("e")
    for precision in range(17):
        shorter = f"{abs(value):.{precision}e}"
        if float(shorter) == abs(value):
            mantissa, _, exponent = shorter.partition("e")
            break
    return mantissa.replace(".", "").rstrip("0") or "0", int(exponent)


def _scientific(value: float, digits: str, exponent: int) -> str:
    sign = "-" if value < 0 else ""
    fraction = f".{digits[1:]}" if digits[1:] else ""
    return f"{sign}{digits[0]}{fraction}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


def _plain(value: float, digits: str, exponent: int) -> str:
    sign = "-" if value < 0 else ""
    if exponent < 0:
        return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
    whole = digits[: exponent + 1].ljust(exponent + 1, "0")
    fraction = digits[exponent + 1 :]
    return f"{sign}{whole}.{fraction}" if fraction else f"{sign}{whole}"
