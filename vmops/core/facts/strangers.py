"""The QEMUs of a worker, whoever started them."""

from __future__ import annotations

from collections.abc import Mapping

from vmops.core.facts.question import Question
from vmops.core.script.command import FACT_BYTES, StepResult, command
from vmops.core.tools import process
from vmops.core.tools.process import Process

NAME = "QEMUs"


def _read(said: StepResult) -> Mapping[int, Process]:
    found = (process.parse(raw) for _, raw in said.parts)
    return {each.pid: each for each in found if each is not None}


def qemus(*pids: int) -> Question[Mapping[int, Process]]:
    """Each process that the kernel calls a QEMU, and these, by PID."""
    asked = command("qemu_facts", *map(str, pids), most_bytes=FACT_BYTES)
    return Question(NAME, (asked,), _read)


QEMUS = qemus()
"""For its name: what is asked depends on the PIDs."""
