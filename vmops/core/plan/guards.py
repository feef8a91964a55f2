"""The block of a VM: its steps under its lock, and what has to hold still when it begins."""

from __future__ import annotations

from collections.abc import Sequence

from vmops.core.devices import disk
from vmops.core.devices.live import memory
from vmops.core.devices.storage import boot, further, moving
from vmops.core.facts.observed import Observed
from vmops.core.inventory.model import VM
from vmops.core.names import RunDirectory
from vmops.core.script.command import Batch, Block, Command, Step, command
from vmops.core.tools import ip, process


def block_of(
    vm: VM,
    steps: Sequence[Step | Batch],
    *,
    guards: tuple[Command, ...],
    change: str,
    before: tuple[Step, ...] = (),
) -> Block:
    """The VM's block. `before` is done while others may still change the VM, and `change` is the
    word for all of it in the worker's history."""
    lock = RunDirectory(vm.name).lock
    return Block(vm.name, tuple(steps), lock=lock, guards=guards, before=before, change=change)


def still_here(vm: VM, observed: Observed) -> tuple[Command, ...]:
    """The VM was neither moved nor suspended nor brought back while somebody waited for its guest:
    its disks are part of that by now."""
    return (
        moving.guard(vm.name, observed.moves),
        memory.guard(vm.name, there=vm.name in observed.suspended),
    )


def still_absent(vm: VM, observed: Observed) -> tuple[Command, ...]:
    """No QEMU of the VM runs, nothing that it left is new, it was neither suspended nor brought
    back nor moved meanwhile, and the TAPs that were there still are."""
    taps = [nic.tap for nic in vm.connected if nic.tap in observed.taps]
    guards = [process.not_running(vm.name)]
    if not observed.vm(vm.name).directory:
        guards.append(command("test", "!", "-e", RunDirectory(vm.name).path))
    guards += disk.guards(vm, observed.images)
    guards += [*further.guards(vm, observed.images), *boot.guards(vm, observed.images)]
    return (*guards, *still_here(vm, observed), *((ip.are_there(taps),) if taps else ()))
