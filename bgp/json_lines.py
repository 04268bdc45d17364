"""Messages between two processes of a node as lines: UTF-8, one JSON object each, with its kind in ``type``.

What a message holds is its language's business (:mod:`bgp.learned`, :mod:`bgp.bfd.watch`); here is what all of them
have in common. A line comes from another process, perhaps of another version: whatever is wrong with it is Malformed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

M = TypeVar("M")


class Malformed(ValueError):
    """The other side sent what this version does not understand: close the connection."""


@dataclass(frozen=True, slots=True)
class Language(Generic[M]):
    """``from_json`` may raise what Python does where something is missing or of another kind."""

    to_json: Callable[[M], dict[str, Any]]
    from_json: Callable[[Any], M]

    def to_line(self, message: M) -> bytes:
        return json.dumps(self.to_json(message), separators=(",", ":")).encode() + b"\n"

    def from_line(self, line: bytes) -> M:
        """Raises Malformed."""
        try:
            return self.from_json(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Malformed(f"{error}: {line[:120]!r}") from None
