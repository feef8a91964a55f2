"""What workers still have of moves of VMs that are gone: found on all of them, and removed."""

from __future__ import annotations

from collections.abc import Sequence

from vmops.core.facts import supposed
from vmops.core.facts.host import HOST
from vmops.core.facts.images import MOVES, OWN_DISKS, SUSPENDED
from vmops.core.facts.observed import Observed
from vmops.core.facts.vms import RUNNING, images
from vmops.core.inventory.model import VM
from vmops.core.plan.moving import forgetting
from vmops.errors import UnexpectedOutput, VmopsError
from vmops.ops.act import Done, execute, observe
from vmops.ops.fleet import on_each
from vmops.ops.route import Group, Route
from vmops.ops.vm import outcome
from vmops.ops.vm.outcome import Outcome


def found(routes: Sequence[Route], vms: Sequence[VM]) -> list[tuple[VM, Route, Observed]]:
    """The marks of these VMs that lead nowhere, each with its worker and what was seen there.

    `routes` lead to all workers of the inventory. Raises VmopsError where one cannot be asked: the
    VM may be there.
    """
    questions = (HOST, RUNNING, SUSPENDED, MOVES, OWN_DISKS, images(vms))

    def look(group: Group) -> Observed | VmopsError:
        try:
            seen = observe(group.route, questions, vms=vms, suppose=supposed.blank)
        except VmopsError as error:
            return error
        for name, why in seen.faults.items():
            where = group.route.worker.name
            return UnexpectedOutput(f"{name}: {why}", worker=where, cure="fab doctor")
        return seen

    seen: dict[str, Observed] = {}
    for group, said in on_each([Group(route) for route in routes], look):
        if isinstance(said, VmopsError):
            raise said
        seen[group.route.worker.name] = said
    ways = {route.worker.name: route for route in routes}
    return [
        (vm, ways[name], seen[name]) for vm in vms for name in forgetting.leading_nowhere(vm, seen)
    ]


def forget(routes: Sequence[Route], vms: Sequence[VM], *, only: str = "") -> list[Outcome]:
    """Remove the marks of these VMs that lead nowhere, or `only` those of one worker: what came of
    each. Raises as `found`."""
    came = []
    for vm, route, seen in found(routes, vms):
        if only not in ("", route.worker.name):
            continue
        plan = forgetting.forget(route.worker, vm, seen)
        (done,) = execute({route.worker.name: route}, [Done(vm, route.worker, plan=plan)])
        came.append(outcome.stopped(done))
    return came
