"""Workers emptied and filled again from the command line: drain, undrain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from vmops.errors import InventoryError
from vmops.tasks.frame import options
from vmops.tasks.frame.context import Context
from vmops.tasks.frame.harmless import one_line
from vmops.tasks.frame.options import Option
from vmops.tasks.frame.outcomes import changed_as_dict, said
from vmops.tasks.frame.output import complain, say
from vmops.tasks.frame.places import bases_of_vms
from vmops.tasks.frame.selection import groups_of_workers, host_of, inventory, other_routes
from vmops.tasks.frame.task import task
from vmops.tasks.frame.work import Report, Work
from vmops.tasks.typed.program import as_typed

if TYPE_CHECKING:
    from vmops.core.plan.stopping import Manner
    from vmops.ops.route import Group
    from vmops.ops.vm.outcome import Outcome
    from vmops.ops.worker.draining import Draining

_MOVING = {
    "worker": Option(
        "The worker, by its name in hosts.toml; -H names one as well.",
        names="workers",
        required=True,
    ),
    "cold": Option("Stop VMs that run, and start them there; without it, they go on running."),
    "force": options.FORCE_STOP._replace(only_with="cold"),
    "timeout": options.TIMEOUT._replace(only_with="cold"),
    "direct": options.DIRECT,
    "overcommit": options.OVERCOMMIT,
    "format": options.FORMAT,
}


@task(_MOVING, asks_again=True)
def drain(
    c: Context,
    worker: str | None = None,
    cold: bool = False,
    force: bool = False,
    timeout: int = 30,
    direct: bool = False,
    overcommit: bool = False,
    format: str = "text",
) -> Work[Outcome]:
    """
    Move all VMs of a worker to where there is room, and give it none until `undrain`.

    Those that run go on running; one that cannot be moved so stays, and goes with --cold. It is
    written down on the worker with the names of the VMs, and outlives its reboot. The same command
    goes on with a drain that was cut. Example: fab drain --worker worker1
    """
    from vmops.core.plan.stopping import Manner
    from vmops.ops.worker import draining

    group = _one(c, worker, task="drain")
    work = _draining(c, group, Manner(force=force, timeout_s=timeout), cold, overcommit)
    work = work._replace(how=work.how._replace(direct=direct))
    return Work(
        [group],
        lambda g: draining.drain(work, g.route),
        Report(_told(group, "moved", _is_drained), changed_as_dict),
    )


_STAY = Option(
    "Leave the VMs where they are now.",
    not_with={
        "cold": "moves no VM, and --cold is how VMs are moved",
        "direct": "moves no VM, and --direct is how VMs are moved",
        "overcommit": "moves no VM, and --overcommit is about where they go",
    },
)


@task(_MOVING | {"stay": _STAY}, asks_again=True)
def undrain(
    c: Context,
    worker: str | None = None,
    cold: bool = False,
    force: bool = False,
    timeout: int = 30,
    direct: bool = False,
    overcommit: bool = False,
    stay: bool = False,
    format: str = "text",
) -> Work[Outcome]:
    """
    Let a drained worker have VMs again, and move those back that `drain` took away from it.

    One that somebody has moved on since is left, and one that hosts.toml gives another worker.

    Example: fab undrain --worker worker1
    """
    from vmops.core.plan.stopping import Manner
    from vmops.ops.worker import draining

    group = _one(c, worker, task="undrain")
    work = _draining(c, group, Manner(force=force, timeout_s=timeout), cold, overcommit)
    work = work._replace(how=work.how._replace(direct=direct))
    was_drained = True

    def bring_back(g: Group) -> list[Outcome]:
        nonlocal was_drained
        came = draining.undrain(work, g.route, stay=stay)
        was_drained = came is not None
        return came or []

    def tell(outcomes: Sequence[Outcome]) -> None:
        if was_drained:
            _told(group, "moved back", _is_open)(outcomes)
        else:
            say(f"{group.route.worker.name} was not drained")

    return Work([group], bring_back, Report(tell, changed_as_dict))


def _is_drained(worker: str) -> str:
    """What is so after a drain that has failed in part."""
    what = f"{worker} is drained all the same, and gets no VM"
    return f"{what}; to let it have VMs again: fab undrain --worker {worker}"


def _is_open(worker: str) -> str:
    """The same after an undrain."""
    what = f"{worker} gets VMs again"
    return f"{what}; to go on with those that have yet to come back: fab undrain --worker {worker}"


def _told(
    group: Group, words: str, state: Callable[[str], str]
) -> Callable[[Sequence[Outcome]], None]:
    """What tells of each VM, and at the end how the worker is left, where one has failed."""
    each = said(lambda outcome: words if outcome.changed else "is there already")

    def told(outcomes: Sequence[Outcome]) -> None:
        worker = group.route.worker.name
        if not outcomes:
            say(f"{worker}: done, and no VM had to be {words}")
        each(outcomes)
        if errors := [one.error for one in outcomes if one.error is not None]:
            complain(errors)
            say(as_typed(state(worker)))

    return told


def _one(c: Context, worker: str | None, *, task: str) -> Group:
    if not worker and not host_of(c):
        raise InventoryError(
            f"{task}: which worker?", cure=f"fab {task} --worker NAME; fab {task} --help"
        )
    groups = groups_of_workers(c, worker, early=False)
    names = [group.route.worker.name for group in groups]
    if len(names) > 1:
        raise InventoryError(f"{task}: one worker, not {len(names)}: {', '.join(names)}")
    if names[0] not in inventory(c).workers:
        raise InventoryError(f"{inventory(c).source} has no worker {names[0]}", cure="fab doctor")
    return groups[0]._replace(vms=())


def _draining(c: Context, group: Group, manner: Manner, cold: bool, overcommit: bool) -> Draining:
    from vmops.core.devices.live.mirror import Tuning
    from vmops.core.plan.group import Terms
    from vmops.core.plan.placement.choice import wish_of
    from vmops.ops.vm.moving.acts import Move
    from vmops.ops.worker.draining import Draining
    from vmops.tasks.image.display import in_lines

    listed = inventory(c)
    vms = tuple(listed.vms.values())
    terms = Terms(overcommit=overcommit, bases=bases_of_vms(c, vms))
    routes = {route.worker.name: route for route in other_routes(c, ())}
    how = Move(
        group.route,
        {},
        cold=cold,
        tuning=Tuning(),
        manner=manner,
        terms=terms,
        northbound=listed.northbound,
        vms=listed.vms,
        tell=lambda words: say(as_typed(one_line(words))),
        progress=in_lines(),
    )
    return Draining(how, routes, wish_of(listed, vms, terms))
