"""Plans for VMs of one worker that start together: there is room for all, or none starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from vmops.core.facts.observed import Observed
from vmops.core.inventory.model import VM, Worker
from vmops.core.plan import vm as plan
from vmops.core.plan.capacity import refusal
from vmops.core.plan.checks import check_boot
from vmops.core.plan.vm import Plan
from vmops.errors import WorkFailed


class Terms(NamedTuple):
    """What a launch may do.

    `strict` refuses a VM of which an interface cannot be plugged, `overcommit` starts VMs beyond
    the memory that is available, and `restart` ends one that runs otherwise than asked.
    """

    strict: bool = False
    overcommit: bool = False
    restart: bool = False


def plans(
    worker: Worker,
    vms: Sequence[VM],
    observed: Observed,
    *,
    terms: Terms,
    kind: Callable[..., Plan] = plan.launch,
) -> list[Plan | WorkFailed]:
    """For each VM, in order, its plan of that `kind`, or why there can be none.

    `kind` is `plan.launch` or `plan.boot`. A plan to restart has no steps: it says in which fields
    the VM runs otherwise. With `terms.restart` there is one only where the VM could start again.
    """

    def decide(vm: VM) -> Plan | WorkFailed:
        try:
            found = kind(worker, vm, observed, strict=terms.strict, room=False)
            if found.action == "restart" and terms.restart:
                check_boot(worker, vm, observed, room=False)
        except WorkFailed as reason:
            return reason
        return found

    decided = [decide(vm) for vm in vms]
    starting = {"start", "restart"} if terms.restart else {"start"}
    starts = {p.vm.name: p.vm for p in decided if isinstance(p, Plan) and p.action in starting}
    refused = refusal(worker, [*starts.values()], observed, overcommit=terms.overcommit)
    if refused is None:
        return decided
    return [refused if vm.name in starts else p for vm, p in zip(vms, decided, strict=True)]
