"""A VM's life from the command line: launch, plug, boot, pid, stop, unplug."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vmops.errors import InventoryError, NotRunning
from vmops.tasks.frame import options
from vmops.tasks.frame.confirm import ask, confirm, refuse_running
from vmops.tasks.frame.context import Context
from vmops.tasks.frame.options import Option
from vmops.tasks.frame.outcomes import (
    changed_as_dict,
    destroyed,
    disk_removed,
    ended,
    ended_as_dict,
    given,
    said,
    standing,
    started_as_dict,
)
from vmops.tasks.frame.output import give
from vmops.tasks.frame.selection import (
    groups_of_vms,
    groups_with_lost,
    in_place,
    inventory,
    is_lost,
    vms_to_start,
)
from vmops.tasks.frame.task import task
from vmops.tasks.frame.work import Report, Work

if TYPE_CHECKING:
    from vmops.core.inventory.model import VM
    from vmops.core.plan.status import VMStatus
    from vmops.errors import VmopsError
    from vmops.ops.vm.outcome import Outcome


@task(
    {
        "vm": options.VM,
        "strict": options.STRICT,
        "overcommit": options.OVERCOMMIT,
        "here": options.HERE,
        "push": options.PUSH,
        "format": options.FORMAT,
    }
)
def launch(
    c: Context,
    vm: str | None = None,
    strict: bool = False,
    overcommit: bool = False,
    here: bool = False,
    push: bool = True,
    format: str = "text",
) -> Work[Outcome]:
    """
    Plug in a VM's interfaces, start QEMU and print its PID.

    A VM that already runs as asked is left alone. Without -H or --here the other workers are asked
    first whether they run it. Example: fab -H 10.0.10.1 launch --vm vm1
    """
    from vmops.tasks.frame.places import bases_to_start, other_workers

    start = vms_to_start(c, vm or "", task="launch")
    bases = bases_to_start(c, start.groups, start.free)

    from vmops.core.plan.group import Terms
    from vmops.ops.vm import lifecycle
    from vmops.ops.vm.expiring import today
    from vmops.tasks.image.supplying import supplier
    from vmops.tasks.placement.place import placed

    terms = Terms(strict=strict, overcommit=overcommit, bases=bases, today=today())
    found = placed(c, start, terms, trusting=here)
    groups, terms = found.groups, found.terms
    elsewhere = other_workers(c, groups, here=here, known=found.elsewhere)
    supply = supplier(c, push=push)
    return Work(
        groups,
        lambda g: lifecycle.launch(
            g.route, g.vms, terms=terms, elsewhere=elsewhere, supplier=supply
        ),
        Report(
            given(_launched),
            started_as_dict,
            merged=lambda outcomes: [*outcomes, *found.outcomes()],
        ),
    )


def _launched(outcome: Outcome) -> str:
    what = "runs" if outcome.changed else standing(outcome) or "already runs"
    more = {
        "replug": "runs, replugged",
        "change": "runs, changed",
        "grow": "runs, its disks made larger",
    }
    what = more.get(outcome.action, what)
    return f"{what}, PID {outcome.pid}"


@task({"vm": options.VM, "strict": options.STRICT, "format": options.FORMAT})
def plug(
    c: Context, vm: str | None = None, strict: bool = False, format: str = "text"
) -> Work[Outcome]:
    """
    Create a VM's TAPs and its Open vSwitch ports, with their VLANs.

    What is already plugged as asked is left alone. If no interface can be plugged, it fails, and
    so it does if a TAP was removed under a VM that runs: that takes a restart.
    Example: fab plug --vm vm1
    """
    from vmops.ops.vm import lifecycle

    return Work(
        groups_of_vms(c, vm, task="plug"),
        lambda g: lifecycle.plug(g.route, g.vms, strict=strict),
        Report(
            said(lambda o: f"{'plugged' if o.changed else 'was already plugged'}{_pid(o)}"),
            started_as_dict,
        ),
    )


@task({"vm": options.VM, "format": options.FORMAT})
def unplug(c: Context, vm: str | None = None, format: str = "text") -> Work[Outcome]:
    """
    Remove a VM's ports and TAPs. Refused while the VM runs.

    Example: fab unplug --vm vm1
    """
    from vmops.ops.vm import stopping

    return Work(
        groups_of_vms(c, vm, task="unplug"),
        lambda g: stopping.unplug(g.route, g.vms),
        Report(said(lambda o: "unplugged" if o.changed else "was not plugged"), changed_as_dict),
    )


@task(
    {
        "vm": options.VM,
        "strict": Option("Refuse if an interface is not plugged."),
        "format": options.FORMAT,
    }
)
def boot(
    c: Context, vm: str | None = None, strict: bool = False, format: str = "text"
) -> Work[Outcome]:
    """
    Start QEMU only, with the interfaces that are plugged.

    Example: fab plug --vm vm1 boot --vm vm1 pid --vm vm1
    """
    from vmops.core.plan.group import Terms
    from vmops.ops.vm import lifecycle
    from vmops.ops.vm.expiring import today
    from vmops.tasks.frame.places import bases_to_start

    groups = groups_of_vms(c, vm, task="boot", early=False)
    terms = Terms(strict=strict, bases=bases_to_start(c, groups), today=today())
    return Work(
        groups,
        lambda g: lifecycle.boot(g.route, g.vms, terms=terms),
        Report(
            said(lambda o: f"{'runs' if o.changed else standing(o) or 'already runs'}{_pid(o)}"),
            started_as_dict,
            cure="to plug all of them and start it again: fab restart",
        ),
    )


def _pid(outcome: Outcome) -> str:
    return f", PID {outcome.pid}" if outcome.pid else ""


@task({"vm": options.VM})
def pid(c: Context, vm: str | None = None) -> Work[VMStatus]:
    """
    Print the PID of a VM's QEMU. Exit code 1 if it does not run.

    Example: fab pid --vm vm1
    """
    from vmops.ops.vm.status import status

    return Work(
        groups_of_vms(c, vm, task="pid"),
        lambda g: status(g.route, g.vms, monitors=False),
        Report(_print_pids, errors=_why_no_pid),
    )


def _print_pids(found: Sequence[VMStatus]) -> None:
    for one in found:
        if one.error is None and one.pid is not None:
            give(str(one.pid))


def _why_no_pid(found: VMStatus) -> Sequence[VmopsError]:
    from vmops.ops.guest.monitors import not_running

    if found.error is not None:
        return (found.error,)
    return (not_running(found.vm, found.state, found.worker),) if found.pid is None else ()


@task(
    {
        "vm": options.VM,
        "pid": Option(
            "The process, if its command line alone does not say which.", options.at_least(0)
        ),
        "format": options.FORMAT,
    }
)
def adopt(c: Context, vm: str | None = None, pid: int = 0, format: str = "text") -> Work[Outcome]:
    """
    Take over a VM that another system, or a hand, has started; its QEMU is not touched.

    It is found by its -name, its TAPs or its image. From then on status and plan see it and stop
    ends it; what it lacks is said. With -H it may be one that hosts.toml does not have: by its
    -name, or by --pid under any name. Example: fab -H 10.0.10.1 adopt --vm vm1
    """
    from vmops.ops.vm.adopt import adopt as take_over

    groups = groups_with_lost(c, vm, task="adopt", early=False)
    if pid and sum(len(group.vms) for group in groups) > 1:
        raise InventoryError(f"--pid {pid} is one VM's, and --vm {vm} means several")
    listed = inventory(c).vms
    return Work(
        groups,
        lambda g: take_over(g.route, g.vms, pid=pid, listed=listed),
        Report(
            said(lambda o: ("adopted" if o.changed else "is vmops' own already") + _pid(o)),
            started_as_dict,
        ),
    )


@task(
    {
        "vm": options.VM,
        "force": options.FORCE_STOP,
        "timeout": options.TIMEOUT,
        "elsewhere": Option("On the worker that -H names, even if hosts.toml places it elsewhere."),
        "format": options.FORMAT,
    }
)
def stop(
    c: Context,
    vm: str | None = None,
    force: bool = False,
    timeout: int = 30,
    elsewhere: bool = False,
    format: str = "text",
) -> Work[Outcome]:
    """
    Ask a VM's guest to power off, end QEMU if it does not, and remove its ports and TAPs.

    A VM that is not there is not an error. With -H it may be one that hosts.toml has lost.
    Example: fab stop --vm 'web*' --timeout 60
    """
    groups = (
        groups_of_vms(c, vm, task="stop", elsewhere=True)
        if elsewhere
        else groups_with_lost(c, vm, task="stop")
    )

    from vmops.core.plan.stopping import Manner
    from vmops.ops.vm import stopping

    manner = Manner(force=force, timeout_s=timeout)
    return Work(
        groups,
        lambda g: [_unless_lost(c, o) for o in stopping.stop(g.route, g.vms, manner=manner)],
        Report(said(ended), ended_as_dict),
    )


@task(
    {
        "vm": options.VM,
        "keep_disks": Option("Stop it and keep its disks."),
        "here": Option("With -H: of a VM that was moved from there, forget that it was."),
        "force": options.FORCE_STOP,
        "timeout": options.TIMEOUT,
        "yes": Option("Do not ask, even on a terminal."),
        "format": options.FORMAT,
    }
)
def destroy(
    c: Context,
    vm: str | None = None,
    keep_disks: bool = False,
    here: bool = False,
    force: bool = False,
    timeout: int = 30,
    yes: bool = False,
    format: str = "text",
) -> Work[Outcome]:
    """
    Stop a VM as `stop` does and remove the disks that vmops has made for it.

    Asks first, and takes --yes where nobody can be asked. Images stay, and so does a qcow_image.
    The next launch makes a new disk. With -H it may be one that hosts.toml has lost.
    Example: fab destroy --vm web1 --yes
    """
    from vmops.core.plan.stopping import Manner
    from vmops.ops.vm import stopping
    from vmops.tasks.placement.forgetting import also_forgotten

    groups = groups_with_lost(c, vm, task="destroy", early=False, own_disk=True)
    if keep_disks:
        confirm(c, groups, "stop", yes=yes)
    else:
        ask(c, groups, "remove, with all that is on their disks", yes=yes)
    manner = Manner(force=force, timeout_s=timeout)
    return Work(
        groups,
        lambda g: [
            _unless_lost(c, outcome)
            for outcome in stopping.destroy(g, manner=manner, keep_disks=keep_disks, forgets=here)
        ],
        Report(
            said(destroyed),
            ended_as_dict,
            merged=lambda came: came if keep_disks else also_forgotten(c, vm, came),
        ),
    )


@task(
    {
        "vm": options.VM,
        "disk": Option("A further disk, by its name in hosts.toml. Default: the VM's own."),
        "yes": Option("Do not ask, even on a terminal."),
        "format": options.FORMAT,
    }
)
def reset_disk(
    c: Context,
    vm: str | None = None,
    disk: str = "root",
    yes: bool = False,
    format: str = "text",
) -> Work[Outcome]:
    """
    Remove the disk that vmops has made for a VM; the next launch makes it anew.

    Asks first, and takes --yes where nobody can be asked. Refused while the VM runs. A qcow_image
    is never removed.
    Example: fab reset-disk --vm web1 --disk data --yes
    """
    from vmops.ops.vm import stopping
    from vmops.tasks.placement.forgetting import also_forgotten

    groups = groups_of_vms(c, vm, task="reset-disk", early=False)
    for each in (vm for group in groups for vm in group.vms):
        _has_disk(each, disk)
    what = "the disk" if disk == "root" else f"the disk {disk}"
    ask(c, groups, f"remove {what}, with all that is on it", yes=yes, first=refuse_running)
    return Work(
        groups,
        lambda g: stopping.reset_disk(g.route, g.vms, name=disk),
        Report(
            said(disk_removed), changed_as_dict, merged=lambda came: also_forgotten(c, vm, came)
        ),
    )


def _has_disk(vm: VM, disk: str) -> None:
    own = ["root"] if vm.image is not None else []
    own += [*(each.name for each in vm.disks), *(["uefi"] if vm.boot == "uefi" else [])]
    if disk in own:
        return
    if disk == "root":
        what = f"{vm.name} has a qcow_image, which vmops has not made"
        raise InventoryError(what, cure=f"copy another image there: {vm.qcow_image}")
    there = ", ".join(own) or "none"
    raise InventoryError(f"{vm.name} has no disk {disk!r}; there is: {there}", cure="fab inventory")


def _unless_lost(c: Context, outcome: Outcome) -> Outcome:
    """A name that neither hosts.toml nor the worker has is most likely a slip."""
    if outcome.changed or outcome.error is not None or not is_lost(c, outcome.vm):
        return outcome
    missing = NotRunning(f"{outcome.vm} is not there", worker=outcome.worker, vm=outcome.vm)
    return outcome._replace(error=in_place(c, outcome.vm, missing))
