"""Asking guests to power off: through the monitor, by ACPI, and what has to follow where they do
not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from vmops.core.facts.observed import Observed
from vmops.core.inventory.model import VM
from vmops.core.plan.steps import EXIT, KILL, TERM
from vmops.core.tools import qmp
from vmops.errors import ConnectionLost, MonitorError, NotRunning, VmopsError, WorkerUnreachable
from vmops.ops.guest.monitors import talk
from vmops.ops.route import Route

if TYPE_CHECKING:
    from vmops.remote.monitor import Monitor

PRESSES = 2
"""How often the power button is pressed: at the first, some guests only ask what was meant."""

QUIT_WAIT_S = 5.0


class Asked(NamedTuple):
    """What came of asking one VM. `how` is what ended it, as `qmp.ended_by` has it.

    With an empty `how` it may still run. `by` is what has to follow, as in `steps.ending`,
    `presses` how often the power button was pressed, and `note` what the operator has to know.
    """

    how: str = ""
    presses: int = 0
    by: tuple[str, ...] = (TERM, KILL)
    note: str = ""


def shut_down(
    route: Route, vms: Sequence[VM], seen: Observed, *, timeout_s: float
) -> dict[str, Asked | ConnectionLost]:
    """Ask every one of these VMs that runs to power off, all at once, and wait for that.

    The power button is pressed, and again at half of `timeout_s`; at its end QEMU is told to quit.
    A guest that is paused is resumed first. A QEMU that cannot be talked to is not waited for.
    """
    running = {vm.name: seen.vm(vm.name).process for vm in vms}
    asked: dict[str, Asked | ConnectionLost] = {
        name: _frozen(name) for name, process in running.items() if process and process.stopped
    }
    names = [name for name, process in running.items() if process and name not in asked]
    answers = talk(route, names, lambda monitor: _power_off(monitor, timeout_s))
    return asked | {name: _of(name, answer) for name, answer in answers.items()}


def _frozen(vm: str) -> Asked:
    note = f"{vm}: its QEMU is held by a signal (SIGSTOP), so it cannot be asked: it is killed"
    return Asked(by=(KILL,), note=note)


def _of(vm: str, answer: Asked | VmopsError) -> Asked | ConnectionLost:
    if isinstance(answer, Asked):
        return Asked(answer.how, answer.presses, answer.by, answer.note and f"{vm}: {answer.note}")
    if isinstance(answer, ConnectionLost):
        return _lost(vm, answer)
    if isinstance(answer, WorkerUnreachable):
        return ConnectionLost(answer.what, worker=answer.worker, cure=answer.cure)
    if isinstance(answer, NotRunning):
        return Asked()
    return Asked(note=f"{answer.what}; its guest is not waited for")


def _lost(vm: str, error: ConnectionLost) -> ConnectionLost:
    """Nothing harder may follow: the guest may be powering off, and nobody has seen it fail to."""
    return ConnectionLost(
        f"{vm}: {error.what} while its guest was asked to power off: it may do so or not",
        worker=error.worker,
        cure=f"fab status --vm {vm}, and where it still runs: fab stop --vm {vm}",
    )


async def _power_off(monitor: Monitor, timeout_s: float) -> Asked:
    try:
        return await _ask_and_wait(monitor, timeout_s)
    except MonitorError:
        if monitor.farewell() is None:
            raise
        return _ended(monitor.farewell(), PRESSES, "")


async def _ask_and_wait(monitor: Monitor, timeout_s: float) -> Asked:
    before, _ = await monitor.ask(qmp.STATUS, qmp.POWER_DOWN)
    status = qmp.read_status(before)
    note = ""
    if status != qmp.RUNNING:
        awakening = qmp.awakening(status)
        if awakening is None:
            return await _quit(monitor, 0, f"it is {status}, so its guest cannot react")
        note = f"it was {status}, and goes on so that its guest can power off"
        await monitor.ask(awakening)
    for press in range(1, PRESSES + 1):
        if press > 1:
            await monitor.ask(qmp.POWER_DOWN)
        if await monitor.ended(timeout_s / PRESSES) or monitor.farewell() is not None:
            return await _over(monitor, press, note)
    return await _quit(monitor, PRESSES, note or f"its guest did not react within {timeout_s:g} s")


async def _quit(monitor: Monitor, presses: int, note: str) -> Asked:
    await monitor.ask(qmp.QUIT)
    if await monitor.ended(QUIT_WAIT_S) or monitor.farewell() is not None:
        return await _over(monitor, presses, note)
    return Asked("", presses, (TERM, KILL), note)


async def _over(monitor: Monitor, presses: int, note: str) -> Asked:
    """The session ended, or QEMU said that it is about to."""
    if monitor.farewell() is None and await monitor.is_cut_off():
        raise ConnectionLost("the connection was lost", worker=monitor.worker)
    return _ended(monitor.farewell(), presses, note)


def _ended(farewell: Mapping[str, object] | None, presses: int, note: str) -> Asked:
    """Without the event that says who ended it QEMU died, or hung up."""
    if farewell is None:
        return Asked("", presses, (EXIT,), "its monitor hung up while its guest was asked")
    return Asked(qmp.ended_by(farewell), presses, (EXIT, TERM, KILL), note)
