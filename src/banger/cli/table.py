"""Lays out rows as an aligned table that fits the terminal (pure)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from banger.cli.text import clean, pad, shorten, width

GAP = 2
#: A column is never cut below this, or its content says nothing.
NARROWEST = 6


class Column(NamedTuple):
    """How one column is shown. ``shrink`` columns give up width first, the widest of them."""

    key: str
    title: str
    right: bool = False
    shrink: bool = True


#: Styles one cell after it was laid out: ``(key, cell text, laid-out text) -> text``.
Painter = Callable[[str, str, str], str]


def render_table(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    *,
    columns_wide: int = 0,
    header: bool = True,
    painter: Painter | None = None,
) -> list[str]:
    """The lines of the table; ``columns_wide`` is the terminal's width, 0 for no limit."""
    cells = [[clean(cell) for cell in row] for row in rows]
    widths = [
        max([width(column.title) if header else 0, *(width(row[at]) for row in cells)])
        for at, column in enumerate(columns)
    ]
    if columns_wide:
        _shrink(columns, widths, columns_wide)
    lines: list[str] = []
    if header:
        titles = [column.title for column in columns]
        lines.append(_line(columns, titles, widths, None))
    lines += [_line(columns, row, widths, painter) for row in cells]
    return lines


def _shrink(columns: Sequence[Column], widths: list[int], limit: int) -> None:
    """Take width from the widest column that may shrink until the line fits."""
    while sum(widths) + GAP * (len(widths) - 1) > limit:
        able = [at for at, column in enumerate(columns) if column.shrink and widths[at] > NARROWEST]
        if not able:
            return
        widths[max(able, key=lambda at: widths[at])] -= 1


def _line(
    columns: Sequence[Column], row: Sequence[str], widths: Sequence[int], painter: Painter | None
) -> str:
    parts: list[str] = []
    for at, (column, cell) in enumerate(zip(columns, row, strict=True)):
        text = shorten(cell, widths[at])
        # The last column is not padded, so that no line ends in blanks.
        if at < len(widths) - 1 or column.right:
            text = pad(text, widths[at], right=column.right)
        parts.append(painter(column.key, cell, text) if painter else text)
    return (" " * GAP).join(parts).rstrip()
