"""Snapshots of running VMs: save, list, revert, delete. One result for each VM, in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from vmops.core.devices.live import snapshot
from vmops.core.devices.live.snapshot import Snapshot
from vmops.core.facts import monitors as monitor_facts
from vmops.core.facts import observed as facts
from vmops.core.facts import supposed
from vmops.core.facts.host import HOST
from vmops.core.facts.images import OWN_DISKS
from vmops.core.facts.observed import Observed
from vmops.core.facts.vms import RUNNING
from vmops.core.inventory.model import VM
from vmops.core.plan.live import snapshots as plans
from vmops.core.plan.phase import Plan
from vmops.core.script.command import StepResult
from vmops.core.tools import monitor
from vmops.errors import VmopsError, WorkFailed
from vmops.ops.act import carry_out, observe, one_by_one
from vmops.ops.route import Route
from vmops.ops.vm import outcome
from vmops.ops.vm.outcome import Outcome


class Listed(NamedTuple):
    """The snapshots of one VM, and for each in words what keeps the VM from going back to it."""

    vm: str
    worker: str
    snapshots: tuple[Snapshot, ...] = ()
    differs: tuple[tuple[str, ...], ...] = ()
    error: VmopsError | None = None


def save(route: Route, vms: Sequence[VM], *, name: str) -> list[Outcome]:
    """Save memory and disks of each VM under that name; a failed one leaves nothing."""
    return _do(route, vms, lambda vm, seen: plans.save(route.worker, vm, seen, name=name))


def revert(route: Route, vms: Sequence[VM], *, name: str) -> list[Outcome]:
    """Take each VM back to its snapshot of that name; refused for one that is another machine by
    now. Where QEMU fails at it, the VM stands still and has to be restarted."""
    return _do(route, vms, lambda vm, seen: plans.revert(route.worker, vm, seen, name=name), name)


def delete(route: Route, vms: Sequence[VM], *, name: str) -> list[Outcome]:
    """Remove each VM's snapshot of that name."""
    return _do(route, vms, lambda vm, seen: plans.delete(route.worker, vm, seen, name=name), name)


def listed(route: Route, vms: Sequence[VM]) -> list[Listed]:
    """The snapshots of each VM that runs, the oldest first. Never raises a VmopsError."""
    worker = route.worker
    try:
        seen = observe(route, _questions(vms), vms=vms, suppose=supposed.with_snapshots)
    except VmopsError as error:
        return [Listed(vm.name, worker.name, error=error) for vm in vms]
    return [_listed(route, vm, seen) for vm in vms]


def _listed(route: Route, vm: VM, seen: Observed) -> Listed:
    try:
        has = plans.found(route.worker, vm, seen)
    except VmopsError as error:
        return Listed(vm.name, route.worker.name, error=error)
    found = tuple(sorted(has.snapshots, key=lambda one: one.taken_s))
    differs = tuple(plans.differences(has, one) for one in found)
    return Listed(vm.name, route.worker.name, found, differs)


def _questions(vms: Sequence[VM]) -> tuple[facts.Asked, ...]:
    return (HOST, OWN_DISKS, RUNNING, monitor_facts.asked_of(vms, *snapshot.LOOK))


def _do(
    route: Route, vms: Sequence[VM], decide: Callable[[VM, Observed], Plan], *supposedly: str
) -> list[Outcome]:
    """Do it; a dry run supposes that snapshots of these names are there."""
    done = carry_out(
        route,
        vms,
        one_by_one(decide),
        questions=_questions,
        suppose=lambda worker, some: supposed.with_snapshots(worker, some, *supposedly),
    )
    found = []
    for item in done:
        came = outcome.begun(item)
        failure = item.result.failure if item.result else None
        if failure is not None and item.result is not None:
            error = WorkFailed(
                _why(failure),
                worker=route.worker.name,
                vm=item.vm.name,
                cure=_cure(item.vm, failure, outcome.undone(item.result, "")),
            )
            came = came._replace(error=error)
        found.append(came)
    return found


_FAILED = {
    snapshot.SAVE: "no snapshot was made",
    snapshot.LOAD: "it could not be taken back, and stands still",
    snapshot.DELETE: "the snapshot is there still",
}


def _why(failure: StepResult) -> str:
    try:
        (heard,) = monitor.read_talk(failure.stdout).values()
        why = snapshot.why(heard)
    except ValueError:
        why = failure.reason()
    return f"{_FAILED[failure.step.label]}: {why}"


def _cure(vm: VM, failure: StepResult, left: str) -> str:
    return left or (f"fab restart --vm {vm.name}" if failure.step.label == snapshot.LOAD else "")
