"""Interfaces as they are typed: `web1:eth0`, or `web1` for the one that is meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from vmops.errors import InventoryError
from vmops.tasks.frame.context import Context
from vmops.tasks.frame.selection import groups_of_workers, host_of, inventory

if TYPE_CHECKING:
    from vmops.core.inventory.model import VM, Nic
    from vmops.ops.route import Group

    Place = tuple[VM, Nic]


def place(c: Context, text: str) -> Place:
    """The interface that is named; of a VM alone the first that is connected. InventoryError."""
    return _candidates(c, text)[0]


def one_of_two(task: str, given: Mapping[str, str | None]) -> str | None:
    """What is given by one of two options that mean the same; None for neither. InventoryError."""
    values = {value for value in given.values() if value is not None}
    if len(values) > 1:
        raise InventoryError(f"{task}: {' and '.join(given)} mean the same, and differ here")
    return next(iter(values), None)


def both(c: Context, one: str, other: str) -> tuple[Place, Place]:
    """Two interfaces; where one is left out, the first that shares a VLAN with the other."""
    from vmops.core.plan.proof.ends import vlans_of

    candidates = [*_candidates(c, one), *_candidates(c, other)]
    if any(nic.port for _, nic in candidates):
        raise _carried_by_ovn(candidates)
    pairs = [(a, b) for a in _candidates(c, one) for b in _candidates(c, other) if a != b]
    if not pairs:
        raise InventoryError(f"{one} and {other} are the same interface")
    shared = [(a, b) for a, b in pairs if set(vlans_of([a[1]])) & set(vlans_of([b[1]]))]
    return (shared or pairs)[0]


def _candidates(c: Context, text: str) -> list[Place]:
    from vmops.core.inventory.complaints import did_you_mean, show

    name, colon, interface = text.partition(":")
    listed = inventory(c)
    vm = listed.vm(name)
    if not colon:
        found = list(vm.connected)
        if not found:
            raise InventoryError(f"{listed.source}: VM {name} has no interface that is connected")
        return [(vm, nic) for nic in found]
    nics = {nic.name: nic for nic in vm.nics}
    if interface not in nics:
        guess = did_you_mean(interface, nics)
        raise InventoryError(
            f"{listed.source}: VM {name} has no interface {show(interface)}{guess}"
        )
    if nics[interface].attachment is None:
        raise InventoryError(f"{listed.source}: {text} is not connected", cure="give it a vlan_id")
    return [(vm, nics[interface])]


def _carried_by_ovn(candidates: Sequence[Place]) -> InventoryError:
    """Frames in OVN are not followed here yet; OVN's own program does it."""
    vm, nic = next(each for each in candidates if each[1].port)
    return InventoryError(
        f"{vm.name}:{nic.name} is in a network of OVN, where frames cannot be followed yet",
        cure="where OVN's central is: sudo ovn-trace --help",
    )


def groups_around(c: Context, *vms: VM) -> list[Group]:
    """The workers of these VMs with all that is there; all workers where one is pinned to none."""
    pinned = [vm.worker for vm in vms if vm.worker is not None]
    if host_of(c) or len(pinned) < len(vms):
        return groups_of_workers(c, None)
    return groups_of_workers(c, ",".join(dict.fromkeys(pinned)))
