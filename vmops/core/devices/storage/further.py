"""A VM's further disks: files that are made for it empty, and kept until it is destroyed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from vmops.core.devices import disk
from vmops.core.devices.disk import GIB, Fault, in_gib, is_missing
from vmops.core.devices.drift import Drift
from vmops.core.devices.live.ports import NO_ROOM, Room
from vmops.core.devices.storage.folder import NO_FOLDER, DiskFolder
from vmops.core.images.names import FOLDER, disk_path
from vmops.core.inventory import normal_form as normal
from vmops.core.inventory.model import VM
from vmops.core.inventory.model import Disk as Wanted
from vmops.core.script.command import Command, Step
from vmops.core.tools import image_chain, qemu, qemu_img
from vmops.core.tools.image_chain import Chain, Objection
from vmops.core.tools.qmp import Request

_NODE = "disk-"
"""What QEMU calls a further disk, before its name."""


class RunningDisk(NamedTuple):
    """A further disk as a QEMU has it; `path` is absolute. Without a card it is not `attached`."""

    name: str
    path: str
    format: str
    attached: bool = True


Chains = Mapping[str, Chain]


def path_of(vm: VM, wanted: Wanted) -> str:
    """Where it lies, `~` being the SSH user's home."""
    return disk_path(vm.name, wanted.name, wanted.format)


def node_of(name: str) -> str:
    """What QEMU calls the disk of that name: its back end, and its card."""
    return f"{_NODE}{name}"


def name_of(node: str) -> str:
    """The disk that is called so; empty where that is none of ours."""
    name = node.removeprefix(_NODE)
    return name if name != node and normal.disk_name(name) is not None else ""


def back_end(wanted: Wanted, path: str) -> dict[str, Any]:
    """`words` for a QEMU that runs: its block device."""
    file = {"driver": "file", "filename": path, "discard": "unmap"}
    node = node_of(wanted.name)
    return {"driver": wanted.format, "node-name": node, "discard": "unmap", "file": file}


def card(wanted: Wanted) -> dict[str, Any]:
    """The same: its card."""
    node = node_of(wanted.name)
    return {"driver": "virtio-blk-pci", "drive": node, "id": node, "serial": wanted.name}


def words(vm: VM, home: str) -> tuple[str, ...]:
    """A block device and its card for each. The guest sees the name as the serial number.

    The format is always said, so a guest that writes an image's header into a raw disk makes QEMU
    open nothing. What the guest discards is given back to the worker.
    """
    return tuple(word for each in vm.disks for word in _words(vm, each, home))


def _words(vm: VM, wanted: Wanted, home: str) -> tuple[str, ...]:
    path = qemu.escaped(disk.absolute(path_of(vm, wanted), home))
    node = node_of(wanted.name)
    file = f"file.driver=file,file.filename={path},file.discard=unmap"
    return (
        *("-blockdev", f"driver={wanted.format},node-name={node},discard=unmap,{file}"),
        *("-device", f"virtio-blk-pci,drive={node},id={node},serial={wanted.name}"),
    )


def parse(found: qemu.Options) -> tuple[RunningDisk, ...]:
    """The further disks of a command line, in order."""
    nodes = [split for split in qemu.every(found, "blockdev") if "node-name" in split]
    return tuple(
        RunningDisk(
            node["node-name"].removeprefix(_NODE),
            node.get("file.filename", ""),
            node.get("driver", ""),
        )
        for node in nodes
        if node["node-name"].startswith(_NODE)
    )


def refusal(vm: VM, images: Chains, *, user: str, folder: DiskFolder = NO_FOLDER) -> Fault | None:
    """What keeps QEMU from opening one of them, and the cure. One that is not there is made."""
    found = [entry for each in vm.disks for entry in _against(vm, each, images, folder, user)]
    if not found:
        return None
    cures = dict.fromkeys(entry.cure for entry in found if entry.cure)
    return Fault("; ".join(entry.what for entry in found), "; ".join(cures))


def _against(
    vm: VM, wanted: Wanted, images: Chains, folder: DiskFolder, user: str
) -> Iterator[Objection]:
    chain = images.get(path_of(vm, wanted))
    anew = f"start with an empty one: fab reset-disk --vm {vm.name} --disk {wanted.name}"
    if chain is None or is_missing(chain):
        other = folder.formats(vm.name, wanted.name) - {wanted.format}
        for format in sorted(other):
            yield Objection(
                f"its disk {wanted.name} is there as {format}, and {wanted.format} is asked for",
                f'set format = "{format}", or {anew}',
            )
        return
    if wanted.format == "raw":
        # Its format is given to QEMU: what the guest has written at its beginning says nothing.
        chain = (chain[0]._replace(looks="other"), *chain[1:])
    yield from disk.objections(chain, user=user)
    if len(chain) > 1:
        yield Objection(
            f"its disk {wanted.name} has a backing file, and none was given to it", anew
        )
    yield from _too_small(vm, wanted, chain)


def shrinking(vm: VM, images: Chains) -> tuple[Objection, ...]:
    """Those that are to be smaller than they are, which no restart helps."""
    return tuple(
        found for each in vm.disks for found in _too_small(vm, each, images.get(path_of(vm, each)))
    )


def _too_small(vm: VM, wanted: Wanted, chain: Chain | None) -> Iterator[Objection]:
    anew = f"start with an empty one: fab reset-disk --vm {vm.name} --disk {wanted.name}"
    if (size := disk.size_of(chain)) > wanted.size_gb * GIB:
        least = -(-size // GIB)
        yield Objection(
            f"size_gb of its disk {wanted.name} is {wanted.size_gb}, and it has {in_gib(size)}:"
            " a disk is not made smaller",
            f"set size_gb = {least}, or {anew}",
        )


def preparing(vm: VM, images: Chains) -> tuple[Step, ...]:
    """What makes those that are missing, and makes those larger that are too small, of a VM that
    does not run. One that is made goes again when a later step fails."""
    return tuple(step for each in vm.disks for step in _preparing(vm, each, images))


def _preparing(vm: VM, wanted: Wanted, images: Chains) -> Iterator[Step]:
    path, size = path_of(vm, wanted), wanted.size_gb * GIB
    chain = images.get(path)
    about = (wanted.name,)
    if is_missing(chain):
        make = qemu_img.make_disk(path, wanted.format, size=size)
        undo = (qemu_img.remove_disk(path),)
        yield Step(f"{disk.MAKE} {wanted.name}", (make,), undo=undo, about=about)
    elif 0 < disk.size_of(chain) < size:
        grow = qemu_img.grow_disk(path, wanted.format, size=size)
        yield Step(f"{disk.GROW} {wanted.name}", (grow,), about=about)


def promised(vm: VM, images: Chains) -> int:
    """How much more those that are made or made larger may come to take, in bytes."""
    found = [(each.size_gb * GIB, images.get(path_of(vm, each))) for each in vm.disks]
    return sum(max(0, wanted - disk.size_of(chain)) for wanted, chain in found)


def guards(vm: VM, images: Chains) -> tuple[Command, ...]:
    """That those which are to be made are still not there."""
    paths = [path_of(vm, each) for each in vm.disks]
    return tuple(qemu_img.no_disk(path) for path in paths if is_missing(images.get(path)))


def removing(vm: VM, folder: DiskFolder, *, name: str = "") -> tuple[Step, ...]:
    """What removes every disk that was made for the VM, those too that hosts.toml has no more; with
    a `name` that one, in whatever format."""
    files = folder.of(vm.name)
    paths = [f"{FOLDER}/{file.file}" for file in files if name in ("", file.name)]
    if vm.image is None:
        # Somebody may have named that file as his own image.
        paths = [path for path in paths if path != vm.qcow_image]
    if not paths:
        return ()
    commands = tuple(qemu_img.remove_disk(path) for path in paths)
    return (Step(disk.REMOVE, commands),)


def drift(
    vm: VM, has: tuple[RunningDisk, ...], images: Chains, *, home: str, room: Room = NO_ROOM
) -> Iterator[Drift]:
    """Where the further disks of a running VM and the wanted ones differ; a larger one is live, and
    one more or less where there is `room` for that."""
    running = {each.name: each for each in has}
    new = 0
    for wanted in vm.disks:
        field = f"disks.{wanted.name}"
        found = running.pop(wanted.name, None)
        path = path_of(vm, wanted)
        if found is None:
            words = room.wanted(f"{wanted.size_gb} GiB", new)
            yield Drift(field, "none", words, live=room.takes(new))
            new += 1
        elif found.format != wanted.format:
            yield Drift(f"{field}.format", found.format, wanted.format)
        elif found.path != disk.absolute(path, home):
            yield Drift(f"{field}.file", found.path, disk.absolute(path, home))
        elif (size := disk.size_of(images.get(path))) and size != wanted.size_gb * GIB:
            live = size < wanted.size_gb * GIB
            yield Drift(f"{field}.size_gb", in_gib(size), str(wanted.size_gb), live=live)
        elif not found.attached:
            words = room.wanted("attached", new)
            yield Drift(field, "open without a card", words, live=room.takes(new))
            new += 1
    for name, found in running.items():
        how = "attached" if found.attached else "open without a card"
        yield Drift(f"disks.{name}", how, "none", live=room.lets_go(name))


def growing(vm: VM, images: Chains) -> tuple[Request, ...]:
    """What makes those of a running VM larger that are too small: its QEMU does, which has them
    open."""
    return tuple(
        Request("block_resize", {"node-name": node_of(each.name), "size": each.size_gb * GIB})
        for each in vm.disks
        if 0 < disk.size_of(images.get(path_of(vm, each))) < each.size_gb * GIB
    )


def in_use(vm: VM, images: Chains) -> bool:
    """True where somebody has one of them open."""
    return any(image_chain.in_use(images.get(path_of(vm, each), ())) for each in vm.disks)
