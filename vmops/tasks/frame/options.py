"""The options that tasks share: what `--help` says of each, and the rule for its value.

An option means the same in every task, and so does its letter.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import Any, NamedTuple

from vmops.errors import InventoryError

Rule = Callable[[Any], str | None]
"""Says what a value must be where it is not; None for a good one."""


class Option(NamedTuple):
    """An option of a task: its help, and the rule for a value that is given.

    `not_with` are other options of the task beside which it would be ignored, each with why;
    `only_with` is one without which it would be, empty where there is none. `names` is what its
    value names in hosts.toml, for completion: one of `completer.NAMED`. One that is `required`
    is refused where it is left out, if by the body of the task.
    """

    help: str
    rule: Rule | None = None
    not_with: Mapping[str, str] = {}
    only_with: str = ""
    names: str = ""
    required: bool = False


def at_least(least: float, unit: str = "") -> Rule:
    """The rule for a number with a lower bound."""
    words = f"{least:g} {unit}".strip()
    return lambda value: None if value >= least else f"must be {words} or more"


def between(least: int, most: int, unit: str = "") -> Rule:
    """The rule for a number with two bounds."""
    words = f"must be {least} to {most} {unit}".strip()
    return lambda value: None if least <= value <= most else words


class OneOf:
    """The rule for a word out of a few."""

    def __init__(self, words: tuple[str, ...]) -> None:
        self.words = words

    def __call__(self, value: object) -> str | None:
        """What it must be where it is none of them."""
        return None if value in self.words else f"must be one of {', '.join(self.words)}"


def one_of(*words: str) -> OneOf:
    """The rule for a word out of a few, which completion knows too."""
    return OneOf(words)


def _more_than_nothing(seconds: float) -> str | None:
    return None if seconds > 0 else "must be more than 0 seconds"


MOST_PORT = 65535


def a_port(port: int) -> str | None:
    """The rule for a port of this machine; 0 is that any free one will do."""
    return None if 0 <= port <= MOST_PORT else f"must be 1 to {MOST_PORT}, or 0 for a free one"


JSON = "json"

VMS = Option("The VM's name; several separated by commas, or a glob such as 'web*'.", names="vms")
VM = VMS._replace(required=True)
ONE_VM = Option("The VM's name; one VM only.", names="vms", required=True)
FORMAT = Option("text (default) or json.", one_of("text", JSON))
TIMEOUT = Option(
    "Seconds to give the guest to power off before QEMU is ended the hard way (default 30).",
    at_least(0, "seconds"),
)
PARALLEL = Option(
    "How many workers to work on at once (default 32).",
    lambda value: None if value >= 0 else "must be 1 or more",
)
FORCE_STOP = Option("Kill QEMU at once, without asking the guest.")
DIRECT = Option(
    "Send it from worker to worker, where they reach each other, and not by way of this machine.",
    not_with={"cold": "is for VMs that go on running, and --cold stops them"},
)
OVERCOMMIT = Option("Start the VMs even if the worker lacks free memory for them.")
STRICT = Option("Refuse, and undo everything, if an interface cannot be plugged.")
HERE = Option("Do not ask the other workers first whether the VM runs there.")
PUSH = Option("Bring images that a VM needs and its worker lacks (default); else it is refused.")
LINES = Option("How many of the last lines to show first.", at_least(0))
INTERVAL = Option(
    "Seconds between two refreshes, such as 0.5 (default 2).",
    _more_than_nothing,
    only_with="watch",
)
WATCH = Option("Refresh until q or Ctrl-C; in a pipe, print a block each time.")
WORKER = Option(
    "Workers by name, several, or a glob; not together with -H. Default: all.", names="workers"
)
ONE_WORKER = Option(
    "Workers by name, several, or a glob; required unless -H names one.",
    names="workers",
    required=True,
)

LETTERS: Mapping[str, str] = {
    "vm": "v",
    "worker": "w",
    "timeout": "t",
    "parallel": "p",
    "interval": "i",
    "follow": "f",
    "lines": "n",
    "output": "o",
    "keys": "k",
    "until": "u",
}
"""The only options with a letter, and never one that ends or replaces something."""


def check(options: Mapping[str, Option], values: Mapping[str, Any]) -> None:
    """Raise InventoryError for the first value that is empty, or else breaks its option's rule.

    An empty text comes from a variable that is not set: it never means "all".
    """
    for name, value in values.items():
        texts = value if isinstance(value, list) else [value]
        if any(isinstance(text, str) and not text for text in texts):
            needed = name in options and options[name].required
            cure = "give it a value" if needed else "give it a value, or leave it out"
            raise InventoryError(f"--{as_option(name)} '': the value is empty", cure=cure)
    for name, value in values.items():
        rule = options[name].rule if name in options else None
        wrong = rule(value) if rule and value is not None else None
        if wrong:
            shown = f"{value:g}" if isinstance(value, int | float) else repr(value)
            raise InventoryError(f"--{as_option(name)} {shown}: {wrong}")


def check_together(options: Mapping[str, Option], given: Container[str]) -> None:
    """Raise InventoryError for the first option that is given and would be ignored, as another one
    is given too, or is not."""
    for name, option in options.items():
        if name not in given:
            continue
        typed = as_option(name)
        for other, why in option.not_with.items():
            if other in given:
                raise InventoryError(f"--{typed} {why}", cure="leave one out")
        if option.only_with and option.only_with not in given:
            needed = as_option(option.only_with)
            raise InventoryError(
                f"--{typed} means nothing without --{needed}",
                cure=f"add --{needed}, or leave --{typed} out",
            )


def as_option(name: str) -> str:
    """A parameter's name as it is typed, behind --."""
    return name.rstrip("_").replace("_", "-")
