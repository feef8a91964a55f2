"""A VM's life from the command line: launch, plug, boot, pid, stop, unplug."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from invoke.tasks import task

from vmops.tasks.frame.common import (
    FORMAT_HELP,
    OVERCOMMIT_HELP,
    TIMEOUT_HELP,
    VM_HELP,
    as_dict,
    check_timeout,
    dry,
    each,
    ended_by,
    error_of,
    finish_all,
    tell,
)
from vmops.tasks.frame.output import check_format, finish, give, give_json, reporting, say
from vmops.tasks.frame.selection import groups_of_vms

if TYPE_CHECKING:
    from vmops.errors import VmopsError
    from vmops.ops.vm.lifecycle import Outcome

STRICT_HELP = "Refuse and undo when an interface cannot be plugged, instead of leaving it out."


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
    from vmops.core.plan.group import Terms
    from vmops.ops.vm import lifecycle

    as_json = check_format(format)
    groups = groups_of_vms(c, vm, task="launch")
    if dry(c, groups, "launch", strict=strict):
        return
    terms = Terms(strict=strict, overcommit=overcommit)
    outcomes = each(groups, lambda g: lifecycle.launch(g.route, g.vms, terms=terms))
    tell(outcomes)
    good = [outcome for outcome in outcomes if outcome.error is None]
    if as_json:
        give_json([as_dict(outcome) for outcome in outcomes])
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

    What is plugged as asked is left alone. Where no interface can be plugged, it fails.
    Example: fab plug --vm vm1
    """
    from vmops.ops.vm import lifecycle

    groups = groups_of_vms(c, vm, task="plug")
    if not dry(c, groups, "plug", strict=strict):
        outcomes = each(groups, lambda g: lifecycle.plug(g.route, g.vms, strict=strict))
        _tell_all(outcomes, "plugged", "was plugged already")


@task(help={"vm": VM_HELP})
@reporting
def unplug(c: Any, vm: str | None = None) -> None:
    """
    Remove a VM's ports and TAPs. Refused while the VM runs.

    Example: fab unplug --vm vm1
    """
    from vmops.ops.vm import lifecycle

    groups = groups_of_vms(c, vm, task="unplug")
    if not dry(c, groups, "unplug"):
        outcomes = each(groups, lambda g: lifecycle.unplug(g.route, g.vms))
        _tell_all(outcomes, "unplugged", "was not plugged")


@task(help={"vm": VM_HELP, "strict": "Refuse when an interface is not plugged."})
@reporting
def boot(c: Any, vm: str | None = None, strict: bool = False) -> None:
    """
    Start QEMU only, with the interfaces that are plugged.

    Example: fab plug --vm vm1 boot --vm vm1 pid --vm vm1
    """
    from vmops.core.plan.group import Terms
    from vmops.ops.vm import lifecycle

    groups = groups_of_vms(c, vm, task="boot")
    if not dry(c, groups, "boot", strict=strict):
        terms = Terms(strict=strict)
        outcomes = each(groups, lambda g: lifecycle.boot(g.route, g.vms, terms=terms))
        _tell_all(
            outcomes, "runs", "already runs", cure="to plug all and start it anew: fab restart"
        )


def _tell_all(outcomes: list[Outcome], changed: str, unchanged: str, *, cure: str = "") -> None:
    """A line for each VM, in the words for what was done or was so already; raise the failures."""
    tell(outcomes, cure=cure)
    for outcome in outcomes:
        if outcome.error is None:
            what = changed if outcome.changed else unchanged
            pid = f", PID {outcome.pid}" if outcome.pid else ""
            say(f"{outcome.vm} on {outcome.worker}: {what}{pid}")
    finish_all(outcomes)


@task(help={"vm": VM_HELP})
@reporting
def pid(c: Any, vm: str | None = None) -> None:
    """
    Print the PID of a VM's QEMU. Exit code 1 when it does not run.

    Example: fab pid --vm vm1
    """
    from vmops.ops.guest.monitors import not_running
    from vmops.ops.vm.status import status

    groups = groups_of_vms(c, vm, task="pid")
    if dry(c, groups, "pid"):
        return
    errors: list[VmopsError] = []
    for found in each(groups, lambda g: status(g.route, g.vms, monitors=False)):
        if found.error is not None:
            errors.append(found.error)
        elif found.pid is None:
            errors.append(not_running(found.vm, found.state, found.worker))
        else:
            give(str(found.pid))
    finish(errors)


@task(
    help={
        "vm": VM_HELP,
        "force": "Kill at once, without asking.",
        "timeout": TIMEOUT_HELP,
        "elsewhere": "On the worker of -H, although hosts.toml has the VM on another one.",
        "format": FORMAT_HELP,
    }
)
@reporting
def stop(
    c: Any,
    vm: str | None = None,
    force: bool = False,
    timeout: int = 30,
    elsewhere: bool = False,
    format: str = "text",
) -> None:
    """
    Ask a VM's guest to power off, end QEMU where it does not, remove its ports and TAPs.

    A VM that is not there is no error. Example: fab stop --vm 'web*' --timeout 60
    """
    from vmops.ops.vm import lifecycle

    as_json = check_format(format)
    check_timeout(timeout)
    groups = groups_of_vms(c, vm, task="stop", elsewhere=elsewhere)
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
                    "changed": o.changed and o.error is None,
                    "how": o.how or None,
                    "asked": o.asked,
                    **error_of(o),
                }
                for o in outcomes
            ]
        )
    else:
        for o in good:
            ended = o.how or o.asked
            what = "stopped" if ended else "cleaned up" if o.changed else "was not there"
            say(f"{o.vm} on {o.worker}: {what}{ended_by(o)}")
    finish_all(outcomes)
