"""What `up` would change about a worker's VMs, and what runs where before anything starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from vmops.core.devices import disk
from vmops.core.devices.drift import Drift
from vmops.core.devices.nic import Skip
from vmops.core.devices.storage import shared
from vmops.core.devices.storage.moving import Mark
from vmops.core.facts import observed as facts
from vmops.core.facts import supposed
from vmops.core.facts.host import HOST
from vmops.core.facts.images import MOVES
from vmops.core.facts.observed import Observed
from vmops.core.facts.question import Answers, Unanswered
from vmops.core.facts.vms import RUNNING
from vmops.core.facts.wiring import DRAINED
from vmops.core.inventory.model import VM
from vmops.core.names import RunDirectory
from vmops.core.plan import group
from vmops.core.plan.elsewhere import NOWHERE, Elsewhere, Ran, as_it_is_there
from vmops.core.plan.group import Terms
from vmops.core.plan.moving import marks
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


class _Look(NamedTuple):
    """What a worker has said to several questions at once, or why that is not known."""

    ran: Ran | VmopsError
    is_drained: bool = False
    seen: Observed | None = None


def look_everywhere(routes: Sequence[Route], *, to_start: bool = False) -> Elsewhere:
    """What runs on each of these workers, asked of all at once; where VMs are `to_start` also which
    are drained. Never raises a VmopsError."""

    def look(one: Group) -> _Look:
        return _look(one.route, (RUNNING, *((DRAINED,) if to_start else ())))

    asked = [Group(route) for route in routes if route.transcript is None]
    return _elsewhere({one.route.worker.name: said for one, said in on_each(asked, look)})


def look_to_start(
    groups: Sequence[Group], others: Sequence[Route], terms: Terms
) -> tuple[Elsewhere, list[Group]]:
    """As `look_everywhere`. Those of the groups are asked in the same exchange for what a launch on
    these terms needs, and the routes of the groups that are given back have `seen` it: it is for
    those that begin at once.

    Raises InventoryError for a file that a guest is to be told and that cannot be read.
    """
    first = {g.route.worker.name: group.questions(told(g.vms), terms) for g in groups}

    def look(one: Group) -> _Look:
        return _look(one.route, (*first.get(one.route.worker.name, (RUNNING,)), DRAINED))

    found = {
        one.route.worker.name: said for one, said in on_each([*groups, *map(Group, others)], look)
    }
    known = [
        g._replace(route=g.route._replace(seen=found[g.route.worker.name].seen)) for g in groups
    ]
    return _elsewhere(found), known


def _look(route: Route, asked: Sequence[facts.Asked]) -> _Look:
    try:
        answers = ask(route, *dict.fromkeys((*asked, MOVES)))
        ran = _ran(route.worker.name, answers)
    except Unanswered as error:
        return _Look(unreadable(route, error))
    except VmopsError as error:
        return _Look(error)
    is_drained, seen = False, None
    with suppress(Unanswered):
        mark = answers[DRAINED] if DRAINED in asked else None
        is_drained = mark is not None and not mark.is_open
    with suppress(Unanswered):
        questions = [one for one in asked if one != DRAINED]
        seen = facts.read(route.worker, answers, questions) if HOST in asked else None
    return _Look(ran, is_drained, seen)


def _ran(worker: str, answers: Answers) -> Ran:
    ran = answers[RUNNING]
    found: Mapping[str, Mark] = {}
    with suppress(Unanswered):
        found = answers[MOVES]
    return but_what_is_still(worker, ran, found)


def but_what_is_still(worker: str, ran: Ran, found: Mapping[str, Mark]) -> Ran:
    """What runs on a worker that has these marks, without a QEMU that only waits for the memory of
    one on another worker."""
    seen = shared.as_seen(worker, found)
    return {name: one for name, one in ran.items() if not marks.is_still(one, seen.get(name))}


def _elsewhere(found: Mapping[str, _Look]) -> Elsewhere:
    said = {name: look.ran for name, look in found.items()}
    return Elsewhere(
        seen={name: ran for name, ran in said.items() if not isinstance(ran, VmopsError)},
        unasked={name: ran for name, ran in said.items() if isinstance(ran, VmopsError)},
        drained=frozenset(name for name, look in found.items() if look.is_drained),
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
    vms = [as_it_is_there(worker, vm, seen) for vm in vms]
    wanted = [vm for vm in vms if not group.is_left_off(vm, seen, terms)]
    lacking = {vm.name for vm in wanted if disk.lacks_image(vm, seen.images)}
    seen = supposed.with_images(seen, vms, terms.bases)
    plans = group.plans(worker, vms, seen, terms=terms)
    plans = group.with_room_to_restart(worker, plans, seen, overcommit=terms.overcommit)
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
    vm = as_it_is_there(route.worker, vm, seen)
    (found,) = group.plans(route.worker, [vm], seen, terms=terms)
    return found


def _change(route: Route, vm: VM, found: Plan | WorkFailed, elsewhere: Elsewhere) -> Change:
    worker = route.worker
    found = elsewhere.checked(worker, vm, found)
    if isinstance(found, WorkFailed):
        return Change(vm.name, worker.name, "refused", error=found)
    return Change(vm.name, worker.name, found.action, found.drift, found.skips, found.notes)
