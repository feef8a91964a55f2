"""How QEMU is told whom to become: each QEMU by the option that it has."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmops.core.devices import machine
from vmops.core.devices.display import Screen
from vmops.core.script import functions
from vmops.core.script.command import Block, Command, Step
from vmops.core.tools import qemu

from ..unit.worlds import VM1
from .test_script import SHELLS, run

WORDS = 'for word in "$@"; do echo "$word"; done'


@pytest.fixture(autouse=True)
def runs_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "RUN_ROOT", str(tmp_path))


def start(program: str, folder: Path, shell: str) -> tuple[int, list[str], list[str]]:
    """The exit code, the words on standard output, and the lines of complaint."""
    (folder / VM1.name).mkdir()
    binary = folder / "qemu"
    binary.write_text(f"#!/bin/sh\n{program}\n")
    binary.chmod(0o755)
    launch = machine.Launch("tcg", "max", "/a b.qcow2", Screen("::1", 5901), uid=5, home="/home/u")
    built = machine.build(VM1, launch)
    command = Command(tuple(str(binary) if word == qemu.BINARY else word for word in built.argv))
    (result,) = run(Block("vm", (Step("QEMU", (command,)),)), shell=shell)
    (step,) = result.steps
    return step.exit_code, step.stdout.decode().splitlines(), step.stderr.decode().splitlines()


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("refused", "taken"),
    [
        pytest.param("-run-with", ["-runas", "5:5"], id="before 9.1"),
        pytest.param("-runas", ["-run-with", "user=5:5"], id="from 10 on"),
    ],
)
def test_each_qemu_is_told_by_the_option_that_it_has(
    tmp_path: Path, shell: str, refused: str, taken: list[str]
) -> None:
    refusal = f"*' {refused} '*) echo \"qemu: {refused}: invalid option\" >&2; exit 1 ;;"
    code, said, complaints = start(f'case " $* " in {refusal} esac; {WORDS} >&2', tmp_path, shell)
    assert (code, said) == (0, [])
    assert complaints[-2:] == taken
    assert "file=/a b.qcow2,format=qcow2" in complaints


@pytest.mark.parametrize("shell", SHELLS)
def test_another_failure_is_told_and_not_tried_again(tmp_path: Path, shell: str) -> None:
    tried = tmp_path / "tried"
    program = f"echo once >>{tried}; echo 'qemu: no such machine' >&2; exit 3"
    assert start(program, tmp_path, shell) == (3, [], ["qemu: no such machine"])
    assert tried.read_text() == "once\n"
