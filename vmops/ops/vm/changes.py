"""Bringing a worker's VMs to what the inventory says: what would change, and doing it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from vmops.core.inventory.model import VM
from vmops.core.plan import group as together
from vmops.core.plan.drift import Drift
from vmops.core.plan.group import Terms
from vmops.core.plan.steps import Skip
from vmops.core.plan.vm import Plan
from vmops.errors import VmopsError
from vmops.ops.act import observe
from vmops.ops.route import Route
from vmops.ops.vm import lifecycle, power
from vmops.ops.vm.elsewhere import Elsewhere
from vmops.ops.vm.lifecycle import Outcome


class Change(NamedTuple):
    """What `up` would do about one VM.

    `action` is start, nothing, replug or restart; refused where `up` would fail, and unknown where
    the worker could not be asked: then `error` says why. `drift` are the fields that differ.
    """

    vm: str
    worker: str
    action: str
    drift: tuple[Drift, ...] = ()
    skipped: tuple[Skip, ...] = ()
    notes: tuple[str, ...] = ()
    error: VmopsError | None = None

    @property
    def to_do(self) -> bool:
        """True where `up` would change something."""
        return self.action in ("start", "replug", "restart")


def changes(route: Route, vms: Sequence[VM], terms: Terms, elsewhere: Elsewhere) -> list[Change]:
    """What `up` on these terms would change, in order. Nothing is done; never raises.

    What the worker has of the others' VMs is noted in `elsewhere`: see `with_others`.
    """
    worker = route.worker
    try:
        seen = observe(route, vms)
    except VmopsError as error:
        return [Change(vm.name, worker.name, "unknown", error=error) for vm in vms]
    elsewhere.look(worker, seen)
    decided = together.plans(worker, vms, seen, terms=terms)
    return [_change(route, vm, found) for vm, found in zip(vms, decided, strict=True)]


def _change(route: Route, vm: VM, found: Plan | VmopsError) -> Change:
    if isinstance(found, Plan):
        return Change(
            vm.name, route.worker.name, found.action, found.drift, found.skips, found.notes
        )
    found.worker = found.worker or route.worker.name
    return Change(vm.name, route.worker.name, "refused", error=found)


def with_others(found: Sequence[Change], elsewhere: Elsewhere) -> list[Change]:
    """The changes of all workers, in the light of what each has shown of the others' VMs."""
    errors = [elsewhere.worse(change.vm, change.error) for change in found]
    return [
        change if error is change.error else change._replace(action="refused", error=error)
        for change, error in zip(found, errors, strict=True)
    ]


def up(route: Route, vms: Sequence[VM], terms: Terms, elsewhere: Elsewhere) -> list[Outcome]:
    """Launch each VM as `lifecycle.launch` does; with `terms.restart` restart what runs otherwise.

    A VM that is restarted is asked to power off first. One that `elsewhere` has is refused.
    """
    outcomes = {o.vm: o for o in lifecycle.launch(route, vms, terms=terms, decide=elsewhere.launch)}
    waiting = {name for name, o in outcomes.items() if o.action == "restart" and not o.error}
    if waiting:
        again = [vm for vm in vms if vm.name in waiting]
        restarted = power.restart(route, again, overcommit=terms.overcommit)
        outcomes |= {o.vm: o for o in restarted}
    return [outcomes[vm.name] for vm in vms]
