"""Tables for a terminal. Where one is too narrow for a table, each row becomes a block of lines.

No cell is cut inside a word: half a PID or half a port is worse than none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import RenderableType

STATE_STYLES: Mapping[str, str] = {
    "running": "green",
    "paused": "yellow",
    "crashed": "red",
    "unknown": "red",
    "ok": "green",
    "FAIL": "red",
}
"""The colours of words that say how something is."""

_GAP = 1
"""Blanks behind a cell; the box has one more between two cells, and at both edges."""


def drawn(headings: Sequence[str], rows: Sequence[Sequence[str]], *, width: int) -> RenderableType:
    """A table of that many columns of characters at most, or a block of lines for each row.

    A cell may have several lines. What is in it must be harmless already.
    """
    widths = [_widest([heading, *cells]) for heading, *cells in zip(headings, *rows, strict=True)]
    if sum(widths) + (_GAP + 1) * len(widths) + 1 > width:
        return Group(*(_block(headings, row) for row in rows))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, _GAP, 0, 0))
    for heading, least in zip(headings, widths, strict=True):
        table.add_column(heading, min_width=least)
    for row in rows:
        table.add_row(*map(_cell, row))
    return table


def _widest(cells: Sequence[str]) -> int:
    """The length of the longest word."""
    return max((len(word) for cell in cells for word in cell.split()), default=0)


def _cell(text: str) -> Text:
    """A cell whose first line has a colour where that is a state."""
    cell = Text(text, overflow="fold")
    first = text.partition("\n")[0].partition(" ")[0]
    cell.highlight_words([first], STATE_STYLES.get(first, ""))
    return cell


def _block(headings: Sequence[str], row: Sequence[str]) -> Text:
    """The row as lines: its first cell, then the others, each behind its heading."""
    return Text("\n".join(_lines(headings, row)) + "\n", overflow="fold")


def _lines(headings: Sequence[str], row: Sequence[str]) -> Iterator[str]:
    yield row[0].replace("\n", " on ")
    for heading, cell in [*zip(headings, row, strict=True)][1:]:
        label = f"{heading.lower()}: " if heading else ""
        yield f"  {label}{cell.replace(chr(10), ', ')}"
