"""Looking at VMs: one exchange with the worker, then all monitors of what runs there at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from vmops.core.facts import observed as facts
from vmops.core.facts import status as statuses
from vmops.core.facts.observed import Observed
from vmops.core.facts.status import VMStatus
from vmops.core.inventory.model import VM
from vmops.core.plan.checks import switch_fault
from vmops.core.tools import qmp
from vmops.errors import NotRunning, UnexpectedOutput, VmopsError
from vmops.ops.act import OBSERVE_LIMIT_S, perform
from vmops.ops.guest.monitors import frozen, talk
from vmops.ops.route import Route
from vmops.ops.vm.tidy import tidy

if TYPE_CHECKING:
    from vmops.remote.monitor import Monitor

MONITOR_LIMIT_S = 2.0
"""For each monitor; they are asked at the same time."""

LOOKS = 2
"""A VM that ends between the two questions is looked at again."""


class Survey(NamedTuple):
    """VMs at one moment. `notes` say what was done on the way, `errors` why one is unknown."""

    vms: tuple[VMStatus, ...]
    notes: tuple[str, ...] = ()
    errors: tuple[VmopsError, ...] = ()


def survey(
    route: Route, vms: Sequence[VM], *, unmanaged: bool = False, monitors: bool = True
) -> Survey:
    """These VMs in order, and with `unmanaged` what else has a run directory on the worker.

    A worker that cannot be asked gives `unknown`, never `stopped`. Without `monitors` only the
    worker is asked. Ports of a VM that has powered itself off are removed, before the look that is
    told. Never raises.
    """
    worker = route.worker
    notes: dict[str, str] = {}
    try:
        for _ in range(LOOKS):
            seen = _observe(route)
            removed = tidy(route, vms, seen)
            if removed:
                notes |= removed
                seen = _observe(route)
            found = [statuses.of(worker, vm, seen) for vm in vms]
            if unmanaged:
                others = sorted(set(seen.vms) - {vm.name for vm in vms})
                found += [statuses.of_unmanaged(worker, name, seen) for name in others]
            if monitors:
                found = _with_monitors(route, found, seen)
            if not any(isinstance(item.error, NotRunning) for item in found):
                break
    except VmopsError as error:
        unknown = VMStatus("", worker.name, worker.address, "unknown", error=error)
        return Survey(tuple(unknown._replace(vm=vm.name) for vm in vms), errors=(error,))
    errors = tuple(item.error for item in found if item.error is not None)
    if seen.switch.fault:
        errors = (switch_fault(worker, seen), *errors)
    return Survey(tuple(found), tuple(notes.values()), errors)


def status(route: Route, vms: Sequence[VM], *, monitors: bool = True) -> list[VMStatus]:
    """The VMs of a `survey`."""
    return list(survey(route, vms, monitors=monitors).vms)


def merged(surveys: Iterable[Survey]) -> Survey:
    """Several workers' surveys as one. A VM that may be anywhere is said wherever it may run.

    That it is stopped on a worker is left out, except on the first where it is so on all.
    """
    found: dict[tuple[str, str], list[VMStatus]] = {}
    notes: list[str] = []
    errors: list[VmopsError] = []
    for one in surveys:
        notes += one.notes
        errors += one.errors
        for item in one.vms:
            place = (item.vm, "" if item.managed else item.worker)
            found.setdefault(place, []).append(item)
    kept = [[vm for vm in same if vm.state != "stopped"] or same[:1] for same in found.values()]
    return Survey(tuple(vm for same in kept for vm in same), tuple(notes), tuple(errors))


def _observe(route: Route) -> Observed:
    (result,) = perform(route, [facts.ask_status()], time_limit_s=OBSERVE_LIMIT_S)
    try:
        return facts.read(result)
    except ValueError as unreadable:
        raise UnexpectedOutput(str(unreadable), worker=route.worker.name) from unreadable


def _with_monitors(route: Route, found: Sequence[VMStatus], seen: Observed) -> list[VMStatus]:
    running = {item.vm: seen.vm(item.vm) for item in found if item.pid is not None}
    looks: dict[str, qmp.Look | VmopsError] = {
        name: frozen(name, vm, route.worker.name)
        for name, vm in running.items()
        if vm.process is not None and vm.process.stopped
    }
    able = [name for name in running if name not in looks]
    looks |= talk(route, able, _look, time_limit_s=MONITOR_LIMIT_S)
    return [
        statuses.with_look(item, looks[item.vm]) if item.vm in looks else item for item in found
    ]


async def _look(monitor: Monitor) -> qmp.Look:
    return qmp.read_look(await monitor.ask(*qmp.LOOK))
