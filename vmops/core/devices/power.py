"""The power button: asking a guest to power off, by ACPI, and what came of that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from vmops.core.script.command import Step
from vmops.core.tools import monitor, process, qmp
from vmops.core.tools.monitor import Await, Heard, Line, Talk
from vmops.core.tools.process import Process

ASK = "power button"
"""The label of the step that asks."""

OVER = "over"
"""The flag it sets when QEMU has said that it ends, or has hung up."""

PRESSES = 2
"""How often the button is pressed: at the first press, some guests only ask what was meant."""

QUIT_WAIT_S = 5.0
"""A QEMU that has not said by then that it quits gets a signal."""


class Asked(NamedTuple):
    """What came of asking a guest to power off.

    `how` is what ended it, as `qmp.ended_by` has it, or empty where it may still run. `presses` is
    how often the button was pressed, and `note` what the operator has to know.
    """

    how: str = ""
    presses: int = 0
    note: str = ""


class Asking(NamedTuple):
    """How a guest is asked: QEMU's word for what it does, and the seconds it has to power off."""

    status: str
    timeout_s: float

    def step(self, vm: str, found: Process) -> Step:
        """Press the button, again at half of the time, and at its end tell QEMU to quit.

        Only while the VM's QEMU is that process: the script may come late, to one that was started
        since. A guest that stands still is made to run on first; one that cannot react is told to
        quit at once.
        """
        lines: list[Line] = []
        if can_react(self.status):
            awakening = qmp.awakening(self.status)
            for press in range(PRESSES):
                lines.append(qmp.POWER_DOWN)
                if press == 0 and awakening is not None:
                    lines.append(awakening)
                lines.append(Await(qmp.SHUTDOWN, self.timeout_s / PRESSES))
        lines += [qmp.QUIT, Await(qmp.SHUTDOWN, QUIT_WAIT_S)]
        talk = monitor.talk([Talk(vm, tuple(lines))])
        commands = (process.still_running(vm, found), process.note_end(vm), talk)
        return Step(ASK, commands, sets=(OVER,), may_fail=True)

    def read(self, heard: Heard) -> Asked:
        """What came of it, from what the monitor said."""
        presses = min(PRESSES, _presses(heard, self.status))
        farewell = _farewell(heard.events)
        if farewell is None and heard.ended not in ("whole", "hung up"):
            return Asked(note=f"{monitor.why(heard)}; its guest is not waited for")
        if farewell is None and heard.ended == "hung up":
            return Asked("", presses, "its monitor hung up while its guest was being asked")
        how = "" if farewell is None else qmp.ended_by(farewell)
        return Asked(how, presses, _note(self.status, how, self.timeout_s))


def can_react(status: str) -> bool:
    """True for a guest that runs, or that can be made to run on."""
    return status == qmp.RUNNING or qmp.awakening(status) is not None


def wait_s(timeout_s: float) -> float:
    """How long asking takes at most."""
    return timeout_s + QUIT_WAIT_S


def _note(status: str, how: str, timeout_s: float) -> str:
    if not can_react(status):
        return f"it is {status}, so its guest cannot react"
    if status != qmp.RUNNING:
        return f"it was {status}, and goes on so that its guest can power off"
    return "" if how not in ("", "quit") else f"its guest did not react within {timeout_s:g} s"


def _presses(heard: Heard, status: str) -> int:
    """Of the answers one may be to waking up, and the last one to the request to quit."""
    if not can_react(status):
        return 0
    awakenings = 0 if status == qmp.RUNNING else 1
    return max(0, len(heard.answers) - awakenings)


def _farewell(events: tuple[Mapping[str, Any], ...]) -> Mapping[str, Any] | None:
    """The data of the event with which QEMU says that it ends; None when it said nothing."""
    said = [event for event in events if event.get("event") == qmp.SHUTDOWN]
    data = said[-1].get("data") if said else None
    return data if isinstance(data, Mapping) else ({} if said else None)
