"""Plans for VMs of one worker that start together: there is room for all, or none starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import NamedTuple

from vmops.core.devices.disk import NO_BASES, Bases
from vmops.core.facts.observed import Observed
from vmops.core.inventory.model import VM, Worker
from vmops.core.plan import restarting, starting
from vmops.core.plan.capacity import refusal, taken, thin
from vmops.core.plan.phase import Plan
from vmops.core.plan.stopping import Manner
from vmops.core.plan.upkeep.expiry import AtEnd, ended, is_over
from vmops.errors import LaunchFailed, WorkFailed

GENTLY = Manner()

Kind = Callable[..., Plan]
"""`starting.launch`, `starting.launch_bare` or `starting.boot`."""


class Terms(NamedTuple):
    """What a launch may do.

    `strict` refuses a VM of which an interface cannot be plugged, and `overcommit` starts VMs
    beyond the memory that is available. `restart` says how a VM that runs otherwise than asked is
    ended; None ends none. `bare` starts a VM of which no interface can be plugged. `bases` are the
    images that disks may be made of. `today` tells whose time is over, and `at_end` what is done
    about these; without a day nobody's is.
    """

    strict: bool = False
    overcommit: bool = False
    restart: Manner | None = None
    bare: bool = False
    bases: Bases = NO_BASES
    today: date | None = None
    at_end: AtEnd = "refuse"


def plans(
    worker: Worker,
    vms: Sequence[VM],
    observed: Observed,
    *,
    terms: Terms,
    kind: Kind = starting.launch,
) -> list[Plan | WorkFailed]:
    """For each VM, in order, its plan of that `kind`, or why there can be none.

    A VM that runs otherwise than asked has a plan to restart, without a phase where the terms allow
    none.
    """

    def decide(vm: VM) -> Plan | WorkFailed:
        try:
            if is_over(vm, terms.today):
                return ended(worker, vm, observed, manner=GENTLY, at_end=terms.at_end)
            found = kind(worker, vm, observed, strict=terms.strict, room=False)
            waits = any(d.later for d in found.drift)
            if (found.action == "restart" or waits) and terms.restart is not None:
                again = restarting.restart(worker, vm, observed, manner=terms.restart, room=False)
                found = again._replace(drift=found.drift)
        except WorkFailed as reason:
            return reason
        return found

    return _with_room(worker, [decide(vm) for vm in vms], vms, observed, terms)


def restarts(
    worker: Worker, vms: Sequence[VM], observed: Observed, *, terms: Terms, manner: Manner
) -> list[Plan | WorkFailed]:
    """For each VM its plan to restart, as it runs or not, or why there can be none."""

    def decide(vm: VM) -> Plan | WorkFailed:
        try:
            return restarting.restart(worker, vm, observed, manner=manner, room=False)
        except WorkFailed as reason:
            return reason

    return _with_room(worker, [decide(vm) for vm in vms], vms, observed, terms)


def unwanted_restart(worker: Worker, plan: Plan) -> LaunchFailed:
    """That the VM runs otherwise than asked, and how to change that."""
    name = plan.vm.name
    return LaunchFailed(
        f"{name} runs, but not as the inventory says: {'; '.join(map(str, plan.drift))}",
        worker=worker.name,
        vm=name,
        cure=f"to restart it: fab restart --vm {name}",
    )


def _with_room(
    worker: Worker,
    decided: Sequence[Plan | WorkFailed],
    vms: Sequence[VM],
    observed: Observed,
    terms: Terms,
) -> list[Plan | WorkFailed]:
    starts = _starts(decided)
    names = {vm.name for vm in starts}
    alone = {vm.name: taken(worker, vm, observed, tuple(names)) for vm in starts}
    decided = [alone.get(vm.name) or found for vm, found in zip(vms, decided, strict=True)]
    starts = _starts(decided)
    refused = refusal(worker, starts, observed, overcommit=terms.overcommit)
    if refused is None:
        return _noted(decided, thin(worker, starts, observed))
    names = {vm.name for vm in starts}
    return [refused if vm.name in names else p for vm, p in zip(vms, decided, strict=True)]


def _noted(decided: Sequence[Plan | WorkFailed], note: str) -> list[Plan | WorkFailed]:
    """The same, with a note on the first that starts."""
    found = list(decided)
    for place, plan in enumerate(found):
        if note and isinstance(plan, Plan) and _is_start(plan):
            found[place] = plan._replace(notes=(*plan.notes, note))
            break
    return found


def _starts(decided: Sequence[Plan | WorkFailed]) -> list[VM]:
    return [plan.vm for plan in decided if isinstance(plan, Plan) and _is_start(plan)]


def _is_start(plan: Plan) -> bool:
    return bool(plan.phases) and plan.action in ("start", "restart")
