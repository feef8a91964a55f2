"""A VM's logs: what is asked for, and what the answers mean."""

from __future__ import annotations

import pytest

from vmops.core.devices.machine import LOG_KIB
from vmops.core.facts import logs
from vmops.core.facts.logs import Marks, Part, Reader
from vmops.core.facts.question import Answers, block_of
from vmops.core.script.command import BlockResult, StepResult


def answer(console: bytes, *, qemu: bytes = b"0 0\n", exit_code: int = 0) -> Answers:
    """What a worker says of the logs of vm1."""
    first, second = block_of(Reader("vm1").questions).numbered()
    steps = (StepResult(first, exit_code, console), StepResult(second, exit_code, qemu))
    return Answers(BlockResult("", "done", steps))


@pytest.mark.parametrize(
    ("said", "mark", "part"),
    [
        (b"0 5\nhello", 0, Part(b"hello", 5)),
        (b"5 5\n", 5, Part(b"", 5)),
        (b"700 712\nline\nand line", 0, Part(b"line\nand line", 712)),
        (b"700 712\nline\nand line", 650, Part(b"line\nand line", 712, missed=50)),
        (b"0 3\nnew", 900, Part(b"new", 3)),
    ],
    ids=["whole", "nothing new", "only the end at first", "too fast", "begun anew"],
)
def test_a_part_of_a_log(said: bytes, mark: int, part: Part) -> None:
    found = Reader("vm1", Marks(console=mark)).read(answer(said))
    assert found.console == part
    assert found.marks == Marks(part.end, 0)


def test_a_log_that_is_not_there_is_none() -> None:
    found = Reader("vm1").read(answer(b"", exit_code=1))
    assert (found.console, found.qemu, found.are_there) == (None, None, False)


@pytest.mark.parametrize("said", [b"", b"one two\n", b"1\n"])
def test_an_answer_that_cannot_be_read_costs_that_log_alone(said: bytes) -> None:
    found = Reader("vm1").read(answer(said))
    assert (found.console, found.qemu) == (None, Part())


def test_both_logs_and_what_is_printed_next_have_room() -> None:
    assert logs.MOST_READ_KIB < logs.KEPT_KIB
    assert 2 * (logs.KEPT_KIB + logs.KEPT_KIB // 8) < LOG_KIB
    assert logs.RESERVED_KIB < logs.KEPT_KIB
