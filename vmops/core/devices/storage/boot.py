"""What a VM boots from, where that is not simply its disk: a CD, or a disk by UEFI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from vmops.core.devices import disk
from vmops.core.devices.disk import Fault
from vmops.core.images.names import disk_path
from vmops.core.inventory.machine.rules import CDROM, DISK, UEFI
from vmops.core.inventory.model import VM
from vmops.core.script.command import Command, Step, command
from vmops.core.tools import qemu, qemu_img
from vmops.core.tools.image_chain import Chain

VARIABLES = "uefi"
"""The name of the disk that holds a VM's UEFI variables; no further disk can have it."""

MAKE = "UEFI variables"
PACKAGE_CURE = "there: sudo apt install ovmf"
CD = "boot-iso"
"""What QEMU calls the CD drive, and the medium that it was started with."""

VARIABLES_NODE = "uefi-vars"
"""What QEMU calls the disk of the variables."""

_CODE = "uefi-code"

Chains = Mapping[str, Chain]


class Firmware(NamedTuple):
    """A worker's UEFI: its code, and the variables that a new VM begins with. Empty without."""

    code: str = ""
    variables: str = ""


class RunningBoot(NamedTuple):
    """What a QEMU was started to boot from, by a word of hosts.toml, and the CD's path."""

    boot: str = DISK
    iso: str = ""


def path_of(vm: VM) -> str:
    """Where a VM's UEFI variables lie."""
    return disk_path(vm.name, VARIABLES, "qcow2")


def machine_words(vm: VM) -> tuple[str, ...]:
    """The machine's kind; with UEFI the flash memory is a part of it."""
    flash = f",pflash0={_CODE},pflash1={VARIABLES_NODE}" if vm.boot == UEFI else ""
    if not vm.machine and not flash:
        return ()
    return ("-machine", f"{vm.machine or 'pc'}{flash}")


def words(vm: VM, home: str, firmware: Firmware) -> tuple[str, ...]:
    """The CD, from which is booted first; or the firmware and its variables."""
    if vm.boot == CDROM and vm.iso is None:
        return ("-device", f"ide-cd,id={CD},bootindex=0")
    if vm.boot == CDROM and vm.iso is not None:
        path = qemu.escaped(disk.absolute(vm.iso, home))
        file = f"file.driver=file,file.filename={path}"
        return (
            *("-blockdev", f"driver=raw,node-name={CD},read-only=on,{file}"),
            *("-device", f"ide-cd,drive={CD},id={CD},bootindex=0"),
        )
    if vm.boot != UEFI:
        return ()
    code = f"file.driver=file,file.filename={qemu.escaped(firmware.code)}"
    kept = f"file.driver=file,file.filename={qemu.escaped(disk.absolute(path_of(vm), home))}"
    return (
        *("-blockdev", f"driver=raw,node-name={_CODE},read-only=on,{code}"),
        *("-blockdev", f"driver=qcow2,node-name={VARIABLES_NODE},{kept}"),
    )


def parse(found: qemu.Options) -> RunningBoot:
    """What a command line boots from."""
    nodes = {node.get("node-name", ""): node for node in qemu.every(found, "blockdev")}
    if CD in nodes:
        return RunningBoot(CDROM, nodes[CD].get("file.filename", ""))
    if any(device.get("id") == CD for device in qemu.every(found, "device")):
        return RunningBoot(CDROM)
    return RunningBoot(UEFI) if VARIABLES_NODE in nodes else RunningBoot()


def wanted(vm: VM, home: str) -> RunningBoot:
    """The same as the VM is wanted."""
    iso = disk.absolute(vm.iso, home) if vm.iso is not None else ""
    return RunningBoot(vm.boot or DISK, iso)


def asked(vm: VM) -> dict[str, tuple[str, str]]:
    """The images that have to be looked at, each with the format that it is to be read as."""
    if vm.boot == UEFI:
        return {path_of(vm): (path_of(vm), "qcow2")}
    return {} if vm.iso is None else {vm.iso: (vm.iso, "base:raw")}


def refusal(vm: VM, images: Chains, firmware: Firmware, *, user: str) -> Fault | None:
    """What keeps the VM from booting so, and the cure."""
    if vm.boot == UEFI and not firmware.code:
        return Fault("there is no UEFI firmware (OVMF)", PACKAGE_CURE)
    for path in asked(vm):
        chain = images.get(path)
        if disk.is_missing(chain):
            if path == vm.iso:
                return Fault(f"no image {path}", f"put it there, or correct vms.{vm.name}.iso")
            continue
        if found := disk.objections(chain or (), user=user):
            what = "; ".join(entry.what for entry in found)
            return Fault(what, "; ".join(entry.cure for entry in found if entry.cure))
    return None


def preparing(vm: VM, images: Chains, firmware: Firmware) -> tuple[Step, ...]:
    """What makes the UEFI variables of a VM that has none yet. They go when a later step fails."""
    if vm.boot != UEFI or not disk.is_missing(images.get(path_of(vm))):
        return ()
    make = command("make_variables", firmware.variables, path_of(vm))
    return (Step(MAKE, (make,), undo=(qemu_img.remove_disk(path_of(vm)),)),)


def guards(vm: VM, images: Chains) -> tuple[Command, ...]:
    """That variables which are to be made are still not there."""
    if vm.boot != UEFI or not disk.is_missing(images.get(path_of(vm))):
        return ()
    return (qemu_img.no_disk(path_of(vm)),)
