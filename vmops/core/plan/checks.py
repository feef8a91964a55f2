"""What has to be there before a VM can be plugged or booted, looked at before anything is done."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from vmops.core.devices import disk
from vmops.core.devices.storage import boot, further
from vmops.core.facts.host import FIRMWARE
from vmops.core.facts.images import OWN_DISKS
from vmops.core.facts.observed import IMAGES, Observed
from vmops.core.facts.question import NO_PERL, PERL_CURE, Question
from vmops.core.facts.wiring import TAPS
from vmops.core.inventory.complaints import typed
from vmops.core.inventory.model import VM, Nic, Worker
from vmops.core.inventory.networks.impairment import UNIMPAIRED, Impaired
from vmops.core.names import OVN_BRIDGE, tap_is_hashed
from vmops.core.plan.capacity import refusal
from vmops.core.tools import ip, ovs, qemu
from vmops.errors import LaunchFailed, PortConflict, UnexpectedOutput, WorkFailed


def check_read(worker: Worker, vm: VM, observed: Observed, *needed: Question[Any]) -> None:
    """Raise UnexpectedOutput where one of these questions could not be read: what it would have
    told must not be taken for absent."""
    for question in needed:
        fault = observed.faults.get(question.name)
        if fault is not None:
            raise UnexpectedOutput(
                f"{question.name}: {fault}", worker=worker.name, vm=vm.name, cure="fab doctor"
            )


def switch_fault(worker: Worker, observed: Observed) -> WorkFailed:
    """Why Open vSwitch could not be asked, and the cure."""
    return WorkFailed(
        f"Open vSwitch does not answer: {observed.switch.fault}",
        worker=worker.name,
        cure="start it there: sudo systemctl restart openvswitch-switch",
    )


def check_switch(worker: Worker, vm: VM, observed: Observed) -> None:
    """Raise unless Open vSwitch answers and has the bridges, where the VM has interfaces to plug;
    and OVN's controller follows its central, where there is one of its ports among them."""
    if not vm.connected:
        return
    if observed.switch.fault:
        raise switch_fault(worker, observed)
    if observed.switch.dead:
        raise WorkFailed(
            f"{observed.switch.dead}: no port would be taken",
            worker=worker.name,
            cure="start it there: sudo systemctl restart openvswitch-switch",
        )
    for bridge in bridges_of(worker, vm):
        if bridge not in observed.switch.bridges:
            have = ", ".join(sorted(observed.switch.bridges)) or "none"
            make = f"make it there (sudo ovs-vsctl add-br {bridge}), or set `bridge`"
            raise WorkFailed(
                f"no bridge {bridge}; Open vSwitch has: {have}",
                worker=worker.name,
                cure=f"fab -H {worker.name} ovn.setup" if bridge == OVN_BRIDGE else make,
            )
        if bridge == OVN_BRIDGE and (why := observed.switch.lifeless(bridge)):
            raise WorkFailed(why, worker=worker.name, cure=ovn_cure(worker.name, why))
    for nic in vm.connected:
        check_impairing(worker, vm, observed, nic, nic.impaired)


def check_impairing(worker: Worker, vm: VM, observed: Observed, nic: Nic, wanted: Impaired) -> None:
    """Raise unless the worker can impair the interface so."""
    if found := unable(observed.lacks, wanted):
        reason, cure = found
        raise WorkFailed(reason, worker=worker.name, vm=vm.name, interface=nic.name, cure=cure)
    bridge = observed.switch.real(ovs.bridge_of(nic, worker.bridge))
    if wanted.out != UNIMPAIRED.out and observed.switch.bridges.get(bridge) == USERSPACE:
        raise WorkFailed(
            f"{bridge} is of the userspace datapath, which takes what a guest sends before it can"
            " be impaired",
            worker=worker.name,
            vm=vm.name,
            interface=nic.name,
            cure='impair only what it gets: impaired = "in"',
        )


USERSPACE = "netdev"
"""Open vSwitch's word for the datapath that reads frames by itself, and not in the kernel."""


def unable(lacks: Collection[str], wanted: Impaired) -> tuple[str, str] | None:
    """What a worker lacks of traffic control to impair an interface so, and the cure; or None."""
    ways = [way for way in wanted if way != UNIMPAIRED.into]
    if ways and "tc" in lacks:
        return "there is no tc, which impairs interfaces", "there: sudo apt install iproute2"
    if "netem" in lacks and any(way.takes_netem for way in ways):
        return (
            "its kernel has no netem (sch_netem), which delays and loses frames",
            "there: sudo modprobe sch_netem, or first install linux-modules-extra of its kernel",
        )
    if "tbf" in lacks and not all(way.takes_netem for way in ways):
        return "its kernel has no tbf (sch_tbf), which lowers rates", "there: sudo modprobe sch_tbf"
    if "ifb" in lacks and wanted.out != UNIMPAIRED.out:
        return (
            "its kernel cannot lead what a guest sends through a queue (ifb, cls_u32, act_mirred)",
            "there: sudo modprobe -a ifb cls_u32 act_mirred",
        )
    return None


OVN_CURE = "there: sudo systemctl restart ovn-controller"


def ovn_cure(worker: str, fault: str) -> str:
    """What has a controller follow OVN's central again, or for the first time."""
    return f"fab -H {worker} ovn.setup" if fault == ovs.ovn_fault(ovs.UNTOLD) else OVN_CURE


def bridges_of(worker: Worker, vm: VM) -> list[str]:
    """The bridges that the ports of its interfaces are on."""
    return list(dict.fromkeys(ovs.bridge_of(nic, worker.bridge) for nic in vm.connected))


def check_forwarding(worker: Worker, vm: VM, observed: Observed) -> None:
    """Raise where a bridge of the VM forwards nothing: its flows are not ours to make."""
    if observed.switch.dead:
        return
    for bridge in bridges_of(worker, vm):
        if bridge in observed.switch.bridges and (why := observed.switch.lifeless(bridge)):
            is_ovns = bridge == OVN_BRIDGE
            cure = ovn_cure(worker.name, why) if is_ovns else silence_cure(worker, observed)
            raise WorkFailed(why, worker=worker.name, cure=cure)


def silence_cure(worker: Worker, observed: Observed) -> str:
    """What brings a bridge to life that forwards nothing."""
    bridge = observed.switch.real(worker.bridge)
    by_hand = typed("sudo", "ovs-vsctl", "del-fail-mode", bridge)
    return f"start its controller, or there: {by_hand}"


def check_tun(worker: Worker, vm: VM, observed: Observed) -> None:
    """Raise where the VM has interfaces to plug and no TAP can be made."""
    if vm.connected and not observed.host.tun:
        raise WorkFailed(
            "there is no /dev/net/tun: no TAP can be made",
            worker=worker.name,
            vm=vm.name,
            cure=TUN_CURE,
        )


TUN_CURE = "there: sudo modprobe tun; a container has to be given the device"


def in_use(worker: Worker, vm: VM, observed: Observed) -> WorkFailed | None:
    """What is wrong where some other process than its own QEMU uses a TAP of the VM, or where
    nothing is known of it.

    A TAP in use is a PortConflict: most likely that is the VM itself, started by another system. A
    second one beside it would do harm, and so would taking the TAP away.
    """
    running = observed.vm(vm.name)
    if running.odd:
        return running.doubt(worker.name)
    if running.adopted:
        # Who started it may have given it TAPs that its command line does not name.
        return None
    own = running.own_taps
    for nic in vm.nics:
        tap = observed.taps.get(nic.tap) if nic.tap not in own else None
        if tap and tap.in_use and tap.alias in ("", ip.alias(vm.name)):
            return PortConflict(
                f"a process that vmops did not start uses its TAP {nic.tap}",
                worker=worker.name,
                vm=vm.name,
                cure=f"see which: sudo sh -c 'grep -ls {nic.tap} /proc/[0-9]*/fdinfo/*'; end it, or"
                f" take it over: fab adopt --vm {vm.name}",
            )
    return None


def check_unused(worker: Worker, vm: VM, observed: Observed) -> None:
    """Raise what `in_use` finds."""
    check_read(worker, vm, observed, TAPS)
    found = in_use(worker, vm, observed)
    if found is not None:
        raise found


def check_boot(worker: Worker, vm: VM, observed: Observed, *, room: bool = True) -> None:
    """Raise for whatever would make the boot fail, before anything is done.

    Without `room`, memory and the VNC port are not looked at.
    """
    check_switch(worker, vm, observed)
    check_unused(worker, vm, observed)
    if not observed.host.perl:
        raise LaunchFailed(NO_PERL, worker=worker.name, vm=vm.name, cure=PERL_CURE)
    check_read(worker, vm, observed, IMAGES, OWN_DISKS, FIRMWARE)
    reason, cure = _boot_fault(worker, vm, observed)
    if reason:
        raise LaunchFailed(reason, worker=worker.name, vm=vm.name, cure=cure)
    lacking = refusal(worker, [vm], observed) if room else None
    if lacking is not None:
        raise lacking


def check_not_smaller(worker: Worker, vm: VM, observed: Observed) -> None:
    """Raise where a disk of a running VM is to be smaller than it is: no restart helps."""
    images = observed.images
    found = (*disk.shrinking(vm, images), *further.shrinking(vm, images))
    if found:
        reason, cure = found[0].what, "; ".join(each.cure for each in found)
        raise LaunchFailed(reason, worker=worker.name, vm=vm.name, cure=cure)


def _boot_fault(worker: Worker, vm: VM, observed: Observed) -> tuple[str, str]:
    host = observed.host
    if not host.qemu:
        return f"QEMU is not installed (no {qemu.BINARY})", "sudo apt install qemu-system-x86"
    path = observed.image_path(vm.qcow_image)
    if found := disk.refusal(vm, observed.images, path=path, user=host.user):
        return found
    if found := further.refusal(vm, observed.images, user=host.user, folder=observed.folder):
        return found
    if found := boot.refusal(vm, observed.images, observed.firmware, user=host.user):
        return found
    if worker.accel == "kvm" and host.kvm != "usable":
        why = "no /dev/kvm" if host.kvm == "absent" else "/dev/kvm cannot be opened"
        return why, 'enable virtualisation there, or set accel = "auto" or "tcg"'
    return "", ""


def leftover_notes(vm: VM, observed: Observed, *, doing: str) -> tuple[str, ...]:
    """What to say of a VM that left things behind, and of TAPs whose names are not the usual.

    `doing` is what removes them: a plan says so as well, and removes nothing.
    """
    running = observed.vm(vm.name)
    notes = hashed_notes(vm)
    if not running.directory:
        return notes
    how = "had been stopped" if running.ended else "had powered itself off"
    how = "had crashed" if running.state == "crashed" else how
    return (f"{vm.name} {how}: {doing} it removes what it left behind", *notes)


def hashed_notes(vm: VM) -> tuple[str, ...]:
    """What to say of TAPs whose names had to be made shorter."""
    return tuple(
        f"{vm.name}: {n.name}: tap_{vm.vm_id}_{n.name} exceeds 15 bytes, the TAP is {n.tap}"
        for n in vm.connected
        if tap_is_hashed(vm.vm_id, n.name)
    )
