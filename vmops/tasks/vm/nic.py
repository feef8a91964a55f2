"""The interfaces of running VMs from the command line: nic.down, nic.up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmops.errors import InventoryError
from vmops.tasks.frame import options
from vmops.tasks.frame.context import Context
from vmops.tasks.frame.options import Option
from vmops.tasks.frame.outcomes import changed_as_dict, said
from vmops.tasks.frame.selection import groups_of_vms
from vmops.tasks.frame.task import task
from vmops.tasks.frame.work import Report, Work

if TYPE_CHECKING:
    from vmops.ops.route import Group
    from vmops.ops.vm.outcome import Outcome

NIC = Option(
    "VM and interface, as in web1:eth1; the VM may be a glob such as 'web*'.",
    names="interfaces",
    required=True,
)


@task({"vm": NIC, "format": options.FORMAT})
def down(c: Context, vm: str | None = None, format: str = "text") -> Work[Outcome]:
    """
    Pull the cable of an interface: its guest sees no carrier until `nic.up`.

    Its TAP and port stay. A VM that is started has all cables in.
    Example: fab nic.down --vm web1:eth1
    """
    return _set(c, vm, up=False)


@task({"vm": NIC, "format": options.FORMAT})
def up(c: Context, vm: str | None = None, format: str = "text") -> Work[Outcome]:
    """
    Put the cable of an interface in again.

    Example: fab nic.up --vm web1:eth1
    """
    return _set(c, vm, up=True)


def chosen(c: Context, pattern: str | None, *, task: str) -> tuple[list[Group], str]:
    """The VMs and the interface that `--vm web1:eth1` means. Raises InventoryError."""
    vms, colon, name = (pattern or "").rpartition(":")
    if not colon or not vms or not name:
        cure = f"fab {task} --vm web1:eth1"
        raise InventoryError(f"{task}: which interface of which VM?", cure=cure)
    groups = groups_of_vms(c, vms, task=task, early=False)
    for vm in (vm for group in groups for vm in group.vms):
        names = [nic.name for nic in vm.nics]
        if name not in names:
            there = ", ".join(names) or "none"
            what = f"{vm.name} has no interface {name!r}; there is: {there}"
            raise InventoryError(what, cure="fab inventory")
    return groups, name


def _set(c: Context, pattern: str | None, *, up: bool) -> Work[Outcome]:
    from vmops.ops.vm.live.links import set_link

    word = "up" if up else "down"
    groups, name = chosen(c, pattern, task=f"nic.{word}")
    return Work(
        groups,
        lambda g: set_link(g.route, g.vms, name=name, up=up),
        Report(
            said(lambda o: f"{name} {'is' if o.changed else 'was already'} {word}"),
            changed_as_dict,
        ),
    )
