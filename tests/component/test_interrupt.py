"""Ctrl-C at any moment: one line, exit code 130, never a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmops.interrupt import EXIT_CODE, leave_at_once, raising

IMPORTED = (
    "import sys; from importlib import abc\n"
    "class Slow(abc.MetaPathFinder):\n"
    "    def find_spec(self, name, path, target=None):\n"
    "        if name == '{0}': import time; print('here', flush=True); {1}\n"
    "sys.meta_path.insert(0, Slow())\n"
)
"""Makes the import of a module last until Ctrl-C comes."""

LASTING = "[time.sleep(0.05) for _ in range(1200)]"
"""A minute, in pieces: Python looks for a signal between them. One that comes just before a
long sleep begins would be seen at its end."""

RUN = "from vmops.__main__ import main\nsys.argv = ['vmops', 'ps']\nmain()\n"


def interrupted(code: str, folder: Path) -> tuple[int, str]:
    """The exit code and standard error of a Python program that gets SIGINT when it says so."""
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={key: value for key, value in os.environ.items() if key != "VMOPS_HOSTS"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    return process.returncode, err


@pytest.mark.parametrize(
    "module",
    [
        *("fabric", "fabric.main", "invoke.program", "paramiko", "vmops.tasks"),
        *("vmops.tasks.vm.status", "vmops.core.inventory.inventory", "vmops.inventory_file"),
    ],
)
def test_while_modules_are_imported(module: str, tmp_path: Path) -> None:
    code, err = interrupted(IMPORTED.format(module, LASTING) + RUN, tmp_path)
    assert code == EXIT_CODE
    assert err.startswith("interrupted")
    assert len(err.splitlines()) == 1


def test_after_the_last_task(tmp_path: Path) -> None:
    last = f"atexit.register(lambda: (print('here', flush=True), {LASTING}))\n"
    code, err = interrupted(
        "import atexit, sys, time\n"
        + last
        + RUN.replace("'ps'", "'lab.status', '--format', 'xml'"),
        tmp_path,
    )
    assert code == EXIT_CODE
    assert err.endswith("one of text, json\ninterrupted\n")


@pytest.fixture
def _python() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_python")
def test_under_way_it_is_raised_and_can_be_tidied_up_after() -> None:
    back = leave_at_once()
    try:
        with pytest.raises(KeyboardInterrupt), raising():
            signal.raise_signal(signal.SIGINT)
    finally:
        back()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("_python")
@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda number, frame: None])
def test_a_handler_of_somebody_else_stays(handler: signal.Handlers) -> None:
    signal.signal(signal.SIGINT, handler)
    back = leave_at_once()
    with raising():
        assert signal.getsignal(signal.SIGINT) is handler
    back()
    assert signal.getsignal(signal.SIGINT) is handler
