"""The proof on a terminal: a matrix, or words where there is no room for one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from vmops.core.plan.proof.evidence import Proof
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


def test_with_one_vm_only_its_own_row_is_in_words(show: Show) -> None:
    whole = proof()
    mine = [p for p in whole.pairs if "a1:eth0" in (p.source.name, p.target.name)]
    text = show(whole._replace(pairs=mine), 30)
    assert "a1:eth0" in text
    assert "b2:eth0\n" not in text
