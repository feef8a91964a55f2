"""Whatever a worker or a guest calls itself, nothing of it acts on the operator's terminal.

Each task is given results in which every text is hostile, and prints them in all its ways.
"""

from __future__ import annotations

import json
import re
import sys
import types
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

import fabric
import pytest
from invoke.context import Context
from invoke.exceptions import Exit
from rich.console import Console

from vmops.core.devices.picture import Picture
from vmops.core.plan.status import VMStatus
from vmops.errors import VmopsError, WorkFailed
from vmops.ops.guest.keyboard import Pressed
from vmops.ops.guest.screen import Shot
from vmops.ops.vm.changes import Change
from vmops.ops.vm.outcome import Outcome
from vmops.ops.vm.status import Survey
from vmops.ops.worker.doctor import Health
from vmops.tasks import ns
from vmops.tasks.frame import harmless, output, work
from vmops.tasks.vm import watch
from vmops.tasks.vm.status_table import drawn

HOSTILE = (
    "evil\x1b]0;title\x07\x1b[2J\x1bc\x9b5n\r\x08\x7f\x00\u202e\u2028\ud800"
    "\nerror: forged\n  fab down"
)
HOSTS = """
[workers.worker1]
address = "192.0.2.1"
[vms.vm1]
vm_id = 1
ram_mb = 1
cores = 1
vnc_port = 5901
qcow_image = "/1"
"""
OURS = {"action": "start", "how": "guest"}
"""Fields whose words are ours, whatever a worker says."""

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
"""What rich and we put around our own words."""

BAR = re.compile(r"\x1b\[\?25[lh]|\r?\x1b\[(1A|2K)")
"""How rich takes its progress bar away again."""


def hostile(kind: Any, *, failed: bool, name: str = "") -> Any:
    """A value of that type with every text in it hostile, or with no error in it."""
    origin, inner = get_origin(kind), get_args(kind)
    if name in OURS:
        return OURS[name]
    if origin in (Union, types.UnionType):
        kind = next(one for one in inner if one is not type(None))
        is_error = isinstance(kind, type) and issubclass(kind, VmopsError)
        return None if is_error and not failed else hostile(kind, failed=failed)
    if origin is tuple and ... not in inner:
        return tuple(hostile(one, failed=failed) for one in inner)
    if origin is tuple:
        return (hostile(inner[0], failed=failed),) if failed or not _is_error(inner[0]) else ()
    if kind is str:
        return HOSTILE
    if kind is bool:
        return not failed
    if kind in (int, float):
        return 7
    if kind is Picture:
        return Picture(b"", 1, 1)
    if _is_error(kind):
        return WorkFailed(HOSTILE, worker=HOSTILE, vm=HOSTILE, interface=HOSTILE, cure=HOSTILE)
    if origin is None and issubclass(kind, tuple):
        hints = get_type_hints(kind)
        return kind(**{key: hostile(of, failed=failed, name=key) for key, of in hints.items()})
    return {}


def _is_error(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, VmopsError)


class Case(NamedTuple):
    """A task, what it is called with, and what its work gives."""

    task: str
    words: dict[str, Any]
    result: type


CASES = [
    *(Case(task, {"vm": "vm1"}, Outcome) for task in ("launch", "plug", "unplug", "boot", "stop")),
    *(Case(task, {"vm": "vm1"}, Outcome) for task in ("restart", "reset", "pause", "resume")),
    Case("wait", {"vm": "vm1"}, Outcome),
    Case("up", {}, Outcome),
    Case("down", {}, Outcome),
    Case("plan", {}, Change),
    Case("pid", {"vm": "vm1"}, VMStatus),
    Case("status", {}, Survey),
    Case("ps", {}, Survey),
    Case("doctor", {}, Health),
    Case("sendkey", {"vm": "vm1", "keys": "a"}, Pressed),
    Case("type", {"vm": "vm1", "text": "a"}, Pressed),
    Case("screenshot", {"vm": "vm1", "output": "-"}, Shot),
]


@pytest.fixture(autouse=True)
def _hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hosts.toml").write_text(HOSTS)
    monkeypatch.setenv("VMOPS_HOSTS", str(tmp_path / "hosts.toml"))
    monkeypatch.delenv("NO_COLOR", raising=False)


def call(
    case: Case, monkeypatch: pytest.MonkeyPatch, *, failed: bool, words: dict[str, Any]
) -> None:
    """Run the task with hostile results in place of its work."""
    result = hostile(case.result, failed=failed)
    given = lambda *_, **__: [result]  # noqa: E731
    monkeypatch.setattr(work, "each", given)
    monkeypatch.setattr("vmops.tasks.frame.selection._begun", lambda c, groups, **_: groups)
    with suppress(Exit):
        ns[case.task](Context(config=fabric.Config()), **case.words | words)


def acts(text: str) -> list[str]:
    """The characters of a text that a terminal might act on, the line's end aside."""
    return [each for each in COLOUR.sub("", text) if not each.isprintable() and each != "\n"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.task)
@pytest.mark.parametrize("failed", [False, True], ids=["good", "failed"])
@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
def test_results(
    case: Case,
    failed: bool,
    terminal: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stdin", None)
    if case.task == "screenshot":
        monkeypatch.setattr("vmops.tasks.guest.screen._check_stdout", lambda **_: None)
        monkeypatch.setattr("vmops.tasks.guest.screen._write", lambda _: None)
    call(case, monkeypatch, failed=failed, words={})
    said = capsys.readouterr()
    assert acts(said.out) == []
    assert acts(BAR.sub("", said.err)) == []
    if case.task not in ("screenshot", "wait"):
        assert "evil" in said.out + said.err or case.task == "pid"
    assert "\nerror: forged" not in said.out + COLOUR.sub("", said.err)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.task not in ("pid", "screenshot")], ids=lambda c: c.task
)
@pytest.mark.parametrize("failed", [False, True], ids=["good", "failed"])
def test_json(
    case: Case, failed: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    call(case, monkeypatch, failed=failed, words={"format": "json"})
    said = capsys.readouterr()
    assert acts(said.out) == []
    (found,) = json.loads(said.out)
    assert (found["error"] is not None) is failed or case.task == "doctor"


@pytest.mark.parametrize("detailed", [False, True])
def test_watch(detailed: bool) -> None:
    survey = hostile(Survey, failed=True)
    console = Console(width=200, height=100, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    table = drawn(survey.vms, detailed=detailed, before={}, width=200)
    console.print(watch._screen(survey, 2, table))
    assert acts(console.export_text()) == []


SPEAK: Sequence[Callable[[str], None]] = (
    output.say,
    output.give,
    output.give_json,
    lambda text: output.give_table((text,), [(text,)]),
    lambda text: output.complain([WorkFailed(text)]),
)


@pytest.mark.parametrize("number", [*range(0x20), *range(0x7F, 0xA0), 0x202E, 0x2028, 0xD800])
def test_each_way_to_speak(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    output.prepare_streams()
    for speak in SPEAK:
        speak(f"x{chr(number)}y")
    said = capsys.readouterr()
    assert acts((said.out + said.err).replace("\t", "")) == []


def test_a_cell_stays_in_its_row() -> None:
    assert harmless.one_line("a\nb\tc") == "a^Jb^Ic"
