"""Tables in a frame, as ``ipam show`` and ``node status`` print them. Source: go-pretty's default style."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence


def lines(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Collection[str] = (),
    has_centred_headings: bool = False,
) -> Iterator[str]:
    """``right`` names the headings whose cells end at the right."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    rule = "+" + "+".join("-" * (width + 2) for width in widths) + "+\n"
    yield rule
    titles = [_centred(each, width) for each, width in zip(headings, widths, strict=True)]
    yield _row(titles if has_centred_headings else headings, widths)
    yield rule
    for row in rows:
        cells = [
            cell.rjust(width) if heading in right else cell
            for cell, heading, width in zip(row, headings, widths, strict=True)
        ]
        yield _row(cells, widths)
    yield rule


def _centred(text: str, width: int) -> str:
    """The odd blank goes to the right."""
    left = (width - len(text)) // 2
    return " " * left + text


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |\n"
