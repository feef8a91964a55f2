"""The worker's history under a real shell: a line for each change, bounded, never in the way."""

from __future__ import annotations

import os
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from vmops.core.facts.history import HISTORY, Entry
from vmops.core.facts.question import Answers, block_of
from vmops.core.script import functions, script
from vmops.core.script.command import Block, Step, command

NONCE = "0123456789abcdef" * 2
SHELLS = ("dash", "bash")
LOGIN = {"SSH_CONNECTION": "192.0.2.7 50000 192.0.2.1 22"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(functions, "HISTORY", str(tmp_path / "log"))
    monkeypatch.setattr(functions, "RUN_ROOT", str(tmp_path / "run"))
    return tmp_path / "log"


def run(*blocks: Block, shell: str = "dash", user: str = "anna", **login: str) -> list[str]:
    """As a login runs it: a shell that knows where from, and below it, without that, the script."""
    text = script.render(blocks, nonce=NONCE)
    words = ["sh", "-c", 'env -i PATH="$PATH" VMOPS_USER="$1" "$2" -c "$3"; :', "x", user, shell]
    done = subprocess.run(
        [*words, text],
        env={"PATH": os.environ["PATH"], "A": "1", **login, "Z": "2"},
        capture_output=True,
        timeout=30,
        check=True,
    )
    found = script.parse(blocks, nonce=NONCE, stdout=done.stdout, stderr=done.stderr)
    return [result.outcome for result in found]


def change(*argv: str, vm: str = "vm1", **more: object) -> Block:
    steps = (Step("do", (command(*argv),)),)
    return Block(vm, steps, change="stop", **more)  # type: ignore[arg-type]


def entries(shell: str = "dash") -> tuple[Entry, ...]:
    block = block_of((HISTORY,))
    text = script.render([block], nonce=NONCE)
    done = subprocess.run([shell, "-c", text], capture_output=True, timeout=30, check=True)
    (result,) = script.parse([block], nonce=NONCE, stdout=done.stdout, stderr=done.stderr)
    return Answers(result)[HISTORY]


@pytest.mark.parametrize("shell", SHELLS)
def test_each_change_leaves_a_line(folder: Path, shell: str) -> None:
    blocks = (change("true"), change("false", vm="vm2"), Block("vm3", (Step("x", ()),)))
    assert run(*blocks, shell=shell, **LOGIN) == ["done", "failed", "done"]
    first, second = entries(shell)
    assert first[1:] == ("anna", "192.0.2.7", "stop", "vm1", "done")
    assert second[3:] == ("stop", "vm2", "failed")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", first.time)
    assert (folder / "history").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.fixture
def dates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with what `date` answers, a line for each time; the last one again and again."""
    found = tmp_path / "dates"
    program = tmp_path / "bin" / "date"
    program.parent.mkdir()
    program.write_text(
        f"#!/bin/sh\necho >>{found}.asked\nsed -n 1p {found}\nsed -i '1{{$!d}}' {found}\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return found


def times_asked(dates: Path) -> int:
    return len(Path(f"{dates}.asked").read_text())


@pytest.mark.parametrize("shell", SHELLS)
def test_the_clock_is_asked_once_and_what_passes_is_counted(
    folder: Path, dates: Path, shell: str
) -> None:
    dates.write_text("2026-02-28:1772263445:080000000\n")
    run(change("true"), change("sleep", "1", vm="vm2"), shell=shell, **LOGIN)
    first, second = (datetime.fromisoformat(entry.time) for entry in entries(shell))
    assert first >= datetime(2026, 2, 28, 7, 24, 5, tzinfo=UTC)
    assert second - first >= timedelta(seconds=1)
    assert times_asked(dates) == 1


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_that_goes_on_over_midnight_asks_for_the_day_again(
    folder: Path, dates: Path, shell: str
) -> None:
    dates.write_text("2026-02-28:1772323199:500000000\n2026-03-01:1772323201:009999999\n")
    run(change("true"), change("sleep", "1", vm="vm2"), shell=shell, **LOGIN)
    assert entries(shell)[1].time.startswith("2026-03-01T00:0")
    assert times_asked(dates) == 2


@pytest.mark.parametrize("shell", SHELLS)
def test_without_a_clock_there_is_no_line_and_the_work_goes_on(
    folder: Path, dates: Path, shell: str
) -> None:
    for answer in ("", "no such format\n", "2026-02-28:$(x):%N\n"):
        dates.write_text(answer)
        assert run(change("true"), change("true", vm="vm2"), shell=shell) == ["done", "done"]
    assert entries(shell) == ()


@pytest.mark.parametrize("shell", SHELLS)
def test_what_changes_nothing_leaves_none(folder: Path, tmp_path: Path, shell: str) -> None:
    blocks = (change("true", guards=(command("false"),)), Block("vm1", (Step("look", ()),)))
    assert run(*blocks, shell=shell) == ["changed", "done"]
    assert entries(shell) == ()
    assert not folder.exists()


@pytest.mark.parametrize(
    ("user", "login", "told"),
    [
        ("a\tb", {"SSH_CONNECTION": "::1 1 ::1 22"}, ("-", "::1")),
        ("LAB\\anna", {"SSH_CONNECTION": "fe80::1%eth0 1 x 22"}, ("LAB\\anna", "fe80::1%eth0")),
        ("anna", {"SSH_CONNECTION": "\tforged\x1b[2J 1 2 3"}, ("anna", "-")),
        ("", {}, ("-", "-")),
    ],
)
def test_who_it_was_is_written_so_that_it_forges_no_line(
    folder: Path, user: str, login: dict[str, str], told: tuple[str, str]
) -> None:
    if not login and "SSH_CONNECTION" in os.environ:
        pytest.skip("this very test runs over SSH")
    run(change("true"), user=user, **login)
    (entry,) = entries()
    assert entry[1:3] == told
    assert entry[3:] == ("stop", "vm1", "done")


def test_it_is_bounded_and_the_newest_stay(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "HISTORY_BYTES", 2000)
    for number in range(12):
        run(*(change("true", vm=f"vm{number}-{n}") for n in range(10)), **LOGIN)
    sizes = [(folder / name).stat().st_size for name in ("history", "history.1")]
    assert sum(sizes) < 3 * 2000
    found = [entry.vm for entry in entries()]
    assert found[-1] == "vm11-9"
    assert len(found) >= 30
    assert found == [f"vm{n}-{m}" for n in range(12) for m in range(10)][-len(found) :]


def test_a_history_that_cannot_be_written_stops_nothing(folder: Path) -> None:
    for make in (lambda: folder.write_text(""), lambda: folder.symlink_to("/nowhere/at/all")):
        make()
        assert run(change("true"), **LOGIN) == ["done"]
        folder.unlink()


def test_a_line_that_was_cut_costs_itself(folder: Path) -> None:
    run(change("true"), **LOGIN)
    with (folder / "history").open("a") as file:
        file.write("2026-01-01T00:00:00Z\tanna\n")
    run(change("true", vm="vm2"), **LOGIN)
    assert [entry.vm for entry in entries()] == ["vm1", "vm2"]
