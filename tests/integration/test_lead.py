"""What leads a live move from worker to worker, under the real perl, and before there is a way."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmops.core.script.functions import program
from vmops.remote.direct import SOURCE
from vmops.remote.once import new_keys

GREETS = "printf 'Welcome!\\nhere\\n'"
SAYS_HERE = "printf he; printf 're\\n'"


@pytest.fixture
def run() -> Iterator[Path]:
    """A VM's run directory: the path of a socket there has to be short."""
    with tempfile.TemporaryDirectory(prefix="lead") as folder:
        yield Path(folder)


def led(run: Path, ssh: str) -> str:
    """Its last line, with an ssh that does this."""
    tools = run / "tools"
    tools.mkdir()
    (tools / "ssh").write_text(f"#!/bin/sh\n{ssh}\nexec cat >/dev/null\n")
    (tools / "ssh").chmod(0o755)
    keys = new_keys()
    command = ["perl", "-e", program(*SOURCE), str(run), str(run), "127.0.0.1", "9", "nobody"]
    env = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "LC_ALL": "C"}
    with subprocess.Popen(
        command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{keys.login}\n{keys.known}\n")
        process.stdin.flush()
        try:
            return process.stdout.readline().strip()
        finally:
            process.stdin.close()


def test_a_shell_that_greets_is_not_taken_for_the_other_worker(run: Path) -> None:
    """It would greet in each stream, too, and QEMU would take that for the other QEMU."""
    (run / "way").mkdir()
    assert led(run, GREETS) == "failed its login shell says more than it is asked"


def test_a_word_that_comes_in_pieces_is_that_word(run: Path) -> None:
    (run / "way").mkdir()
    assert led(run, SAYS_HERE) == "failed way.sock: No such file or directory"


@pytest.mark.parametrize("form", ["nothing", "a link", "a file"])
def test_its_socket_lies_in_no_place_that_qemu_has_made(run: Path, form: str) -> None:
    others = run / "others"
    others.mkdir()
    if form == "a link":
        (run / "way").symlink_to(others)
    elif form == "a file":
        (run / "way").write_text("")
    assert led(run, SAYS_HERE) == "lacks place"


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives a directory away")
def test_its_socket_lies_in_no_directory_of_another_user(run: Path) -> None:
    (run / "way").mkdir(mode=0o777)
    os.chown(run / "way", 1900000001, -1)
    assert led(run, SAYS_HERE) == "lacks place"
