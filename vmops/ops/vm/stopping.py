"""How VMs end on one worker: stop, destroy, unplug, a disk removed. One result for each VM."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence

from vmops.core.facts import observed as facts
from vmops.core.facts import supposed
from vmops.core.facts.monitors import statuses_of
from vmops.core.facts.observed import Observed
from vmops.core.inventory.model import VM
from vmops.core.plan import stopping
from vmops.core.plan.elsewhere import Ran
from vmops.core.plan.moving import marks
from vmops.core.plan.phase import Plan
from vmops.core.plan.stopping import GENTLY, Manner
from vmops.core.plan.upkeep import disks
from vmops.ops.act import Suppose, carry_out, one_by_one
from vmops.ops.route import Group, Route
from vmops.ops.vm import outcome
from vmops.ops.vm.outcome import Outcome


def stop(
    route: Route,
    vms: Sequence[VM],
    *,
    manner: Manner = GENTLY,
    seen: MutableMapping[str, Ran] | None = None,
) -> list[Outcome]:
    """End each VM and remove its ports and TAPs; a VM that is not there is no error.

    Its guest is asked to power off, for up to `manner.timeout_s` seconds, then QEMU is ended harder
    and harder. `manner.force` kills at once. What else runs on the worker goes into `seen`.
    """

    def decide(vm: VM, there: Observed) -> Plan:
        if seen is not None:
            seen[route.worker.name] = there.vms
        return stopping.stop(route.worker, vm, there, manner=manner)

    return _end(route, vms, decide, supposed.running, gently=not manner.force)


def destroy(
    there: Group,
    *,
    manner: Manner = GENTLY,
    keep_disks: bool = False,
    forgets: bool = False,
) -> list[Outcome]:
    """Stop each VM as `stop` does, and remove the disks that were made for it.

    A `qcow_image` stays, and so do images. One that has left the worker is refused where the group
    has no ways to it, unless the worker `forgets` that. Of one that was moved there, the worker
    where hosts.toml has it forgets that: its next launch begins there anew. Where that fails it is
    the VM's error.
    """
    route, vms, _ = there

    def decide(vm: VM, seen: Observed) -> Plan:
        plan = stopping.destroy(route.worker, vm, seen, manner=manner, keep_disks=keep_disks)
        if there.ways is None and not (keep_disks or forgets):
            marks.check_may_forget(route.worker, vm, seen)
        return plan

    done = carry_out(
        route,
        vms,
        one_by_one(decide),
        questions=lambda waiting: facts.for_destroying(waiting, gently=not manner.force),
        suppose=supposed.running,
    )
    came = [outcome.stopped(item) for item in done]
    if keep_disks or there.ways is None:
        return came
    return [_forgotten(there, vm, one) for vm, one in zip(vms, came, strict=True)]


def _forgotten(there: Group, vm: VM, came: Outcome) -> Outcome:
    """The same, when the worker where hosts.toml has the VM knows no more that it has left."""
    home = there.ways.to(vm.worker) if there.ways is not None and vm.worker is not None else None
    if home is None or home.worker.name == there.route.worker.name or came.error is not None:
        return came
    (left,) = destroy(Group(home, (vm,)), manner=stopping.KILLED, forgets=True)
    return came._replace(error=left.error)


def reset_disk(route: Route, vms: Sequence[VM], *, name: str = "root") -> list[Outcome]:
    """Remove each VM's own disk, or its further one of that name: the next launch makes it anew.

    Refused for a VM that runs. One that has no such disk there is left alone.
    """

    def decide(vm: VM, seen: Observed) -> Plan:
        return disks.reset(route.worker, vm, seen, name=name)

    done = carry_out(
        route,
        vms,
        one_by_one(decide),
        questions=lambda waiting: (*facts.for_destroying(waiting), statuses_of(waiting)),
        suppose=supposed.blank,
    )
    return [outcome.stopped(item) for item in done]


def unplug(route: Route, vms: Sequence[VM]) -> list[Outcome]:
    """Remove each VM's ports and TAPs; refused for a VM that runs."""

    def decide(vm: VM, seen: Observed) -> Plan:
        return stopping.unplug(route.worker, vm, seen)

    return _end(route, vms, decide, supposed.plugged, gently=False)


def _end(
    route: Route,
    vms: Sequence[VM],
    decide: Callable[[VM, Observed], Plan],
    suppose: Suppose,
    *,
    gently: bool,
) -> list[Outcome]:
    done = carry_out(
        route,
        vms,
        one_by_one(decide),
        questions=lambda _: facts.for_ending(gently=gently),
        suppose=suppose,
    )
    return [outcome.stopped(item) for item in done]
