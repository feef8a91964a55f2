"""A test run in the background, or under nohup, starts children like one on a terminal."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

ASKED = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
CHILD = """
import subprocess
if {prepared}:
    import tests.conftest
print(subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True).stdout)
"""


def ignored_by_a_child(*, prepared: bool) -> set[signal.Signals]:
    """What a child of a process ignores that was itself started to ignore all of `ASKED`."""
    run = [sys.executable, "-c", CHILD.format(prepared=prepared)]
    in_the_background = ["env", *(f"--ignore-signal={number.name[3:]}" for number in ASKED), *run]
    out = subprocess.run(in_the_background, capture_output=True, text=True, check=True).stdout
    (mask,) = [int(line.split()[1], 16) for line in out.splitlines() if line[:7] == "SigIgn:"]
    return {number for number in ASKED if mask & 1 << number - 1}


@pytest.mark.parametrize("prepared", [False, True])
def test_children_ignore_nothing_that_the_run_was_started_to_ignore(prepared: bool) -> None:
    assert ignored_by_a_child(prepared=prepared) == (set() if prepared else set(ASKED))
