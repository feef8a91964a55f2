"""Where a running VM and its entry in the inventory differ, field by field. Pure comparison."""

from __future__ import annotations

from vmops.core.devices import disk, display, machine, nic
from vmops.core.devices.drift import Drift
from vmops.core.devices.seed import drive
from vmops.core.devices.storage import further
from vmops.core.facts.observed import Observed
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
    line = running.command_line
    return (
        *machine.drift(line, vm, launch_values(worker, vm, observed)),
        *disk.drift(vm, observed.images),
        *further.drift(vm, line.disks, observed.images, home=observed.host.home),
        *drive.drift(vm, running.seed),
        *nic.drift(
            worker,
            vm,
            observed.nics(vm.name),
            observed.wiring,
            asked=observed.nics_were_said(vm.name) and not line.machine.startswith("q35"),
        ),
    )
