"""Options that stand where a task still waits for an argument: Invoke would take them for it.

`fab -H worker1 run --help` is a question, and must not run `--help` there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from invoke.exceptions import ParseError
from invoke.parser.parser import Parser

HELP = frozenset({"-h", "--help"})

_OPTION = re.compile(r"--?[A-Za-z]")


class _Eaten(NamedTuple):
    """An option that is none of its task's, and the task, which waits for an argument there."""

    word: str
    context: Any


def eaten(parser: Parser, words: Sequence[str]) -> _Eaten | None:
    """The first that would be taken for an argument, None where there is none.

    `words` are tasks and their options, without what stands behind `--`. A complaint about anything
    else is left to who parses all of them.
    """
    if not any(context.missing_positional_args for context in parser.contexts.values()):
        return None  # no task among them takes any
    return next(_all(parser, words), None)


def _all(parser: Parser, words: Sequence[str]) -> Iterator[_Eaten]:
    for n, word in enumerate(words):
        if not _OPTION.match(word):
            continue
        try:
            parser.parse_argv(list(words[:n]))
        except (ParseError, ValueError) as error:
            context = getattr(error, "context", None)
            if _waits(error) and not _is_its_own(word, context):
                yield _Eaten(word, context)


def _waits(error: Exception) -> bool:
    """True where the words before are fine, and end within a task that lacks an argument.

    An option that lacks its value is told first: what follows that one is its value.
    """
    return "did not receive required positional arguments" in str(error)


def _is_its_own(word: str, context: Any) -> bool:
    """True for `--timeout`, `--timeout=5`, `-t` and `-t5` of a task that has them."""
    flag = word.partition("=")[0] if word.startswith("--") else word[:2]
    return flag in context.flags or flag in context.inverse_flags
