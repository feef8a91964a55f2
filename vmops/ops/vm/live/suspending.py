"""VMs that are suspended to a file on their worker, and come back. One result for each VM."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from vmops.core.facts import observed as facts
from vmops.core.facts import supposed
from vmops.core.facts.host import HOST
from vmops.core.facts.images import MOVES, SUSPENDED
from vmops.core.facts.observed import Observed
from vmops.core.facts.vms import RUNNING
from vmops.core.inventory.model import VM
from vmops.core.plan.elsewhere import NOWHERE, Elsewhere
from vmops.core.plan.live import suspending as plans
from vmops.core.plan.moving.marks import check_may_start
from vmops.core.plan.phase import Plan
from vmops.errors import VmopsError, WorkFailed
from vmops.ops.act import carry_out, observe, one_by_one
from vmops.ops.guest.monitors import not_running
from vmops.ops.route import Route
from vmops.ops.vm import lifecycle, outcome, power
from vmops.ops.vm.expiring import today
from vmops.ops.vm.outcome import Outcome

_LET_GO = re.compile(
    r'"return": \{"status": "failed"(\}|, "error-desc": "Error in migration completion)'
)
"""What QEMU answers that can neither keep its disks nor give them up: 7.2, and 10.0."""

_FAILED = "its QEMU has not written its memory, or could not let go of its disks"


def suspend(route: Route, vms: Sequence[VM]) -> list[Outcome]:
    """Write each VM's memory to a file and end its QEMU, ports and TAPs with it.

    One that is suspended already is left alone. Where it fails, the guest runs on.
    """

    def decide(vm: VM, seen: Observed) -> Plan:
        running = seen.vm(vm.name)
        if running.odd:
            raise running.doubt(route.worker.name)
        if running.process is None:
            if vm.name in seen.suspended:
                return Plan(vm, "nothing")
            raise not_running(vm.name, running.state, route.worker.name)
        return plans.suspend(route.worker, vm, seen)

    return _do(route, vms, decide)


def discard(route: Route, vms: Sequence[VM]) -> list[Outcome]:
    """Give up the memory of each VM that is suspended; the others are left alone."""
    return _do(route, vms, lambda vm, seen: plans.discard(route.worker, vm, seen))


def resume(route: Route, vms: Sequence[VM], *, elsewhere: Elsewhere = NOWHERE) -> list[Outcome]:
    """Bring back each VM that is suspended, and let each guest run on that is paused.

    Not one that is on its way to another worker or from one: its guest could run twice.
    """
    questions = (HOST, RUNNING, SUSPENDED, MOVES)
    try:
        seen = observe(route, questions, vms=vms, suppose=supposed.running)
    except VmopsError as error:
        return [Outcome(vm.name, route.worker.name, "nothing", error=error) for vm in vms]
    gone = [vm for vm in vms if vm.name in seen.suspended and not seen.vm(vm.name).process]
    refused = {vm.name: no for vm in vms if vm not in gone and (no := _between(route, vm, seen))}
    others = [vm for vm in vms if vm not in gone and vm.name not in refused]
    terms = lifecycle.USUAL_TERMS._replace(today=today())
    came = lifecycle.launch(route, gone, terms=terms, elsewhere=elsewhere) if gone else []
    came += power.resume(route, others) if others else []
    found = {**refused, **{one.vm: one for one in came}}
    return [found[vm.name] for vm in vms]


def _between(route: Route, vm: VM, seen: Observed) -> Outcome | None:
    try:
        check_may_start(route.worker, vm, seen)
    except WorkFailed as error:
        return Outcome(vm.name, route.worker.name, "nothing", error=error)
    return None


def _do(route: Route, vms: Sequence[VM], decide: Callable[[VM, Observed], Plan]) -> list[Outcome]:
    done = carry_out(
        route,
        vms,
        one_by_one(decide),
        questions=lambda _: facts.for_suspending(),
        suppose=supposed.running,
    )
    found = []
    for item in done:
        came = outcome.begun(item)
        failure = item.result.failure if item.result else None
        if failure is not None and item.result is not None:
            reason = outcome.reason_of(failure)
            error = WorkFailed(
                _FAILED if _LET_GO.search(reason) else f"{failure.step.label} failed: {reason}",
                worker=route.worker.name,
                vm=item.vm.name,
                cure=outcome.undone(
                    item.result,
                    _opening(item.vm)
                    if _LET_GO.search(reason)
                    else f"it is as it was: fab status --vm {item.vm.name}",
                ),
            )
            came = came._replace(error=error)
        found.append(came)
    return found


def _opening(vm: VM) -> str:
    """What helps a VM whose QEMU cannot open its disks again."""
    words = f"it runs on; what QEMU says: fab logs --vm {vm.name} --qemu"
    if vm.image is None:
        return f"{words}; it must be able to read {vm.qcow_image}, as a user of its own"
    return f"{words}; then fab restart --vm {vm.name}, and suspend it"
