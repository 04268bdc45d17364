"""What upstream's client checks of a document, field by field and struct by struct, in the order of Go's structs.

Source: Calico libcalico-go/lib/validator/v3/validator.go, and the order in which validator.v9 walks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from datastore.schema.go_text import text_of, value_text
from datastore.schema.notation import Each, Field, Struct, Written
from datastore.schema.reading import zero
from datastore.validate.checks import failing
from datastore.validate.flaw import Flaw

Check = Callable[[Any], Iterable[Flaw]]
"""Of one struct's value: what no single field shows."""


def flaws_of(table: Struct, document: Mapping[str, Any], checks: Mapping[str, Check]) -> Iterable[Flaw]:
    """``checks`` are by the Go name of the struct; a struct's own come after those of its fields."""
    for field in table.fields:
        yield from _of_field(field, document.get(field.name), checks)
    yield from checks.get(table.go, _nothing)(document)


def _of_field(field: Field, value: Any, checks: Mapping[str, Check]) -> Iterable[Flaw]:
    if isinstance(field.shape, Struct):
        if value is not None:
            yield from flaws_of(field.shape, value, checks)
        return
    is_pointer = field.written is Written.GIVEN
    asked = zero(field.shape) if value is None and not is_pointer else value
    for place, found, word in failing(field.check, asked, is_pointer=is_pointer):
        name = f"{field.go}{place}"
        told = value_text(found) if place or (found is None and is_pointer) else text_of(field.shape, found)
        yield Flaw(name, f"Reason: failed to validate Field: {name} because of Tag: {word} ", told)
    if isinstance(field.shape, Each) and "dive" in field.check.split(","):
        for item in value or ():
            yield from _of_item(field.shape, item, checks)
    elif value is not None:
        yield from checks.get(field.shape.go, _nothing)(value)


def _of_item(shape: Each, item: Any, checks: Mapping[str, Check]) -> Iterable[Flaw]:
    if isinstance(shape.item, Struct):
        return flaws_of(shape.item, item, checks)
    return checks.get(shape.item.go, _nothing)(item)


def _nothing(_: Any) -> Iterable[Flaw]:
    return ()
