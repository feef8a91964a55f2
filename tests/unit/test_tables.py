"""A table is as wide as the terminal at most, and no word of it is cut."""

from __future__ import annotations

import io
import re
import string
from contextlib import redirect_stdout

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from vmops.tasks.frame.output import give_table
from vmops.tasks.frame.tables import drawn

WORD = st.text(string.ascii_letters + string.digits + ":.-", min_size=1, max_size=12)
CELL = st.lists(st.lists(WORD, min_size=1, max_size=4).map(" ".join), min_size=1, max_size=3).map(
    "\n".join
)


def printed(headings: list[str], rows: list[list[str]], width: int) -> str:
    written = io.StringIO()
    Console(file=written, width=width).print(drawn(headings, rows, width=width))
    return written.getvalue()


@given(
    st.integers(1, 6).flatmap(
        lambda count: st.lists(st.lists(CELL, min_size=count, max_size=count), min_size=1)
    ),
    st.integers(30, 120),
)
def test_every_word_is_whole_and_every_line_fits(rows: list[list[str]], width: int) -> None:
    headings = ["HEADING"] * len(rows[0])
    text = printed(headings, rows, width)
    assert max(map(len, text.splitlines())) <= width
    wanted = sorted(word for row in rows for cell in row for word in cell.split())
    found = [word.rstrip(",") for word in text.split()]
    assert set(wanted) <= set(found)


@pytest.mark.parametrize(("width", "is_table"), [(40, True), (20, False)])
def test_a_row_becomes_a_block_where_the_table_does_not_fit(width: int, is_table: bool) -> None:
    text = printed(["VM", "PORT"], [["vm1\nworker1", "127.0.0.1:5901"]], width)
    assert ("VM" in text) is is_table
    if not is_table:
        assert text.split() == ["vm1", "on", "worker1", "port:", "127.0.0.1:5901"]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_one_long_name_costs_no_other_row_the_table(width: int) -> None:
    """It goes on in the next line; what is in other columns is whole all the same."""
    long = "a-name-of-" * 6
    rows = [[long, "running", "4821", "127.0.0.1:5901"], ["vm1", "stopped", "-", "-"]]
    text = printed(["VM", "STATE", "PID", "VNC"], rows, width)
    assert max(map(len, text.splitlines())) <= width
    assert text.split()[:4] == ["VM", "STATE", "PID", "VNC"]
    assert {"running", "4821", "127.0.0.1:5901", "stopped"} <= set(text.split())
    begun = [line.split(" ")[1] for line in text.splitlines() if line.startswith(" ")]
    assert long in "".join(begun)


@given(
    st.integers(1, 5).flatmap(
        lambda count: st.lists(
            st.lists(st.text("ab \n\t\u00a0"), min_size=count, max_size=count), min_size=1
        )
    )
)
def test_columns_in_a_pipe_come_apart(rows: list[list[str]]) -> None:
    """Whatever is in a cell: blanks, lines, nothing at all."""
    written = io.StringIO()
    with redirect_stdout(written):
        give_table(["A HEADING"] * len(rows[0]), rows)
    _, *lines = written.getvalue().splitlines()
    assert [len(re.split(" {2,}", line)) for line in lines] == [len(row) for row in rows]


def test_words_of_a_cell_stay_together_in_a_pipe() -> None:
    written = io.StringIO()
    with redirect_stdout(written):
        give_table(
            ("VM", "STATE", "PID"), [("a", "running belongs on worker1", ""), ("b", "x  y", "7")]
        )
    _, *lines = written.getvalue().splitlines()
    found = [re.split(" {2,}", line) for line in lines]
    assert found == [["a", "running belongs on worker1", "-"], ["b", "x y", "7"]]
