"""What a VM leaves in the network when it powers itself off, removed by whoever meets it next."""

from __future__ import annotations

from collections.abc import Sequence

from vmops.core.facts.observed import Observed
from vmops.core.inventory.model import VM
from vmops.core.plan import stopping
from vmops.ops.act import Done, execute
from vmops.ops.route import Route


def tidy(route: Route, vms: Sequence[VM], seen: Observed) -> dict[str, str]:
    """Remove the ports and TAPs of those VMs that powered themselves off: what was done, by VM.

    Nothing is sent to the worker when there are none. A VM that somebody has started again
    meanwhile is left alone. What fails is said too, and raises nothing.
    """
    plans = [stopping.tidy(route.worker, vm, seen) for vm in vms]
    begun = [Done(plan.vm, route.worker, plan) for plan in plans if plan.phases]
    done = execute({route.worker.name: route}, begun)
    return {item.vm.name: note for item in done if (note := _note(item))}


def _note(item: Done) -> str:
    name = item.vm.name
    result = item.result
    failed = [e for e in (result.steps if result else ()) if not e.ok]
    if failed:
        reasons = "; ".join(f"{entry.step.label}: {entry.reason()}" for entry in failed)
        return f"{name} leaves its ports: {reasons}"
    if item.error is not None and (result is None or result.outcome != "changed"):
        return f"{name} leaves its ports: {item.error.what}"
    is_done = result is not None and result.outcome == "done"
    return " ".join(item.plan.notes) if is_done and item.plan else ""
