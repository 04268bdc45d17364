"""How a command ends other than well: with a sentence on standard error and exit status 1."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(eq=False)
class Failure(Exception):
    """What the user reads. ``is_output``: on standard output, where upstream says it."""

    text: str
    is_output: bool = False

    def __str__(self) -> str:
        return self.text


class NotAllowed(Failure):
    """An operation that this kind, or this very object, does not know. ``apply`` tries an update instead."""
