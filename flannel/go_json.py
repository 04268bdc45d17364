"""JSON as Go reads it into a struct: flannel's configuration, leases and annotations were all written for that.

Names of fields match in any case, and of several that match the last counts. Unknown fields are passed over. null
leaves a default as it is. A value of the wrong type makes the whole document wrong; whoever wrote it is told which
field it was.

Pure. Source: Go encoding/json.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, NoReturn, TypeVar

A = TypeVar("A", IPv4Address, IPv6Address)
N = TypeVar("N", IPv4Network, IPv6Network)

_WORDS = {str: "a text", bool: "true or false", int: "a number", float: "a number", list: "a list", type(None): "null"}


@dataclass(eq=False)
class BadDocument(Exception):
    """The user's mistake: ``field`` is what to correct, "" for the whole document."""

    field: str
    why: str

    def __str__(self) -> str:
        return f"{self.field}: {self.why}" if self.field else self.why


@dataclass(frozen=True, slots=True)
class Object:
    """The fields in the order of the document. ``path`` leads to it, "" or with a dot at the end."""

    pairs: tuple[tuple[str, Any], ...] = ()
    path: str = ""

    def has(self, name: str) -> bool:
        return any(key.lower() == name.lower() for key, _ in self.pairs)

    def value(self, name: str) -> Any:
        """None for one that is not there."""
        found = [value for key, value in self.pairs if key.lower() == name.lower()]
        return found[-1] if found else None

    def flag(self, name: str, default: bool) -> bool:
        value = self.value(name)
        if value is None:
            return default
        return value if isinstance(value, bool) else self._wrong(name, "true or false", value)

    def count(self, name: str, default: int, *, most: int = (1 << 64) - 1) -> int:
        """A whole number, 0 to ``most``."""
        value = self.value(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            self._wrong(name, "a whole number", value)
        if not 0 <= value <= most:
            raise BadDocument(self.path + name, f"{value} is not between 0 and {most}")
        return int(value)

    def text(self, name: str, default: str = "") -> str:
        value = self.value(name)
        if value is None:
            return default
        return value if isinstance(value, str) else self._wrong(name, "a text", value)

    def object(self, name: str) -> Object:
        """One without fields for null."""
        value = self.value(name)
        if value is None:
            return Object(path=f"{self.path}{name}.")
        if not isinstance(value, Object):
            self._wrong(name, "an object", value)
        return Object(value.pairs, f"{self.path}{name}.")

    def address(self, name: str, kind: type[A]) -> A | None:
        """None for one that is not there; null is refused."""
        if not self.has(name):
            return None
        value = self.value(name)
        if not isinstance(value, str):
            self._wrong(name, f"an {_family(kind)} address", value)
        try:
            return kind(value)
        except ValueError:
            raise BadDocument(self.path + name, f"{value!r} is not an {_family(kind)} address") from None

    def network(self, name: str, kind: type[N]) -> N | None:
        """As :meth:`address`; what stands behind the prefix is cut off."""
        if not self.has(name):
            return None
        value = self.value(name)
        form = "10.244.0.0/16" if kind is IPv4Network else "fd00:10:244::/56"
        if not isinstance(value, str):
            self._wrong(name, f"an {_family(kind)} network such as {form}", value)
        try:
            return read_network(value, kind)
        except ValueError:
            why = f"{value!r} is not an {_family(kind)} network; it is written as {form}"
            raise BadDocument(self.path + name, why) from None

    def _wrong(self, name: str, expected: str, value: Any) -> NoReturn:
        raise BadDocument(self.path + name, f"{expected} is expected, not {_shown(value)}")


def read_network(text: str, kind: type[N]) -> N:
    """An address and the length of a prefix. Raises ValueError for all other forms that Python takes."""
    _, slash, length = text.partition("/")
    if not slash or not (length.isascii() and length.isdigit()):
        raise ValueError(text)
    return kind(text, strict=False)


def read(text: str | bytes) -> Object:
    """Raises BadDocument for what is no JSON, or no object."""
    found = read_any(text)
    if not isinstance(found, Object):
        raise BadDocument("", f"an object is expected, not {_shown(found)}")
    return found


def read_any(text: str | bytes) -> Any:
    """Raises BadDocument for what is no JSON."""
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadDocument("", f"is not JSON: {error}") from None


def plain(value: Any) -> Any:
    """As json.dumps takes it: what was read, with dicts for objects."""
    if isinstance(value, Object):
        return {key: plain(one) for key, one in value.pairs}
    return [plain(one) for one in value] if isinstance(value, list) else value


def compact(value: Any) -> str:
    """As Go writes it: without blanks, and with <, > and & escaped."""
    text = json.dumps(plain(value), separators=(",", ":"), ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _object(pairs: Iterable[tuple[str, Any]]) -> Object:
    return Object(tuple(pairs))


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _shown(value: Any) -> str:
    if isinstance(value, Object):
        return "an object"
    word = _WORDS.get(type(value), "something else")
    return f"{word} ({json.dumps(value)})" if isinstance(value, str | int | float) else word


def _family(kind: type) -> str:
    return "IPv4" if kind in (IPv4Address, IPv4Network) else "IPv6"
