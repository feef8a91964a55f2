"""What has to be there before a VM can be plugged or booted, looked at before anything is done."""

from __future__ import annotations

from vmops.core import qemu
from vmops.core.capacity import refusal
from vmops.core.model import VM, Worker
from vmops.core.observed import Observed
from vmops.errors import LaunchFailed, WorkFailed


def check_switch(worker: Worker, vm: VM, observed: Observed) -> None:
    """Raise unless Open vSwitch answers and has the bridge, where the VM has interfaces to plug."""
    if not vm.connected:
        return
    if observed.switch.fault:
        raise WorkFailed(
            f"Open vSwitch does not answer: {observed.switch.fault}",
            worker=worker.name,
            cure="start it there: sudo systemctl start openvswitch-switch",
        )
    if worker.bridge not in observed.switch.bridges:
        have = ", ".join(sorted(observed.switch.bridges)) or "none"
        raise WorkFailed(
            f"no bridge {worker.bridge}; Open vSwitch has: {have}",
            worker=worker.name,
            cure=f"make it there (sudo ovs-vsctl add-br {worker.bridge}), or set `bridge`",
        )


def check_boot(worker: Worker, vm: VM, observed: Observed, *, room: bool = True) -> None:
    """Raise for whatever would make the boot fail, before anything is done.

    Without `room`, memory and the VNC port are not looked at.
    """
    check_switch(worker, vm, observed)
    reason, cure = _boot_fault(worker, vm, observed)
    if reason:
        raise LaunchFailed(f"{vm.name}: {reason}", worker=worker.name, cure=cure)
    lacking = refusal(worker, [vm], observed) if room else None
    if lacking is not None:
        raise lacking


def _boot_fault(worker: Worker, vm: VM, observed: Observed) -> tuple[str, str]:
    host = observed.host
    if not host.qemu:
        return f"QEMU is not installed (no {qemu.BINARY})", "sudo apt install qemu-system-x86"
    image = observed.images.get(vm.qcow_image, "missing")
    if image == "missing":
        path = observed.image_path(vm.qcow_image)
        return f"no image {path}", f"make it there, or correct vms.{vm.name}.qcow_image"
    if image == "odd":
        return f"{vm.qcow_image} is neither a file nor a block device", "correct qcow_image"
    if worker.accel == "kvm" and host.kvm != "usable":
        why = "no /dev/kvm" if host.kvm == "absent" else "/dev/kvm cannot be opened"
        return why, 'enable virtualisation there, or set accel = "auto" or "tcg"'
    return "", ""
