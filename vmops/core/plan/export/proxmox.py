"""A VM as a Proxmox VE configuration, with the lines that bring its disks there.

The keys are those of `qm.conf` as Proxmox documents it. The lines stand at the top as comments,
which Proxmox shows as the VM's notes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from vmops.core.inventory.machine.rules import CDROM, UEFI
from vmops.core.inventory.model import Nic
from vmops.core.plan.export.leaving import (
    Exported,
    Leaving,
    file_of,
    flattened,
    quote,
    seed_file,
    seed_of,
    unplugged,
    vlans,
    volumes,
)

STORAGE = "local-lvm"
FIRST_ID = 10_000
"""Proxmox begins at 100, and we at 1: so each VM has a number of its own, always the same."""

_FLAGS = frozenset(
    (
        *("aes", "amd-no-ssb", "amd-ssbd", "hv-evmcs", "hv-tlbflush", "ibpb", "md-clear"),
        *("nested-virt", "pcid", "pdpe1gb", "spec-ctrl", "ssbd", "virt-ssbd"),
    )
)
"""All that Proxmox lets a VM ask for by itself."""


def proxmox(leaving: Leaving) -> Exported:
    """The configuration, `qm`'s lines in its head, and what does not go along."""
    ident = FIRST_ID + leaving.vm.vm_id
    head = [f"# {line}" if line else "#" for line in _lines(leaving, ident)]
    body = [f"{key}: {value}" for key, value in _keys(leaving)]
    text = "\n".join([*head, *body]) + "\n"
    return Exported(text, ".conf", tuple(_notes(leaving)), seed_of(leaving.vm))


def _lines(leaving: Leaving, ident: int) -> Iterator[str]:
    vm, storage = leaving.vm, leaving.storage or STORAGE
    yield f"{vm.name}, exported by vmops. To bring it to Proxmox VE, stop it first: fab stop --vm"
    yield f"{vm.name}. Then, on the Proxmox node, with this file as {vm.name}.conf:"
    yield ""
    for volume in volumes(vm):
        yield from flattened(leaving, volume, format=volume.format)
    if vm.seed is not None:
        yield f"cp {quote(seed_file(vm))} /var/lib/vz/template/iso/"
    if vm.boot == CDROM and vm.iso is not None:
        yield f"the ISO image {vm.iso} of {leaving.worker.name} goes to /var/lib/vz/template/iso/"
    yield f"cp {quote(vm.name)}.conf /etc/pve/qemu-server/{ident}.conf"
    for number, volume in enumerate(volumes(vm)):
        file = quote(file_of(vm, volume, volume.format))
        yield f"qm importdisk {ident} {file} {storage}"
        serial = "" if volume.first else f",serial={volume.name}"
        discard = "" if volume.first and vm.image is None else ",discard=on"
        options = f"{discard}{serial}"
        slot = _slot(leaving, number)
        yield f"qm set {ident} --{slot} {storage}:vm-{ident}-disk-{number}{options}"
    if vm.boot == UEFI:
        yield f"qm set {ident} --efidisk0 {storage}:1,efitype=4m"
    yield f"qm set {ident} --boot 'order={';'.join(_order(leaving))}'"
    yield f"qm start {ident}"
    yield ""
    yield "importdisk says what it called the disk: on a storage of files, a directory or NFS,"
    yield f"the name is another one, such as local:{ident}/vm-{ident}-disk-0.raw."


def _slot(leaving: Leaving, number: int) -> str:
    if leaving.vm.drive_model == "virtio":
        return f"virtio{number}"
    first = "sata0" if leaving.is_q35 else "ide0"
    return f"virtio{number - 1}" if number else first


def _order(leaving: Leaving) -> Iterator[str]:
    if leaving.vm.boot == CDROM:
        yield "ide2"
    yield _slot(leaving, 0)


def _keys(leaving: Leaving) -> Iterator[tuple[str, str]]:
    vm = leaving.vm
    yield "name", re.sub(r"[^A-Za-z0-9.-]", "-", vm.name).strip("-.")
    yield "memory", str(vm.ram_mb)
    yield "balloon", str(vm.ram_mb) if vm.balloon else "0"
    yield "sockets", "1"
    yield "cores", str(vm.cores)
    yield "cpu", _cpu(leaving)
    if leaving.worker.accel == "tcg":
        yield "kvm", "0"
    if vm.machine:
        yield "machine", vm.machine
    yield "bios", "ovmf" if vm.boot == UEFI else "seabios"
    yield "ostype", "l26"
    yield "smbios1", f"uuid={vm.uuid}"
    yield "serial0", "socket"
    if vm.image is not None:
        yield "agent", "1"
    if vm.boot == CDROM and vm.iso is not None:
        yield "ide2", f"local:iso/{vm.iso.rpartition('/')[2]},media=cdrom"
    if vm.seed is not None:
        yield "ide3", f"local:iso/{seed_file(vm)},media=cdrom"
    for number, nic in enumerate(vm.connected):
        yield f"net{number}", _net(leaving, nic)
    if vm.extra_args:
        yield "args", " ".join(quote(word) for word in vm.extra_args)


def _cpu(leaving: Leaving) -> str:
    model, *words = (leaving.vm.cpu or "").split(",")
    model = model or ("max" if leaving.worker.accel == "tcg" else "host")
    flags = [_flag(word) for word in words]
    kept = [flag for flag in flags if flag[1:] in _FLAGS]
    return f"{model},flags={';'.join(kept)}" if kept else model


def _flag(word: str) -> str:
    name, _, value = word.lstrip("+").partition("=")
    if name.startswith("-"):
        return name
    return f"{'-' if value == 'off' else '+'}{name}"


def _net(leaving: Leaving, nic: Nic) -> str:
    native, tagged = vlans(nic)
    words = [f"{nic.model}={nic.mac.upper()}", f"bridge={leaving.bridge}"]
    words += [f"tag={native}"] if native is not None else []
    words += [f"trunks={';'.join(map(str, tagged))}"] if tagged else []
    return ",".join(words)


def _notes(leaving: Leaving) -> Iterator[str]:
    vm = leaving.vm
    lost = [word for word in (vm.cpu or "").split(",")[1:] if _flag(word)[1:] not in _FLAGS]
    if lost:
        yield f"{vm.name}: Proxmox lets no VM ask for {', '.join(lost)} of a CPU: left out"
    if vm.boot == UEFI:
        yield f"{vm.name}: its UEFI variables begin anew there, boot entries among them"
    if _slot(leaving, len(vm.disks)) == f"virtio{_MOST_VIRTIO}":
        yield f"{vm.name}: Proxmox has {_MOST_VIRTIO} virtio disks at most: the last has no place"
    yield from unplugged(vm)


_MOST_VIRTIO = 16
"""Counted from 0."""
