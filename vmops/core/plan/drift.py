"""Where a running VM and its entry in the inventory differ, field by field. Pure comparison."""

from __future__ import annotations

from collections.abc import Iterator

from vmops.core.devices import disk, display, machine, nic
from vmops.core.devices.drift import Drift
from vmops.core.devices.live import ports
from vmops.core.devices.live.drives import Drives
from vmops.core.devices.live.ports import Room
from vmops.core.devices.machine import CommandLine, Launch
from vmops.core.devices.seed import drive
from vmops.core.devices.storage import further
from vmops.core.devices.storage.boot import RunningBoot
from vmops.core.facts.observed import Observed
from vmops.core.inventory.machine.rules import DISK
from vmops.core.inventory.model import VM, Worker


def accel_of(worker: Worker, observed: Observed) -> str:
    """The accelerator to use: "auto" is kvm where the worker's /dev/kvm can be opened."""
    if worker.accel != "auto":
        return worker.accel
    return "kvm" if observed.host.kvm == "usable" else "tcg"


def launch_values(worker: Worker, vm: VM, observed: Observed) -> machine.Launch:
    """What this worker adds to the VM's command line."""
    accel = accel_of(worker, observed)
    return machine.Launch(
        accel=accel,
        cpu=machine.cpu_for(vm, accel=accel),
        image=observed.image_path(vm.qcow_image),
        screen=display.wanted(worker.vnc_listen, vm.vnc_port, vm=vm.name),
        home=observed.host.home,
        firmware=observed.firmware,
        uid=machine.uid_for(vm, whole_range=observed.host.whole_uid_range),
    )


def drift(worker: Worker, vm: VM, observed: Observed) -> tuple[Drift, ...]:
    """The differences between the running VM and the wanted one; empty when it does not run."""
    running = observed.vm(vm.name)
    if running.process is None:
        return ()
    line, has = running.command_line, observed.drives(vm.name)
    for_nics, for_disks = _rooms(vm, observed)
    cards, home = observed.nics(vm.name), observed.host.home
    return (
        *_of_machine(vm, line, has, launch_values(worker, vm, observed)),
        *disk.drift(vm, observed.images),
        *further.drift(vm, has.disks, observed.images, home=home, room=for_disks),
        *drive.drift(vm, running.seed),
        *nic.drift(worker, vm, cards, observed.wiring, room=for_nics),
    )


def _rooms(vm: VM, observed: Observed) -> tuple[Room, Room]:
    """What comes and goes of interfaces, and of disks, where its monitor was asked what it has.

    What it was started with is fixed on a machine that takes cards at root ports alone. Interfaces
    get the free ones first (live/interfaces.py).
    """
    line, has = observed.vm(vm.name).command_line, observed.drives(vm.name)
    were_said = observed.nics_were_said(vm.name)
    if not ports.needs(line.machine):
        return Room(were_said, were_said), Room(has.said, has.said)
    cards = {card.tap for card in observed.nics(vm.name) if not card.is_bare}
    lacking = sum(nic.tap not in cards for nic in vm.connected)
    free = len(observed.free_ports(vm.name))
    nics, disks = (card.tap for card in line.nics), (each.name for each in line.disks)
    return (
        Room(were_said, were_said, free, frozenset(nics)),
        Room(has.said, has.said, max(0, free - lacking), frozenset(disks)),
    )


def _of_machine(vm: VM, line: CommandLine, has: Drives, launch: Launch) -> Iterator[Drift]:
    """Its CD and memory are what they are by now, and change without a restart where there is a
    drive, and a balloon."""
    now = line
    if has.cd is not None:
        now = line._replace(boot=RunningBoot(line.boot.boot, has.cd))
    if has.ram_mb:
        now = now._replace(ram_mb=has.ram_mb)
    for item in machine.drift(now, vm, launch):
        if item.field == "iso":
            yield item._replace(live=has.said and has.cd is not None)
        elif item.field == "boot" and has.said and has.cd is not None and item.wanted == DISK:
            # Without a medium the firmware goes on to the disk: the drive itself can wait.
            yield item._replace(later=True)
        elif item.field == "ram_mb":
            yield item._replace(live=bool(has.ram_mb) and vm.ram_mb <= line.ram_mb)
        else:
            yield item
