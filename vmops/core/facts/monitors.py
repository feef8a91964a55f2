"""What the monitors of a worker's VMs say, all of them asked at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vmops.core.devices.live import drives, nics, ports
from vmops.core.facts.question import Question
from vmops.core.facts.wiring import where_vms
from vmops.core.inventory.model import VM
from vmops.core.script.command import StepResult
from vmops.core.script.functions import NO_VMS
from vmops.core.tools import monitor, qmp
from vmops.core.tools.monitor import ANSWER_LIMIT_S, EVERY_VM, Heard, Line, Talk

LOOK_LIMIT_S = 2.0
"""For each monitor's greeting, and for each of its answers."""

NAME = "monitors"


def said_to(talks: Sequence[Talk]) -> Question[Mapping[str, Heard]]:
    """These talks; what is heard of each VM, by name. A refusal is an answer too."""
    return Question(NAME, (monitor.talk(talks),), _heard, may_fail=True)


def _heard(said: StepResult) -> Mapping[str, Heard]:
    return monitor.read_talk(said.stdout)


def _said_to_all(*lines: Line, limit_s: float) -> Question[Mapping[str, Heard]]:
    """The same said to every VM that is there; nothing is run where there is none."""
    asked = where_vms(monitor.talk([Talk(EVERY_VM, lines, limit_s)]))
    return Question(NAME, (asked,), _heard_where_vms, may_fail=True)


def _heard_where_vms(said: StepResult) -> Mapping[str, Heard]:
    return {} if said.stdout.strip() == NO_VMS.encode() else _heard(said)


_TOLD = (qmp.STATUS, nics.NETWORK)
_STATUS = (*_TOLD, *drives.HAS)


def statuses_of(vms: Sequence[VM]) -> Question[Mapping[str, Heard]]:
    """QEMU's word for what the guests of these VMs do, and what it has by now of interfaces and
    drives, and of root ports where its machine takes cards at those; nothing is run where none of
    them is there.

    Whatever nobody has said of one is not known: a monitor may be busy.
    """
    return _said_to_each(
        {
            vm.name: (*_TOLD, ports.BUSES, *drives.HAS) if ports.needs(vm.machine) else _STATUS
            for vm in vms
        }
    )


def asked_of(vms: Sequence[VM], *lines: Line) -> Question[Mapping[str, Heard]]:
    """The same lines said to each of these VMs; nothing is run where none of them is there."""
    return _said_to_each({vm.name: lines for vm in vms})


def _said_to_each(lines: Mapping[str, Sequence[Line]]) -> Question[Mapping[str, Heard]]:
    entry = monitor.talk([Talk(vm, tuple(each), LOOK_LIMIT_S) for vm, each in lines.items()])
    names = " ".join(lines)
    asked = entry._replace(argv=("where_runs", names, *entry.argv))
    return Question(NAME, (asked,), _heard_where_vms, may_fail=True)


STATUSES = _said_to_all(*_STATUS, limit_s=ANSWER_LIMIT_S)
"""The same of every VM: `status_of`, its interfaces and drives."""

LOOK = (*qmp.LOOK, nics.NETWORK)

LOOKS = _said_to_all(*LOOK, *drives.MORE, limit_s=LOOK_LIMIT_S)
"""All that the status of a VM shows of its monitor: `look_of`, its interfaces and drives."""


def status_of(heard: Heard | None) -> tuple[str, str]:
    """QEMU's word for what its guest does, and why it is not known: one of them is empty.

    Both are, where the VM was no longer there when all monitors were asked.
    """
    if heard is None:
        return "", ""
    if not heard.answers:
        return "", monitor.why(heard)
    try:
        return qmp.read_status(heard.answers[0]), ""
    except ValueError as unreadable:
        return "", f"what QEMU said cannot be read: {unreadable}"


def look_of(heard: Heard) -> qmp.Look:
    """A VM as its monitor shows it. Raises ValueError with the reason where it does not."""
    heard = monitor.only(heard, LOOK)
    if len(heard.answers) < len(LOOK) or monitor.is_refused(heard):
        raise ValueError(monitor.why(heard))
    return qmp.read_look(heard.answers[: len(qmp.LOOK)])
