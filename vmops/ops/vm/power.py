"""A running VM's power: pause, resume, reset. One result for each VM, in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

from vmops.core.inventory.model import VM
from vmops.core.tools import qmp
from vmops.core.tools.monitor import Await, Talk
from vmops.core.tools.qmp import Request
from vmops.errors import MonitorError, VmopsError
from vmops.ops.guest.monitors import ask, talk, unreadable_answer
from vmops.ops.route import Route
from vmops.ops.vm.outcome import Outcome


class Turn(NamedTuple):
    """What came of telling a monitor something: the action, and what to know beside it.

    `failed` is what went wrong though QEMU granted it all.
    """

    action: Literal["pause", "resume", "reset", "nothing"]
    note: str = ""
    failed: str = ""


def pause(route: Route, vms: Sequence[VM]) -> list[Outcome]:
    """Freeze each guest; one that stands still already is left alone."""
    return _turn(route, vms, (qmp.STATUS, qmp.PAUSE, qmp.STATUS), _paused)


_IS_SENT = "Migration is not finalized"
"""In QEMU's reason for not letting a guest run whose memory is being saved, or sent."""

_LETS_GO_S = 5.0


def resume(route: Route, vms: Sequence[VM]) -> list[Outcome]:
    """Let each guest run on, or wake it up; one that runs is left alone.

    One that stands still for its memory to be saved or sent, which may never end, is not waited
    for: that is cancelled, and whoever is at it fails.
    """
    outcomes = _turn(route, vms, (qmp.STATUS, qmp.RESUME), _resumed)
    held = [vm for vm, o in zip(vms, outcomes, strict=True) if _IS_SENT in str(o.error)]
    if held:
        let_go = {o.vm: o for o in _let_go(route, held)}
        outcomes = [let_go.get(o.vm, o) for o in outcomes]
    asleep = [o.vm for o in outcomes if any(qmp.SUSPENDED in note for note in o.notes)]
    woken = ask(route, asleep, qmp.WAKE_UP)
    errors = {vm: said for vm, said in woken.items() if isinstance(said, VmopsError)}
    return [o._replace(error=errors.get(o.vm, o.error)) for o in outcomes]


def _let_go(route: Route, vms: Sequence[VM]) -> list[Outcome]:
    over = Await("MIGRATION", _LETS_GO_S, ('"status": "cancelled"', '"status": "failed"'))
    talk(route, [Talk(vm.name, (qmp.CANCEL, over)) for vm in vms])
    outcomes = _turn(route, vms, (qmp.STATUS, qmp.RESUME), _resumed)
    said = "its memory was being saved, or sent to another worker: that is cancelled"
    return [
        o if o.error else o._replace(action="resume", notes=(f"{o.vm}: {said}",)) for o in outcomes
    ]


def reset(route: Route, vms: Sequence[VM]) -> list[Outcome]:
    """Reset each machine, as the button on a computer does; its guest is not asked."""
    return _turn(route, vms, (qmp.STATUS, qmp.RESET), _reset)


def _turn(
    route: Route,
    vms: Sequence[VM],
    requests: tuple[Request, ...],
    read: Callable[[Sequence[Any]], Turn],
) -> list[Outcome]:
    answers = ask(route, [vm.name for vm in vms], *requests)
    return [_turned(route, vm.name, answers[vm.name], read) for vm in vms]


def _turned(
    route: Route,
    vm: str,
    answers: list[Any] | VmopsError,
    read: Callable[[Sequence[Any]], Turn],
) -> Outcome:
    worker = route.worker.name
    if isinstance(answers, VmopsError):
        return Outcome(vm, worker, "nothing", error=answers)
    try:
        turn = read(answers)
    except ValueError as strange:
        return Outcome(vm, worker, "nothing", error=unreadable_answer(route, vm, strange))
    if turn.failed:
        error = MonitorError(turn.failed, worker=worker, vm=vm)
        return Outcome(vm, worker, turn.action, error=error)
    notes = (f"{vm}: {turn.note}",) if turn.note else ()
    return Outcome(vm, worker, turn.action, notes=notes)


def _paused(answers: Sequence[Any]) -> Turn:
    before, _, after = answers
    if qmp.read_status(before) != qmp.RUNNING:
        return Turn("nothing", _said(qmp.read_status(before)))
    if qmp.read_status(after) == qmp.RUNNING:
        return Turn("nothing", failed="QEMU was told to pause, but its guest is still running")
    return Turn("pause")


def _resumed(answers: Sequence[Any]) -> Turn:
    status = qmp.read_status(answers[0])
    return Turn("nothing") if status == qmp.RUNNING else Turn("resume", _said(status))


def _reset(answers: Sequence[Any]) -> Turn:
    status = qmp.read_status(answers[0])
    return Turn("reset", "" if status == qmp.RUNNING else f"it stays {qmp.PAUSED}: fab resume")


def _said(status: str) -> str:
    """What to say of a status that is not just `paused`."""
    return "" if status == qmp.PAUSED else f"it was {status}"
