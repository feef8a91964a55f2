"""The whole inventory from the command line: up, down, plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vmops.tasks.frame import options
from vmops.tasks.frame.confirm import confirm
from vmops.tasks.frame.context import Context
from vmops.tasks.frame.options import Option
from vmops.tasks.frame.outcomes import (
    ended_as_dict,
    ended_by,
    fields_as_dicts,
    standing,
    started_as_dict,
)
from vmops.tasks.frame.output import say, table
from vmops.tasks.frame.selection import fleet_to_start, groups_of_fleet
from vmops.tasks.frame.task import task
from vmops.tasks.frame.work import Report, Work
from vmops.tasks.network.beside import (
    brought,
    networks_first,
    networks_last,
    of_both,
    planned,
    planned_networks,
    show_networks_last,
    with_networks,
)
from vmops.tasks.typed.program import as_typed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vmops.core.devices.drift import Drift
    from vmops.core.plan.elsewhere import Ran
    from vmops.ops.route import Group
    from vmops.ops.vm.changes import Change
    from vmops.ops.vm.outcome import Outcome

SOMETHING_TO_DO = 4
"""The exit code of `plan` if `up` would change something."""

VM = Option(
    "Only these VMs: names separated by commas, or a glob such as 'web*'. Default: all.",
    names="vms",
)
WORKER = Option(
    "Only VMs on these workers, separated by commas. With --vm: those that match both.",
    names="workers",
)


@task(
    {
        "vm": VM,
        "worker": WORKER,
        "parallel": options.PARALLEL,
        "restart": Option("Restart running VMs where needed; their guests are asked to power off."),
        "overcommit": options.OVERCOMMIT,
        "push": options.PUSH,
        "format": options.FORMAT,
    }
)
def up(
    c: Context,
    vm: str | None = None,
    worker: str | None = None,
    parallel: int = 0,
    restart: bool = False,
    overcommit: bool = False,
    push: bool = True,
    format: str = "text",
) -> Work[Outcome]:
    """
    Serve the networks and launch every VM of the inventory; what runs as asked is left alone.

    If a worker lacks the memory or the VNC ports for all VMs that are to start there, none of them
    starts. A VM that runs, but not as asked, fails, or with --restart is restarted.
    Example: fab up --vm 'web*' --worker worker1,worker2
    """
    from vmops.tasks.frame.places import bases_to_start, everywhere, ready_to_start, say_lost

    start = fleet_to_start(c, vm, worker)
    bases = bases_to_start(c, start.groups, start.free, parallel=parallel)

    from vmops.core.plan.group import Terms
    from vmops.core.plan.stopping import GENTLY
    from vmops.ops.vm import lifecycle
    from vmops.ops.vm.expiring import today
    from vmops.tasks.image.supplying import supplier
    from vmops.tasks.placement.place import placed

    gently = GENTLY if restart else None
    terms = Terms(overcommit=overcommit, restart=gently, bases=bases)
    terms = terms._replace(today=today(), at_end="stop", unnamed=vm is None)
    found = placed(c, start, terms)
    groups, terms = found.groups, found.terms
    served = networks_first(c, None if (vm, worker) == (None, None) else groups)
    if found.elsewhere is None:
        elsewhere, groups = ready_to_start(
            c, groups, terms, named=vm is not None, parallel=parallel
        )
    else:
        elsewhere = everywhere(c, groups, named=vm is not None, known=found.elsewhere)
    supply = supplier(c, push=push)
    return Work(
        groups,
        lambda g: lifecycle.launch(
            g.route, g.vms, terms=terms, elsewhere=elsewhere, supplier=supply
        ),
        Report(
            with_networks(table(("VM", "WORKER", "RESULT", "PID"), _row_of_up), brought),
            of_both(_up_as_dict),
            merged=lambda outcomes: [*served, *_cured_at_once(outcomes), *found.outcomes()],
            line=_line_of_up,
            last=lambda: None if vm else say_lost(c, worker, elsewhere.seen),
        ),
        parallel,
        name="up",
    )


@task(
    {
        "vm": VM,
        "worker": WORKER,
        "parallel": options.PARALLEL,
        "force": options.FORCE_STOP,
        "timeout": options.TIMEOUT,
        "yes": Option("Do not ask, even on a terminal."),
        "format": options.FORMAT,
    }
)
def down(
    c: Context,
    vm: str | None = None,
    worker: str | None = None,
    parallel: int = 0,
    force: bool = False,
    timeout: int = 30,
    yes: bool = False,
    format: str = "text",
) -> Work[Outcome]:
    """
    Stop every VM of the inventory, as `stop` does, and remove what serves its networks.

    A VM that is not pinned is stopped wherever it runs; networks stay where --vm or --worker is
    given. Says first how many VMs on which workers, and on a terminal asks before it stops several.
    Example: fab down --worker worker1 --timeout 60
    """
    groups = groups_of_fleet(c, vm, worker, parallel=parallel)

    from vmops.core.plan.stopping import Manner
    from vmops.ops.vm import stopping
    from vmops.ops.vm.outcome import without_absent
    from vmops.tasks.frame.places import say_lost

    confirm(c, groups, "stop", yes=yes)
    all_of_it = (vm, worker) == (None, None)
    manner = Manner(force=force, timeout_s=timeout)
    seen: dict[str, Ran] = {}

    def stop(group: Group) -> list[Outcome]:
        return stopping.stop(group.route, group.vms, manner=manner, seen=seen)

    return Work(
        groups,
        stop,
        Report(
            with_networks(table(("VM", "WORKER", "RESULT"), _row_of_down), brought),
            of_both(ended_as_dict),
            merged=lambda outcomes: [
                *without_absent(outcomes),
                *networks_last(c, all_of_it, ended=all(one.error is None for one in outcomes)),
            ],
            line=_line_of_down,
            last=lambda: None if vm else say_lost(c, worker, seen),
            shown_last=lambda: show_networks_last(c, all_of_it),
        ),
        parallel,
        name="down",
    )


@task(
    {
        "vm": VM,
        "worker": WORKER,
        "parallel": options.PARALLEL,
        "overcommit": options.OVERCOMMIT,
        "format": options.FORMAT,
    }
)
def plan(
    c: Context,
    vm: str | None = None,
    worker: str | None = None,
    parallel: int = 0,
    overcommit: bool = False,
    format: str = "text",
) -> Work[Change]:
    """
    Show what `up` would do: start, replug, change or restart, and which fields differ.

    Exit code 0 if there is nothing to do, 4 if there is, 1 if `up` would fail, 3 if a worker
    cannot be reached. Example: fab plan --format json
    """
    from vmops.tasks.frame.places import bases_to_start, everywhere, say_lost

    start = fleet_to_start(c, vm, worker)
    bases = bases_to_start(c, start.groups, start.free, parallel=parallel)

    from vmops.core.plan.group import Terms
    from vmops.ops.vm.changes import changes
    from vmops.ops.vm.expiring import today
    from vmops.tasks.placement.place import placed

    terms = Terms(overcommit=overcommit, bases=bases)
    terms = terms._replace(today=today(), at_end="stop", unnamed=vm is None)
    found = placed(c, start, terms)
    groups, terms = found.groups, found.terms
    elsewhere = everywhere(c, groups, named=vm is not None, known=found.elsewhere)
    served = planned_networks(c, None if (vm, worker) == (None, None) else groups)
    return Work(
        groups,
        lambda g: changes(g.route, g.vms, terms, elsewhere),
        Report(
            with_networks(_tell_plan, planned),
            of_both(_change_as_dict),
            merged=lambda changes: [*served, *changes, *found.changes()],
            exit_code=lambda all_: SOMETHING_TO_DO if any(one.to_do for one in all_) else 0,
            last=lambda: None if vm else say_lost(c, worker, elsewhere.seen),
        ),
        parallel,
    )


def _row_of_up(outcome: Outcome) -> list[str]:
    return [outcome.vm, outcome.worker or "-", _came_up(outcome), str(outcome.pid or "-")]


def _line_of_up(outcome: Outcome) -> str:
    return f"{outcome.vm} on {outcome.worker}: {_came_up(outcome)}"


def _came_up(outcome: Outcome) -> str:
    if outcome.error is not None:
        return _failed(outcome)
    words = {
        "start": "started",
        "replug": "replugged",
        "change": "changed",
        "grow": "disks made larger",
        "restart": "restarted",
        "stop": "expired: stopped",
    }
    as_it_is = standing(outcome) or "already runs"
    return words.get(outcome.action, as_it_is if outcome.pid else "left stopped")


def _row_of_down(outcome: Outcome) -> list[str]:
    return [outcome.vm, outcome.worker, _went_down(outcome)]


def _line_of_down(outcome: Outcome) -> str:
    return f"{outcome.vm} on {outcome.worker}: {_went_down(outcome)}"


def _went_down(outcome: Outcome) -> str:
    if outcome.error is not None:
        return _failed(outcome)
    if not outcome.changed:
        return "was not there"
    return f"stopped{ended_by(outcome)}" if outcome.how else "cleaned up"


def _failed(outcome: Outcome) -> str:
    from vmops.errors import WorkerUnreachable

    return "not reached" if isinstance(outcome.error, WorkerUnreachable) else "failed"


def _cured_at_once(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The same, where several VMs wait for a restart with the one command that restarts all."""
    from vmops.core.plan.group import RestartNeeded

    waiting = [one.vm for one in outcomes if isinstance(one.error, RestartNeeded)]
    if len(waiting) < 2:
        return list(outcomes)

    def cured(one: Outcome) -> Outcome:
        if not isinstance(one.error, RestartNeeded):
            return one
        error = RestartNeeded(
            one.error.what, worker=one.error.worker, vm=one.vm, cure=_restarting(waiting)
        )
        return one._replace(error=error)

    return [cured(one) for one in outcomes]


def _restarting(vms: Sequence[str]) -> str:
    these = "it" if len(vms) == 1 else f"all {len(vms)}"
    return f"to restart {these}: fab up --restart --vm {','.join(vms)}"


def _tell_plan(changes: Sequence[Change]) -> None:
    table(("VM", "WORKER", "ACTION", "CHANGES"), _row_of_plan)(changes)
    waiting = [change.vm for change in changes if change.action == "restart"]
    if waiting:
        say(as_typed(f"up alone leaves what needs a restart as it is; {_restarting(waiting)}"))


def _row_of_plan(change: Change) -> list[str]:
    return [change.vm, change.worker or "-", change.action, _differs(change)]


def _differs(change: Change) -> str:
    if change.error is not None:
        return change.error.what
    if change.action == "restart":
        told = (f"{d} ({_with_restart(d)})" for d in change.drift)
    elif change.action == "nothing":
        told = (f"{d} ({d.how})" if d.later or d.is_state else str(d) for d in change.drift)
    else:
        told = (f"{d} ({d.how})" for d in change.drift)
    return "; ".join(told) or "-"


def _with_restart(one: Drift) -> str:
    return "with it" if one.live or one.later or one.is_state else one.how


def _up_as_dict(outcome: Outcome) -> dict[str, Any]:
    untouched = outcome.error is not None and not outcome.changed
    return started_as_dict(outcome) | {"action": None if untouched else outcome.action}


def _change_as_dict(change: Change) -> dict[str, Any]:
    return {
        "vm": change.vm,
        "worker": change.worker or None,
        "action": change.action,
        "fields": fields_as_dicts(change.drift),
        "skipped_interfaces": [skip.interface for skip in change.skipped],
    }
