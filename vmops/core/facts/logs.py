"""The logs in a run directory: what the serial port printed, and what QEMU itself had to say.

Both lie on a small tmpfs, trimmed by whatever command meets the worker. What the guest prints while
nobody does fills the tmpfs at most; QEMU then drops the rest and goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from vmops.core.script.command import Block, BlockResult, Command, Step, command
from vmops.core.tools.qemu import LOG_KIB

KEPT_KIB = LOG_KIB * 3 // 8
"""What is kept of each of the two logs: together they leave room for what is printed next."""

MOST_READ_KIB = KEPT_KIB * 2 // 3
"""What is read at once: far enough from the beginning of what is kept, where others may trim."""

RESERVED_KIB = 64
"""Room that a guest cannot fill, so that QEMU can always say why it ends."""

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


def reserve(vm: str) -> Command:
    """Keep room for QEMU's own words."""
    return command("reserve_log", vm, str(RESERVED_KIB * 1024))


def ask(wanted: Mapping[str, Marks], *, lines: str = ALL_LINES) -> Block:
    """The block which reads what came after the marks, of each VM; of that, the last `lines`."""
    return Block(
        "",
        (
            Step("sizes", (command("measure_logs"),)),
            *(
                Step(_label(vm, log), (_read(vm, log, mark, lines),), may_fail=True)
                for vm, marks in wanted.items()
                for log, mark in ((CONSOLE, marks.console), (QEMU, marks.qemu))
            ),
        ),
    )


def read(result: BlockResult, vm: str, marks: Marks) -> Parts:
    """A VM's logs from the answer to `ask`. Raises ValueError for what cannot be read."""
    return Parts(
        _part(result, _label(vm, CONSOLE), marks.console),
        _part(result, _label(vm, QEMU), marks.qemu),
    )


def _label(vm: str, log: str) -> str:
    return f"{log} log of {vm}"


def _read(vm: str, log: str, mark: int, lines: str) -> Command:
    most = MOST_READ_KIB * 1024
    words = ("log_part", vm, log, str(mark), str(most), lines)
    return command(*words, most_bytes=most + 100)


def _part(result: BlockResult, label: str, mark: int) -> Part | None:
    found = result.find(label)
    if found is None or not found.ok:
        return None
    line, _, data = found.stdout.partition(b"\n")
    start, end = map(int, line.split())
    return Part(data, end, missed=max(0, start - mark) if mark else 0)
