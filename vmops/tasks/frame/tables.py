"""Tables for a terminal. Where one is too narrow for a table, each row becomes a block of lines.

No cell is cut inside a word: half a PID or half a port is worse than none. A name alone, in the
first column, goes on in the next line where it is very long: one such VM must not cost all others
the table.
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
    "ENDS": "red",
}
"""The colours of words that say how something is."""

_GAP = 1
"""Blanks behind a cell; the box has one more between two cells, and at both edges."""

_USUAL_WIDTH = 80

_LONG_NAME = 20
"""Characters of a name that are kept in one line at least."""


def drawn(headings: Sequence[str], rows: Sequence[Sequence[str]], *, width: int) -> RenderableType:
    """A table of that many columns of characters at most, or a block of lines for each row.

    Below 80 columns only the last column is wrapped: too many wrapped ones are no table to read. A
    cell may have several lines. What is in it must be harmless already.
    """
    columns = [[heading, *cells] for heading, *cells in zip(headings, *rows, strict=True)]
    most = [*map(_line, columns)]
    words = [*map(_word, columns)]
    least = words if width >= _USUAL_WIDTH else [*most[:-1], words[-1]]
    least[0] = min(least[0], _LONG_NAME)
    widths = _shared(least, most, width - (_GAP + 1) * len(columns) - 1)
    if not widths:
        return Group(*(_block(headings, row) for row in rows))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, _GAP, 0, 0))
    for heading, wide in zip(headings, widths, strict=True):
        table.add_column(heading, width=wide)
    for row in rows:
        table.add_row(*map(_cell, row))
    return table


def _shared(least: Sequence[int], most: Sequence[int], room: int) -> list[int]:
    """A width for each column, from its least to its most, nothing where there is no room.

    What is left over goes first to the columns that lack little. rich would take from the widest
    whatever is missing, and cut their words.
    """
    left = room - sum(least)
    if left < 0:
        return []
    widths = list(least)
    for column in sorted(range(len(widths)), key=lambda number: most[number] - least[number]):
        more = min(left, most[column] - least[column])
        widths[column] += more
        left -= more
    return widths


def _word(cells: Sequence[str]) -> int:
    """The length of the longest word."""
    return max((len(word) for cell in cells for word in cell.split()), default=0)


def _line(cells: Sequence[str]) -> int:
    """The length of the longest line."""
    return max((len(line) for cell in cells for line in cell.split("\n")), default=0)


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
