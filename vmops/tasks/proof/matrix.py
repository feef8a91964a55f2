"""Who reaches whom as a matrix: a row for each interface, a column for each that it may reach."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from vmops.tasks.frame.harmless import one_line
from vmops.tasks.frame.output import gap, give_table, say

if TYPE_CHECKING:
    from rich.table import Table

    from vmops.core.plan.proof.ends import End
    from vmops.core.plan.proof.evidence import Pair, Proof
    from vmops.core.plan.proof.pings import Ping
    from vmops.core.plan.proof.services import Passage

REACHES, APART, CUT, LEAK, UNKNOWN, SELF, UNTRIED = "o", ".", "X", "!", "?", "-", "_"

LEGEND = (
    f"{REACHES} reaches   {APART} is kept apart   {CUT} is to reach and does not"
    f"   {LEAK} reaches and is not to   {UNKNOWN} not known"
    f"   {SELF} itself   {UNTRIED} not tried"
)

_ENDLESS = 1 << 20
"""A width that every matrix has room in."""

_STYLES: Mapping[str, str] = {
    REACHES: "green",
    APART: "dim",
    CUT: "bold red",
    LEAK: "bold red",
    UNKNOWN: "yellow",
    SELF: "dim",
    UNTRIED: "dim",
}


def mark(pair: Pair | Passage | Ping) -> str:
    """The character of a pair, of what a network lets its guests do, or of an echo."""
    if pair.found is None:
        return UNKNOWN
    if pair.found:
        return REACHES if pair.wanted else LEAK
    return CUT if pair.wanted else APART


def give_matrix(proof: Proof) -> None:
    """The matrix; in words what each interface reaches, where the terminal is too narrow for it."""
    marks = {(id(p.source), id(p.target)): mark(p) for p in proof.pairs}
    ends = [e for e in proof.ends if any(id(e) in pair for pair in marks)] or list(proof.ends)
    if sys.stdout.isatty():
        from rich.console import Console

        console = Console()
        table = _drawn(ends, marks)
        endless = console.options.update(max_width=_ENDLESS)
        if console.measure(table, options=endless).maximum > console.width:
            _give_words(ends, marks)
            return
        console.print(table)
    else:
        rows = [[*map(str, _head(n, e)), *_cells(e, ends, marks)] for n, e in enumerate(ends, 1)]
        numbers = [str(number) for number in range(1, len(ends) + 1)]
        give_table(("", "INTERFACE", "VLAN", "WORKER", *numbers), rows)
    say(LEGEND)


def _head(number: int, end: End) -> tuple[str, ...]:
    return (str(number), one_line(end.name), _where(end), one_line(end.worker))


def _where(end: End) -> str:
    """Its VLANs; the name of its network, where OVN carries that."""
    if end.port:
        return one_line(end.drawn.nic.interface.network or "")
    return ",".join(map(str, end.vlans))


def _cells(end: End, ends: Sequence[End], marks: Mapping[tuple[int, int], str]) -> list[str]:
    return [SELF if end is other else marks.get((id(end), id(other)), UNTRIED) for other in ends]


def _drawn(ends: Sequence[End], marks: Mapping[tuple[int, int], str]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), collapse_padding=True)
    for heading in ("", "INTERFACE", "VLAN", "WORKER"):
        table.add_column(heading, no_wrap=True)
    wide = len(str(len(ends)))
    grid = Text(" ".join(str(number).rjust(wide) for number in range(1, len(ends) + 1)))
    table.add_column(grid, no_wrap=True)
    for number, end in enumerate(ends, 1):
        line = Text()
        for cell in _cells(end, ends, marks):
            line.append(cell.rjust(wide), style=_STYLES.get(cell, ""))
            line.append(" ")
        table.add_row(*_head(number, end), line)
    return table


def _give_words(ends: Sequence[End], marks: Mapping[tuple[int, int], str]) -> None:
    rows = []
    for end in ends:
        if any((id(end), id(other)) not in marks for other in ends if other is not end):
            continue  # with --vm: one of which only a part is asked
        by_mark: dict[str, list[str]] = {}
        for other in ends:
            by_mark.setdefault(marks.get((id(end), id(other)), SELF), []).append(other.name)
        wrong = [
            f"{word} {', '.join(by_mark[key])}"
            for key, word in ((CUT, "not"), (LEAK, "also"), (UNKNOWN, "perhaps"))
            if key in by_mark
        ]
        reached = ", ".join(by_mark.get(REACHES, [])) or "-"
        rows.append([*_head(0, end)[1:], reached, "; ".join(wrong) or "-"])
    give_table(("INTERFACE", "VLAN", "WORKER", "REACHES", "WRONG"), rows)


def give_services(passages: Sequence[Passage]) -> None:
    """What each network lets its guests do, in the characters of the matrix: a row for each."""
    by_row: dict[str, dict[str, str]] = {}
    columns: dict[str, None] = {}
    for passage in sorted(passages, key=lambda each: _ORDER.index(each.service)):
        heading = f"TO {one_line(passage.to)}" if passage.to else passage.service.upper()
        columns[heading] = None
        by_row.setdefault(passage.network, {})[heading] = mark(passage)
    if by_row:
        rows = [
            [one_line(name), *(_service(name, column, by_row[name]) for column in columns)]
            for name in dict.fromkeys(passage.network for passage in passages)
        ]
        gap()
        give_table(("NETWORK", *columns), rows)


def _service(network: str, column: str, row: Mapping[str, str]) -> str:
    otherwise = SELF if column == f"TO {one_line(network)}" else UNTRIED
    return row.get(column, otherwise)


_ORDER = ("gateway", "dhcp", "dns", "internet", "reach", "node", "kept")


def give_pings(pings: Sequence[Ping]) -> None:
    """Who answers whom, in words: a row for each that asks."""
    by_source: dict[str, dict[str, list[str]]] = {}
    for ping in pings:
        name = f"{ping.target} ({ping.address})"
        by_source.setdefault(ping.source, {}).setdefault(mark(ping), []).append(name)
    if by_source:
        rows = [
            [source, _listed(found, REACHES), _listed(found, CUT), _listed(found, LEAK)]
            for source, found in by_source.items()
        ]
        gap()
        give_table(("ASKED FROM", "ANSWERS", "DOES NOT", "IS NOT TO"), rows)


def _listed(found: Mapping[str, Sequence[str]], key: str) -> str:
    return ", ".join(found.get(key, ())) or "-"
