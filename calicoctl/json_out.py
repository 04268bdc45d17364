"""JSON as Go prints it: two blanks a level, the keys in their own order, ``<`` ``>`` ``&`` escaped, no end of line."""

from __future__ import annotations

import json
from typing import Any

_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})


def text(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False).translate(_ESCAPES)


def indented(value: Any, *, depth: int) -> str:
    """The same inside of a larger document, ``depth`` levels deep."""
    lead = "  " * depth
    return lead + text(value).replace("\n", f"\n{lead}")
