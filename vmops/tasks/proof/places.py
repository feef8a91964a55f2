"""Interfaces as they are typed: `web1:eth0`, or `web1` for the one that is meant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from vmops.errors import InventoryError
from vmops.tasks.frame.context import Context
from vmops.tasks.frame.selection import groups_of_workers, host_of, inventory
from vmops.tasks.frame.work import where_they_are

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
    """Two interfaces; where one is left out, the first that shares a VLAN or a network with the
    other, else one that OVN carries as it does the other."""
    from vmops.core.plan.proof.ends import vlans_of

    pairs = [(a, b) for a in _candidates(c, one) for b in _candidates(c, other) if a != b]
    if not pairs:
        raise InventoryError(f"{one} and {other} are the same interface")

    def near(pair: tuple[Place, Place]) -> int:
        (_, here), (_, there) = pair
        network = here.interface.network
        if set(vlans_of([here])) & set(vlans_of([there])):
            return 0
        if network is not None and network == there.interface.network:
            return 0
        return 1 if here.port and there.port else 2

    return min(pairs, key=near)


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


def groups_around(c: Context, *places: Place) -> list[Group]:
    """The workers of these VMs with all that is there, and OVN's central where that carries one of
    these interfaces; all workers where a VM is pinned to none."""
    pinned = [vm.worker for vm, _ in places if vm.worker is not None]
    if host_of(c) or len(pinned) < len(places):
        return groups_of_workers(c, None, moved=True)
    northbound = inventory(c).northbound
    central = [northbound] if northbound and any(nic.port for _, nic in places) else []
    names = ",".join(dict.fromkeys([*pinned, *central]))
    return groups_of_workers(c, names, moved=True)


def with_moved(c: Context, groups: list[Group]) -> list[Group]:
    """The same with VMs that were moved where they are. Where that is another worker than these,
    all workers, with all that is there."""
    found = where_they_are(c, groups, empty=True)
    if len(found) == len(groups):
        return found
    everywhere = groups_of_workers(c, None, early=False, moved=True)
    return where_they_are(c, everywhere, empty=True)
