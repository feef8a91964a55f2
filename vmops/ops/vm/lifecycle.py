"""How VMs come up on one worker: plug, boot, launch, restart. One result for each VM."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from vmops.core.devices import disk
from vmops.core.facts import observed as facts
from vmops.core.facts import supposed
from vmops.core.facts.observed import Observed
from vmops.core.inventory.model import VM, Worker
from vmops.core.plan import group, starting
from vmops.core.plan.elsewhere import NOWHERE, Elsewhere
from vmops.core.plan.group import Kind, Terms
from vmops.core.plan.phase import Plan
from vmops.core.plan.stopping import GENTLY, Manner
from vmops.errors import VmopsError, WorkFailed
from vmops.ops.act import Done, Suppose, carry_out, observe, one_by_one
from vmops.ops.route import Route
from vmops.ops.vm import outcome
from vmops.ops.vm.outcome import Outcome
from vmops.ops.vm.seeds import told

USUAL_TERMS = Terms()

Supplier = Callable[[Route, Sequence[str]], Mapping[str, VmopsError]]
"""Brings images, by name, to a worker, and says why those are not there that it could not bring."""


class _Way(NamedTuple):
    """How VMs are started: what is planned, what a dry run supposes, and whether a VM may be
    refused for an image that is not there."""

    kind: Kind
    suppose: Suppose = supposed.blank
    may_lack: bool = True


class _Lacking(Exception):
    """Images that have to be brought before anything is planned."""

    def __init__(self, images: Sequence[str]) -> None:
        super().__init__(images)
        self.images = images


def launch(
    route: Route,
    vms: Sequence[VM],
    *,
    terms: Terms = USUAL_TERMS,
    elsewhere: Elsewhere = NOWHERE,
    supplier: Supplier | None = None,
) -> list[Outcome]:
    """Plug and boot each VM; one that runs as asked is left alone.

    None of them starts where there is no room for all. An interface that fails is skipped and
    reported, or with `terms.strict` the launch is refused and undone; so it is where none can be
    plugged, without `terms.bare`. A VM that runs, but not as asked, is replugged where that is
    enough; otherwise it fails, or with `terms.restart` is restarted. One that runs `elsewhere`, or
    may, is not started.

    The `supplier` brings images that are not there before any of them starts; without one, a VM
    whose disk has to be made of such an image fails. Raises InventoryError for a file that a guest
    is to be told and that cannot be read; so do `boot` and `restart`.
    """
    vms = told(vms)
    way = _Way(starting.launch_bare if terms.bare else starting.launch)
    if supplier is None:
        return _start(route, vms, terms, way, elsewhere)
    if route.transcript is not None:
        supplier(route, sorted({vm.image for vm in vms if vm.image}))
        return _start(route, vms, terms, way, elsewhere)
    try:
        return _start(route, vms, terms, way._replace(may_lack=False), elsewhere)
    except _Lacking as lacking:
        failed = supplier(route, lacking.images)
    errors = {vm.name: failed[vm.image] for vm in vms if vm.image and vm.image in failed}
    again = _start(route._replace(seen=None), vms, terms, way, elsewhere)
    return [
        one._replace(error=errors[one.vm]) if one.error and one.vm in errors else one
        for one in again
    ]


def plug(route: Route, vms: Sequence[VM], *, strict: bool = False) -> list[Outcome]:
    """Make each VM's TAPs and ports as asked; what is plugged already is left alone.

    An interface that fails is skipped and reported; where all do, that is the VM's error.
    """

    def decide(vm: VM, seen: Observed) -> Plan:
        return starting.plug(route.worker, vm, seen, strict=strict)

    done = carry_out(
        route,
        vms,
        one_by_one(decide),
        questions=facts.for_starting,
        suppose=supposed.blank,
    )
    return [outcome.plugged(item) for item in done]


def boot(route: Route, vms: Sequence[VM], *, terms: Terms = USUAL_TERMS) -> list[Outcome]:
    """QEMU only, with the interfaces that are plugged; otherwise as `launch`."""
    way = _Way(starting.boot, supposed.plugged)
    return _start(route, told(vms), terms, way, NOWHERE)


def _start(
    route: Route,
    vms: Sequence[VM],
    terms: Terms,
    way: _Way,
    elsewhere: Elsewhere,
) -> list[Outcome]:
    def decide(waiting: Sequence[VM], seen: Observed) -> list[Plan | WorkFailed]:
        wanted = [vm for vm in waiting if not group.is_left_off(vm, seen, terms)]
        lacked = {vm.image for vm in wanted if disk.lacks_image(vm, seen.images)}
        if lacked and not way.may_lack and facts.IMAGES.name not in seen.faults:
            raise _Lacking(sorted(name for name in lacked if name))
        known = elsewhere.and_of(route.worker, seen)
        return decided(route, waiting, seen, terms=terms, elsewhere=known, kind=way.kind)

    def supposing(worker: Worker, some: Sequence[VM]) -> Observed:
        return supposed.without_disks(way.suppose(worker, some), some, terms.bases)

    done = carry_out(
        route,
        vms,
        decide,
        questions=lambda waiting: (*group.questions(waiting, terms), *elsewhere.questions),
        suppose=supposing,
    )
    return [_came_of(route, item) for item in done]


def decided(
    route: Route,
    vms: Sequence[VM],
    seen: Observed,
    *,
    terms: Terms,
    elsewhere: Elsewhere = NOWHERE,
    kind: Kind = starting.launch,
) -> list[Plan | WorkFailed]:
    """For each VM what a launch on these terms would do, or why it would fail."""
    plans = group.plans(route.worker, vms, seen, terms=terms, kind=kind)
    return [
        elsewhere.checked(route.worker, vm, _allowed(route, plan, terms))
        for vm, plan in zip(vms, plans, strict=True)
    ]


def _allowed(route: Route, plan: Plan | WorkFailed, terms: Terms) -> Plan | WorkFailed:
    if isinstance(plan, Plan) and plan.action == "restart" and terms.restart is None:
        return group.unwanted_restart(route.worker, plan)
    return plan


def restart(
    route: Route,
    vms: Sequence[VM],
    *,
    manner: Manner = GENTLY,
    terms: Terms = USUAL_TERMS,
    elsewhere: Elsewhere = NOWHERE,
) -> list[Outcome]:
    """Stop each VM as `stop` does and launch it, as the inventory has it by now.

    A VM that could not be launched is left running; where its launch fails all the same, it is
    started again as it ran. One that does not run is launched. The action is restart or start, or
    stop where somebody else has launched it meanwhile.
    """

    def decide(waiting: Sequence[VM], seen: Observed) -> list[Plan | WorkFailed]:
        plans = group.restarts(route.worker, waiting, seen, terms=terms, manner=manner)
        known = elsewhere.and_of(route.worker, seen)
        pairs = zip(waiting, plans, strict=True)
        return [known.checked(route.worker, vm, plan) for vm, plan in pairs]

    done = carry_out(
        route,
        told(vms),
        decide,
        questions=lambda waiting: (
            *facts.for_restarting(waiting, gently=not manner.force, bases=terms.bases),
            *elsewhere.questions,
        ),
        suppose=supposed.running,
    )
    return [_came_of(route, item) for item in done]


def _came_of(route: Route, done: Done) -> Outcome:
    if done.plan is not None and done.plan.action == "stop":
        return outcome.stopped(done)
    if len(done.results) < 2 or done.results[1].outcome != "changed":
        return outcome.restarted(done)
    try:
        seen = observe(route, facts.for_ending(), vms=[done.vm], suppose=supposed.running)
    except VmopsError:
        return outcome.restarted(done)
    return outcome.restarted(done, runs=seen.vm(done.vm.name).process is not None)
