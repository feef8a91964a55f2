"""A better word for a command line that cannot be parsed: the one that was probably meant."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

ELSEWHERE: Mapping[str, str] = {
    "apply": "up",
    "attach": "console",
    "check": "doctor",
    "connect": "console",
    "continue": "resume",
    "create": "launch",
    "define": "launch",
    "delete": "destroy",
    "diff": "plan",
    "display": "vnc",
    "freeze": "pause",
    "halt": "stop",
    "help": "--help",
    "info": "status",
    "inspect": "status",
    "keys": "sendkey",
    "kill": "stop --force",
    "list": "ps",
    "log": "logs",
    "ls": "ps",
    "poweroff": "stop",
    "reboot": "restart",
    "remove": "destroy",
    "rm": "destroy",
    "screen": "screenshot",
    "serial": "console",
    "show": "status",
    "shutdown": "stop",
    "ssh": "run",
    "start": "launch",
    "suspend": "pause",
    "tail": "logs --follow",
    "terminate": "stop",
    "top": "ps --watch",
    "unfreeze": "resume",
    "unpause": "resume",
    "version": "--version",
    "view": "vnc",
}
"""What other programs call it, and what it is here."""

_NO_VALUE = re.compile(r"Flag <Argument: (\S+?)(?: \((\S+)\))?(?: \[\w+\])?\*?> needed value .*")
_LACKING = re.compile(r"'(.*)' did not receive required positional arguments: (.*)")
_UNKNOWN = re.compile(r"No idea what '(.*)' is!", re.DOTALL)


def better(said: str, context: Any, names: Sequence[str], program: str) -> str:
    """What is wrong, and below it the command that was probably meant.

    `said` is the parser's own complaint, `context` the task that it was in, None before the first,
    `names` are those of all tasks that there are.
    """
    unknown = _UNKNOWN.fullmatch(said)
    task = getattr(context, "name", None)
    if unknown is None:
        help_of = f"{program} {task} --help" if task else f"{program} --help"
        return f"{plain(said)}\n  {help_of}"
    word = unknown[1]
    if word.startswith("-"):
        return _option(word, context, program)
    here = {name.rpartition(".")[2]: name for name in reversed(names)}
    here |= {name: name for name in names}
    meant = _meant(word, here)
    if meant is not None:
        return f"there is no task {word!r}\n  did you mean: {program} {meant}"
    if task is not None and "vm" in context.args:
        goes = "to" in context.args and "worker" in context.args["to"].help
        to = context.args["to"].value if goes else None
        if given := context.args["vm"].value:
            if goes and not to:
                named = f"{task}: the worker is named with --to"
                return f"{named}\n  {program} {task} --vm {given} --to {word}"
            if task == "exec":
                behind = f"{task}: the program and its arguments stand behind --"
                return f"{behind}\n  {program} {task} --vm {given} -- {word}"
            return (
                f"{task} takes no {word!r} behind --vm {given}\n"
                f"  {program} {task} --help; a glob stands in quotes: --vm '*'"
            )
        more = f" --to {to or 'WORKER'}" if goes else ""
        return f"{task}: a VM is named with --vm\n  {program} {task} --vm {word}{more}"
    if task is not None and "worker" in context.args and not context.args["worker"].value:
        return f"{task}: a worker is named with --worker\n  {program} {task} --worker {word}"
    listed = f"{program} --list shows all tasks"
    return f"there is no task {word!r}\n  {listed}"


def unknown_help(word: str, names: Sequence[str], program: str) -> str:
    """That there is no such task to have help of, and the one that was probably meant."""
    said = better(f"No idea what '{word}' is!", None, names, program)
    what, _, cure = said.partition("\n")
    meant = cure.strip().removeprefix(f"did you mean: {program} ")
    return said if meant == cure.strip() else f"{what}\n  did you mean: {program} --help {meant}"


def in_place_of_argument(word: str, context: Any, core: Any, program: str) -> str:
    """What is wrong with an option where the task still waits for an argument, and the cure.

    `core` is the context of the program's own options, which stand before the task.
    """
    given = word.partition("=")[0] if word.startswith("--") else word[:2]
    if given not in core.flags:
        return _option(word, context, program)
    lacking = context.missing_positional_args[0].name
    before = f"{program} {word} {context.name} ..."
    return f"{context.name}: {word} stands where its {lacking} should\n  {before}"


def plain(said: str) -> str:
    """Invoke's complaint about a value or an argument that is missing, as one would say it."""
    flag = _NO_VALUE.fullmatch(said)
    if flag:
        longest = max(flag[1], flag[2] or "", key=len)
        return f"--{longest} needs a value"
    lacking = _LACKING.fullmatch(said)
    if lacking:
        return f"{lacking[1]} lacks {lacking[2]}"
    return said


def _meant(word: str, here: Mapping[str, str]) -> str | None:
    """The task, as it is typed, that a word nearly names or that others name so."""
    lower = word.casefold()
    if lower in ELSEWHERE:
        task, *option = ELSEWHERE[lower].split(" ")
        return " ".join((here.get(task, task), *option))
    close = get_close_matches(lower, here, n=1, cutoff=0.7)
    return here[close[0]] if close else None


def _option(word: str, context: Any, program: str) -> str:
    """The same for an option."""
    given = word.partition("=")[0]
    task = getattr(context, "name", None)
    if task is None:
        return f"there is no option {given}\n  {program} --help"
    flags = [flag for flag in context.flags if flag.startswith("--")]
    close = get_close_matches(given, flags, n=1)
    meant = f"did you mean {close[0]}? " if close else ""
    return f"{task} has no option {given}\n  {meant}{program} {task} --help shows all"
