"""The plan that ends a VM and starts it as the inventory has it: two phases, and a way back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from vmops.core.devices import disk
from vmops.core.devices.seed import drive
from vmops.core.devices.storage import boot, further
from vmops.core.devices.storage.further import RunningDisk
from vmops.core.facts.observed import Observed
from vmops.core.facts.supposed import FORMAT_OF
from vmops.core.facts.vms import RunningVM
from vmops.core.inventory.guest.told import Seed, Written
from vmops.core.inventory.machine.rules import DISK
from vmops.core.inventory.model import VM, Disk, Interface, Worker
from vmops.core.inventory.networks.impairment import UNIMPAIRED, keys_of
from vmops.core.inventory.rules import OVN
from vmops.core.names import OVN_BRIDGE
from vmops.core.plan import starting, stopping
from vmops.core.plan.life import ahead_of_boot, sound
from vmops.core.plan.phase import Plan
from vmops.core.plan.stopping import Manner
from vmops.core.script.command import Block
from vmops.core.tools import image_chain
from vmops.core.tools.image_chain import Chain
from vmops.core.tools.process import Process
from vmops.errors import VmopsError


def restart(
    worker: Worker, vm: VM, observed: Observed, *, manner: Manner, room: bool = True
) -> Plan:
    """Stop the VM, then launch it. One that does not run is launched.

    All that can be checked of the start is checked now: raises what `starting.launch` raises, for a
    worker on which the VM has ended. Where the start fails all the same, the VM is started again as
    it ran.
    """
    if observed.vm(vm.name).process is None:
        return starting.launch(worker, vm, observed, room=room)
    after = without(vm, observed)
    begun = starting.launch(worker, vm, after, room=room)
    ended = stopping.stop(worker, vm, observed, manner=manner)
    (last,) = ended.phases
    before = as_it_runs(worker, vm, observed)
    back = _way_back(worker, before, after)
    recovery = None if before is None or back is None else _looking_again(before, back)
    launches = [each._replace(block=_looking_again(vm, each.block)) for each in begun.phases]
    return Plan(
        vm,
        "restart",
        (last._replace(recovery=recovery), *launches),
        skips=begun.skips,
        notes=(*ended.notes, *begun.notes),
        asking=ended.asking,
    )


def _looking_again(vm: VM, start: Block) -> Block:
    """The start, if nothing is against the VM's images by then."""
    return ahead_of_boot(start, sound(vm))


def without(vm: VM, observed: Observed) -> Observed:
    """The worker as it will be when the VM has been stopped."""
    gone = observed.vm(vm.name)
    own = {nic.tap for nic in vm.nics}
    ports = {
        name: port
        for name, port in observed.switch.ports.items()
        if port.owner != vm.name and not (name in own and not port.owner)
    }
    mine = {name for name in observed.switch.ports if name not in ports}
    taps = {
        name: tap
        for name, tap in observed.taps.items()
        if name not in mine and not (name in own and tap.alias in ("", f"vmops:{vm.name}"))
    }
    freed_mb = gone.process.rss_kib // 1024 if gone.process else 0
    return observed._replace(
        host=observed.host._replace(available_mb=observed.host.available_mb + freed_mb),
        switch=observed.switch._replace(ports=ports),
        taps=taps,
        listening=frozenset(observed.listening) - {gone.command_line.screen.port},
        vms={**observed.vms, vm.name: RunningVM(vm.name)},
        images=_without_holder(observed.images, gone.process),
    )


def _without_holder(images: Mapping[str, Chain], found: Process | None) -> Mapping[str, Chain]:
    if found is None:
        return images
    return {path: image_chain.without_holder(chain, found.pid) for path, chain in images.items()}


def as_it_runs(worker: Worker, vm: VM, observed: Observed) -> VM | None:
    """The VM as its QEMU was started; None where that cannot be told from its command line."""
    line, drives = observed.vm(vm.name).command_line, observed.drives(vm.name)
    cards = [card for card in observed.nics(vm.name) if not card.is_bare]
    names = {nic.tap: (nic, at) for nic, at in zip(vm.nics, vm.interfaces, strict=True)}
    if line.uuid != vm.uuid or any(nic.tap not in names or not nic.device for nic in cards):
        return None
    has = observed.vm(vm.name).seed
    seed = _as_it_was_told(vm, has, observed)
    if seed is None and has:
        return None
    own: dict[str, Any] = {}
    if line.image != observed.image_path(vm.qcow_image):
        own = {"qcow_image": line.image, "image": None, "disk": None, "disk_gb": None}
    interfaces = []
    for running in cards:
        nic, wanted = names[running.tap]
        port = observed.switch.ports.get(running.tap)
        vlan_id = port.tag if port is not None else nic.vlan_id
        trunks = port.trunks if port is not None else nic.interface.trunks
        model = "virtio" if running.device == "virtio-net-pci" else running.device
        where: dict[str, Any] = {"vlan_id": vlan_id, "trunks": trunks}
        if port is not None and port.bridge == OVN_BRIDGE:
            # Which network its port in OVN is in makes no difference on the worker.
            where = {"engine": OVN, "network": wanted.network or wanted.name}
        if observed.wiring.impaired is not None:
            where |= keys_of(observed.impaired.get(running.tap, UNIMPAIRED))
        try:
            interfaces.append(Interface(wanted.name, mac=running.mac, model=model, **where))
        except VmopsError:
            return None
    try:
        ran = replace(
            vm,
            cloud_init=None,
            ram_mb=line.ram_mb,
            cores=line.cores,
            vnc_port=line.screen.port or None,
            **own,
            boot=line.boot.boot if line.boot.boot != DISK else None,
            iso=drives.cd or None,
            balloon=line.has_balloon,
            machine=line.machine or None,
            extra_args=line.extra,
            disks=_disks_as_they_run(vm, [each for each in drives.disks if each.attached]),
            cpu=line.cpu or None,
            disk_model=line.disk_model or None,
            interfaces=tuple(interfaces),
        )
    except VmopsError:
        return None
    return ran.with_seed(seed)


def _as_it_was_told(vm: VM, has: str, observed: Observed) -> Seed | Written | None:
    """The seed that it runs with; None for none, and where nobody has it."""
    if has and vm.seed is not None and drive.instance_of(vm.seed) == has:
        return vm.seed
    kept = observed.seeds.get(vm.name)
    return kept if kept is not None and kept.instance == has else None


def _disks_as_they_run(vm: VM, running: Sequence[RunningDisk]) -> tuple[Disk, ...]:
    """Its further disks. How large one is that hosts.toml has no more makes no difference."""
    sizes = {each.name: each.size_gb for each in vm.disks}
    return tuple(
        Disk(each.name, size_gb=sizes.get(each.name, 1), format=each.format) for each in running
    )


def _way_back(worker: Worker, before: VM | None, after: Observed) -> Block | None:
    """The block that starts the VM as it ran."""
    if before is None:
        return None
    paths = {before.qcow_image: disk.FORMAT}
    paths |= {further.path_of(before, each): each.format for each in before.disks}
    paths |= {path: FORMAT_OF[format] for path, format in boot.asked(before).values()}
    there = {path: disk.unobjectionable(path, format) for path, format in paths.items()}
    images = {**there, **after.images}
    try:
        found = starting.launch_bare(worker, before, after._replace(images=images), room=False)
    except VmopsError:
        return None
    return found.noted_as("launch-as-before").block
