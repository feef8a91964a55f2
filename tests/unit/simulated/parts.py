"""What a worker in memory is made of, and how it may fail."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from vmops.core.tools.monitor import Refused

Manner = Literal["refused", "reported", "cut", "gone"]
"""How a command fails: it does nothing; it does its work and is said to have failed; the script is
ended before it, and nothing is undone; the operator is gone by then."""


class Failed(Exception):
    """A command of the script ended with another code than 0."""


class Cut(Exception):
    """The script was ended in the middle: the worker lost its power, or root killed it."""


@dataclass
class Qemu:
    """A process that has TAPs open. `vm` is empty for one that somebody else has started.

    `disks` are its further ones: the file of each, and `cards` those that have a card. The guest of
    a `stubborn` one lets go of none.
    """

    started: int
    argv: tuple[str, ...]
    taps: tuple[str, ...]
    vm: str = ""
    held: bool = False
    deaf: bool = False
    stubborn: bool = False
    disks: dict[str, str] = field(default_factory=dict)
    cards: set[str] = field(default_factory=set)

    @property
    def listens(self) -> bool:
        """True where its monitor answers."""
        return not (self.held or self.deaf)

    def drives(self) -> tuple[Any, ...]:
        """What its monitor answers to what is asked of drives."""
        first = {"node-name": "#block1", "drv": "qcow2", "file": "/first", "ro": False}
        nodes = {
            name: {"node-name": f"disk-{name}", "drv": path.rpartition(".")[2], "file": path}
            for name, path in self.disks.items()
        }
        attached = [first, *(node for name, node in nodes.items() if name in self.cards)]
        blocks = [{"removable": False, "qdev": "", "inserted": node} for node in attached]
        return blocks, [], [first, *nodes.values()], Refused("no balloon")


@dataclass
class Directory:
    """A run directory: the process that root has written down, what the pidfile says, that vmops is
    ending the VM, and the instance-id of its seed."""

    record: int | None = None
    pidfile: int | None = None
    ended: bool = False
    seed: str = ""


class Fault(NamedTuple):
    """Which command fails, counted from 0, and how; `lasts` is that the switch fails from then on.

    It is found again in each script anew.
    """

    at: int
    manner: Manner
    lasts: bool = False


def need(condition: object, why: str) -> None:
    if not condition:
        raise Failed(why)
