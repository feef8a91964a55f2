"""hosts.toml as it is understood: inventory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmops.tasks.frame import options
from vmops.tasks.frame.context import Context
from vmops.tasks.frame.options import JSON
from vmops.tasks.frame.output import give, give_json
from vmops.tasks.frame.selection import inventory as read
from vmops.tasks.frame.task import task

if TYPE_CHECKING:
    from vmops.core.inventory.inventory import Inventory


@task({"vm": options.VMS, "format": options.FORMAT})
def inventory(c: Context, vm: str | None = None, format: str = "text") -> Inventory:
    """
    Print hosts.toml as it is understood, everything written out, and where each value came from.

    What it prints is a hosts.toml too. No worker is contacted.
    Example: fab inventory --vm 'web*'
    """
    from vmops.core.inventory.written_out import as_json, as_toml

    listed = read(c)
    vms = tuple(listed.vms.values()) if vm is None else listed.select(vm)
    if format == JSON:
        give_json(as_json(listed, vms))
    else:
        give(as_toml(listed, vms))
    return listed
