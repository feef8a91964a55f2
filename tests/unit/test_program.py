"""The words of the console command that are refused before any task begins."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def vmops(folder: Path, *words: str) -> tuple[int, str]:
    """The exit code and standard error of the command in that folder, without an inventory."""
    code = "from vmops.tasks.program import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=folder,
        env={key: value for key, value in os.environ.items() if key != "VMOPS_HOSTS"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param("stop --vm vm1 --timeout abc", "'abc' is no number", id="whole-number"),
        pytest.param("status --interval soon", "'soon' is no number", id="number"),
        pytest.param("-t abc ps", "'abc' is no number", id="fabs-own-number"),
        pytest.param("ps --nonsense", "--nonsense", id="unknown-option"),
        pytest.param("-H worker1, ps", "no worker is named", id="comma-at-the-end"),
        pytest.param("-H @ ps", "no worker is named", id="user-alone"),
        pytest.param("-H worker1:ssh ps", "the port must be a number", id="port"),
    ],
)
def test_words_that_cannot_be(words: str, said: str, tmp_path: Path) -> None:
    code, err = vmops(tmp_path, *words.split())
    assert (code, "Traceback" in err) == (2, False)
    assert said in err


def test_a_folder_without_an_inventory_is_named(tmp_path: Path) -> None:
    code, err = vmops(tmp_path, "ps")
    assert code == 2
    assert f"{tmp_path}/hosts.toml: there is no such file" in err
