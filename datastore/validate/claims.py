"""What must hold between the fields of one object: the rules that upstream's CRDs hold as CEL expressions.

A rule is a question about the object's JSON, defaults filled in, and the sentence for when the answer is no. Rules are
by the Go name of the struct that they speak of. Where a question cannot be asked (a CIDR that is none) there is no
answer: whoever checks the field has said so already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from datastore.schema.notation import Each, Struct
from datastore.validate.flaw import Flaw


class Claim(NamedTuple):
    """``holds`` may raise ValueError: no answer."""

    holds: Callable[[Mapping[str, Any]], bool]
    otherwise: str


Claims = Mapping[str, tuple[Claim, ...]]


def flaws_of(table: Struct, document: Mapping[str, Any], claims: Claims, path: str = "") -> Iterable[Flaw]:
    """Those of a struct before those of what is inside it."""
    for claim in claims.get(table.go, ()):
        if not _holds(claim, document):
            yield Flaw(path, claim.otherwise)
    for field in table.fields:
        where = f"{path}.{field.name}" if path else field.name
        value = document.get(field.name)
        if isinstance(field.shape, Struct) and value is not None:
            yield from flaws_of(field.shape, value, claims, where)
        elif isinstance(field.shape, Each) and isinstance(field.shape.item, Struct):
            for index, item in enumerate(value or ()):
                yield from flaws_of(field.shape.item, item, claims, f"{where}[{index}]")


def _holds(claim: Claim, document: Mapping[str, Any]) -> bool:
    try:
        return claim.holds(document)
    except ValueError:
        return True
