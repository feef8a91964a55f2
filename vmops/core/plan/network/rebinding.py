"""A VM's ports in OVN given to the worker that it moves to. Pure decisions.

A port says for which worker it is, and hosts.toml says that of each VM that is pinned. A VM that
has moved is elsewhere until hosts.toml is changed too, or it comes back: so its ports say from
where to where, and that holds for as long as hosts.toml has it where it came from.
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
from vmops.core.tools.ovn import MOVED, Found
from vmops.errors import WorkFailed


class Rebinding(NamedTuple):
    """Where a VM is to be, and where hosts.toml has it: None for one that it pins nowhere."""

    vm: VM
    to: Worker
    home: Worker | None


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
    """Have OVN let the VM in on that worker, and on no other; None where it does, or where it does
    so on any."""
    to = central.chassis.get(wanted.to.tunnel_ip or "", "")
    home = central.chassis.get(wanted.home.tunnel_ip or "", "") if wanted.home else ""
    if not home or not to:
        return None
    moved = "" if to == home else f"{home} {to}"
    ports = [found for found in _ports(wanted.vm, central) if not _is_so(found, to, moved)]
    if not ports:
        return None
    steps = (
        Step(WRITE, (ovn.rebind(ports, to, moved),)),
        Step(FOLLOW, (ovn.sync(),), may_fail=True),
    )
    guard = command("same_rows", central.sum)
    return Block(wanted.vm.name, steps, lock=NET_LOCK, guards=(guard,), change="migrate")


def _ports(vm: VM, central: Central) -> list[Found]:
    return [
        found
        for found in central.rows.values()
        if found.table == ovn.PORTS and _map(found, "external_ids").get(ovn.VM) == vm.name
    ]


def _is_so(found: Found, to: str, moved: str) -> bool:
    at = _map(found, "options").get(ovn.CHASSIS, "")
    return at == to and (_map(found, "external_ids").get(MOVED) or "") == moved


def _map(found: Found, column: str) -> Mapping[str, str | None]:
    value = found.columns.get(column, "")
    return value if isinstance(value, Mapping) else {}
