"""Placing VMs that hosts.toml gives no worker: place, and what up, launch and plan do first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from vmops.errors import InventoryError
from vmops.tasks.frame import options
from vmops.tasks.frame.context import Context, is_host
from vmops.tasks.frame.harmless import one_line
from vmops.tasks.frame.options import Option
from vmops.tasks.frame.output import finish, give_json, give_table, say
from vmops.tasks.frame.places import bases_of_vms
from vmops.tasks.frame.selection import (
    ToStart,
    groups_of_workers,
    inventory,
    other_routes,
    ways,
)
from vmops.tasks.frame.task import task
from vmops.tasks.frame.work import show_dry, text_of

if TYPE_CHECKING:
    from vmops.core.plan.elsewhere import Elsewhere
    from vmops.core.plan.group import Terms
    from vmops.core.plan.placement.choice import Choice
    from vmops.ops.route import Group
    from vmops.ops.vm.changes import Change
    from vmops.ops.vm.outcome import Outcome


@task(
    {
        "vm": Option(
            "The VM's name, several, or a glob. Default: all that have no worker.", names="vms"
        ),
        "worker": Option("Only these workers get a VM that has no place yet.", names="workers"),
        "why": Option("A row for each worker: why the VM may be placed there, or not."),
        "overcommit": Option("As up --overcommit would place it: free memory is not needed."),
        "format": options.FORMAT,
    }
)
def place(
    c: Context,
    vm: str | None = None,
    worker: str | None = None,
    why: bool = False,
    overcommit: bool = False,
    format: str = "text",
) -> None:
    """
    Show on which worker `up` or `launch` would start a VM that hosts.toml gives none, and why.

    It stays where it runs or has its disk; else it gets the worker with the most memory left.
    Nothing is changed. Exit code 1 for a VM without a place. Example: fab place --vm web1 --why
    """
    from vmops.core.plan.group import Terms
    from vmops.core.plan.placement.choice import wish_of
    from vmops.ops.vm.expiring import today
    from vmops.ops.worker.placing import ask, place

    listed = inventory(c)
    free = tuple(one for one in listed.vms.values() if one.worker is None)
    vms = free if vm is None else listed.select(vm)
    some = groups_of_workers(c, worker, early=False)
    lost = [g.route.worker.name for g in some if g.route.worker.name not in listed.workers]
    if lost:
        raise InventoryError(f"{listed.source} has no worker {lost[0]}", cure="fab inventory")
    terms = Terms(overcommit=overcommit, bases=bases_of_vms(c, vms), today=today(), at_end="stop")
    wish = wish_of(listed, vms, terms)
    if worker or is_host(c):
        wish = wish._replace(among=[group.route.worker.name for group in some])
    if show_dry(c, some, lambda group: ask([group.route], wish)):
        return
    if not vms:
        say(f"{listed.source} gives every VM a worker")
        return
    found = place(other_routes(c, ()), wish)
    if format == options.JSON:
        give_json([_as_dict(choice) for choice in found.choices])
    elif why:
        heads = ("VM", "WORKER", "PLACED", "FREE", "CORES", "WHY")
        give_table(heads, [row for choice in found.choices for row in _rows(choice)])
    else:
        give_table(("VM", "WORKER", "WHY"), [_row(choice) for choice in found.choices])
    finish([choice.error for choice in found.choices if choice.error is not None])


def _why(choice: Choice) -> str:
    said = choice.reason or choice.note
    return said or (choice.error.what if choice.error is not None else "")


def _row(choice: Choice) -> list[str]:
    return [choice.vm.name, choice.worker or "-", _why(choice)]


def _rows(choice: Choice) -> list[list[str]]:
    """A row for each worker that was judged; one where there was nothing to choose."""
    name = choice.vm.name
    if not choice.judged:
        return [
            [name, choice.worker or "-", "yes" if choice.worker else "no", "-", "-", _why(choice)]
        ]
    rows = []
    for one in choice.judged:
        is_it = one.worker == choice.worker
        free = "-" if one.free_mb is None else f"{one.free_mb} MiB"
        cores = "-" if one.cores is None else f"{one.cores} on {one.cpus}"
        why = one.why or (choice.reason if is_it else one.beside)
        rows.append([name, one.worker, "yes" if is_it else "no", free, cores, why])
    return rows


def _as_dict(choice: Choice) -> dict[str, Any]:
    workers = [
        {
            "worker": one.worker,
            "fits": one.fits,
            "why_not": one.why or None,
            "free_mb": one.free_mb,
            "cores": one.cores,
            "cpus": one.cpus,
        }
        for one in choice.judged
    ]
    return {
        "vm": choice.vm.name,
        "worker": choice.worker or None,
        "why": choice.reason or choice.note or None,
        "workers": workers,
        "error": text_of(() if choice.error is None else (choice.error,)),
    }


class Placing(NamedTuple):
    """VMs to be started by worker, on these terms. `elsewhere` is what runs on all workers, where
    they had to be asked, and `left` are VMs that got no worker."""

    groups: list[Group]
    terms: Terms
    elsewhere: Elsewhere | None = None
    left: tuple[Choice, ...] = ()

    def outcomes(self) -> list[Outcome]:
        """What came of the VMs that got no worker."""
        from vmops.ops.vm.outcome import Outcome

        return [
            Outcome(one.vm.name, "", "nothing", notes=_notes(one), error=one.error)
            for one in self.left
        ]

    def changes(self) -> list[Change]:
        """What `up` would do about them: nothing, or it would fail."""
        from vmops.ops.vm.changes import Change

        return [
            Change(
                one.vm.name,
                "",
                "nothing" if one.error is None else "refused",
                notes=_notes(one),
                error=one.error,
            )
            for one in self.left
        ]


def _notes(choice: Choice) -> tuple[str, ...]:
    return (choice.note,) if choice.note else ()


def placed(c: Context, start: ToStart, terms: Terms, *, trusting: bool = False) -> Placing:
    """Each VM with its worker: the free ones are placed, after all workers were asked.

    With -H everything is where that says, VMs that are to be apart as well.
    """
    if is_host(c):
        return Placing(start.groups, terms)
    listed = inventory(c)
    terms = terms._replace(apart=listed.apart)
    if not start.free:
        return Placing(start.groups, terms)
    from vmops.core.plan.placement.choice import wish_of
    from vmops.ops.route import Group
    from vmops.ops.worker.placing import place

    beside = {group.route.worker.name: group.vms for group in start.groups}
    wish = wish_of(listed, start.free, terms)
    wish = wish._replace(beside=beside, among=start.among, trusting=trusting)
    routes = other_routes(c, ())
    found = place(routes, wish)
    by_worker = {name: {vm.name for vm in vms} for name, vms in beside.items()}
    for choice in found.choices:
        if choice.worker and (start.among is None or choice.worker in start.among):
            by_worker.setdefault(choice.worker, set()).add(choice.vm.name)
            if choice.judged:
                say(one_line(f"{choice.vm.name} is placed on {choice.worker}: {choice.reason}"))
    groups, to_all = [], ways(c)
    for route in routes:
        names = by_worker.get(route.worker.name, ())
        vms = tuple(vm for name, vm in listed.vms.items() if name in names)
        groups += [Group(route, vms, to_all)] if vms else []
    left = tuple(choice for choice in found.choices if not choice.worker)
    return Placing(groups, terms, found.elsewhere, left)
