"""Lines of running VMs, made worse than they are. One result for each VM."""

from __future__ import annotations

from collections.abc import Sequence

from vmops.core.facts import observed as facts
from vmops.core.facts import supposed
from vmops.core.facts.observed import Observed
from vmops.core.inventory.model import VM
from vmops.core.inventory.networks.impairment import Impaired
from vmops.core.plan.live import interfaces
from vmops.core.plan.phase import Plan
from vmops.errors import WorkFailed
from vmops.ops.act import carry_out, one_by_one
from vmops.ops.guest.monitors import not_running
from vmops.ops.route import Route
from vmops.ops.vm import outcome
from vmops.ops.vm.outcome import Outcome


def set_impaired(route: Route, vms: Sequence[VM], *, name: str, wanted: Impaired) -> list[Outcome]:
    """Impair each VM's interface of that name so; where it cannot be done, all stays as it is."""

    def decide(vm: VM, seen: Observed) -> Plan:
        running = seen.vm(vm.name)
        if running.process is None:
            raise not_running(vm.name, running.state, route.worker.name)
        return interfaces.impair(route.worker, vm, seen, name=name, wanted=wanted)

    done = carry_out(
        route,
        vms,
        one_by_one(decide),
        questions=lambda _: facts.for_impairing(),
        suppose=supposed.running_whole,
    )
    found = []
    for item in done:
        came = outcome.begun(item)
        failure = item.result.failure if item.result else None
        if failure is not None:
            what = f"the line of {name} stays as it is: {outcome.reason_of(failure)}"
            error = WorkFailed(what, worker=route.worker.name, vm=item.vm.name, interface=name)
            came = came._replace(error=error)
        found.append(came)
    return found
