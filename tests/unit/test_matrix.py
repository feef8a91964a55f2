"""The proof on a terminal: a matrix, or words where there is no room for one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from vmops.core.plan.proof.evidence import Proof
from vmops.core.plan.proof.services import Passage
from vmops.tasks.proof import matrix

from .bridged import three

Show = Callable[[Proof, int], str]


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Show:
    """What stands on a terminal of that many columns; 0 for a pipe."""

    def shown(proof: Proof, columns: int) -> str:
        monkeypatch.setattr("sys.stdout.isatty", lambda: columns > 0, raising=False)

        def console(*_: Any, **__: Any) -> Console:
            return Console(width=columns, force_terminal=False)

        monkeypatch.setattr("rich.console.Console", console)
        matrix.give_matrix(proof)
        return capsys.readouterr().out

    return shown


def proof(*, cut: bool = False) -> Proof:
    world = three()
    world.carried = {"w2": {101}} if cut else {}
    return world.judge()


@pytest.mark.parametrize("columns", [0, 120])
def test_a_row_and_a_column_for_each(show: Show, columns: int) -> None:
    rows = [line.split() for line in show(proof(cut=True), columns).splitlines()]
    assert ["1", "a1:eth0", "101", "w1", "-", ".", "X", ".", "o", "."] in rows
    assert ["3", "b1:eth0", "101", "w2", "X", ".", "-", ".", "X", "."] in rows


def test_words_where_there_is_no_room(show: Show) -> None:
    text = show(proof(cut=True), 40)
    assert "a1:eth0\n  vlan: 101\n  worker: w1\n  reaches: c1:eth0\n  wrong: not b1:eth0" in text
    assert max(map(len, text.splitlines())) <= 40


@pytest.mark.parametrize("columns", [0, 150])
def test_every_mark_is_in_the_legend_and_the_diagonal_is_no_pair(show: Show, columns: int) -> None:
    whole = proof(cut=True)
    mine = [p for p in whole.pairs if "a1:eth0" in (p.source.name, p.target.name)]
    lines = show(whole._replace(pairs=mine), columns).splitlines()
    rows = [line.split()[4:] for line in lines if ":eth" in line]
    assert [row[place] for place, row in enumerate(rows)] == [matrix.SELF] * len(rows)
    untried = {cell for n, row in enumerate(rows) for m, cell in enumerate(row) if 0 < n != m > 0}
    assert untried == {matrix.UNTRIED}
    marks = {word.split(" ")[0] for word in matrix.LEGEND.split("   ")}
    assert {cell for row in rows for cell in row} <= marks


@pytest.mark.parametrize("service", ["internet", "reach"])
def test_what_a_network_was_not_tried_for_is_not_itself(
    service: str, capsys: pytest.CaptureFixture[str]
) -> None:
    to = "green" if service == "reach" else ""
    passages = [
        Passage("blue", service, to=to, wanted=True, found=True),
        Passage("green", "dns", wanted=True, found=True),
    ]
    matrix.give_services(passages)
    _, blue, green = (line.split() for line in capsys.readouterr().out.splitlines() if line)
    if service == "reach":
        assert (blue, green) == (["blue", "_", "o"], ["green", "o", "-"])
    else:
        assert (blue, green) == (["blue", "_", "o"], ["green", "o", "_"])


def test_with_one_vm_only_its_own_row_is_in_words(show: Show) -> None:
    whole = proof()
    mine = [p for p in whole.pairs if "a1:eth0" in (p.source.name, p.target.name)]
    text = show(whole._replace(pairs=mine), 30)
    assert "a1:eth0" in text
    assert "b2:eth0\n" not in text
