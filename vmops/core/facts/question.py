"""A fact is one thing: what to ask a worker, how to read the answer, and how long it may take.

Any number of questions travel in one exchange. One that cannot be read costs only what depends on
it: "could not read" is never "absent". What a question runs is shown in a dry run like any other
command.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

from vmops.core.script.command import Block, BlockResult, Command, Step, StepResult

T = TypeVar("T")


class Question(NamedTuple, Generic[T]):
    """What is asked, under a `name` of its own, and how the answer is read.

    `read` gets what the commands said and raises ValueError for what it cannot read. A command
    that fails is a question that could not be answered, unless it `may_fail`.
    """

    name: str
    commands: tuple[Command, ...]
    read: Callable[[StepResult], T]
    time_limit_s: float = 60.0
    may_fail: bool = False


NO_PERL = "no perl there: without it VMs can be neither seen nor controlled"
PERL_CURE = "there: sudo apt install perl-base"

_PERL_IS_MISSING = re.compile(
    r"\bperl\W*: (command not found|not found|No such file|Permission denied)"
)


class Unanswered(ValueError):
    """A question that was not answered, or not so that it could be read. The text says why.

    `cure` is what helps, where that is known.
    """

    def __init__(self, why: str, *, cure: str = "") -> None:
        super().__init__(why)
        self.cure = cure


class Answers:
    """What a worker answered to several questions in one exchange."""

    def __init__(self, result: BlockResult) -> None:
        self._result = result

    def __getitem__(self, question: Question[T]) -> T:
        """The answer, read. Raises Unanswered."""
        found = self.raw(question)
        if found is None:
            raise Unanswered("the answer was cut short")
        if not found.ok and not question.may_fail:
            raise _unanswered(found)
        try:
            return question.read(found)
        except (ValueError, KeyError, IndexError, TypeError, RecursionError) as unreadable:
            raise Unanswered(f"what was answered cannot be read: {unreadable}") from unreadable

    def raw(self, question: Question[Any]) -> StepResult | None:
        """The answer as it came; None where none did."""
        return self._result.find(question.name)


def _unanswered(found: StepResult) -> Unanswered:
    reason = found.reason()
    if _PERL_IS_MISSING.search(reason):
        return Unanswered(NO_PERL, cure=PERL_CURE)
    return Unanswered(reason)


def block_of(questions: tuple[Question[Any], ...], *, lock: str = "") -> Block:
    """The block which asks them in order; with a `lock`, while nobody changes what it guards."""
    steps = tuple(Step(each.name, each.commands, may_fail=True) for each in questions)
    return Block("", steps, lock=lock)


def time_limit_s(questions: tuple[Question[Any], ...]) -> float:
    """How long all of them together may take: as long as the slowest."""
    return max(each.time_limit_s for each in questions)


def text_of(said: StepResult) -> str:
    """An answer as text. What is no UTF-8 is replaced."""
    return said.stdout.decode(errors="replace")


def lines_of(said: StepResult) -> list[str]:
    """The lines of an answer. A line ends at a newline only: Python's own idea of a line's end has
    more, some of which may stand in a name."""
    return [line for line in text_of(said).split("\n") if line]
