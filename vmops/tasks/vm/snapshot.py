"""Snapshots of running VMs from the command line: snapshot.save, list, revert, delete, thaw."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from vmops.errors import InventoryError
from vmops.tasks.frame import options
from vmops.tasks.frame.confirm import ask
from vmops.tasks.frame.context import Context
from vmops.tasks.frame.options import Option
from vmops.tasks.frame.outcomes import changed_as_dict, said
from vmops.tasks.frame.output import finish, say, table
from vmops.tasks.frame.selection import groups_of_vms
from vmops.tasks.frame.task import task
from vmops.tasks.frame.work import Report, Work, each

if TYPE_CHECKING:
    from vmops.core.devices.live.snapshot import Snapshot
    from vmops.ops.route import Group
    from vmops.ops.vm.live.snapshots import Listed
    from vmops.ops.vm.outcome import Outcome


def _name(value: str) -> str | None:
    from vmops.core.inventory import normal_form

    found = normal_form.name(value)
    return None if found == value else "must be a name: letters, digits, dots, - and _"


NAME = Option("The snapshot's name.", _name, required=True)


@task(
    {
        "vm": options.VM,
        "name": NAME,
        "freeze": Option("Have each guest's agent freeze its file systems meanwhile."),
        "format": options.FORMAT,
    }
)
def save(
    c: Context,
    vm: str | None = None,
    name: str | None = None,
    freeze: bool = False,
    format: str = "text",
) -> Work[Outcome]:
    """
    Save the memory and all disks of running VMs under a name, inside their qcow2 files.

    A guest stands still meanwhile, the longer the more memory it uses. A failed one leaves nothing.
    With --freeze its file systems are whole in the snapshot; a guest without an agent is refused.
    Example: fab snapshot.save --vm '*' --name before-class
    """
    from vmops.ops.vm.live import snapshots

    name = _given(name, "save")
    return Work(
        groups_of_vms(c, vm, task="snapshot.save"),
        lambda g: snapshots.save(g.route, g.vms, name=name, freeze=freeze),
        Report(said(lambda o: f"snapshot {name} saved"), changed_as_dict),
    )


@task(
    {
        "vm": options.VM,
        "name": NAME,
        "yes": Option("Do not ask, even on a terminal."),
        "format": options.FORMAT,
    }
)
def revert(
    c: Context,
    vm: str | None = None,
    name: str | None = None,
    yes: bool = False,
    format: str = "text",
) -> Work[Outcome]:
    """
    Take running VMs back to a snapshot, memory and disks; what came after it is lost.

    Asks first, if any of them can be, and takes --yes where nobody can be asked. Refused for a
    VM with other interfaces, disks, memory or CPUs than then.
    Example: fab snapshot.revert --vm '*' --name before-class --yes
    """
    from vmops.ops.vm.live import snapshots

    name = _given(name, "revert")
    groups = groups_of_vms(c, vm, task="snapshot.revert", early=False)

    def first(groups: Sequence[Group]) -> None:
        refusals = each(groups, lambda g: snapshots.refusals(g.route, g.vms, name=name))
        if all(refusals):
            finish([error for error in refusals if error is not None])

    ask(c, groups, f"take back to {name} (what came after it is lost)", yes=yes, first=first)
    return Work(
        groups,
        lambda g: snapshots.revert(g.route, g.vms, name=name),
        Report(said(lambda o: f"as in snapshot {name}"), changed_as_dict),
    )


@task({"vm": options.VM, "name": NAME, "format": options.FORMAT})
def delete(
    c: Context, vm: str | None = None, name: str | None = None, format: str = "text"
) -> Work[Outcome]:
    """
    Delete a snapshot of running VMs.

    Example: fab snapshot.delete --vm '*' --name before-class
    """
    from vmops.ops.vm.live import snapshots

    name = _given(name, "delete")
    return Work(
        groups_of_vms(c, vm, task="snapshot.delete"),
        lambda g: snapshots.delete(g.route, g.vms, name=name),
        Report(said(lambda o: f"snapshot {name} deleted"), changed_as_dict),
    )


@task({"vm": options.VM, "format": options.FORMAT})
def thaw(c: Context, vm: str | None = None, format: str = "text") -> Work[Outcome]:
    """
    Thaw the file systems of guests that snapshot.save --freeze has left frozen.

    It thaws them itself; this is for when it could not. Nothing happens where nothing is frozen.
    Example: fab snapshot.thaw --vm web1
    """
    from vmops.ops.vm.live import snapshots

    return Work(
        groups_of_vms(c, vm, task="snapshot.thaw"),
        lambda g: snapshots.thaw(g.route, g.vms),
        Report(said(lambda o: "not frozen"), changed_as_dict),
    )


@task({"vm": options.VM, "format": options.FORMAT}, name="list")
def list_(c: Context, vm: str | None = None, format: str = "text") -> Work[Listed]:
    """
    The snapshots of running VMs, and what keeps a VM from going back to one.

    Example: fab snapshot.list --vm '*'
    """
    from vmops.ops.vm.live import snapshots

    return Work(
        groups_of_vms(c, vm, task="snapshot.list"),
        lambda g: snapshots.listed(g.route, g.vms),
        Report(_print, _as_dict),
    )


def _given(name: str | None, task: str) -> str:
    if name is None:
        raise InventoryError(
            f"snapshot.{task}: which snapshot?", cure=f"fab snapshot.{task} --vm NAME --name NAME"
        )
    return name


def _print(found: Any) -> None:
    rows = [
        (one.vm, one.worker, snapshot, differs)
        for one in found
        for snapshot, differs in zip(one.snapshots, one.differs, strict=True)
    ]
    if not rows and not any(one.error for one in found):
        say("no snapshot is there")
    table(("VM", "WORKER", "SNAPSHOT", "TAKEN (UTC)", "MEMORY", "REVERT"), _row)(rows)


def _row(entry: tuple[str, str, Snapshot, tuple[str, ...]]) -> list[str]:
    vm, worker, one, differs = entry
    memory = f"{one.memory // (1 << 20)} MiB"
    return [vm, worker, one.name, _taken(one), memory, "; ".join(_why_not(one, differs)) or "yes"]


def _taken(one: Snapshot) -> str:
    return datetime.fromtimestamp(one.taken_s, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _why_not(one: Snapshot, differs: tuple[str, ...]) -> tuple[str, ...]:
    return (*differs, *(f"{disk} does not have it" for disk in one.missing))


def _as_dict(found: Listed) -> dict[str, Any]:
    return {
        "vm": found.vm,
        "worker": found.worker,
        "snapshots": [
            {
                "name": one.name,
                "taken": datetime.fromtimestamp(one.taken_s, UTC).isoformat(),
                "memory_bytes": one.memory,
                "frozen": one.frozen,
                "differs": list(_why_not(one, differs)),
            }
            for one, differs in zip(found.snapshots, found.differs, strict=True)
        ],
    }
