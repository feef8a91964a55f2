"""What workers still have of moves of VMs that are gone: found on all of them, and removed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

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


class Found(NamedTuple):
    """A mark that leads nowhere: its VM, the way to the worker that has it, and what was seen."""

    vm: VM
    route: Route
    seen: Observed


def found(routes: Sequence[Route], vms: Sequence[VM]) -> list[Found]:
    """The marks of these VMs that lead nowhere.

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
        Found(vm, ways[name], seen[name])
        for vm in vms
        for name in forgetting.leading_nowhere(vm, seen)
    ]


def forget(marks: Sequence[Found]) -> list[Outcome]:
    """Remove these marks, each if it is still the one that was seen: what came of each."""
    came = []
    for vm, route, seen in marks:
        plan = forgetting.forget(route.worker, vm, seen)
        (done,) = execute({route.worker.name: route}, [Done(vm, route.worker, plan=plan)])
        came.append(outcome.stopped(done))
    return came
