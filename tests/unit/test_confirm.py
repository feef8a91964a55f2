"""`down` says what it is going to stop, and asks whoever sits at a terminal."""

from __future__ import annotations

import io
import sys

import pytest
from fabric import Config
from invoke.context import Context
from invoke.exceptions import Exit

from vmops.core.inventory.model import VM, Settings
from vmops.ops.route import Group, Route
from vmops.tasks.frame.confirm import confirm


def group(worker: int, *vms: str) -> Group:
    there = tuple(
        VM(name, vm_id=1, ram_mb=1, cores=1, vnc_port=5901, qcow_image="/1") for name in vms
    )
    return Group(Route(Settings().worker(f"w{worker}", address=f"192.0.2.{worker}")), there)


SEVERAL = [group(1, "a", "b"), group(2, "c")]
SAID = "stop: 3 VMs (a, b, c) on 2 workers (w1, w2)\n"


def sit(monkeypatch: pytest.MonkeyPatch, typed: str, *, at_terminal: bool = True) -> None:
    """What is typed on standard input, at a terminal or not."""
    keyboard = io.StringIO(typed)
    monkeypatch.setattr(keyboard, "isatty", lambda: at_terminal)
    monkeypatch.setattr(sys, "stdin", keyboard)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: at_terminal)


def context(*, dry: bool = False) -> Context:
    return Context(config=Config(overrides={"run": {"dry": dry}}))


@pytest.mark.parametrize("typed", ["y\n", "yes\n", " Y \n"])
def test_yes_goes_on(
    typed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sit(monkeypatch, typed)
    confirm(context(), SEVERAL, "stop", yes=False)
    assert capsys.readouterr() == ("", SAID + "go on? [y/N] ")


@pytest.mark.parametrize("typed", ["n\n", "\n", "", "yesterday\n"])
def test_all_else_does_nothing(
    typed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sit(monkeypatch, typed)
    with pytest.raises(Exit) as ended:
        confirm(context(), SEVERAL, "stop", yes=False)
    assert ended.value.code == 1
    assert capsys.readouterr().err.endswith("nothing was done\n")


@pytest.mark.parametrize(("yes", "at_terminal"), [(True, True), (False, False)])
def test_who_has_said_yes_or_cannot_be_asked_is_told(
    yes: bool,
    at_terminal: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sit(monkeypatch, "n\n", at_terminal=at_terminal)
    confirm(context(), SEVERAL, "stop", yes=yes)
    assert capsys.readouterr().err == SAID


@pytest.mark.parametrize(
    ("groups", "dry"),
    [
        pytest.param([group(1, "a")], False, id="one"),
        pytest.param([group(1, "a"), group(2, "a")], False, id="one-that-is-looked-for"),
        pytest.param([], False, id="none"),
        pytest.param(SEVERAL, True, id="dry"),
    ],
)
def test_nothing_is_said(
    groups: list[Group],
    dry: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sit(monkeypatch, "n\n")
    confirm(context(dry=dry), groups, "stop", yes=False)
    assert capsys.readouterr() == ("", "")


def test_many_are_not_all_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sit(monkeypatch, "", at_terminal=False)
    many = [group(number, f"vm{number}") for number in range(1, 7)]
    confirm(context(), many, "stop", yes=False)
    said = capsys.readouterr().err
    assert said == ("stop: 6 VMs (vm1, vm2, vm3, vm4, ...) on 6 workers (w1, w2, w3, w4, ...)\n")
