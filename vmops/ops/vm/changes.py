"""What `up` would change about a worker's VMs, and what runs where before anything starts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from vmops.core.devices import disk
from vmops.core.devices.drift import Drift
from vmops.core.devices.nic import Skip
from vmops.core.facts import observed as facts
from vmops.core.facts import supposed
from vmops.core.facts.question import Unanswered
from vmops.core.facts.vms import RUNNING
from vmops.core.facts.wiring import DRAINED
from vmops.core.inventory.model import VM
from vmops.core.names import RunDirectory
from vmops.core.plan import group
from vmops.core.plan.elsewhere import NOWHERE, Elsewhere, Ran
from vmops.core.plan.group import Terms
from vmops.core.plan.phase import Plan
from vmops.errors import PortConflict, VmopsError, WorkFailed
from vmops.ops.act import ask, observe, unreadable
from vmops.ops.fleet import on_each
from vmops.ops.route import Group, Route
from vmops.ops.vm.seeds import told


class Change(NamedTuple):
    """What `up` would do about one VM.

    `action` is start, nothing, replug, change (its interfaces, disks, CD or
    memory), grow (its disks), restart, or stop
    (it has expired); refused where `up` would fail, and unknown where the worker could not be
    asked: then `error` says why. `drift` are the fields that differ.
    """

    vm: str
    worker: str
    action: str
    drift: tuple[Drift, ...] = ()
    skipped: tuple[Skip, ...] = ()
    notes: tuple[str, ...] = ()
    error: VmopsError | None = None

    @property
    def to_do(self) -> bool:
        """True where `up` would change something."""
        return self.action in ("start", "replug", "change", "grow", "restart", "stop")


def look_everywhere(routes: Sequence[Route], *, to_start: bool = False) -> Elsewhere:
    """What runs on each of these workers, asked of all at once; where VMs are `to_start` also which
    are drained. Never raises a VmopsError."""
    drained: set[str] = set()

    def look(one: Group) -> Ran | VmopsError:
        try:
            answers = ask(one.route, RUNNING, *((DRAINED,) if to_start else ()))
            with suppress(Unanswered):
                found = answers[DRAINED] if to_start else None
                if found is not None and not found.is_open:
                    drained.add(one.route.worker.name)
            return answers[RUNNING]
        except Unanswered as error:
            return unreadable(one.route, error)
        except VmopsError as error:
            return error

    asked = [Group(route) for route in routes if route.transcript is None]
    found = {one.route.worker.name: said for one, said in on_each(asked, look)}
    return Elsewhere(
        seen={name: said for name, said in found.items() if not isinstance(said, VmopsError)},
        unasked={name: said for name, said in found.items() if isinstance(said, VmopsError)},
        drained=frozenset(drained),
    )


def changes(
    route: Route, vms: Sequence[VM], terms: Terms, elsewhere: Elsewhere = NOWHERE
) -> list[Change]:
    """What `up` on these terms would change, in order. Nothing is done; never raises."""
    worker = route.worker
    try:
        vms = told(vms)
        seen = observe(
            route, facts.for_starting(vms, bases=terms.bases), vms=vms, suppose=supposed.blank
        )
    except VmopsError as error:
        return [Change(vm.name, worker.name, "unknown", error=error) for vm in vms]
    wanted = [vm for vm in vms if not group.is_left_off(vm, seen, terms)]
    lacking = {vm.name for vm in wanted if disk.lacks_image(vm, seen.images)}
    seen = supposed.with_images(seen, vms, terms.bases)
    plans = group.plans(worker, vms, seen, terms=terms)
    for place, vm in enumerate(vms):
        if isinstance(plans[place], PortConflict):
            plans[place] = _looked_at_again(route, vm, terms)
    found = [_change(route, vm, plan, elsewhere) for vm, plan in zip(vms, plans, strict=True)]
    return [
        _with_image(change, vm) if vm.name in lacking else change
        for change, vm in zip(found, vms, strict=True)
    ]


def _with_image(change: Change, vm: VM) -> Change:
    if change.error is not None:
        return change
    note = f"{vm.name} on {change.worker}: its image {vm.image} is brought there first"
    return change._replace(notes=(*change.notes, note))


def _looked_at_again(route: Route, vm: VM, terms: Terms) -> Plan | WorkFailed:
    """The plan while nobody changes the VM: its own QEMU, in the middle of a start, looks like
    somebody else's."""
    lock = RunDirectory(vm.name).lock
    asked = facts.for_starting([vm])
    try:
        seen = observe(route, asked, vms=[vm], suppose=supposed.blank, lock=lock)
    except VmopsError as error:
        return WorkFailed(error.what, worker=error.worker, vm=error.vm, cure=error.cure)
    (found,) = group.plans(route.worker, [vm], seen, terms=terms)
    return found


def _change(route: Route, vm: VM, found: Plan | WorkFailed, elsewhere: Elsewhere) -> Change:
    worker = route.worker
    found = elsewhere.checked(worker, vm, found)
    if isinstance(found, WorkFailed):
        return Change(vm.name, worker.name, "refused", error=found)
    return Change(vm.name, worker.name, found.action, found.drift, found.skips, found.notes)
