"""A running VM's power from the command line: restart, reset, pause, resume, wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from invoke.tasks import task

from vmops.errors import InventoryError
from vmops.tasks.frame.common import (
    FORMAT_HELP,
    TIMEOUT_HELP,
    VM_HELP,
    as_dict,
    check_timeout,
    dry,
    each,
    ended_by,
    finish_all,
    tell,
    text_of,
)
from vmops.tasks.frame.output import check_format, give, give_json, reporting, say
from vmops.tasks.frame.selection import groups_of_vms

if TYPE_CHECKING:
    from vmops.ops.vm.lifecycle import Outcome


@task(
    help={
        "vm": VM_HELP,
        "force": "Kill at once, without asking.",
        "timeout": TIMEOUT_HELP,
        "format": FORMAT_HELP,
    }
)
@reporting
def restart(
    c: Any, vm: str | None = None, force: bool = False, timeout: int = 30, format: str = "text"
) -> None:
    """
    Stop a VM as `stop` does and launch it again, as hosts.toml has it by now.

    A VM that could not be launched again is left running. Example: fab restart --vm vm1
    """
    from vmops.ops.vm import power

    as_json = check_format(format)
    check_timeout(timeout)
    groups = groups_of_vms(c, vm, task="restart")
    if dry(c, groups, "restart", force=force, timeout_s=timeout):
        return
    outcomes = each(groups, lambda g: power.restart(g.route, g.vms, force=force, timeout_s=timeout))
    tell(outcomes)
    good = [outcome for outcome in outcomes if outcome.error is None]
    if as_json:
        give_json(
            [
                as_dict(o)
                | _ending(o)
                | {"pid": o.pid or None, "how": o.how or None, "asked": o.asked}
                for o in outcomes
            ]
        )
    else:
        for o in good:
            give(f"{o.vm} on {o.worker}: {_RESTARTED[o.action].format(ended_by(o))}, PID {o.pid}")
    finish_all(outcomes)


@task(help={"vm": VM_HELP, "format": FORMAT_HELP})
@reporting
def reset(c: Any, vm: str | None = None, format: str = "text") -> None:
    """
    Reset a VM, as the button on a computer does: its guest is not asked.

    Example: fab reset --vm vm1
    """
    _turn(c, vm, "reset", format)


@task(help={"vm": VM_HELP, "format": FORMAT_HELP})
@reporting
def pause(c: Any, vm: str | None = None, format: str = "text") -> None:
    """
    Let a VM's guest stand still, with all it has in memory. One that does so is left alone.

    Example: fab pause --vm 'web*'
    """
    _turn(c, vm, "pause", format)


@task(help={"vm": VM_HELP, "format": FORMAT_HELP})
@reporting
def resume(c: Any, vm: str | None = None, format: str = "text") -> None:
    """
    Let a paused VM's guest run on. One that runs is left alone.

    Example: fab resume --vm 'web*'
    """
    _turn(c, vm, "resume", format)


@task(
    help={
        "vm": VM_HELP,
        "state": "running, stopped (no QEMU), or guest-off (the guest has powered off).",
        "timeout": "Seconds to wait; then the exit code is 1 (default 60).",
        "format": FORMAT_HELP,
    }
)
@reporting
def wait(
    c: Any,
    vm: str | None = None,
    state: str = "running",
    timeout: int = 60,
    format: str = "text",
) -> None:
    """
    Wait until VMs are in a state.

    Example: fab wait --vm vm1 --state guest-off --timeout 300
    """
    from vmops.ops.vm import waiting

    as_json = check_format(format)
    check_timeout(timeout)
    if state not in waiting.STATES:
        raise InventoryError(f"--state {state!r}: must be one of {', '.join(waiting.STATES)}")
    groups = groups_of_vms(c, vm, task="wait")
    if dry(c, groups, "wait stopped" if state == waiting.STOPPED else "wait"):
        return
    outcomes = each(groups, lambda g: waiting.wait(g.route, g.vms, state, time_limit_s=timeout))
    tell(outcomes)
    if as_json:
        give_json(
            [
                {
                    "vm": o.vm,
                    "worker": o.worker,
                    "state": None if o.error else state,
                    "error": text_of(o.error),
                }
                for o in outcomes
            ]
        )
    else:
        for outcome in outcomes:
            if outcome.error is None:
                say(f"{outcome.vm} on {outcome.worker}: {state}")
    finish_all(outcomes)


def _ending(outcome: Outcome) -> dict[str, Any]:
    """For JSON: what it came to."""
    good = outcome.error is None
    return {"changed": outcome.changed and good, "error": text_of(outcome.error)}


_RESTARTED = {
    "restart": "restarted{}",
    "start": "was not running: launched{}",
    "replug": "was not running: launched{}",
    "stop": "stopped{}, and launched by somebody else",
    "nothing": "restarted by somebody else{}",
}
_DONE = {"reset": "reset", "pause": "paused", "resume": "running"}


def _turn(c: Any, vm: str | None, name: str, format: str) -> None:
    """One of the turns of `ops.power` for each VM, and what came of it."""
    from vmops.ops.vm import power

    as_json = check_format(format)
    groups = groups_of_vms(c, vm, task=name)
    if dry(c, groups, name):
        return
    work = {"reset": power.reset, "pause": power.pause, "resume": power.resume}[name]
    outcomes = each(groups, lambda g: work(g.route, g.vms))
    tell(outcomes)
    good = [outcome for outcome in outcomes if outcome.error is None]
    if as_json:
        give_json([{"vm": o.vm, "worker": o.worker} | _ending(o) for o in outcomes])
    else:
        for o in good:
            what = _DONE[name] if o.changed else f"was {_DONE[name]} already"
            say(f"{o.vm} on {o.worker}: {what}")
    finish_all(outcomes)
