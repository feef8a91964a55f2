"""The whole inventory from the command line: up, down, plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from invoke.exceptions import Exit
from invoke.tasks import task

from vmops.tasks.frame.common import (
    FORMAT_HELP,
    OVERCOMMIT_HELP,
    PARALLEL_HELP,
    TIMEOUT_HELP,
    as_dict,
    check_parallel,
    check_timeout,
    dry,
    each,
    ended_by,
    tell,
    text_of,
)
from vmops.tasks.frame.output import check_format, finish, give_json, give_table, reporting
from vmops.tasks.frame.selection import groups_of_fleet

if TYPE_CHECKING:
    from vmops.errors import VmopsError
    from vmops.ops.route import Group
    from vmops.ops.vm.changes import Change
    from vmops.ops.vm.lifecycle import Outcome

SOMETHING_TO_DO = 4
"""The exit code of `plan` where `up` would change something."""

VM_HELP = "Only these VMs: names separated by commas, or a glob such as 'web*'. Default: all."
WORKER_HELP = "Only the VMs of these workers, separated by commas. With --vm: what both mean."


@task(
    help={
        "vm": VM_HELP,
        "worker": WORKER_HELP,
        "parallel": PARALLEL_HELP,
        "restart": "Restart a running VM where that is needed; its guest is asked to power off.",
        "overcommit": OVERCOMMIT_HELP,
        "format": FORMAT_HELP,
    }
)
@reporting
def up(
    c: Any,
    vm: str | None = None,
    worker: str | None = None,
    parallel: int = 0,
    restart: bool = False,
    overcommit: bool = False,
    format: str = "text",
) -> None:
    """
    Launch every VM of the inventory; what runs as asked is left alone.

    Where memory or VNC ports do not suffice for all VMs that are to start on a worker, none of
    them starts. A VM that runs otherwise than asked fails, or with --restart is restarted.
    Example: fab up --vm 'web*' --worker worker1,worker2
    """
    from vmops.core.plan.group import Terms
    from vmops.ops.vm import changes
    from vmops.ops.vm.elsewhere import Elsewhere

    as_json = check_format(format)
    check_parallel(parallel)
    groups = groups_of_fleet(c, vm, worker, to_start=True)
    if dry(c, groups, "launch"):
        return
    terms = Terms(overcommit=overcommit, restart=restart)
    elsewhere = Elsewhere(groups)
    outcomes = _carried_out(
        "up", groups, lambda g: changes.up(g.route, g.vms, terms, elsewhere), parallel, _came_up
    )
    errors = {o.vm: elsewhere.worse(o.vm, o.error) for o in outcomes}
    tell(outcomes)
    if as_json:
        give_json([_up_as_dict(outcome, errors[outcome.vm]) for outcome in outcomes])
    elif outcomes:
        rows = [[o.vm, o.worker, _came_up(o), str(o.pid or "-")] for o in outcomes]
        give_table(("VM", "WORKER", "RESULT", "PID"), rows)
    finish([error for error in errors.values() if error is not None])


@task(
    help={
        "vm": VM_HELP,
        "worker": WORKER_HELP,
        "parallel": PARALLEL_HELP,
        "force": "Kill at once, without asking.",
        "timeout": TIMEOUT_HELP,
        "format": FORMAT_HELP,
    }
)
@reporting
def down(
    c: Any,
    vm: str | None = None,
    worker: str | None = None,
    parallel: int = 0,
    force: bool = False,
    timeout: int = 30,
    format: str = "text",
) -> None:
    """
    Stop every VM of the inventory, as `stop` does; one that is pinned nowhere, wherever it runs.

    Example: fab down --worker worker1 --timeout 60
    """
    from vmops.ops.fleet import without_absent
    from vmops.ops.vm import lifecycle

    as_json = check_format(format)
    check_parallel(parallel)
    check_timeout(timeout)
    groups = groups_of_fleet(c, vm, worker, to_start=False)
    if dry(c, groups, "stop", force=force, timeout_s=timeout):
        return

    def stop(group: Group) -> list[Outcome]:
        return lifecycle.stop(group.route, group.vms, force=force, timeout_s=timeout)

    everywhere = _carried_out("down", groups, stop, parallel, _went_down)
    tell(everywhere)
    outcomes = without_absent(everywhere)
    if as_json:
        give_json([_down_as_dict(outcome) for outcome in outcomes])
    elif outcomes:
        rows = [[o.vm, o.worker, _went_down(o)] for o in outcomes]
        give_table(("VM", "WORKER", "RESULT"), rows)
    finish([outcome.error for outcome in everywhere if outcome.error is not None])


@task(
    help={
        "vm": VM_HELP,
        "worker": WORKER_HELP,
        "parallel": PARALLEL_HELP,
        "overcommit": OVERCOMMIT_HELP,
        "format": FORMAT_HELP,
    }
)
@reporting
def plan(
    c: Any,
    vm: str | None = None,
    worker: str | None = None,
    parallel: int = 0,
    overcommit: bool = False,
    format: str = "text",
) -> None:
    """
    Show what `up` would change against what runs: start, replug, restart, and in which fields.

    Exit code 0 when there is nothing to do, 4 when there is, 1 where `up` would fail, 3 when a
    worker is not reached. Example: fab plan --format json
    """
    from vmops.core.plan.group import Terms
    from vmops.ops.vm.changes import changes, with_others
    from vmops.ops.vm.elsewhere import Elsewhere

    as_json = check_format(format)
    check_parallel(parallel)
    groups = groups_of_fleet(c, vm, worker, to_start=True)
    if dry(c, groups, "plan"):
        return
    terms = Terms(overcommit=overcommit)
    elsewhere = Elsewhere(groups)
    seen = each(groups, lambda g: changes(g.route, g.vms, terms, elsewhere), parallel=parallel)
    tell(seen)
    found = with_others(seen, elsewhere)
    if as_json:
        give_json([_change_as_dict(item) for item in found])
    elif found:
        rows = [[item.vm, item.worker, item.action, _differs(item)] for item in found]
        give_table(("VM", "WORKER", "ACTION", "CHANGES"), rows)
    finish([item.error for item in found if item.error is not None])
    if any(item.to_do for item in found):
        raise Exit(code=SOMETHING_TO_DO)


def _carried_out(
    name: str,
    groups: list[Group],
    work: Callable[[Group], list[Outcome]],
    parallel: int,
    result: Callable[[Outcome], str],
) -> list[Outcome]:
    """The outcomes in the order of the groups, each told as it comes."""
    from vmops.tasks.frame.progress import progress

    with progress(name, sum(len(group.vms) for group in groups)) as tell_one:
        return each(
            groups,
            work,
            parallel=parallel,
            told=lambda o: tell_one(f"{o.vm} on {o.worker}: {result(o)}", o.error is not None),
        )


def _came_up(outcome: Outcome) -> str:
    if outcome.error is not None:
        return _failed(outcome)
    words = {"start": "started", "replug": "replugged", "restart": "restarted"}
    return words.get(outcome.action, "already runs")


def _went_down(outcome: Outcome) -> str:
    if outcome.error is not None:
        return _failed(outcome)
    if not outcome.changed:
        return "was not there"
    return f"stopped{ended_by(outcome)}" if outcome.how else "cleaned up"


def _failed(outcome: Outcome) -> str:
    from vmops.errors import WorkerUnreachable

    return "not reached" if isinstance(outcome.error, WorkerUnreachable) else "failed"


def _differs(change: Change) -> str:
    if change.error is not None:
        return change.error.what
    return "; ".join(map(str, change.drift)) or "-"


def _up_as_dict(outcome: Outcome, error: VmopsError | None) -> dict[str, Any]:
    return as_dict(outcome) | {
        "action": None if outcome.error is not None and not outcome.changed else outcome.action,
        "error": text_of(error),
    }


def _down_as_dict(outcome: Outcome) -> dict[str, Any]:
    return {
        "vm": outcome.vm,
        "worker": outcome.worker,
        "changed": outcome.changed and outcome.error is None,
        "how": outcome.how or None,
        "asked": outcome.asked,
        "error": text_of(outcome.error),
    }


def _change_as_dict(change: Change) -> dict[str, Any]:
    return {
        "vm": change.vm,
        "worker": change.worker,
        "action": change.action,
        "fields": [
            {"field": d.field, "running": d.running, "wanted": d.wanted} for d in change.drift
        ],
        "skipped_interfaces": [skip.interface for skip in change.skipped],
        "error": text_of(change.error),
    }
