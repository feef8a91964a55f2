"""Tasks that are known by name, and whose modules are imported when one of them is called.

A program asks the collection for its names at every start; what else a task is, one task a command
is asked for, or all of them for `--list`. To import all modules at once took 12 ms.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from vmops.interrupt import leave_at_once
from vmops.tasks.frame.task import Task


class _Later(Task):
    def __init__(self, name: str, home: tuple[str, str]) -> None:
        self._name = name
        self.home = home
        self.aliases = ()
        self.is_default = False

    def __getattr__(self, name: str) -> Any:
        """What only the task itself has: called for what is not found."""
        if "home" not in vars(self):  # a copy that has nothing yet
            raise AttributeError(name)
        return getattr(_arrived(self), name)

    def __deepcopy__(self, memo: object) -> _Later:
        """Itself. Invoke copies every task of a fabfile, and changes none."""
        return self

    def __eq__(self, other: object) -> bool:
        return bool(_arrived(self) == other)

    def __hash__(self) -> int:
        return hash(_arrived(self))


def _doc(task: Any) -> Any:
    return _arrived(task).__doc__


_Later.__doc__ = property(_doc)  # type: ignore[assignment]
"""The docstring of the task itself, where an object would find that of its class."""


def _arrived(task: Any) -> Any:
    """The same object, which is the task itself from now on."""
    module, function = task.home
    back = leave_at_once()
    try:
        found = getattr(import_module(module), function)
    finally:
        back()
    task.__dict__ = found.__dict__
    task.__class__ = type(found)
    return task


def home_of(task: Any) -> tuple[str, str]:
    """The module of its body and its name there; nothing is imported for that."""
    if isinstance(task, _Later):
        return task.home
    return getattr(task.body, "__module__", ""), getattr(task.body, "__name__", "")


def tasks_of(module: str, names: str) -> list[Task]:
    """Those of these names, which a module of `vmops.tasks` has: `name`, or `name=function` where
    its function is called otherwise. Each becomes that task as soon as more than its name is asked.
    """
    found: list[Task] = []
    for word in names.split():
        name, _, function = word.partition("=")
        home = f"vmops.tasks.{module}", function or name.replace("-", "_")
        found.append(_Later(name, home))
    return found
