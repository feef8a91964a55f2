"""Plans for VMs of one worker that start together: there is room for all, or none starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from types import MappingProxyType
from typing import NamedTuple

from vmops.core.devices.disk import NO_BASES, Bases
from vmops.core.facts.observed import Asked, Observed, for_restarting, for_starting
from vmops.core.inventory.model import VM, Worker
from vmops.core.plan import restarting, starting
from vmops.core.plan.capacity import refusal, taken, thin
from vmops.core.plan.phase import Plan
from vmops.core.plan.stopping import GENTLY, Manner
from vmops.core.plan.upkeep.expiry import AtEnd, ended, is_over, refused
from vmops.errors import LaunchFailed, WorkFailed

Kind = Callable[..., Plan]
"""`starting.launch`, `starting.launch_bare` or `starting.boot`."""


class Terms(NamedTuple):
    """What a launch may do.

    `strict` refuses a VM of which an interface cannot be plugged, and `overcommit` starts VMs
    beyond the memory that is available. `restart` says how a VM that runs otherwise than asked is
    ended; None ends none. `bare` starts a VM of which no interface can be plugged. `bases` are the
    images that disks may be made of. `today` tells whose time is over, and `at_end` what is done
    about these; without a day nobody's is. `unnamed` is that all VMs are meant and none by its
    name: then one without autostart is left stopped. `apart` names for each VM those that it may
    not be started beside.
    """

    strict: bool = False
    overcommit: bool = False
    restart: Manner | None = None
    bare: bool = False
    bases: Bases = NO_BASES
    today: date | None = None
    at_end: AtEnd = "refuse"
    unnamed: bool = False
    apart: Mapping[str, frozenset[str]] = MappingProxyType({})


def questions(vms: Sequence[VM], terms: Terms) -> tuple[Asked, ...]:
    """What a worker is asked before these VMs are started there on these terms."""
    if terms.restart is None:
        return for_starting(vms, bases=terms.bases)
    return for_restarting(vms, gently=True, bases=terms.bases)


def is_left_off(vm: VM, observed: Observed, terms: Terms) -> bool:
    """True for a VM that does not run, and is to be started by its name only."""
    return terms.unnamed and not vm.autostart and observed.vm(vm.name).state in _OFF


_OFF = ("stopped", "crashed")


def left_off(vm: VM) -> str:
    """What to say of such a one."""
    return f"{vm.name} is left stopped: autostart is false; to start it: fab up --vm {vm.name}"


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
            if is_left_off(vm, observed, terms):
                return Plan(vm, "nothing", notes=(left_off(vm),))
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
            if is_over(vm, terms.today):
                raise refused(vm, worker.name)
            return restarting.restart(worker, vm, observed, manner=manner, room=False)
        except WorkFailed as reason:
            return reason

    return _with_room(worker, [decide(vm) for vm in vms], vms, observed, terms)


def with_room_to_restart(
    worker: Worker, decided: Sequence[Plan | WorkFailed], observed: Observed, *, overcommit: bool
) -> list[Plan | WorkFailed]:
    """The same, where a restart that the terms did not allow is refused if there is no room for all
    that are to start and restart together."""
    vms = [p.vm for p in decided if isinstance(p, Plan) and p.action in _STARTING]
    refused = refusal(worker, vms, observed, overcommit=overcommit)
    if refused is None:
        return list(decided)
    return [refused if isinstance(p, Plan) and p.action == "restart" else p for p in decided]


class RestartNeeded(LaunchFailed):
    """A VM runs otherwise than asked in a way that only a restart changes."""


def unwanted_restart(worker: Worker, plan: Plan) -> RestartNeeded:
    """That the VM runs otherwise than asked, and how to change that."""
    name = plan.vm.name
    needs = "; ".join(str(d) for d in plan.drift if not (d.live or d.later))
    others = "; ".join(str(d) for d in plan.drift if d.live or d.later)
    also = f"; with a restart, and not before it, also {others}" if needs and others else ""
    return RestartNeeded(
        f"{name} runs, but not as the inventory says: {needs or others}{also}",
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
    decided = _kept_apart(worker, decided, observed, terms)
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


def _kept_apart(
    worker: Worker, decided: Sequence[Plan | WorkFailed], observed: Observed, terms: Terms
) -> list[Plan | WorkFailed]:
    """The same, where no VM starts beside one that it is to be apart from: of two that would start
    together the first does."""
    there = {name for name, running in observed.vms.items() if running.process is not None}
    found: list[Plan | WorkFailed] = []
    for plan in decided:
        if not isinstance(plan, Plan) or not (plan.phases and plan.action == "start"):
            found.append(plan)
            continue
        name = plan.vm.name
        beside = sorted(terms.apart.get(name, frozenset()) & there)
        found.append(_not_beside(worker, name, beside[0]) if beside else plan)
        if not beside:
            there.add(name)
    return found


def _not_beside(worker: Worker, name: str, other: str) -> LaunchFailed:
    return LaunchFailed(
        f"{name} is not started beside {other}: they are to be apart",
        worker=worker.name,
        vm=name,
        cure=f"stop that one, or to start it all the same: fab -H {worker.name} launch --vm {name}",
    )


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
    return bool(plan.phases) and plan.action in _STARTING


_STARTING = ("start", "restart")
