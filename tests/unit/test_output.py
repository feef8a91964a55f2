"""How tasks speak where standard output is not what one would wish for."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest
from invoke.context import Context
from invoke.exceptions import Exit

from vmops.errors import WorkFailed
from vmops.tasks.frame.output import be_quick, complain, gap, give, give_bytes, give_table, say
from vmops.tasks.frame.task import task


def run(speak: Callable[[], Any]) -> None:
    """Run this as the body of a task."""
    task()(lambda c: speak())(Context())


@pytest.mark.parametrize("speak", [lambda: give("data"), lambda: give_bytes(b"data")])
def test_a_full_disk_is_a_failure(
    speak: Callable[[], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(Exit) as ended:
            run(speak)
    assert ended.value.code == 1
    assert "cannot write to standard output: No space left" in capsys.readouterr().err


def test_closed_streams_take_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)

    def speak() -> None:
        give_table(("VM",), [("vm1",)])
        say("done")

    run(speak)
    for opened in (sys.stdout, sys.stderr):
        opened.close()


@pytest.mark.parametrize(
    ("cures", "told"),
    [
        (("x", "x", "x"), ["e0", "e1", "e2", "  x"]),
        (("x", "y", "x"), ["e0", "  x", "e1", "  y", "e2", "  x"]),
        (("", "", "x"), ["e0", "e1", "e2", "  x"]),
        (("x", "x", ""), ["e0", "e1", "  x", "e2"]),
    ],
)
def test_one_cure_of_several_errors_is_told_once(
    cures: tuple[str, ...], told: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    complain(WorkFailed(f"e{n}", cure=cure) for n, cure in enumerate(cures))
    said = capsys.readouterr().err.splitlines()
    assert [line.removeprefix("error: ") for line in said] == told


def test_a_cure_for_there_is_told_for_each_worker(capsys: pytest.CaptureFixture[str]) -> None:
    complain(WorkFailed("e", worker=worker, cure="there: c") for worker in ("w1", "w1", "w2"))
    said = capsys.readouterr().err.splitlines()
    assert said == ["error: w1: e", "error: w1: e", "  there: c", "error: w2: e", "  there: c"]


def test_what_the_encoding_lacks_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = BytesIO()
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(printed, encoding="latin-1"))
    run(lambda: give("5 €, ä"))
    assert printed.getvalue() == b"5 \\u20ac, \xe4\n"


def test_what_should_not_happen_is_one_line_and_a_traceback_for_who_asks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def speak() -> None:
        raise KeyError("\x1b]0;evil\x07")

    monkeypatch.delenv("INVOKE_DEBUG", raising=False)
    with pytest.raises(Exit) as ended:
        run(speak)
    assert ended.value.code == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("error: a fault in vmops itself: KeyError at test_output.py:")
    assert "\x1b" not in first
    assert "fab -d" in second
    monkeypatch.setenv("INVOKE_DEBUG", "1")
    with pytest.raises(KeyError):
        run(speak)


def test_ctrl_c_is_130(capsys: pytest.CaptureFixture[str]) -> None:
    def speak() -> None:
        raise KeyboardInterrupt

    with pytest.raises(Exit) as ended:
        run(speak)
    assert ended.value.code == 130
    assert capsys.readouterr().err.startswith("interrupted: ")


@pytest.mark.parametrize(("is_a_terminal", "between"), [(False, "\n"), (True, "")])
def test_an_empty_line_parts_tables_where_nothing_is_drawn(
    monkeypatch: pytest.MonkeyPatch, is_a_terminal: bool, between: str
) -> None:
    out = StringIO()
    monkeypatch.setattr(out, "isatty", lambda: is_a_terminal)
    monkeypatch.setattr(sys, "stdout", out)
    gap()
    assert out.getvalue() == between


def test_what_a_task_makes_is_not_searched_for_garbage_again_and_again() -> None:
    before = gc.get_threshold()
    looks: list[str] = []

    def look(phase: str, info: object) -> None:
        looks.append(phase)

    gc.collect()
    gc.callbacks.append(look)
    try:
        be_quick()
        kept = [[number] for number in range(20_000)]
    finally:
        gc.callbacks.remove(look)
        gc.set_threshold(*before)
        gc.unfreeze()
    assert (len(kept), looks) == (20_000, [])
