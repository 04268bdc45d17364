"""A document as upstream would write it: known fields in Go's order, zero ones left out, the others as they are.

Two ways to the same end. :func:`read` is for what a user wrote: anything unknown or of the wrong type is refused, in
the words of Go's JSON decoder, whose first complaint in sorted order of keys counts. :func:`canonical` is for what is
stored: what a newer Calico put there stays, after what is known; :func:`known` leaves it out.

Like Go's decoder this one takes ``CIDR`` for ``cidr``, and like the YAML library before it a number where a text is
wanted. Source: encoding/json, sigs.k8s.io/yaml.
"""

from __future__ import annotations

from collections.abc import Mapping as Json
from dataclasses import dataclass
from typing import Any, NamedTuple

from datastore.schema.go_text import json_number, number_text
from datastore.schema.notation import (
    Anything,
    Boolean,
    Decimal,
    Each,
    Field,
    Mapping,
    Number,
    Shape,
    Special,
    Struct,
    Text,
    Written,
)
from datastore.schema.special import READERS, SIZES, ZEROS, Mistyped, sized


@dataclass(eq=False)
class Unreadable(Exception):
    """The user's mistake: not a document of its kind. The message is upstream's."""

    why: str

    def __str__(self) -> str:
        return self.why


def read(table: Struct, document: Json[str, Any]) -> dict[str, Any]:
    """The canonical form of what a user wrote. Raises Unreadable."""
    reader = _Reader(is_strict=True)
    result: dict[str, Any] = reader.read(table, document, _Place("", ()))
    if reader.complaint:
        raise Unreadable(reader.complaint)
    return result


def canonical(table: Struct, document: Json[str, Any]) -> dict[str, Any]:
    """The canonical form of what is stored: unknown fields are kept, what cannot be read stays as it is."""
    result: dict[str, Any] = _Reader(is_strict=False).read(table, document, _Place("", ()))
    return result


def known(table: Struct, document: Json[str, Any]) -> dict[str, Any]:
    """The canonical form without unknown fields: what upstream's program would see of a stored document."""
    result: dict[str, Any] = _Reader(is_strict=False, keeps_unknown=False).read(table, document, _Place("", ()))
    return result


def with_defaults(table: Struct, document: Json[str, Any]) -> dict[str, Any]:
    """A canonical document with the defaults of its table in place of what is absent."""
    filled_in = {name: _defaulted(shape, document[name]) for name, shape in _shapes(table) if name in document}
    for field in table.fields:
        if field.default is not None and field.name not in document:
            filled_in[field.name] = field.default
    return _ordered(table, {**document, **filled_in})


def _shapes(table: Struct) -> list[tuple[str, Shape]]:
    return [(field.name, field.shape) for field in table.fields]


def _defaulted(shape: Shape, value: Any) -> Any:
    if isinstance(shape, Struct) and isinstance(value, dict):
        return with_defaults(shape, value)
    if isinstance(shape, Each) and isinstance(value, list):
        return [_defaulted(shape.item, item) for item in value]
    return value


class _Place(NamedTuple):
    """Where a value stands: the innermost struct and the names of the fields on the way, for Go's complaints."""

    struct: str
    path: tuple[str, ...]

    def field(self, table: Struct, name: str) -> _Place:
        return _Place(table.name, (*self.path, name))


class _Reader:
    """Reads one document. ``complaint`` is the first thing that was wrong; a special type's own ends the reading."""

    def __init__(self, *, is_strict: bool, keeps_unknown: bool = True) -> None:
        self._is_strict, self._keeps_unknown = is_strict, keeps_unknown
        self.complaint = ""

    def read(self, shape: Shape, value: Any, place: _Place) -> Any:
        if value is None:
            return zero(shape)
        try:
            return self._typed(shape, value, place)
        except Mistyped as error:
            where = f"Go struct field {place.struct}.{'.'.join(place.path)}" if place.path else "Go value"
            why = f"json: cannot unmarshal {_kind_of(error.value, error.go)} into {where} of type {error.go}"
        except ValueError as error:
            why = str(error)
        if self._is_strict and isinstance(shape, Special):
            raise Unreadable(why)
        self._complain(why)
        return value

    def _typed(self, shape: Shape, value: Any, place: _Place) -> Any:
        match shape:
            case Struct():
                return self._struct(shape, _instance(value, dict, shape.go), place)
            case Each(item=item):
                return [self._item(shape, item, each, place) for each in _instance(value, list, shape.go)]
            case Mapping(value=inner):
                found = _instance(value, dict, shape.go)
                return {key: self.read(inner, found[key], place) for key in sorted(found)}
            case Text():
                return _as_text(value, shape.go)
            case Number():
                return sized(value, shape.go)
            case Boolean():
                return _instance(value, bool, shape.go)
            case Decimal():
                return _as_decimal(value, shape.go)
            case Special():
                return READERS[shape.go](value)
            case Anything():
                return value

    def _item(self, each: Each, item: Shape, value: Any, place: _Place) -> Any:
        return None if value is None and each.is_pointer else self.read(item, value, place)

    def _struct(self, table: Struct, value: Json[str, Any], place: _Place) -> dict[str, Any]:
        known: dict[str, Any] = {}
        unknown: dict[str, Any] = {}
        for key in sorted(value):
            field = _field(table, key)
            if field is None:
                self._complain(f'json: unknown field "{key}"')
                if self._keeps_unknown:
                    unknown[key] = value[key]
            elif value[key] is not None or field.written is Written.ALWAYS:
                known[field.name] = self.read(field.shape, value[key], place.field(table, field.name))
        return _ordered(table, known) | {key: unknown[key] for key in value if key in unknown}

    def _complain(self, why: str) -> None:
        if self._is_strict and not self.complaint:
            self.complaint = why


def _field(table: Struct, key: str) -> Field | None:
    for field in table.fields:
        if field.name == key:
            return field
    folded = key.casefold()
    return next((field for field in table.fields if field.name.casefold() == folded), None)


def _ordered(table: Struct, known: Json[str, Any]) -> dict[str, Any]:
    """The fields that are written, in the table's order; whatever else is in ``known`` after them."""
    written: dict[str, Any] = {}
    for field in table.fields:
        if field.name in known:
            value = known[field.name]
            if field.written is not Written.FILLED or not is_zero(value):
                written[field.name] = value
        elif field.written is Written.ALWAYS:
            written[field.name] = zero(field.shape) if field.default is None else field.default
    names = {field.name for field in table.fields}
    return written | {key: value for key, value in known.items() if key not in names}


def zero(shape: Shape) -> Any:
    """What Go writes of a field that was never set."""
    match shape:
        case Text():
            return ""
        case Number() | Decimal():
            return 0
        case Boolean():
            return False
        case Special():
            return ZEROS[shape.go]
        case Struct():
            return _ordered(shape, {})
        case _:
            return None


def is_zero(value: Any) -> bool:
    return value is None or value is False or value in (0, "", [], {})


def _instance(value: Any, kind: type, go: str) -> Any:
    if type(value) is not kind:
        raise Mistyped(value, go)
    return value


def _as_text(value: Any, go: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return number_text(value)
    text: str = _instance(value, str, go)
    return text


def _as_decimal(value: Any, go: str) -> int | float:
    if type(value) not in (int, float):
        raise Mistyped(value, go)
    number: int | float = value
    return int(number) if isinstance(number, float) and number.is_integer() and abs(number) < 1e21 else number


_NUMERIC = (*SIZES, "float64")


def _kind_of(value: Any, go: str) -> str:
    """What Go calls the JSON that it met; it tells a number's value where a number was wanted, of another size."""
    match value:
        case bool():
            return "bool"
        case int() | float():
            return f"number {json_number(value)}" if go in _NUMERIC else "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"
