"""For all rings: signals and sizes are as on a terminal, and property tests are held to no time for
one example, the machine may be busy. In CI a tool that is missing is a failure, and property tests
try the same examples each time: CI judges a change, not what chance has found in another's."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import settings

IN_CI = bool(os.environ.get("CI"))

settings.register_profile("vmops", deadline=None, derandomize=IN_CI)
settings.load_profile("vmops")


def take_signals_as_a_terminal_gives_them() -> None:
    """Let children have the default action of what this process was started to ignore.

    A shell starts what it sends to the background with SIGINT and SIGQUIT ignored, nohup does so
    with SIGHUP, and every child inherits it. A signal that is handled is back at its default after
    exec, so a handler that does nothing keeps this process as it was asked to be.
    """
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


take_signals_as_a_terminal_gives_them()

# The workers of pytest-xdist have them, and they count for more than the size of a terminal.
for name in ("COLUMNS", "LINES"):
    os.environ.pop(name, None)

LEFT_OUT = ("takes long:", "this very test runs over SSH")
"""How the reasons begin for which a test may be skipped in CI too."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Make a failure in CI of what is skipped because this machine lacks something."""
    report = yield
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        why = reason_of(report.longrepr)
        if not why.startswith(LEFT_OUT):
            report.outcome = "failed"
            report.longrepr = f"skipped, which is a failure in CI: {why}"
    return report


def reason_of(longrepr: Any) -> str:
    """Why a test was skipped, in the words of its author."""
    said = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
    return said.removeprefix("Skipped: ")
