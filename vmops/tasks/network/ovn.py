"""OVN from the command line: ovn.setup."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vmops.errors import InventoryError
from vmops.tasks.frame import options
from vmops.tasks.frame.context import Context
from vmops.tasks.frame.output import give_table
from vmops.tasks.frame.selection import groups_of_workers, inventory, worker_at
from vmops.tasks.frame.task import task
from vmops.tasks.frame.work import Report, Work

if TYPE_CHECKING:
    from vmops.core.inventory.inventory import Inventory, Part
    from vmops.core.inventory.model import Worker
    from vmops.ops.worker.ovn import Follower


@task({"worker": options.WORKER, "format": options.FORMAT})
def setup(c: Context, worker: str | None = None, format: str = "text") -> Work[Follower]:
    """
    Have workers follow OVN's central: its bridge, its tunnels, and where the central is.

    Three settings of Open vSwitch on each worker that has VMs in networks of OVN, or is named; on
    the central's, that it listens; on a gateway, a bridge with its device, and that this is the way
    out. Nothing is installed. Example: fab ovn.setup
    """
    from vmops.ops.worker.ovn import set_up

    listed = inventory(c)
    if listed.northbound is None:
        raise InventoryError(
            f"{listed.source} does not say where OVN's central is",
            cure='write [ovn] northbound = "WORKER"; see docs/networks.md',
        )
    groups = [group._replace(vms=()) for group in groups_of_workers(c, worker, early=False)]
    if worker is None and worker_at(c, listed) is None:
        groups = [group for group in groups if group.route.worker.name in listed.ovn_workers]
    without = [g.route.worker.name for g in groups if g.route.worker.tunnel_ip is None]
    if without:
        raise InventoryError(
            f"{listed.source}: {without[0]} has no address for tunnels: its address is a name, or"
            " the loopback",
            cure=f'write encap_ip = "ADDRESS" in [workers.{without[0]}]',
        )
    return Work(
        groups,
        lambda g: [set_up(g.route, _part(listed, g.route.worker))],
        Report(_table, _as_dict),
    )


def _table(found: Sequence[Follower]) -> None:
    rows = [[one.worker, " ".join(one.made) or "-", _state(one)] for one in found]
    give_table(("WORKER", "SET", "CONTROLLER"), rows)


def _state(one: Follower) -> str:
    return "connected" if one.connected else "failed"


def _as_dict(one: Follower) -> dict[str, Any]:
    return {"worker": one.worker, "set": list(one.made), "connected": one.connected}


def _part(listed: Inventory, worker: Worker) -> Part:
    """That of a worker which is named and has no VM there is to follow, no more."""
    from vmops.core.inventory.inventory import Part

    return listed.part_of(worker) or Part(listed.workers[listed.northbound or ""])
