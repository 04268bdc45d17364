"""What is wrong with a document: one error for all of it, each flaw with its field, its value and the reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from datastore.schema.go_text import value_text
from datastore.store import Rejected


class _Nothing:
    """No value is told."""

    def __repr__(self) -> str:
        return "NOTHING"


NOTHING: Any = _Nothing()


class Flaw(NamedTuple):
    """``field`` is named as upstream names it: ``IPPool.Spec.CIDR``, ``NodeSelector``, ``spec.ingress[0]``.

    An empty ``field`` is the document itself.
    """

    field: str
    why: str
    value: Any = NOTHING

    def __str__(self) -> str:
        told = self.field if self.value is NOTHING else f"{self.field} = '{value_text(self.value)}'"
        return f"{told} ({self.why})" if self.why else told


class Invalid(Rejected):
    """The user's mistake, with every flaw that was found. The text is upstream's.

    ``by_definition``: what only the definitions of custom resources are against, and of which an API server that has
    them speaks in its own words. ``whole`` is the document.
    """

    def __init__(
        self, flaws: Sequence[Flaw], by_definition: Sequence[Flaw] = (), *, whole: Mapping[str, Any] | None = None
    ) -> None:
        self.own = tuple(flaws)
        self.flaws = (*flaws, *by_definition)
        self.whole = whole
        super().__init__(self.flaws[0].field, self.flaws[0].why)

    def __str__(self) -> str:
        if len(self.flaws) == 1:
            return f"error with field {self.flaws[0]}"
        return "error with the following fields:\n" + "".join(f"-  {flaw}\n" for flaw in self.flaws)
