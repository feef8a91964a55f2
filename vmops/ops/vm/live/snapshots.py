"""Snapshots of running VMs: save, list, revert, delete, thaw. One result for each VM, in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from vmops.core.devices.live import freezing, snapshot
from vmops.core.devices.live.snapshot import Snapshot
from vmops.core.facts import monitors as monitor_facts
from vmops.core.facts import observed as facts
from vmops.core.facts import supposed
from vmops.core.facts.host import HOST
from vmops.core.facts.images import OWN_DISKS, SUSPENDED
from vmops.core.facts.observed import Observed
from vmops.core.facts.vms import RUNNING
from vmops.core.inventory.model import VM
from vmops.core.plan.live import snapshots as plans
from vmops.core.plan.phase import Plan
from vmops.core.script.command import BlockResult, StepResult
from vmops.core.tools import agent, monitor
from vmops.errors import VmopsError, WorkFailed
from vmops.ops.act import carry_out, observe, one_by_one
from vmops.ops.guest.agent import cure_of
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


def save(route: Route, vms: Sequence[VM], *, name: str, freeze: bool = False) -> list[Outcome]:
    """Save memory and disks of each VM under that name; a failed one leaves nothing.

    With `freeze` its guest's file systems are frozen meanwhile, by its agent, and thawed whatever
    comes of it. Where they are frozen still, the error says so, and the snapshot is there.
    """
    worker = route.worker
    return _do(route, vms, lambda vm, seen: plans.save(worker, vm, seen, name=name, freeze=freeze))


def revert(route: Route, vms: Sequence[VM], *, name: str) -> list[Outcome]:
    """Take each VM back to its snapshot of that name; refused for one that is another machine by
    now. Where QEMU fails at it, the VM stands still and has to be restarted."""
    return _do(route, vms, lambda vm, seen: plans.revert(route.worker, vm, seen, name=name), name)


def refusals(route: Route, vms: Sequence[VM], *, name: str) -> list[VmopsError | None]:
    """For each VM why it cannot be taken back to that snapshot, None where it can. Nothing is done.
    Never raises a VmopsError."""
    try:
        seen = observe(route, _questions(vms), vms=vms, suppose=supposed.with_snapshots)
    except VmopsError as error:
        return [error for _ in vms]
    return [_refusal(route, vm, seen, name=name) for vm in vms]


def _refusal(route: Route, vm: VM, seen: Observed, *, name: str) -> VmopsError | None:
    try:
        plans.revert(route.worker, vm, seen, name=name)
    except VmopsError as error:
        return error
    return None


def delete(route: Route, vms: Sequence[VM], *, name: str) -> list[Outcome]:
    """Remove each VM's snapshot of that name."""
    return _do(route, vms, lambda vm, seen: plans.delete(route.worker, vm, seen, name=name), name)


def thaw(route: Route, vms: Sequence[VM]) -> list[Outcome]:
    """Thaw the file systems of each VM's guest; fine where none is frozen."""
    return _do(route, vms, lambda vm, seen: plans.thaw(route.worker, vm, seen))


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
    return (HOST, OWN_DISKS, RUNNING, SUSPENDED, monitor_facts.asked_of(vms, *snapshot.LOOK))


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
        if item.result is not None:
            came = came._replace(error=_failed(route, item.vm, item.result) or came.error)
        found.append(came)
    return found


def _failed(route: Route, vm: VM, result: BlockResult) -> WorkFailed | None:
    worker, name = route.worker.name, vm.name
    by_hand = f"fab snapshot.thaw --vm {name}"
    is_frozen = any(undo.step.label == freezing.FREEZE for undo in result.not_undone)
    if (failure := result.failure) is not None:
        cure = outcome.undone(result, "")
        if is_frozen:
            cure = f"its guest may be frozen still: {by_hand}"
        elif not cure and failure.step.label == snapshot.LOAD:
            cure = f"fab restart --vm {name}"
        elif not cure and failure.step.label == freezing.ASK:
            cure = _cure(name, failure)
        return WorkFailed(_why(failure), worker=worker, vm=name, cure=cure)
    thaw = result.find(freezing.THAW)
    if thaw is None or thaw.ok:
        return None
    # Only one that has an undo was tried again: without any there is a result of it all the same.
    if thaw.step.undo and any(each.step is thaw.step and each.ok for each in result.undone):
        return None
    done = result.steps[-2] if len(result.steps) > 1 else None
    before = f"{_DONE[done.step.label]} {done.step.about[0]}, but " if done else ""
    cure = f"try again: {by_hand}" if done else _cure(name, thaw)
    return WorkFailed(f"{before}{_why(thaw)}", worker=worker, vm=name, cure=cure)


_DONE = {snapshot.SAVE: "saved as snapshot", snapshot.LOAD: "taken back to snapshot"}

_FAILED = {
    snapshot.SAVE: "no snapshot was made",
    snapshot.LOAD: "it could not be taken back, and stands still",
    snapshot.DELETE: "the snapshot is there still",
    freezing.ASK: "its guest cannot be frozen, and no snapshot was made",
    freezing.FREEZE: "its guest cannot be frozen, and no snapshot was made",
    freezing.THAW: "its guest may be frozen still",
}


def _why(failure: StepResult) -> str:
    label = failure.step.label
    try:
        if label in (freezing.ASK, freezing.FREEZE, freezing.THAW):
            (said,) = agent.read_talk(failure.stdout).values()
            return f"{_FAILED[label]}: {freezing.why(label, said) or failure.reason()}"
        (heard,) = monitor.read_talk(failure.stdout).values()
        why = snapshot.why(heard)
    except ValueError:
        why = failure.reason()
    return f"{_FAILED[label]}: {why}"


def _cure(vm: str, failure: StepResult) -> str:
    """What to do about a guest whose agent did not do as it was asked."""
    try:
        (said,) = agent.read_talk(failure.stdout).values()
    except ValueError:
        return ""
    if said.ended == "other":
        return f"fab snapshot.thaw --vm {vm}"
    if said.ended == "no agent" and failure.step.label == freezing.THAW:
        # In a guest that is frozen nothing can be installed.
        return f"if its programs stand still when they write: fab reset --vm {vm}"
    return cure_of(vm, said)
