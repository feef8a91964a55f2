"""One VM's life from the command line: plug, boot, pid, launch, status, stop, unplug."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from invoke.tasks import task

from vmops.errors import InventoryError
from vmops.tasks.output import (
    check_format,
    complain,
    finish,
    give,
    give_json,
    reporting,
    say,
)
from vmops.tasks.selection import groups_of_vms

if TYPE_CHECKING:
    from vmops.ops.fleet import Group
    from vmops.ops.lifecycle import Outcome

VM_HELP = "Name of the VM; several separated by commas, or a glob such as 'web*'."
FORMAT_HELP = "text (default) or json."
TIMEOUT_HELP = "Seconds for the guest to power off, before QEMU is ended harder (default 30)."
STRICT_HELP = "Refuse and undo when an interface cannot be plugged, instead of leaving it out."
PARALLEL_HELP = "Workers at once (default 32)."
OVERCOMMIT_HELP = "Start the VMs although the memory available there does not suffice for them."


@task(
    help={
        "vm": VM_HELP,
        "strict": STRICT_HELP,
        "overcommit": OVERCOMMIT_HELP,
        "format": FORMAT_HELP,
    }
)
@reporting
def launch(
    c: Any,
    vm: str | None = None,
    strict: bool = False,
    overcommit: bool = False,
    format: str = "text",
) -> None:
    """
    Plug a VM's interfaces, start QEMU, print the PID.

    A VM that already runs as asked is left alone. Example: fab -H 10.0.10.1 launch --vm vm1
    """
    from vmops.core.together import Terms
    from vmops.ops import lifecycle

    as_json = check_format(format)
    groups = groups_of_vms(c, vm, task="launch")
    if dry(c, groups, "launch", strict=strict):
        return
    terms = Terms(strict=strict, overcommit=overcommit)
    outcomes = each(groups, lambda g: lifecycle.launch(g.route, g.vms, terms=terms))
    tell(outcomes)
    good = [outcome for outcome in outcomes if outcome.error is None]
    if as_json:
        give_json([as_dict(outcome) for outcome in good])
    else:
        for outcome in good:
            what = "already runs" if not outcome.changed else "runs"
            what = "runs, replugged" if outcome.action == "replug" else what
            give(f"{outcome.vm} on {outcome.worker}: {what}, PID {outcome.pid}")
    finish_all(outcomes)


@task(help={"vm": VM_HELP, "strict": STRICT_HELP})
@reporting
def plug(c: Any, vm: str | None = None, strict: bool = False) -> None:
    """
    Make a VM's TAPs and its Open vSwitch ports, with their VLANs.

    What is plugged as asked is left alone. Example: fab plug --vm vm1
    """
    from vmops.ops import lifecycle

    groups = groups_of_vms(c, vm, task="plug")
    if dry(c, groups, "plug", strict=strict):
        return
    outcomes = each(groups, lambda g: lifecycle.plug(g.route, g.vms, strict=strict))
    tell(outcomes)
    for outcome in outcomes:
        if outcome.error is None:
            what = "plugged" if outcome.changed else "was plugged already"
            say(f"{outcome.vm} on {outcome.worker}: {what}")
    finish_all(outcomes)


@task(help={"vm": VM_HELP})
@reporting
def unplug(c: Any, vm: str | None = None) -> None:
    """
    Remove a VM's ports and TAPs. Refused while the VM runs.

    Example: fab unplug --vm vm1
    """
    from vmops.ops import lifecycle

    groups = groups_of_vms(c, vm, task="unplug")
    if dry(c, groups, "unplug"):
        return
    outcomes = each(groups, lambda g: lifecycle.unplug(g.route, g.vms))
    tell(outcomes)
    for outcome in outcomes:
        if outcome.error is None:
            what = "unplugged" if outcome.changed else "was not plugged"
            say(f"{outcome.vm} on {outcome.worker}: {what}")
    finish_all(outcomes)


@task(help={"vm": VM_HELP, "strict": "Refuse when an interface is not plugged."})
@reporting
def boot(c: Any, vm: str | None = None, strict: bool = False) -> None:
    """
    Start QEMU only, with the interfaces that are plugged.

    Example: fab plug --vm vm1 boot --vm vm1 pid --vm vm1
    """
    from vmops.core.together import Terms
    from vmops.ops import lifecycle

    groups = groups_of_vms(c, vm, task="boot")
    if dry(c, groups, "boot", strict=strict):
        return
    terms = Terms(strict=strict)
    outcomes = each(groups, lambda g: lifecycle.boot(g.route, g.vms, terms=terms))
    tell(outcomes)
    for outcome in outcomes:
        if outcome.error is None:
            what = "runs" if outcome.changed else "already runs"
            say(f"{outcome.vm} on {outcome.worker}: {what}, PID {outcome.pid}")
    finish_all(outcomes)


@task(help={"vm": VM_HELP})
@reporting
def pid(c: Any, vm: str | None = None) -> None:
    """
    Print the PID of a VM's QEMU. Exit code 1 when it does not run.

    Example: fab pid --vm vm1
    """
    from vmops.errors import NotRunning
    from vmops.ops.status import status

    groups = groups_of_vms(c, vm, task="pid")
    if dry(c, groups, "pid"):
        return
    errors = []
    for found in each(groups, lambda g: status(g.route, g.vms, monitors=False)):
        if found.error is not None:
            errors.append(found.error)
        elif found.pid is None:
            errors.append(NotRunning(f"{found.vm} is {found.state}", worker=found.worker))
        else:
            give(str(found.pid))
    finish(errors)


@task(
    help={
        "vm": VM_HELP,
        "force": "Kill at once, without asking.",
        "timeout": TIMEOUT_HELP,
        "format": FORMAT_HELP,
    }
)
@reporting
def stop(
    c: Any,
    vm: str | None = None,
    force: bool = False,
    timeout: int = 30,
    format: str = "text",
) -> None:
    """
    Ask a VM's guest to power off, end QEMU where it does not, remove its ports and TAPs.

    A VM that is not there is no error. Example: fab stop --vm 'web*' --timeout 60
    """
    from vmops.ops import lifecycle

    as_json = check_format(format)
    check_timeout(timeout)
    groups = groups_of_vms(c, vm, task="stop")
    if dry(c, groups, "stop", force=force, timeout_s=timeout):
        return
    outcomes = each(
        groups, lambda g: lifecycle.stop(g.route, g.vms, force=force, timeout_s=timeout)
    )
    tell(outcomes)
    good = [outcome for outcome in outcomes if outcome.error is None]
    if as_json:
        give_json(
            [
                {
                    "vm": o.vm,
                    "worker": o.worker,
                    "changed": o.changed,
                    "how": o.how or None,
                    "asked": o.asked,
                }
                for o in good
            ]
        )
    else:
        for o in good:
            ended = o.how or o.asked
            what = "stopped" if ended else "cleaned up" if o.changed else "was not there"
            say(f"{o.vm} on {o.worker}: {what}{ended_by(o)}")
    finish_all(outcomes)


def check_timeout(timeout: float) -> None:
    """Raise InventoryError for a time that cannot be waited."""
    if timeout < 0:
        raise InventoryError(f"--timeout {timeout:g}: must be 0 seconds or more")


def check_parallel(parallel: int) -> None:
    """Raise InventoryError for a cap that allows nothing; 0 leaves it to the fleet."""
    if parallel < 0:
        raise InventoryError(f"--parallel {parallel}: must be 1 or more")


def ended_by(outcome: Outcome) -> str:
    """What ended a VM, in brackets: its guest, asked once or twice, or what it took instead."""
    if outcome.how == "guest":
        return " (by its guest, asked twice)" if outcome.asked > 1 else " (by its guest)"
    return f" ({outcome.how})" if outcome.how else ""


def each(
    groups: list[Group],
    work: Callable[[Group], list[Any]],
    *,
    parallel: int = 0,
    told: Callable[[Any], None] | None = None,
) -> list[Any]:
    """The work of every group, on many workers at once, in the order of the groups.

    `parallel` caps the workers, 0 leaves that to the fleet. `told` gets each result as it comes.
    """
    from vmops.ops.fleet import DEFAULT_PARALLEL, on_each

    found: dict[int, list[Any]] = {}
    for group, results in on_each(groups, work, parallel=parallel or DEFAULT_PARALLEL):
        found[id(group)] = results
        if told is not None:
            for result in results:
                told(result)
    return [item for group in groups for item in found[id(group)]]


def tell(outcomes: list[Outcome]) -> None:
    """What the operator has to know beside the result: notes, and interfaces left out."""
    from vmops.errors import WorkFailed

    for outcome in outcomes:
        for note in outcome.notes:
            say(note)
        complain(
            WorkFailed(
                f"{outcome.vm}: interface {skip.interface} is left out: {skip.reason}",
                worker=outcome.worker,
            )
            for skip in outcome.skipped
        )


def as_dict(outcome: Outcome) -> dict[str, Any]:
    """The documented JSON object of a launch."""
    return {
        "vm": outcome.vm,
        "worker": outcome.worker,
        "pid": outcome.pid,
        "changed": outcome.changed,
        "skipped_interfaces": [skip.interface for skip in outcome.skipped],
    }


def finish_all(outcomes: list[Outcome]) -> None:
    """Raise the failures among the outcomes."""
    finish([outcome.error for outcome in outcomes if outcome.error is not None])


def dry(c: Any, groups: list[Group], what: str, **options: Any) -> bool:
    """With `fab --dry`: print what would run, contact nothing, and say True."""
    if not c.config.run.dry:
        return False
    from vmops.ops.dry import shown

    for group in groups:
        give(shown(group.route, group.vms, what, **options))
    return True
