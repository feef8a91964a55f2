"""Removing a disk of a VM that does not run: the next launch makes it anew. Pure decision."""

from __future__ import annotations

from vmops.core.devices import disk
from vmops.core.devices.storage import further
from vmops.core.facts.images import OWN_DISKS, SUSPENDED
from vmops.core.facts.observed import IMAGES, Observed
from vmops.core.inventory.model import VM, Worker
from vmops.core.plan.checks import check_read
from vmops.core.plan.guards import block_of, still_here
from vmops.core.plan.moving.marks import check_may_remove
from vmops.core.plan.phase import Phase, Plan
from vmops.core.plan.stopping import check_closed
from vmops.core.tools import process
from vmops.errors import WorkFailed


def reset(worker: Worker, vm: VM, observed: Observed, *, name: str = disk.ROOT) -> Plan:
    """Remove the VM's own disk, or the further one of that name; nothing where it is not there.

    Raises WorkFailed where the VM runs, or may, and where another process has the disk open.
    """
    check_read(worker, vm, observed, IMAGES, OWN_DISKS, SUSPENDED)
    check_may_remove(worker, vm, observed)
    running = observed.vm(vm.name)
    if running.odd:
        raise running.doubt(worker.name)
    if running.process is not None:
        raise WorkFailed(
            f"{vm.name} is {observed.word_for(vm.name)}, with this disk",
            worker=worker.name,
            vm=vm.name,
            cure=f"stop it first: fab stop --vm {vm.name}",
        )
    if vm.name in observed.suspended:
        raise WorkFailed(
            f"{vm.name} is suspended, and its memory fits this disk only",
            worker=worker.name,
            vm=vm.name,
            cure=f"give its memory up first: fab suspend --vm {vm.name} --discard",
        )
    steps = further.removing(vm, observed.folder, name=name)
    if not steps:
        return Plan(vm, "nothing")
    check_closed(worker, vm, observed)
    guards = (process.not_running(vm.name), *still_here(vm, observed))
    block = block_of(vm, steps, guards=guards, change="reset-disk")
    return Plan(vm, "reset disk", (Phase(worker.name, block),))
