"""The moment before a program parses its command line.

A program asks each task for its options then. With the first of ours we look at the words before
the program does, to say more than "No idea what 'vm1' is": in fab too, whose own code is not ours.
"""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterator, Sequence
from typing import Any

import fabric.connection
from invoke.exceptions import Exit, ParseError
from invoke.parser.argument import Argument
from invoke.parser.context import ParserContext
from invoke.parser.parser import Parser

from vmops.interrupt import leave_at_once
from vmops.tasks.frame.options import as_option
from vmops.tasks.typed.eaten import HELP, eaten
from vmops.tasks.typed.program import Program, running
from vmops.tasks.typed.rest import take

BAD_INPUT = 2

_begun: list[tuple[Any, frozenset[int]]] = []
"""The programs of this process that have been here, each with the tasks that its words may name."""


def begin() -> None:
    """Once for each program. Raises Exit with code 2 for a command line that cannot be parsed."""
    program = running()
    if program is None or program.collection is None:
        return
    if any(program.invoked is one for one, _ in _begun):
        return
    _begun.append((program.invoked, _named(program)))
    if _only_tells(program):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if all(is_ours(program.collection[name]) for name in program.collection.task_names):
        leave_at_once()
    _check_help(program)
    take(program)
    _check_rest(program)
    _check_hosts(program.hosts)
    _check_words(program)


def is_asked_in_vain(task: Any) -> bool:
    """True while a program makes its parser, for a task that none of its words can name.

    It asks each task for its options then, and copies all of them, of which it uses those of the
    tasks that are named.
    """
    program = running()
    if program is None or hasattr(program.invoked, "parser"):
        return False
    return any(program.invoked is one and id(task) not in named for one, named in _begun)


def _named(program: Program) -> frozenset[int]:
    """Which tasks the words may name: rather too many of them, as `--complete` gets all its words
    as one, and `--help` takes a name as its value."""
    given = " ".join(program.invoked.argv[1:])
    names = program.collection.task_names.items()
    return frozenset(
        id(program.collection[name])
        for name, aliases in names
        if any(word in given for word in (name, *aliases))
    )


def is_ours(task: Any) -> bool:
    """True for a task that has our frame."""
    return hasattr(task, "framed")


def _only_tells(program: Program) -> bool:
    """True for `--list`, `--help` and the like, which end like any program when their reader has
    left: `fab --list | head`."""
    args = program.invoked.core[0].args
    asks = HELP & set(program.words)
    return bool(args.list.value or args.help.value or asks or not program.words)


def _check_help(program: Program) -> None:
    """Help of what is no task: the program itself says that it has no idea."""
    asked = program.invoked.core[0].args.help.value
    tasks = program.collection.task_names.items()
    names = [name for task, aliases in tasks for name in (task, *aliases)]
    if isinstance(asked, str) and asked not in names:
        from vmops.tasks.typed.words import unknown_help

        raise refusal(unknown_help(asked, names, program.typed))


def _check_rest(program: Program) -> None:
    """Fabric runs what stands behind `--` as a task of its own, on the hosts of -H. Behind one of
    ours it has none any more, and ends in a traceback. With `--complete` they are what was typed so
    far."""
    behind = program.invoked.core.remainder
    if not behind or program.invoked.core[0].args.complete.value:
        return
    tasks = program.collection.task_names.items()
    named = [name for name, aliases in tasks if {name, *aliases} & set(program.words)]
    for name in named:
        if is_ours(program.collection[name]):
            raise refusal(f"{name} takes no words behind --\n  {program.typed} {name} --help")
    if not named and program.hosts is None:
        command = shlex.quote(behind)
        raise refusal(f"-- {behind}: no worker is named\n  {program.typed} -H WORKER run {command}")


def _check_hosts(given: str | None) -> None:
    """Fabric takes -H apart before a task begins, and fails at what it cannot."""
    if given is None:
        return
    for host in given.split(","):
        try:
            found = fabric.connection.derive_shorthand(host)["host"]
        except ValueError:
            raise refusal(f"-H {host!r}: the port must be a number") from None
        if not found:
            hint = "-H takes names or addresses, USER@HOST:PORT too"
            raise refusal(f"-H {given!r}: no worker is named\n  {hint}")


def _check_words(program: Program) -> None:
    """Parse the words as the program will, among the tasks that they can mean."""
    tasks = program.collection.task_names
    meant = [
        ParserContext(name=name, aliases=aliases, args=program.collection[name].get_arguments())
        for name, aliases in tasks.items()
        if {name, *aliases} & set(program.words)
    ]
    names = [name for task, aliases in tasks.items() for name in (task, *aliases)]
    parser = Parser(contexts=meant, initial=program.invoked.initial_context)
    if _is_help(program, parser):
        return
    try:
        parser.parse_argv(list(program.words))
    except ParseError as error:
        from vmops.tasks.typed.words import better

        raise refusal(better(str(error), error.context, names, program.typed)) from None
    except ValueError as error:
        raise no_number(error, program.typed, *_option_of(error, meant, program.words)) from None


def _option_of(
    error: ValueError, meant: Sequence[ParserContext], words: Sequence[str]
) -> tuple[str, str]:
    """The option that was given what is no number, and its task; in general words where that is not
    sure."""
    found = [
        (f"--{as_option(argument.name)}", str(context.name))
        for context in meant
        for argument in context.args.values()
        if argument.kind in (int, float) and _said(error) in map(repr, _given(argument, words))
    ]
    options, tasks = ({*some} for some in zip(*found, strict=True)) if found else (set(), set())
    return (
        options.pop() if len(options) == 1 else "the option",
        tasks.pop() if len(tasks) == 1 else "TASK",
    )


def _given(argument: Argument, words: Sequence[str]) -> Iterator[str]:
    """What the words give an option: `--timeout 5`, `--timeout=5`, `-t 5`, `-t5`."""
    for name in argument.names:
        flag = f"-{name}" if len(name) == 1 else f"--{as_option(name)}"
        for word, after in zip(words, (*words[1:], ""), strict=True):
            if word == flag:
                yield after
            elif word.startswith(f"{flag}="):
                yield word.removeprefix(f"{flag}=")
            elif len(name) == 1 and word.startswith(flag):
                yield word.removeprefix(flag)


def _is_help(program: Program, parser: Parser) -> bool:
    """True where help of a task of ours is asked for in the place of an argument: then nothing but
    that is left of the words. Another option in such a place is refused."""
    found = eaten(parser, program.words)
    if found is None or not is_ours(program.collection[found.context.name]):
        return False
    if found.word not in HELP:
        from vmops.tasks.typed.words import in_place_of_argument

        core = program.invoked.initial_context
        raise refusal(in_place_of_argument(found.word, found.context, core, program.typed))
    program.invoked.core[0].args.help.value = found.context.name
    program.invoked.core.unparsed[:] = []
    return True


def _said(error: ValueError) -> str:
    """What is no number, quoted, as Python's own error ends."""
    return str(error).rpartition(": ")[2]


def no_number(
    error: ValueError, program: str, option: str = "the option", task: str = "TASK"
) -> Exit:
    """For what is no number where an option takes one: Invoke lets Python's own error through."""
    what = f"{_said(error)} is not a number, and {option} takes one"
    return refusal(f"{what}\n  {program} --help {task}")


def refusal(why: str) -> Exit:
    """The end of a program that was given words that cannot be."""
    return Exit(f"error: {why}", code=BAD_INPUT)
