"""What the CRD says of each field: allowed values, bounds, lengths, patterns. Wording: the Kubernetes API server's.

Source: k8s.io/apiextensions-apiserver schema validation, kube-openapi.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from datastore.addresses import read_cidr
from datastore.schema.notation import Boolean, Decimal, Each, Number, Shape, Special, Struct, Text
from datastore.schema.notation import Mapping as Map
from datastore.validate.checks import go_pattern
from datastore.validate.flaw import Flaw


def flaws_of(table: Struct, document: Mapping[str, Any], path: str = "") -> Iterable[Flaw]:
    for field in table.fields:
        if field.name in document:
            yield from _of_value(field.shape, document[field.name], _join(path, field.name))
        elif field.is_required:
            yield _wrong_type(field.shape, _join(path, field.name))
    if len(document) < table.least:
        yield Flaw(path, f"{path} in body should have at least {table.least} properties")
    if table.most is not None and len(document) > table.most:
        yield Flaw(path, f"must have at most {table.most} item{'s' * (table.most != 1)}")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _of_value(shape: Shape, value: Any, path: str) -> Iterable[Flaw]:
    match shape:
        case Struct():
            return flaws_of(shape, value, path)
        case Each():
            return _of_list(shape, value, path)
        case Map():
            return (flaw for key in value or () for flaw in _of_value(shape.value, value[key], _join(path, key)))
        case Text():
            return _of_text(shape, value, path)
        case Number():
            return _of_number(shape, value, path)
        case Special():
            return _of_pattern(shape.pattern, value, path)
        case _:
            return ()


def _of_list(shape: Each, values: Any, path: str) -> Iterable[Flaw]:
    if values is None:
        yield _wrong_type(shape, path)
        return
    for index, item in enumerate(values):
        if item is not None:
            yield from _of_value(shape.item, item, f"{path}[{index}]")
    if shape.most is not None and len(values) > shape.most:
        yield Flaw(path, f"must have at most {shape.most} item{'s' * (shape.most != 1)}")
    if len(values) < shape.least:
        yield Flaw(path, f"{path} in body should have at least {shape.least} items")


def _of_text(shape: Text, value: str, path: str) -> Iterable[Flaw]:
    if shape.longest is not None and len(value) > shape.longest:
        yield Flaw(path, f"may not be more than {shape.longest} bytes")
    elif len(value) < shape.shortest:
        yield Flaw(path, f"{path} in body should be at least {shape.shortest} chars long")
    else:
        yield from _of_pattern(shape.pattern, value, path)
    if shape.form and not _FORMS[shape.form](value):
        yield Flaw(path, f'{path} in body must be of type {shape.form}: "{value}"')
    yield from _of_choice((shape.allowed, shape.narrower), value, path)


def _of_choice(lists: Sequence[Sequence[object]], value: object, path: str) -> Iterable[Flaw]:
    """Where two lists must allow a value, upstream says of the whole document that it does not fit both."""
    asked = [allowed for allowed in lists if allowed]
    refusing = [allowed for allowed in asked if value not in allowed]
    for allowed in dict.fromkeys(map(tuple, refusing)):
        yield Flaw(path, "supported values: " + ", ".join(f'"{each}"' for each in allowed))
    if refusing and len(asked) > 1:
        none = ". None validated" if len(refusing) == len(asked) else ""
        yield Flaw("", f'"{path}" must validate all the schemas (allOf){none}')


def _of_pattern(pattern: str, value: Any, path: str) -> Iterable[Flaw]:
    if pattern and not go_pattern(pattern).search(str(value)):
        yield Flaw(path, f"{path} in body should match '{pattern}'")


def _of_number(shape: Number, value: int, path: str) -> Iterable[Flaw]:
    if shape.high is not None and value > shape.high:
        yield Flaw(path, f"{path} in body should be less than or equal to {shape.high}")
    if shape.low is not None and value < shape.low:
        yield Flaw(path, f"{path} in body should be greater than or equal to {shape.low}")
    yield from _of_choice((shape.allowed,), value, path)


_LEADING_ZEROS = re.compile(r"(?<![\da-fA-F:])0+(?=\d)", re.ASCII)


def _is_cidr(value: str) -> bool:
    """Kubernetes is lenient here, for old objects: leading zeros pass."""
    try:
        read_cidr(_LEADING_ZEROS.sub("", value))
    except ValueError:
        return False
    return True


_FORMS: Mapping[str, Callable[[str], bool]] = {"cidr": _is_cidr, "date-time": lambda _: True}


def _wrong_type(shape: Shape, path: str) -> Flaw:
    return Flaw(path, f'{path} in body must be of type {_named(shape)}: "null"')


def _named(shape: Shape) -> str:
    match shape:
        case Number():
            return "integer"
        case Decimal():
            return "number"
        case Boolean():
            return "boolean"
        case Each():
            return "array"
        case Struct() | Map():
            return "object"
        case _:
            return "string"
