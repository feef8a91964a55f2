"""The words behind `--`, for a task of ours that takes them.

Invoke joins them to one text, which loses where each of them ends; and Fabric runs that text as a
task of its own, on this machine where no -H is given. So they are taken before it comes to that.
"""

from __future__ import annotations

from typing import Any

_rest: list[str] = []


def rest() -> tuple[str, ...]:
    """The words behind `--`; none where there were none, or no task of ours takes any."""
    return tuple(_rest)


def take(program: Any) -> None:
    """Take them away from the program, if one of its tasks that are named takes them.

    `program` is a `Program` that has parsed its own options and not yet those of its tasks.
    """
    tasks = program.collection.task_names
    names = {name: {name, *aliases} for name, aliases in tasks.items()}
    takers = [
        name
        for name, words in names.items()
        if words & set(program.words) and getattr(program.collection[name], "takes_rest", False)
    ]
    argv = list(program.invoked.argv)
    if takers and "--" in argv:
        _rest[:] = argv[argv.index("--") + 1 :]
        program.invoked.core.remainder = ""
