"""The part of Go's templates that ``-o go-template=`` is used with: ``{{range .Items}}{{.ObjectMeta.Name}} {{end}}``.

    part := text | {{range value}} part* {{end}} | {{pipe}}
    pipe := value | join value "," | joinAndTruncate value "," 80
    value := . | .Field.Field ...     fields by their Go names

Anything else (if, with, variables, pipes ...) is refused by name. Pure.
Source: Go's text/template; Calico calicoctl/commands/common/printer.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from calicoctl.columns import joined
from calicoctl.failure import Failure
from datastore.schema.go_text import text_of
from datastore.schema.notation import Each, Shape, Struct, Written
from datastore.schema.notation import Mapping as Map

_ACTION = re.compile(r"\{\{(-\s)?\s*(.*?)\s*(\s-)?\}\}", re.DOTALL)
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|`([^`]*)`|(\S+)')
_REFUSED = ("if", "else", "with", "define", "template", "block", "break", "continue", "config")


class Value(NamedTuple):
    """JSON and what it is; ``shape`` None for the list of all results. ``is_unset``: a pointer that points nowhere."""

    shape: Shape | None
    json: Any
    is_unset: bool = False


@dataclass(frozen=True, slots=True)
class _Range:
    over: tuple[str, ...]
    parts: tuple[_Part, ...]


_Part = str | _Range | tuple[str, ...]


def render(template: str, results: Sequence[Value]) -> str:
    """Raises Failure for a template that is malformed, or more than this part of the language."""
    tokens = list(_tokens(template))
    parts = _parts(tokens, is_inside=False)
    return "".join(_rendered(parts, Value(None, list(results))))


def _tokens(template: str) -> Iterator[str | tuple[str, ...]]:
    at, trims = 0, False
    for found in _ACTION.finditer(template):
        text = template[at : found.start()]
        text = text.lstrip() if trims else text
        yield text.rstrip() if found[1] else text
        if not found[2].startswith("/*"):
            yield tuple(word[1] or word[2] or word[3] or "" for word in _WORD.finditer(found[2]))
        at, trims = found.end(), bool(found[3])
    rest = template[at:]
    if "{{" in rest:
        raise Failure('template: get:1: unclosed action: "{{" without "}}"')
    yield rest.lstrip() if trims else rest


def _parts(tokens: list[str | tuple[str, ...]], *, is_inside: bool) -> tuple[_Part, ...]:
    parts: list[_Part] = []
    while tokens:
        token = tokens.pop(0)
        if isinstance(token, str):
            parts.append(token)
        elif token[:1] == ("range",):
            parts.append(_Range(token[1:], _parts(tokens, is_inside=True)))
        elif token == ("end",):
            if not is_inside:
                raise Failure("template: get:1: unexpected {{end}}")
            return tuple(parts)
        else:
            parts.append(_checked(token))
    if is_inside:
        raise Failure("template: get:1: unexpected EOF: a {{range}} has no {{end}}")
    return tuple(parts)


def _checked(words: tuple[str, ...]) -> tuple[str, ...]:
    first = words[0] if words else ""
    if first in _REFUSED or "|" in words or first.startswith("$"):
        raise Failure(
            f"template: {{{{{' '.join(words)}}}}} is not supported: only range, fields, join and joinAndTruncate"
        )
    if not first.startswith(".") and first not in ("join", "joinAndTruncate"):
        raise Failure(f'template: get:1: function "{first}" not defined')
    return words


def _rendered(parts: Sequence[_Part], here: Value) -> Iterator[str]:
    for part in parts:
        if isinstance(part, str):
            yield part
        elif isinstance(part, _Range):
            for item in _items(_value(part.over, here)):
                yield from _rendered(part.parts, item)
        else:
            yield _printed(part, here)


def _printed(words: tuple[str, ...], here: Value) -> str:
    if words[0] == "join":
        return joined(_value(words[1:2], here).json, words[2])
    if words[0] == "joinAndTruncate":
        return joined(_value(words[1:2], here).json, words[2], int(words[3]))
    value = _value(words, here)
    if value.is_unset:
        return "<nil>"
    return text_of(value.shape, value.json) if value.shape is not None else str(value.json)


def _items(value: Value) -> list[Value]:
    if value.shape is None:
        return list(value.json)
    if isinstance(value.shape, Each):
        return [Value(value.shape.item, item) for item in value.json or ()]
    if isinstance(value.shape, Map):
        return [Value(value.shape.value, (value.json or {})[key]) for key in sorted(value.json or ())]
    raise Failure(f"template: get:1: range can't iterate over {value.json}")


def _value(words: Sequence[str], here: Value) -> Value:
    if len(words) != 1 or not words[0].startswith("."):
        raise Failure(f"template: {{{{{' '.join(words)}}}}} is not supported: a value is a chain of fields, .Spec.CIDR")
    for step in filter(None, words[0].split(".")):
        here = _field(here, step)
    return here


def _field(of: Value, name: str) -> Value:
    if isinstance(of.shape, Map):
        return Value(of.shape.value, (of.json or {}).get(name))
    if isinstance(of.shape, Struct):
        for field in of.shape.fields:
            if field.go == name:
                json = of.json.get(field.name) if isinstance(of.json, Mapping) else None
                return Value(field.shape, json, json is None and field.written is Written.GIVEN)
        inherited = next((field for field in of.shape.fields if field.go in ("ObjectMeta", "ListMeta")), None)
        if inherited is not None and name != inherited.go:
            return _field(_field(of, inherited.go), name)
        raise Failure(f"template: get:1: can't evaluate field {name} in type {of.shape.go}")
    raise Failure(f"template: get:1: can't evaluate field {name}")
