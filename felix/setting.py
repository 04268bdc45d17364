"""How one setting is written: its place in the resource, its variable, and what its text may be. Pure.

A resource's value is turned into the text that a variable would hold, so that each kind of value is read in one way.
Source: Calico felix/config/param_types.go, libcalico-go's felixconfigprocessor.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Any, TypeVar

Network = IPv4Network | IPv6Network
E = TypeVar("E", bound=Enum)
Parse = Callable[[str], Any]
"""Raises ValueError, whose text says what is allowed."""


@dataclass(frozen=True, slots=True)
class Place:
    """``name`` in the resource, ``variable`` after FELIX_. ``zero``: what the word ``none`` means, if it may stand."""

    name: str
    variable: str
    parse: Parse
    zero: Any


NO_ZERO = object()


def setting(name: str, parse: Parse, default: Any, *, zero: Any = NO_ZERO, variable: str = "") -> Any:
    place = Place(name, (variable or name).upper(), parse, zero)
    return field(default=default, metadata={"place": place})


@dataclass(frozen=True, slots=True)
class PortRange:
    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


def boolean(text: str) -> bool:
    if text.lower() in ("true", "1", "yes", "y", "t"):
        return True
    if text.lower() in ("false", "0", "no", "n", "f"):
        return False
    raise ValueError("must be true or false")


def whole(lowest: int, highest: int) -> Parse:
    def parse(text: str) -> int:
        try:
            number = int(text, 0)
        except ValueError:
            number = lowest - 1
        if not lowest <= number <= highest:
            raise ValueError(f"must be a whole number from {lowest} to {highest}")
        return number

    return parse


def one_of(kind: type[E]) -> Parse:
    by_name = {member.value.lower(): member for member in kind}

    def parse(text: str) -> E:
        if text.lower() not in by_name:
            raise ValueError(f"must be one of {', '.join(member.value for member in kind)}")
        return by_name[text.lower()]

    return parse


_GO_UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_GO_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(h|ms|us|µs|ns|m|s)")


def duration(unit_s: float = 1.0) -> Parse:
    """Seconds. A resource writes ``1m30s``, a variable a bare number of ``unit_s``."""

    def parse(text: str) -> float:
        parts = _GO_PART.findall(text)
        if parts and "".join(number + unit for number, unit in parts) == text:
            return sum(float(number) * _GO_UNITS_S[unit] for number, unit in parts)
        if not re.fullmatch(r"\d+(\.\d*)?|\.\d+", text):
            raise ValueError("must be a duration like 90s or 1m30s, or a number of units")
        return float(text) * unit_s

    return parse


def pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise ValueError(f"must be a regular expression: {error}") from None


def ports(text: str) -> PortRange:
    found = re.fullmatch(r"(\d{1,5})(?::(\d{1,5}))?", text)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if not first <= last <= 0xFFFF:
        raise ValueError("must be a port or a range of ports from 0 to 65535, like 32768:65535")
    return PortRange(first, last)


def address(kind: type[IPv4Address] | type[IPv6Address]) -> Parse:
    def parse(text: str) -> IPv4Address | IPv6Address:
        try:
            return kind(text)
        except ValueError:
            raise ValueError(f"must be an {kind.__name__[:4]} address") from None

    return parse


def networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ip_network(each.strip(), strict=False) for each in text.split(",") if each.strip())
    except ValueError as error:
        raise ValueError(f"must be addresses and networks: {error}") from None


def devices(text: str) -> tuple[str, ...]:
    if not re.fullmatch(r"[a-zA-Z0-9_-]{1,15}(,[a-zA-Z0-9_-]{1,15})*", text):
        raise ValueError("must be beginnings of device names, up to 15 of a-z A-Z 0-9 _ -, with commas between")
    return tuple(text.split(","))


def device(text: str) -> str:
    if not re.fullmatch(r"[a-zA-Z0-9:._+-]{1,15}", text):
        raise ValueError("must be the name of a device, up to 15 characters; a + at its end stands for any")
    return text


def anything(text: str) -> str:
    return text
