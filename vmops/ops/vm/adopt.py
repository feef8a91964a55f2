"""Taking over QEMUs that another system has started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vmops.core.facts import observed as facts
from vmops.core.facts import supposed
from vmops.core.facts.observed import Observed
from vmops.core.facts.strangers import qemus
from vmops.core.inventory.model import VM
from vmops.core.plan.life import RUN_DIRECTORY
from vmops.core.plan.phase import Plan
from vmops.core.plan.upkeep import adopting
from vmops.core.plan.upkeep.adopting import Meant
from vmops.errors import WorkFailed
from vmops.ops.act import Done, carry_out, one_by_one
from vmops.ops.route import Route
from vmops.ops.vm.outcome import Outcome


def adopt(
    route: Route, vms: Sequence[VM], *, pid: int = 0, listed: Mapping[str, VM] | None = None
) -> list[Outcome]:
    """Take over the QEMU of each VM, or for one VM that process. Nothing is done to the process.

    `listed` are the VMs of hosts.toml: one that is not among them is known by its name. What fails
    is undone. The action is adopt, or nothing where it is vmops' own already.
    """
    asked = (*facts.for_ending(), qemus(*((pid,) if pid else ())))
    meant = Meant(pid, listed)

    def decide(vm: VM, seen: Observed) -> Plan:
        return adopting.adopt(route.worker, vm, seen, meant=meant)

    done = carry_out(
        route,
        vms,
        one_by_one(decide),
        questions=lambda _: asked,
        suppose=supposed.started_by_others,
    )
    return [_outcome(item, pid) for item in done]


def _outcome(done: Done, pid: int) -> Outcome:
    name, worker, plan = done.vm.name, done.worker.name, done.plan
    failed = done.result.failure if done.result else None
    error = done.error
    if failed is not None:
        what = f"{failed.step.label} failed: {failed.reason()}"
        error = WorkFailed(what, worker=worker, vm=name, cure="what had been done was undone")
    found = done.result.find(RUN_DIRECTORY) if done.result else None
    process = done.seen.vm(name).process if done.seen else None
    told = found.stdout.split()[:1] if found and found.ok else []
    number = int(told[0]) if told else process.pid if process else pid
    action = plan.action if plan and error is None else "nothing"
    notes = plan.notes if plan and error is None else ()
    return Outcome(name, worker, action, pid=number, notes=notes, error=error)
