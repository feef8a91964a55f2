"""Workers as a dry run supposes them: facts that nobody was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vmops.core.devices import disk
from vmops.core.devices.disk import Bases
from vmops.core.devices.storage import boot, further
from vmops.core.devices.storage.folder import DiskFolder, disk_file
from vmops.core.facts.host import Host
from vmops.core.facts.observed import Observed
from vmops.core.facts.vms import RunningVM
from vmops.core.inventory.attachment import Trunk
from vmops.core.inventory.model import VM, Worker
from vmops.core.names import OVN_BRIDGE
from vmops.core.tools import ip, ovs, qemu, qmp
from vmops.core.tools.monitor import Heard
from vmops.core.tools.process import Process

HOME = "~"
"""The SSH user's home is known only on the worker."""

FORMAT_OF = {"qcow2": "qcow2", "base:raw": "raw"}
UEFI = boot.Firmware("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd")

_PLENTY_MB = 2**31


def blank(worker: Worker, vms: Sequence[VM]) -> Observed:
    """A worker that lacks nothing and on which nothing of the VMs is there."""
    host = Host(
        home=HOME,
        user=worker.user or "ubuntu",
        uptime_s=0.0,
        memory_mb=_PLENTY_MB,
        available_mb=_PLENTY_MB,
        cpus=1,
        kvm="usable",
        qemu=qemu.BINARY,
        whole_uid_range=True,
    )
    paths = {vm.qcow_image: disk.FORMAT for vm in vms}
    paths |= {further.path_of(vm, each): each.format for vm in vms for each in vm.disks}
    paths |= {path: FORMAT_OF[format] for vm in vms for path, format in boot.asked(vm).values()}
    there = {path: disk.unobjectionable(path, format) for path, format in paths.items()}
    files = (disk_file(path.rpartition("/")[2]) for path in paths)
    folder = DiskFolder(_PLENTY_MB << 20, {file.file: file for file in files if file})
    return Observed(host, ovs.Switch(_bridges(worker)), images=there, folder=folder, firmware=UEFI)


def without_disks(seen: Observed, vms: Sequence[VM], bases: Bases) -> Observed:
    """The same with the images that VMs have, and not yet with the disks that stand on them."""
    images = dict(seen.images)
    for vm in vms:
        if vm.image is not None and vm.image in bases:
            images[vm.qcow_image] = disk.NOTHING_THERE
            images[disk.key_of_base(vm.image)] = disk.unobjectionable(bases[vm.image].path)
        if vm.boot is not None and vm.iso is None:
            images |= dict.fromkeys(boot.asked(vm), disk.NOTHING_THERE)
        images |= {further.path_of(vm, each): disk.NOTHING_THERE for each in vm.disks}
    return seen._replace(images=images, folder=seen.folder._replace(files={}))


def with_images(seen: Observed, vms: Sequence[VM], bases: Bases) -> Observed:
    """What was observed, as it will be when the images that VMs lack have been brought there."""
    lacked = {vm.image for vm in vms if vm.image in bases and disk.lacks_image(vm, seen.images)}
    brought = {
        disk.key_of_base(name): disk.unobjectionable(bases[name].path) for name in lacked if name
    }
    whole = {
        vm.qcow_image: seen.images[vm.qcow_image][:-1]
        for vm in vms
        if vm.image in lacked and disk.stands_on_nothing(vm, seen.images)
    }
    return seen._replace(images={**seen.images, **brought, **whole})


def plugged(worker: Worker, vms: Sequence[VM]) -> Observed:
    """The same worker with all interfaces of the VMs plugged as they are wanted."""
    ports = {}
    taps = {}
    impaired = {nic.tap: nic.impaired for vm in vms for nic in vm.connected}
    for vm in vms:
        for nic in vm.connected:
            marks = {ovs.OWNER: vm.name}
            if nic.port:
                marks |= {"iface-id": nic.port, ovs.INSTALLED: "true"}
            bridge = ovs.bridge_of(nic, worker.bridge)
            port = ovs.Port(nic.tap, bridge, nic.vlan_id, external_ids=marks, ofport=1)
            if isinstance(nic.attachment, Trunk):
                port = port._replace(trunks=nic.attachment.vlan_ids, vlan_mode=nic.attachment.mode)
            ports[nic.tap] = port
            taps[nic.tap] = ip.Tap(ip.alias(vm.name))
    switch = ovs.Switch(_bridges(worker), ports)
    return blank(worker, vms)._replace(switch=switch, taps=taps, impaired=impaired)


def _bridges(worker: Worker) -> dict[str, str]:
    return {worker.bridge: "", OVN_BRIDGE: ""}


def running(worker: Worker, vms: Sequence[VM]) -> Observed:
    """The same worker with the VMs running; each PID is shown as 0."""
    return plugged(worker, vms)._replace(
        vms={vm.name: running_vm(vm.name) for vm in vms},
        monitors={vm.name: Heard(vm.name, answers=({"status": qmp.RUNNING},)) for vm in vms},
    )


def running_whole(worker: Worker, vms: Sequence[VM]) -> Observed:
    """The same, where each VM has all its interfaces and its monitor says so."""
    seen = running(worker, vms)
    said = {}
    for vm in vms:
        lines = (
            f"{n.tap}: index=0,type=nic,model={n.model},macaddr={n.mac}\r\n"
            f" \\ net{number}: index=0,type=tap,ifname={n.tap},script=no\r\n"
            for number, n in enumerate(vm.connected)
        )
        said[vm.name] = Heard(vm.name, answers=({"status": qmp.RUNNING}, "".join(lines)))
    return seen._replace(monitors=said)


def with_snapshots(worker: Worker, vms: Sequence[VM], *names: str) -> Observed:
    """The same, each VM with one disk, which has snapshots of these names."""
    from vmops.core.devices.live.snapshot import Shape, machine_of, tag_of
    from vmops.core.devices.machine import CommandLine

    shape = Shape(machine_of(CommandLine()))
    kept = [{"name": tag_of(name, shape), "date-sec": 0, "vm-state-size": 0} for name in names]
    image = {"snapshots": kept}
    inserted = {"ro": False, "drv": "qcow2", "node-name": "#block001", "image": image}
    drive = {"device": "root", "inserted": inserted}
    answers: tuple[Any, ...] = ({"status": qmp.RUNNING}, [drive], [{"devices": []}], [])
    said = {vm.name: Heard(vm.name, answers=answers) for vm in vms}
    return running(worker, vms)._replace(monitors=said)


def running_vm(name: str) -> RunningVM:
    """A VM that runs, with PID 0."""
    process = Process(pid=0, started=0, state="S", cpu_ticks=0, rss_kib=0, argv=())
    return RunningVM(name, directory=True, pid=0, process=process)


def started_by_others(worker: Worker, vms: Sequence[VM]) -> Observed:
    """The same worker with a QEMU for each VM, without a mark of vmops; the first PID is 1."""
    found = {}
    for pid, vm in enumerate(vms, start=1):
        netdevs = (("-netdev", f"tap,id={nic.tap},ifname={nic.tap}") for nic in vm.connected)
        devices = (("-device", f"e1000,netdev={nic.tap}") for nic in vm.connected)
        cards = (word for words in (*netdevs, *devices) for word in words)
        argv = (qemu.BINARY, "-name", vm.name, *cards)
        found[pid] = Process(pid, started=0, state="S", cpu_ticks=0, rss_kib=0, argv=argv, uid=0)
    taps = {nic.tap: ip.Tap() for vm in vms for nic in vm.connected}
    ports = {tap: ovs.Port(tap, worker.bridge, 1) for tap in taps}
    switch = ovs.Switch({worker.bridge: ""}, ports)
    return blank(worker, vms)._replace(switch=switch, taps=taps, qemus=found)
