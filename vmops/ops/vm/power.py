"""A running VM's power: pause, resume, reset, restart. One result for each VM, in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from vmops.core.inventory.model import VM
from vmops.core.plan import capacity
from vmops.core.plan.checks import check_boot
from vmops.core.plan.group import Terms
from vmops.core.tools import qmp
from vmops.errors import VmopsError, WorkFailed
from vmops.ops.act import observe
from vmops.ops.guest.monitors import talk
from vmops.ops.route import Route
from vmops.ops.vm import lifecycle
from vmops.ops.vm.lifecycle import Outcome

if TYPE_CHECKING:
    from vmops.remote.monitor import Conversation, Monitor


class Turn(NamedTuple):
    """What a monitor was told, if anything had to be: the action, and what to know beside it."""

    action: Literal["pause", "resume", "reset", "nothing"]
    note: str = ""


def pause(route: Route, vms: Sequence[VM]) -> list[Outcome]:
    """Let each guest stand still; one that does so already is left alone."""
    return _turn(route, vms, _pause)


def resume(route: Route, vms: Sequence[VM]) -> list[Outcome]:
    """Let each guest run on, or wake it up; one that runs is left alone."""
    return _turn(route, vms, _resume)


def reset(route: Route, vms: Sequence[VM]) -> list[Outcome]:
    """Reset each machine, as the button on a computer does; its guest is not asked."""
    return _turn(route, vms, _reset)


def _turn(route: Route, vms: Sequence[VM], conversation: Conversation[Turn]) -> list[Outcome]:
    answers = talk(route, [vm.name for vm in vms], conversation)
    return [_turned(route, vm.name, answers[vm.name]) for vm in vms]


def _turned(route: Route, vm: str, answer: Turn | VmopsError) -> Outcome:
    if isinstance(answer, VmopsError):
        return Outcome(vm, route.worker.name, "nothing", error=answer)
    notes = (f"{vm}: {answer.note}",) if answer.note else ()
    return Outcome(vm, route.worker.name, answer.action, notes=notes)


async def _pause(monitor: Monitor) -> Turn:
    before, _, after = await monitor.ask(qmp.STATUS, qmp.PAUSE, qmp.STATUS)
    if qmp.read_status(before) != qmp.RUNNING:
        return Turn("nothing", _said(qmp.read_status(before)))
    if qmp.read_status(after) == qmp.RUNNING:
        raise monitor.failure("QEMU was told to pause, and its guest runs on")
    return Turn("pause")


async def _resume(monitor: Monitor) -> Turn:
    before, _ = await monitor.ask(qmp.STATUS, qmp.RESUME)
    status = qmp.read_status(before)
    if status == qmp.RUNNING:
        return Turn("nothing")
    if status == qmp.SUSPENDED:
        await monitor.ask(qmp.WAKE_UP)
    return Turn("resume", _said(status))


async def _reset(monitor: Monitor) -> Turn:
    before, _ = await monitor.ask(qmp.STATUS, qmp.RESET)
    status = qmp.read_status(before)
    return Turn("reset", "" if status == qmp.RUNNING else f"it stays {qmp.PAUSED}: fab resume")


def _said(status: str) -> str:
    """What to say of a status that is not just `paused`."""
    return "" if status == qmp.PAUSED else f"it was {status}"


def restart(
    route: Route,
    vms: Sequence[VM],
    *,
    force: bool = False,
    timeout_s: int = 30,
    overcommit: bool = False,
) -> list[Outcome]:
    """Stop each VM as `lifecycle.stop` does and launch it, as the inventory has it by now.

    A VM that could not be launched is left running. One that does not run is launched. The action
    is restart or start, or where somebody else has launched it meanwhile stop or nothing.
    """
    refused = _unbootable(route, vms, overcommit=overcommit)
    willing = [vm for vm in vms if vm.name not in refused]
    ended = lifecycle.stop(route, willing, force=force, timeout_s=timeout_s)
    stopped = {outcome.vm: outcome for outcome in ended}
    ready = [vm for vm in willing if stopped[vm.name].error is None]
    terms = Terms(overcommit=overcommit)
    started = {outcome.vm: outcome for outcome in lifecycle.launch(route, ready, terms=terms)}
    outcomes = refused | stopped | {name: _joined(stopped[name], o) for name, o in started.items()}
    return [outcomes[vm.name] for vm in vms]


def _joined(stopped: Outcome, started: Outcome) -> Outcome:
    ended = stopped.changed or bool(stopped.how)
    action = ("restart" if started.changed else "stop") if ended else started.action
    return started._replace(
        action=action,
        how=stopped.how,
        asked=stopped.asked,
        notes=(*stopped.notes, *started.notes),
    )


def _unbootable(route: Route, vms: Sequence[VM], *, overcommit: bool) -> dict[str, Outcome]:
    """The VMs that would not come up again, looked at as if they were stopped already."""
    try:
        seen = observe(route, vms)
    except VmopsError as error:
        return {vm.name: _refused(route, vm, error) for vm in vms}
    refused = {}
    for vm in vms:
        try:
            check_boot(route.worker, vm, seen, room=False)
        except WorkFailed as error:
            refused[vm.name] = _refused(route, vm, error)
    willing = [vm for vm in vms if vm.name not in refused]
    lacking = capacity.refusal(route.worker, willing, seen, overcommit=overcommit)
    if lacking is not None:
        refused |= {vm.name: _refused(route, vm, lacking) for vm in willing}
    return refused


def _refused(route: Route, vm: VM, error: VmopsError) -> Outcome:
    return Outcome(vm.name, route.worker.name, "nothing", error=error)
