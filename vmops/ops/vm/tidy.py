"""What a VM leaves in the network when it powers itself off, removed by whoever meets it next."""

from __future__ import annotations

from collections.abc import Sequence

from vmops.core.facts.observed import Observed
from vmops.core.inventory.model import VM
from vmops.core.plan import vm as plans
from vmops.errors import VmopsError
from vmops.ops.act import ACT_LIMIT_S, perform
from vmops.ops.route import Route


def tidy(route: Route, vms: Sequence[VM], seen: Observed) -> dict[str, str]:
    """Remove the ports and TAPs of those VMs that powered themselves off: what was done, by VM.

    Nothing is sent to the worker when there are none. A VM that somebody has started again
    meanwhile is left alone. What fails is said too, and raises nothing.
    """
    found = [plan for plan in (plans.tidy(vm, seen) for vm in vms) if plan.block is not None]
    if not found:
        return {}
    blocks = [plan.block for plan in found if plan.block is not None]
    try:
        results = perform(route, blocks, time_limit_s=ACT_LIMIT_S)
    except VmopsError as error:
        return {plan.vm.name: f"{plan.vm.name} leaves its ports: {error.what}" for plan in found}
    notes: dict[str, str] = {}
    for plan, result in zip(found, results, strict=True):
        failed = [f"{entry.step.label}: {entry.reason()}" for entry in result.steps if not entry.ok]
        if failed:
            notes[plan.vm.name] = f"{plan.vm.name} leaves its ports: {'; '.join(failed)}"
        elif result.outcome == "done":
            notes[plan.vm.name] = " ".join(plan.notes)
    return notes
