"""The lines of interfaces while a VM runs: cables pulled and put in, and lines made worse than they
are. One result for each VM."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vmops.core.facts import observed as facts
from vmops.core.facts import supposed
from vmops.core.facts.observed import Asked, Observed
from vmops.core.inventory.model import VM
from vmops.core.inventory.networks.impairment import Impaired
from vmops.core.plan.live import interfaces
from vmops.core.plan.phase import Plan
from vmops.errors import WorkFailed
from vmops.ops.act import Done, carry_out, one_by_one
from vmops.ops.guest.monitors import not_running
from vmops.ops.route import Route
from vmops.ops.vm import outcome
from vmops.ops.vm.outcome import Outcome


def set_link(route: Route, vms: Sequence[VM], *, name: str, up: bool) -> list[Outcome]:
    """Pull the cable of each VM's interface of that name, or put it in; so already is no error."""

    def decide(vm: VM, seen: Observed) -> Plan:
        return interfaces.set_link(route.worker, vm, seen, name=name, up=up)

    asked = facts.for_ending(gently=True)
    return [_told(item, name, "link") for item in _each(route, vms, decide, asked)]


def set_impaired(route: Route, vms: Sequence[VM], *, name: str, wanted: Impaired) -> list[Outcome]:
    """Impair each VM's interface of that name so; where it cannot be done, all stays as it is."""

    def decide(vm: VM, seen: Observed) -> Plan:
        return interfaces.impair(route.worker, vm, seen, name=name, wanted=wanted)

    asked = facts.for_impairing()
    return [_told(item, name, "line") for item in _each(route, vms, decide, asked)]


def _each(
    route: Route,
    vms: Sequence[VM],
    decide: Callable[[VM, Observed], Plan],
    asked: tuple[Asked, ...],
) -> list[Done]:
    """What came of each VM, which has to run for it."""

    def of_running(vm: VM, seen: Observed) -> Plan:
        running = seen.vm(vm.name)
        if running.process is None:
            raise not_running(vm.name, running.state, route.worker.name)
        return decide(vm, seen)

    return carry_out(
        route,
        vms,
        one_by_one(of_running),
        questions=lambda _: asked,
        suppose=supposed.running_whole,
    )


def _told(item: Done, name: str, what: str) -> Outcome:
    came = outcome.begun(item)
    failure = item.result.failure if item.result else None
    if failure is None:
        return came
    said = f"the {what} of {name} stays as it is: {outcome.reason_of(failure)}"
    where = {"worker": item.worker.name, "vm": item.vm.name, "interface": name}
    return came._replace(error=WorkFailed(said, **where))
