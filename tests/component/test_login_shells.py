"""Commands and scripts under the login shells that users of workers have, as `ssh` runs them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import fabric
import pytest

from vmops.errors import CommandTimeout
from vmops.remote.run import Finished, run, script_line
from vmops.wait import wait_for

from .fake_worker import FakeWorker
from .test_exchange import is_alive

Start = Callable[..., FakeWorker]

SHELLS = [name for name in ("dash", "bash", "tcsh", "fish", "zsh") if shutil.which(name)]
START_UP = {"bash": ".bashrc", "tcsh": ".tcshrc", "fish": ".config/fish/config.fish"}

HOSTILE = [
    "c\\d",
    "two\nlines",
    "it's",
    '"$HOME"',
    "`id`",
    "!!",
    "=ls",
    "~",
    "*",
    "",
    " ",
    "é\\'\n\n",
]
AS_WORDS = 'printf "%s\\0" "$#" "$@"'


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def fake(start: Start, shell: str) -> FakeWorker:
    return start(shell=str(shutil.which(shell)))


def test_lines_run_one_after_the_other(fake: FakeWorker, config: fabric.Config) -> None:
    done = run(fake.worker(), "echo one\necho 'two' \"t\\h\"\n", time_limit=9, config=config)
    assert done == Finished(0, b"one\ntwo t\\h\n", b"")


def test_arguments_arrive_whatever_is_in_them(fake: FakeWorker, config: fabric.Config) -> None:
    args = [*HOSTILE, os.fsdecode(b"\xff\xfe"), "x" * 60_000]
    line = script_line(AS_WORDS.encode(), args)
    done = run(fake.worker(), line, time_limit=9, config=config)
    assert done.stdout.split(b"\0")[:-1] == [b"%d" % len(args), *map(os.fsencode, args)]
    assert (done.exit_code, done.stderr) == (0, b"")


@pytest.mark.parametrize("shell", sorted(START_UP.keys() & set(SHELLS)), indirect=True)
@pytest.mark.parametrize("is_script", [False, True], ids=["command", "script"])
def test_start_up_files_are_read_once(
    fake: FakeWorker, home: Path, shell: str, config: fabric.Config, is_script: bool
) -> None:
    file = home / START_UP[shell]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("echo NOISE\nsh -c 'echo ERRORS >&2'\n")
    command = script_line(b"echo done", []) if is_script else "echo done"
    done = run(fake.worker(), command, time_limit=9, config=config)
    assert done == Finished(0, b"NOISE\ndone\n", b"ERRORS\n")


@pytest.mark.parametrize("shell", ["bash"], indirect=True)
def test_what_bash_sees_is_what_it_sees_under_ssh(
    fake: FakeWorker, home: Path, config: fabric.Config
) -> None:
    (home / ".bashrc").write_text("greet() { echo hello $1; }\n")
    command = 'greet $SHLVL $0; echo "$0"; nonsense'
    done = run(fake.worker(), command, time_limit=9, config=config)
    errors = b"bash: line 1: nonsense: command not found\n"
    assert done == Finished(127, b"hello 1\nbash\n", errors)


@pytest.mark.parametrize("shell", ["bash"], indirect=True)
def test_a_syntax_error_shows_the_line_as_it_was_given(
    fake: FakeWorker, config: fabric.Config
) -> None:
    done = run(fake.worker(), "echo )", time_limit=9, config=config)
    assert done.exit_code != 0
    assert done.stderr.endswith(b"line 1: `echo )'\n")


def test_the_time_limit_holds(fake: FakeWorker, home: Path, config: fabric.Config) -> None:
    command = f"sh -c 'echo $$ >{home}/pid; exec sleep 1000'; echo no"
    with pytest.raises(CommandTimeout, match="it was ended there"):
        run(fake.worker(), command, time_limit=1, config=config)
    pid = int((home / "pid").read_text())
    assert wait_for(lambda: not is_alive(pid) or None, 2)


def test_nothing_watches_a_command_that_has_ended(fake: FakeWorker, config: fabric.Config) -> None:
    assert run(fake.worker(), "true", time_limit=86_355, config=config).exit_code == 0

    def is_watched() -> bool:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):  # a process that ends while it is looked at
                if b"timeout\x0086365\x00tail" in path.read_bytes():
                    return True
        return False

    assert wait_for(lambda: not is_watched() or None, 4)
