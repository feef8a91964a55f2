"""Plans that suspend a VM to a file, and what bringing it back consists of. Pure decisions."""

from __future__ import annotations

from vmops.core.devices import machine, nic
from vmops.core.devices.live import memory
from vmops.core.facts.images import OWN_DISKS, SUSPENDED
from vmops.core.facts.observed import Observed
from vmops.core.inventory.model import VM, Worker
from vmops.core.plan.checks import check_read, check_unused
from vmops.core.plan.drift import launch_values
from vmops.core.plan.guards import block_of
from vmops.core.plan.life import KILL, RUN_DIRECTORY, TERM, ending
from vmops.core.plan.phase import Phase, Plan
from vmops.core.script.command import Step, command
from vmops.core.tools import process, qmp
from vmops.errors import LaunchFailed, MonitorError, WorkFailed

MIB = 1 << 20


def suspend(worker: Worker, vm: VM, observed: Observed) -> Plan:
    """Write the VM's memory to a file beside its disks, end its QEMU, and remove ports and TAPs.

    Refused where there is no room for it, where the guest stands still already, and where the VM's
    interfaces, disks, CD or memory were changed while it ran: its command line would not make that
    machine again.
    """
    running = observed.vm(vm.name)
    assert running.process is not None, "only what runs is suspended"
    check_unused(worker, vm, observed)
    check_read(worker, vm, observed, OWN_DISKS, SUSPENDED)
    where = {"worker": worker.name, "vm": vm.name}
    status, why = observed.monitor_status(vm.name)
    if not status:
        raise MonitorError(why or "it has no monitor that vmops knows", **where)
    if status != qmp.RUNNING:
        raise WorkFailed(f"it is {status}", **where, cure=f"fab resume --vm {vm.name}")
    if changed := changed_since_start(vm, observed):
        raise WorkFailed(
            f"{changed} changed while it ran, so its memory would fit no machine that is started",
            **where,
            cure=f"fab restart --vm {vm.name}, then suspend it",
        )
    free = observed.folder.free
    if free is not None and 0 < free < running.command_line.ram_mb * MIB:
        raise WorkFailed(
            f"{free // MIB} MiB are free in ~/vm_images, and its memory may take"
            f" {running.command_line.ram_mb}",
            **where,
            cure="make room there",
        )
    uid = machine.uid_for(vm, whole_range=observed.host.whole_uid_range)
    steps = (
        memory.saving(vm.name, running.process, uid=uid),
        *ending(vm.name, running.process, (TERM, KILL)),
        *nic.unplugging(vm, observed.wiring),
        Step(RUN_DIRECTORY, (command("remove_run_directory", vm.name),)),
    )
    guards = (process.still_running(vm.name, running.process),)
    block = block_of(vm, steps, guards=guards, change="suspend")
    return Plan(vm, "suspend", (Phase(worker.name, block, waits_s=memory.LIMIT_S),))


def changed_since_start(vm: VM, observed: Observed) -> str:
    """In words, what its QEMU has by now that it was not started with."""
    line, has = observed.vm(vm.name).command_line, observed.drives(vm.name)
    cards = {(card.tap, card.device, card.mac) for card in observed.nics(vm.name)}
    if cards != {(card.tap, card.device, card.mac) for card in line.nics}:
        return "its interfaces were"
    if set(has.disks) != set(line.disks):
        return "its disks were"
    if has.cd is not None and has.cd != line.boot.iso:
        return "its CD was"
    return "its memory was" if has.ram_mb and has.ram_mb != line.ram_mb else ""


def discard(worker: Worker, vm: VM, observed: Observed) -> Plan:
    """Give up the memory of a suspended VM; nothing where there is none."""
    check_read(worker, vm, observed, SUSPENDED)
    if vm.name not in observed.suspended:
        return Plan(vm, "nothing")
    guards = (process.not_running(vm.name),)
    block = block_of(vm, (memory.discarding(vm.name),), guards=guards, change="discard")
    return Plan(vm, "discard memory", (Phase(worker.name, block),))


def check_fits(worker: Worker, vm: VM, observed: Observed) -> None:
    """Raise LaunchFailed where the VM is suspended and would be started as another machine."""
    check_read(worker, vm, observed, SUSPENDED)
    kept = observed.suspended.get(vm.name)
    if kept is None:
        return
    values = launch_values(worker, vm, observed)
    differs = tuple(memory.differences(kept, vm, values))
    if not kept.argv:
        differs = ("the first line of its file cannot be read",)
    if differs:
        raise LaunchFailed(
            f"it is suspended, and its memory fits no other machine: {'; '.join(differs)}",
            worker=worker.name,
            vm=vm.name,
            cure="make hosts.toml say what it was; or give its memory up:"
            f" fab suspend --vm {vm.name} --discard",
        )
