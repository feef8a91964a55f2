"""A running VM's power from the command line: restart, reset, pause, resume, wait."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from vmops.tasks.frame import options
from vmops.tasks.frame.context import Context, is_dry
from vmops.tasks.frame.harmless import one_line
from vmops.tasks.frame.options import Option
from vmops.tasks.frame.outcomes import (
    changed_as_dict,
    ended_by,
    ending_as_dict,
    given,
    said,
    started_as_dict,
)
from vmops.tasks.frame.output import say
from vmops.tasks.frame.places import bases_to_start, other_workers
from vmops.tasks.frame.selection import groups_of_vms
from vmops.tasks.frame.task import task
from vmops.tasks.frame.work import Report, Work

if TYPE_CHECKING:
    from vmops.core.inventory.model import VM
    from vmops.ops.route import Route
    from vmops.ops.vm.outcome import Outcome

    Turn = Callable[[Route, Sequence[VM]], Sequence[Outcome]]

STATES = ("running", "stopped", "guest-off", "ready")


@task(
    {
        "vm": options.VM,
        "force": options.FORCE_STOP,
        "timeout": options.TIMEOUT,
        "here": options.HERE,
        "overcommit": options.OVERCOMMIT,
        "format": options.FORMAT,
    }
)
def restart(
    c: Context,
    vm: str | None = None,
    force: bool = False,
    timeout: int = 30,
    here: bool = False,
    overcommit: bool = False,
    format: str = "text",
) -> Work[Outcome]:
    """
    Stop a VM as `stop` does and launch it again, as hosts.toml now describes it.

    A VM that could not be launched again is left running, and so are all if there is no memory for
    them together. If the launch fails all the same, the VM is started again as it ran.
    Example: fab restart --vm vm1
    """
    from vmops.core.plan.group import Terms
    from vmops.core.plan.stopping import Manner
    from vmops.ops.vm import lifecycle
    from vmops.ops.vm.expiring import today

    groups = groups_of_vms(c, vm, task="restart", early=False)
    terms = Terms(overcommit=overcommit, bases=bases_to_start(c, groups), today=today())
    elsewhere = other_workers(c, groups, here=here)
    manner = Manner(force=force, timeout_s=timeout)
    return Work(
        groups,
        lambda g: lifecycle.restart(
            g.route, g.vms, manner=manner, terms=terms, elsewhere=elsewhere
        ),
        Report(
            given(lambda o: f"{_RESTARTED[o.action].format(ended_by(o))}, PID {o.pid}"),
            lambda o: started_as_dict(o) | ending_as_dict(o),
        ),
    )


_RESTARTED = {
    "restart": "restarted{}",
    "start": "was not running: launched{}",
    "replug": "was not running: launched{}",
    "stop": "stopped{}, and launched by somebody else",
    "nothing": "restarted by somebody else{}",
}


@task({"vm": options.VM, "format": options.FORMAT})
def reset(c: Context, vm: str | None = None, format: str = "text") -> Work[Outcome]:
    """
    Reset a VM, like the reset button of a computer: its guest is not asked.

    Example: fab reset --vm vm1
    """
    from vmops.ops.vm import power

    return _turn(c, vm, "reset", power.reset)


@task({"vm": options.VM, "format": options.FORMAT})
def pause(c: Context, vm: str | None = None, format: str = "text") -> Work[Outcome]:
    """
    Freeze a VM, keeping its memory. One that is already paused is left alone.

    Example: fab pause --vm 'web*'
    """
    from vmops.ops.vm import power

    return _turn(c, vm, "pause", power.pause)


@task({"vm": options.VM, "format": options.FORMAT})
def resume(c: Context, vm: str | None = None, format: str = "text") -> Work[Outcome]:
    """
    Let a paused VM continue, or bring back one that is suspended. One that runs is left alone.

    Example: fab resume --vm 'web*'
    """
    from vmops.ops.vm.live import suspending

    return _turn(c, vm, "resume", suspending.resume)


@task(
    {
        "vm": options.VM,
        "discard": Option("Give up the memory of a suspended VM: its next launch is a boot."),
        "format": options.FORMAT,
    }
)
def suspend(
    c: Context, vm: str | None = None, discard: bool = False, format: str = "text"
) -> Work[Outcome]:
    """
    Write a VM's memory to a file on its worker and end it; `resume` or `launch` brings it back.

    Its ports and TAPs go meanwhile, and the worker may be rebooted. Refused without room for the
    memory. Example: fab suspend --vm 'web*'
    """
    from vmops.ops.vm.live import suspending

    if discard:
        return _turn(c, vm, "discard", suspending.discard)
    return _turn(c, vm, "suspend", suspending.suspend)


_DONE = {
    "reset": "reset",
    "pause": "paused",
    "resume": "running",
    "suspend": "suspended",
    "discard": "without kept memory",
}


def _turn(c: Context, vm: str | None, name: str, turn: Turn) -> Work[Outcome]:
    """One of the turns of `ops.power` for each VM."""
    words = _DONE[name]
    return Work(
        groups_of_vms(c, vm, task="suspend" if name == "discard" else name),
        lambda g: turn(g.route, g.vms),
        Report(said(lambda o: words if o.changed else f"was already {words}"), changed_as_dict),
    )


@task(
    {
        "vm": options.VM,
        "state": Option(
            "running, stopped (no QEMU), guest-off (the guest has powered off), or ready"
            " (cloud-init has finished in it).",
            options.one_of(*STATES),
        ),
        "timeout": Option(
            "Seconds to wait; after that the exit code is 1 (default 60).",
            options.at_least(0, "seconds"),
        ),
        "format": options.FORMAT,
    },
    asks_again=True,
)
def wait(
    c: Context,
    vm: str | None = None,
    state: str = "running",
    timeout: int = 60,
    format: str = "text",
) -> Work[Outcome]:
    """
    Wait until VMs are in a state.

    Example: fab wait --vm vm1 --state guest-off --timeout 300
    """
    from vmops.ops.vm import waiting
    from vmops.ops.vm.readiness import READY

    groups = groups_of_vms(c, vm, task="wait", early=False)
    waiting.check(state, [vm for group in groups for vm in group.vms])
    if state == READY and not is_dry(c):
        # A first boot takes minutes: whoever looks on is to know what goes on.
        names = [vm.name for group in groups for vm in group.vms]
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        first = ", ".join(names[:8])
        say(one_line(f"waiting up to {timeout} s for cloud-init in the guest of {first}{more}"))
    return Work(
        groups,
        lambda g: waiting.wait(g.route, g.vms, state, time_limit_s=timeout),
        Report(
            said(lambda o: state),
            lambda o: {
                "vm": o.vm,
                "worker": o.worker,
                "state": None if o.error else state,
            },
        ),
    )
