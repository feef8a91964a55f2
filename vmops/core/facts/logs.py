"""The logs in a run directory: what the serial port printed, and what QEMU itself had to say.

Both lie on a small tmpfs, trimmed by whatever command meets the worker. What the guest prints while
nobody does fills the tmpfs at most; QEMU then drops the rest and goes on.
"""

from __future__ import annotations

from typing import NamedTuple

from vmops.core.devices.machine import LOG_KIB
from vmops.core.facts.question import Answers, Question, Unanswered
from vmops.core.script.command import Command, StepResult, command

KEPT_KIB = LOG_KIB * 3 // 8
"""What is kept of each of the two logs: together they leave room for what is printed next."""

MOST_READ_KIB = KEPT_KIB * 2 // 3
"""What is read at once: far enough from the beginning of what is kept, where others may trim."""

RESERVED_KIB = 64
"""Room that a guest cannot fill, so that QEMU can always say why it ends."""

READ_LIMIT_S = 60.0

_HEAD_BYTES = 100
"""Room for the line before a part that says where it lies."""

CONSOLE, QEMU = "console", "qemu"
ALL_LINES = "+1"
"""The number of lines, as `tail` has it, that means all of them."""


class Marks(NamedTuple):
    """How far a VM's logs have been read, in bytes."""

    console: int = 0
    qemu: int = 0


class Part(NamedTuple):
    """What was read of a log. It reaches to byte `end`; `missed` bytes before it are not there."""

    data: bytes = b""
    end: int = 0
    missed: int = 0


class Parts(NamedTuple):
    """What was read of a VM's logs. A log that is not there is None."""

    console: Part | None = None
    qemu: Part | None = None

    @property
    def marks(self) -> Marks:
        """Where the next reading begins."""
        return Marks(*(part.end if part else 0 for part in (self.console, self.qemu)))

    @property
    def are_there(self) -> bool:
        """True when there is a log at all."""
        return self.console is not None or self.qemu is not None

    @property
    def are_empty(self) -> bool:
        """True when there is nothing to show."""
        return not any(part and (part.data or part.missed) for part in (self.console, self.qemu))


def trim() -> Command:
    """Keep the newest of every log on the worker, and make room for more."""
    return command("trim_logs", str(KEPT_KIB))


SIZES: Question[None] = Question(
    "sizes of the logs", (command("measure_logs"),), lambda _: None, time_limit_s=READ_LIMIT_S
)
"""Asked first: the parts below are cut by what it finds."""


class Reader(NamedTuple):
    """The questions for what came after the marks in a VM's logs; of that, the last `lines`."""

    vm: str
    marks: Marks = Marks()
    lines: str = ALL_LINES

    @property
    def questions(self) -> tuple[Question[Part], Question[Part]]:
        """For the console's log, and for QEMU's."""
        return self._part(CONSOLE, self.marks.console), self._part(QEMU, self.marks.qemu)

    def read(self, answers: Answers) -> Parts:
        """The logs. One that is not there, or could not be read, is None."""
        return Parts(*(_or_none(answers, question) for question in self.questions))

    def _part(self, log: str, mark: int) -> Question[Part]:
        def read(said: StepResult) -> Part:
            line, _, data = said.stdout.partition(b"\n")
            start, end = map(int, line.split())
            return Part(data, end, missed=max(0, start - mark) if mark else 0)

        most = MOST_READ_KIB * 1024
        words = ("log_part", self.vm, log, str(mark), str(most), self.lines)
        asked = command(*words, most_bytes=most + _HEAD_BYTES)
        return Question(f"{log} log of {self.vm}", (asked,), read, time_limit_s=READ_LIMIT_S)


def _or_none(answers: Answers, question: Question[Part]) -> Part | None:
    try:
        return answers[question]
    except Unanswered:
        return None
