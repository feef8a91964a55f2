"""A VM's ports in OVN given to the worker that it moves to. Pure decisions.

A port says for which worker it is, and hosts.toml says that of each VM that is pinned. A VM that
has moved is elsewhere until hosts.toml is changed too, or it comes back: so its ports say from
where to where, and that holds for as long as hosts.toml has it where it came from. While
a VM goes that runs, its ports are for both workers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from vmops.core.facts.network.central import Central
from vmops.core.inventory.model import VM, Worker
from vmops.core.names import NET_LOCK
from vmops.core.plan.network.logical import FOLLOW, WRITE
from vmops.core.script.command import Block, Step, command
from vmops.core.tools import ovn
from vmops.core.tools.ovn import ANYWHERE, MOVED, Found, Requested
from vmops.errors import WorkFailed


class Rebinding(NamedTuple):
    """Where a VM is to be, and where hosts.toml has it: None for one that it pins nowhere. `leaves`
    is the worker where it runs until then, and where it is let in meanwhile too."""

    vm: VM
    to: Worker
    home: Worker | None
    leaves: Worker | None = None


def check(wanted: Rebinding, at: Worker, central: Central) -> None:
    """Raise WorkFailed where OVN, whose central is `at`, could not let the VM in there."""
    if wanted.to.tunnel_ip not in central.chassis:
        raise WorkFailed(
            f"OVN does not know {wanted.to.name}",
            worker=at.name,
            vm=wanted.vm.name,
            cure=f"fab -H {wanted.to.name} ovn.setup",
        )
    there = {str(found.columns.get("name", "")) for found in _ports(wanted.vm, central)}
    for nic in wanted.vm.connected:
        if nic.port and nic.port not in there:
            raise WorkFailed(
                f"OVN has no port {nic.port}", worker=at.name, vm=wanted.vm.name, cure="fab net.up"
            )


def rebind(wanted: Rebinding, central: Central) -> Block | None:
    """Have OVN let the VM in on that worker, and on no other but the one that it leaves; None where
    it does."""
    asked = _requested(wanted, central)
    if asked is None:
        return None
    ports = [found for found in _ports(wanted.vm, central) if not _is_so(found, asked)]
    if not ports:
        return None
    steps = (
        Step(WRITE, (ovn.rebind(ports, asked),)),
        Step(FOLLOW, (ovn.sync(),), may_fail=True),
    )
    guard = command("same_rows", central.sum)
    return Block(wanted.vm.name, steps, lock=NET_LOCK, guards=(guard,), change="migrate")


def _requested(wanted: Rebinding, central: Central) -> Requested | None:
    """None where OVN lacks one of these workers."""

    def chassis(worker: Worker) -> str:
        return central.chassis.get(worker.tunnel_ip or "", "")

    home = ANYWHERE if wanted.home is None else chassis(wanted.home)
    places = [chassis(worker) for worker in (wanted.leaves, wanted.to) if worker is not None]
    if not home or not all(places):
        return None
    if places == [home]:
        return Requested((home,))
    if home == ANYWHERE and len(places) == 1:
        return Requested(())
    return Requested(tuple(places), " ".join((home, *places)))


def _ports(vm: VM, central: Central) -> list[Found]:
    return [
        found
        for found in central.rows.values()
        if found.table == ovn.PORTS and _map(found, "external_ids").get(ovn.VM) == vm.name
    ]


def _is_so(found: Found, wanted: Requested) -> bool:
    options, marks = _map(found, "options"), _map(found, "external_ids")
    is_there = all(options.get(key) == value for key, value in wanted.options.items())
    return is_there and (marks.get(MOVED) or "") == wanted.moved


def _map(found: Found, column: str) -> Mapping[str, str | None]:
    value = found.columns.get(column, "")
    return value if isinstance(value, Mapping) else {}
