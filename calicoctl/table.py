"""Tables as ``get`` prints them: columns wide enough for all, three blanks between, and after the last one too.

Source: Go's text/tabwriter with upstream's settings (minwidth 5, padding 3).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

_LEAST = 5
_PADDING = 3


def lines(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(_LEAST, _PADDING + max(map(len, column))) for column in zip(headings, *rows, strict=True)]
    for row in (headings, *rows):
        yield "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + "\n"
