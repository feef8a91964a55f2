"""What is asked before a VM is started: where it may run beside the place that hosts.toml gives it,
and which images its disk is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from vmops.tasks.frame.context import Context, is_dry, is_host
from vmops.tasks.frame.harmless import one_line
from vmops.tasks.frame.output import complain, say
from vmops.tasks.frame.selection import (
    begin_to_connect,
    groups_of_workers,
    inventory,
    other_routes,
)
from vmops.tasks.typed.program import as_typed

if TYPE_CHECKING:
    from vmops.core.devices.disk import Bases
    from vmops.core.inventory.model import VM
    from vmops.core.plan.elsewhere import Elsewhere, Ran
    from vmops.core.plan.group import Terms
    from vmops.ops.route import Group

_MOST_NAMES = 8


def other_workers(
    c: Context, groups: Sequence[Group], *, here: bool, known: Elsewhere | None = None
) -> Elsewhere:
    """What runs on the workers of the inventory that are not those of the groups.

    Nobody is asked where -H or `here` names the place, or where it is `known`.
    """
    from vmops.core.plan.elsewhere import NOWHERE
    from vmops.ops.vm.changes import look_everywhere

    if here or is_host(c) or is_dry(c):
        return NOWHERE
    return known or look_everywhere(other_routes(c, groups))


def everywhere(
    c: Context, groups: Sequence[Group], *, named: bool, known: Elsewhere | None = None
) -> Elsewhere:
    """What runs on all workers of the inventory, for `plan`, and for `up` as `ready_to_start`.

    One that cannot be asked is said, unless it is among the groups, whose VMs say it. Where VMs are
    `named` none is started that may run there; of the whole inventory what can be is started, and
    the exit code says that a worker was not reached. Nobody is asked for what is `known` already.
    """
    from vmops.core.plan.elsewhere import NOWHERE
    from vmops.ops.vm.changes import look_everywhere

    if is_dry(c):
        return NOWHERE
    found = known
    if found is None:
        routes = [*(group.route for group in groups), *other_routes(c, groups)]
        found = look_everywhere(routes, to_start=True)
    return found if named else _complained(groups, found)


def ready_to_start(
    c: Context, groups: list[Group], terms: Terms, *, named: bool, parallel: int
) -> tuple[Elsewhere, list[Group]]:
    """The same, and in the same exchange what a launch of the groups' VMs on these terms asks
    first. What is seen by now would be old for those that have to wait for their turn: where there
    are more of them than `parallel`, they look by themselves."""
    from vmops.ops.fleet import DEFAULT_PARALLEL
    from vmops.ops.vm.changes import look_to_start

    if is_dry(c) or len(groups) > (parallel or DEFAULT_PARALLEL):
        return everywhere(c, groups, named=named), groups
    found, groups = look_to_start(groups, other_routes(c, groups), terms)
    return found if named else _complained(groups, found), groups


def _complained(groups: Sequence[Group], found: Elsewhere) -> Elsewhere:
    at = {group.route.worker.name for group in groups}
    complain(error for name, error in found.unasked.items() if name not in at)
    return found._replace(unasked={})


def say_lost(c: Context, worker: str | None, seen: Mapping[str, Ran]) -> None:
    """Say which VMs run that hosts.toml does not have, and how one is ended: of what was `seen` on
    the workers that -H or `--worker` name, else on all."""
    meant = {group.route.worker.name for group in groups_of_workers(c, worker, early=False)}
    listed = inventory(c)
    lost = [
        (name, at)
        for at, ran in sorted(seen.items())
        for name in sorted(ran)
        if at in meant and name not in listed.vms and ran[name].process is not None
    ]
    if lost:
        (first, there), many = lost[0], len(lost)
        what = "1 VM runs" if many == 1 else f"{many} VMs run"
        names = ", ".join(f"{name} on {at}" for name, at in lost[:_MOST_NAMES])
        more = f" and {many - _MOST_NAMES} more" if many > _MOST_NAMES else ""
        cure = as_typed(f"fab -H {there} stop --vm {first}")
        end = "it" if many == 1 else "one"
        say(one_line(f"{what} that hosts.toml does not have: {names}{more}; to end {end}: {cure}"))


def bases(c: Context, groups: Sequence[Group]) -> Bases:
    """The images that their VMs' disks are made of, as workers keep them, by name.

    The sum of a file here may have to be made first.
    """
    from vmops.ops.image.bases import bases_of

    vms = [vm for group in groups for vm in group.vms]
    return bases_of(inventory(c), vms)


def bases_to_start(
    c: Context, groups: Sequence[Group], free: Sequence[VM] = (), *, parallel: int = 0
) -> Bases:
    """The same, after what their guests are told has been read: a bad file of that is told before a
    worker is contacted. Then the way to it is begun, to `parallel` of them. `free` are VMs that
    have no worker yet."""
    vms = [*(vm for group in groups for vm in group.vms), *free]
    reads = any(vm.image is not None or vm.is_told for vm in vms)
    if not reads:
        begin_to_connect(c, groups, parallel=parallel)  # before what comes next is imported
    found = bases_of_vms(c, vms)
    if reads:
        begin_to_connect(c, groups, parallel=parallel)
    return found


def bases_of_vms(c: Context, vms: Sequence[VM]) -> Bases:
    """The same for these VMs; nothing is contacted."""
    from vmops.ops.image.bases import bases_to_start as of_vms

    return of_vms(inventory(c), vms)
