"""A VM as an Incus instance: the YAML that `incus create` reads, and the lines that make it one.

JSON is YAML too: a scalar is written as JSON has it, so no YAML library is needed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from vmops.core.inventory.machine.rules import CDROM, UEFI
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

POOL = "default"
FOLDER = "/var/lib/vmops"
"""Where further disks and ISO images lie on the Incus server: Incus opens them in place."""

Table = dict[str, str]


def incus(leaving: Leaving) -> Exported:
    """The instance, the lines in its head, and what does not go along."""
    head = [f"# {line}" if line else "#" for line in _lines(leaving)]
    vm = leaving.vm
    body = [f"description: {json.dumps(f'{vm.name}, exported by vmops')}", "config:"]
    body += [f"  {key}: {json.dumps(value)}" for key, value in _config(leaving).items()]
    body.append("devices:")
    for name, device in _devices(leaving).items():
        body.append(f"  {json.dumps(name)}:")
        body += [f"    {key}: {json.dumps(value)}" for key, value in device.items()]
    text = "\n".join([*head, *body]) + "\n"
    return Exported(text, ".yaml", tuple(_notes(leaving)), seed_of(vm))


def _lines(leaving: Leaving) -> Iterator[str]:
    vm, pool = leaving.vm, leaving.storage or POOL
    name = quote(vm.name)
    first, *more = volumes(vm)
    yield f"{vm.name}, exported by vmops. To bring it to Incus, stop it first: fab stop --vm"
    yield f"{vm.name}. Then, on the Incus server, with this file as {vm.name}.yaml:"
    yield ""
    yield from flattened(leaving, first, format="qcow2")
    for volume in more:
        file = quote(file_of(vm, volume, "raw"))
        yield from flattened(leaving, volume, format="raw")
        yield f"sudo install -D -m 0600 {file} {quote(_place(leaving, volume.name))}"
    if vm.boot == CDROM and vm.iso is not None:
        yield f"the ISO image {vm.iso} of {leaving.worker.name} goes to {FOLDER}/"
    if vm.seed is not None:
        yield f"sudo install -D -m 0600 {quote(seed_file(vm))} {quote(f'{FOLDER}/{seed_file(vm)}')}"
    about = {"architecture": "x86_64", "creation_date": 1, "properties": {"os": "unknown"}}
    yield f"echo '{json.dumps(about)}' >metadata.yaml"
    yield "tar -czf metadata.tar.gz metadata.yaml"
    file = quote(file_of(vm, first, "qcow2"))
    yield f"incus image import metadata.tar.gz {file} --alias vmops-{name}"
    # The default profile would bring an interface of its own.
    yield f"incus create vmops-{name} {name} --vm --no-profiles <{name}.yaml"
    if vm.disk_gb is not None:
        yield f"incus config device set {name} root size={vm.disk_gb}GiB"
    yield f"incus start {name}"
    yield ""
    yield f"The storage pool is {pool}; what is there: incus storage list"


def _config(leaving: Leaving) -> Table:
    vm = leaving.vm
    found = {"limits.cpu": str(vm.cores), "limits.memory": f"{vm.ram_mb}MiB"}
    # The guests of vmops have no secure boot, and those without UEFI need the older way.
    found["security.secureboot"] = "false"
    return found if vm.boot == UEFI else found | {"security.csm": "true"}


def _devices(leaving: Leaving) -> dict[str, Table]:
    vm = leaving.vm
    root = {"type": "disk", "path": "/", "pool": leaving.storage or POOL}
    last = vm.boot == CDROM and vm.iso is not None
    found: dict[str, Table] = {"root": root | {"boot.priority": "1" if last else "10"}}
    for nic in vm.connected:
        native, tagged = vlans(nic)
        device = {"type": "nic", "nictype": "bridged", "parent": leaving.bridge}
        device |= {"hwaddr": nic.mac, "vlan": "none" if native is None else str(native)}
        found[f"nic-{nic.name}"] = device | (
            {"vlan.tagged": ",".join(map(str, tagged))} if tagged else {}
        )
    for each in vm.disks:
        found[f"disk-{each.name}"] = {"type": "disk", "source": _place(leaving, each.name)}
    if vm.boot == CDROM and vm.iso is not None:
        source = f"{FOLDER}/{vm.iso.rpartition('/')[2]}"
        found["boot-iso"] = {"type": "disk", "source": source, "boot.priority": "10"}
    if vm.seed is not None:
        found["seed"] = {"type": "disk", "source": f"{FOLDER}/{seed_file(vm)}"}
    return found


def _place(leaving: Leaving, name: str) -> str:
    return f"{FOLDER}/{leaving.vm.name}-{name}.raw"


def _notes(leaving: Leaving) -> Iterator[str]:
    vm = leaving.vm
    lost = [nic.name for nic in vm.connected if nic.model != "virtio"]
    if lost:
        yield f"{vm.name}: {', '.join(lost)} becomes virtio, the only model that Incus has"
    keys = [key for key in ("machine", "cpu", "extra_args") if getattr(vm, key)]
    if keys:
        yield f"{vm.name}: Incus chooses machine and CPU itself: {', '.join(keys)} is left out"
    if vm.drive_model != "virtio":
        yield f"{vm.name}: its disk is IDE here; there the guest finds it on virtio-scsi"
    if vm.disks:
        yield f"{vm.name}: its further disks have other names below /dev/disk/by-id there"
    if vm.boot == UEFI:
        yield f"{vm.name}: its UEFI variables begin anew there, boot entries among them"
    yield from unplugged(vm)
