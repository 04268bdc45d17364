"""The types that read and write their own JSON: durations, times, AS numbers, ports, protocols.

Each reads what upstream reads and gives back what upstream writes: ``90s`` becomes ``1m30s``, ``"80"`` the port 80.
Errors are upstream's words. Source: Calico api/pkg/lib/numorstring; Go's time package; k8s.io/apimachinery.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any


@dataclass(eq=False)
class Mistyped(Exception):
    """JSON of the wrong type. ``go`` is the type that was expected."""

    value: Any
    go: str


def integer(value: Any, go: str, *, low: int, high: int) -> int:
    """Raises Mistyped for what is no integer of that size; a float without a fraction is one."""
    number = int(value) if isinstance(value, float) and value.is_integer() else value
    if type(number) is not int or not low <= number <= high:
        raise Mistyped(value, go)
    return number


SIZES = {
    "int": (-(2**63), 2**63 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint8": (0, 2**8 - 1),
    "uint16": (0, 2**16 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
}


def sized(value: Any, go: str) -> int:
    low, high = SIZES[go]
    return integer(value, go, low=low, high=high)


def _textual(value: Any) -> str:
    if not isinstance(value, str):
        raise Mistyped(value, "string")
    return value


# --- durations ----------------------------------------------------------------------------------------------------

_UNITS_NS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_QUANTITY = re.compile(r"(\d*)(?:(\.)(\d*))?")
_UNIT = re.compile(r"[^.\d]*")


def duration_ns(text: str) -> int:
    """Nanoseconds of ``1h2m3.5s``. Raises ValueError, in Go's words."""
    sign, rest = (-1, text[1:]) if text[:1] == "-" else (1, text.removeprefix("+"))
    if rest == "0":
        return 0
    total = 0
    while rest or not total:
        quantity = _QUANTITY.match(rest)
        whole, fraction = (quantity[1], quantity[3] or "") if quantity else ("", "")
        if not (whole or fraction):
            raise ValueError(f'time: invalid duration "{text}"')
        rest = rest[quantity.end() if quantity else 0 :]
        unit = _UNIT.match(rest)
        named = unit[0] if unit else ""
        if not named:
            raise ValueError(f'time: missing unit in duration "{text}"')
        if named not in _UNITS_NS:
            raise ValueError(f'time: unknown unit "{named}" in duration "{text}"')
        rest = rest[len(named) :]
        total += int(whole or 0) * _UNITS_NS[named] + int(fraction or 0) * _UNITS_NS[named] // 10 ** len(fraction)
        if not rest:
            break
    return sign * total


def duration_text(nanoseconds: int) -> str:
    """As Go prints it: ``1m30s``, ``1.5s``, ``500ms``."""
    sign, left = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    if left == 0:
        return "0s"
    if left < 10**9:
        unit = "ms" if left >= 10**6 else "µs" if left >= 10**3 else "ns"
        return f"{sign}{_decimal(left, _UNITS_NS[unit])}{unit}"
    hours, left = divmod(left, _UNITS_NS["h"])
    minutes, left = divmod(left, _UNITS_NS["m"])
    told = f"{hours}h" if hours else ""
    told += f"{minutes}m" if hours or minutes else ""
    return f"{sign}{told}{_decimal(left, 10**9)}s"


def _decimal(amount: int, unit: int) -> str:
    whole, fraction = divmod(amount, unit)
    digits = str(fraction).rjust(len(str(unit)) - 1, "0").rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)


def read_duration(value: Any) -> str:
    return duration_text(duration_ns(_textual(value)))


# --- times --------------------------------------------------------------------------------------------------------

_LAYOUT = "2006-01-02T15:04:05Z07:00"
_PIECES = (
    ("2006", r"\d{4}"),
    ("-", "-"),
    ("01", r"\d\d"),
    ("-", "-"),
    ("02", r"\d\d"),
    ("T", "T"),
    ("15", r"\d\d"),
    (":", ":"),
    ("04", r"\d\d"),
    (":", ":"),
    ("05", r"\d\d(?:[.,]\d+)?"),
    ("Z07:00", r"Z|[+-]\d\d:\d\d"),
)


def read_time(value: Any) -> str:
    """RFC 3339, in UTC and whole seconds."""
    text = _textual(value)
    pieces, rest = [], text
    for piece, pattern in _PIECES:
        found = re.match(pattern, rest)
        if found is None:
            raise ValueError(f'parsing time "{text}" as "{_LAYOUT}": cannot parse "{rest}" as "{piece}"')
        pieces.append(found[0])
        rest = rest[found.end() :]
    if rest:
        raise ValueError(f'parsing time "{text}": extra text: "{rest}"')
    year, month, day, hour, minute, second = (int(pieces[at][:4].partition(".")[0]) for at in (0, 2, 4, 6, 8, 10))
    if wrong := _out_of_range(year, month, day, hour, minute, second):
        raise ValueError(f'parsing time "{text}": {wrong} out of range')
    moment = datetime(year, month, day, hour, minute, second, tzinfo=_zone(pieces[11]))
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _out_of_range(year: int, month: int, day: int, hour: int, minute: int, second: int) -> str:
    if not 1 <= month <= 12:
        return "month"
    if not 1 <= day <= monthrange(max(year, 1), month)[1]:
        return "day"
    return "hour" if hour > 23 else "minute" if minute > 59 else "second" if second > 59 else ""


def _zone(text: str) -> timezone:
    if text == "Z":
        return UTC
    away = timedelta(hours=int(text[1:3]), minutes=int(text[4:6]))
    return timezone(-away if text[0] == "-" else away)


# --- numbers that may be words ------------------------------------------------------------------------------------


def read_as_number(value: Any) -> int:
    """A number, or a text: ``64512``, ``1.10``."""
    try:
        return sized(value, "uint32")
    except Mistyped:
        text = _textual(value)
    halves = text.split(".")
    sizes = {1: "uint32", 2: "uint16"}
    if len(halves) not in sizes or not all(half.isascii() and half.isdigit() for half in halves):
        raise ValueError(f"invalid AS Number format ({text})")
    number = 0
    for half in halves:
        if int(half) > SIZES[sizes[len(halves)]][1]:
            raise ValueError(f"invalid AS Number format ({text})")
        number = (number << 16) + int(half)
    return number


_RANGE = re.compile(r"(\d+):(\d+)", re.ASCII)
_PORT_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,128}")


def read_port(value: Any) -> int | str:
    """A number, a range ``1000:2000`` or a name; a range of one is a number."""
    if not isinstance(value, str):
        return sized(value, "uint16")
    if value.isascii() and value.isdigit():
        return _port_number(value, f"invalid port format ({value})")
    if found := _RANGE.fullmatch(value):
        low = _port_number(found[1], f"invalid minimum port number in range ({value})")
        high = _port_number(found[2], f"invalid maximum port number in range ({value})")
        if low > high:
            raise ValueError(f"minimum port number ({low}) is greater than maximum port number ({high}) in port range")
        return low if low == high else f"{low}:{high}"
    if not _PORT_NAME.fullmatch(value):
        raise ValueError(f"invalid name for named port ({value})")
    return value


def _port_number(digits: str, mistake: str) -> int:
    if int(digits) > SIZES["uint16"][1]:
        raise ValueError(mistake)
    return int(digits)


def read_small_number_or_word(value: Any) -> int | str:
    """A protocol or a DSCP value: a number to 255, also as text, or a word."""
    if not isinstance(value, str):
        return sized(value, "uint8")
    is_number = value.isascii() and value.isdigit() and int(value) <= SIZES["uint8"][1]
    return int(value) if is_number else value


def read_int_or_string(value: Any) -> int | str:
    return value if isinstance(value, str) else sized(value, "int32")


READERS: dict[str, Callable[[Any], Any]] = {
    "v1.Duration": read_duration,
    "v1.Time": read_time,
    "numorstring.ASNumber": read_as_number,
    "numorstring.Port": read_port,
    "numorstring.Protocol": read_small_number_or_word,
    "numorstring.DSCP": read_small_number_or_word,
    "intstr.IntOrString": read_int_or_string,
}
ZEROS: dict[str, Any] = {
    "v1.Duration": "0s",
    "v1.Time": None,
    "numorstring.ASNumber": 0,
    "numorstring.Port": 0,
    "numorstring.Protocol": 0,
    "numorstring.DSCP": 0,
    "intstr.IntOrString": 0,
}
