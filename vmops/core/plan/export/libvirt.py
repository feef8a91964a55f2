"""A VM as a domain of libvirt's, for `virsh define`.

Its disks stay where they are. What libvirt has no word for, the VM's number, the names of its
interfaces and the sizes of its disks, goes along as metadata of our own:
`from_libvirt` reads it back.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator

from vmops.core.devices import disk, display
from vmops.core.devices.agent import PORT
from vmops.core.devices.display import is_loopback
from vmops.core.devices.storage import boot
from vmops.core.inventory.machine.rules import CDROM, UEFI
from vmops.core.inventory.model import VM, Nic
from vmops.core.plan.export import extra
from vmops.core.plan.export.leaving import (
    Exported,
    Leaving,
    Volume,
    seed_file,
    seed_of,
    unplugged,
    vlans,
    volumes,
)

SPACE = "https://vmops.invalid/hosts.toml/1"
"""Of our metadata. It is a name, and leads nowhere."""

QEMU_SPACE = "http://libvirt.org/schemas/domain/qemu/1.0"
CODE, VARIABLES = "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"
MODELS = {"virtio": "virtio"}
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def libvirt(leaving: Leaving) -> Exported:
    """The domain, and what has to be done before it can start."""
    ET.register_namespace("vmops", SPACE)
    ET.register_namespace("qemu", QEMU_SPACE)
    root = _domain(leaving)
    ET.indent(root)
    text = ET.tostring(root, encoding="unicode") + "\n"
    return Exported(text, ".xml", tuple(_notes(leaving)), seed_of(leaving.vm))


def _domain(leaving: Leaving) -> ET.Element:
    vm = leaving.vm
    root = ET.Element("domain", type="qemu" if leaving.worker.accel == "tcg" else "kvm")
    _text(root, "name", vm.name)
    _text(root, "uuid", vm.uuid)
    _metadata(root, vm)
    _text(root, "memory", str(vm.ram_mb), unit="MiB")
    _text(root, "vcpu", str(vm.cores))
    _os(root, leaving)
    features = ET.SubElement(root, "features")
    # Without ACPI no guest hears the power button.
    ET.SubElement(features, "acpi")
    ET.SubElement(features, "apic")
    _cpu(root, leaving)
    devices = ET.SubElement(root, "devices")
    _disks(devices, leaving)
    # As vmops has it: neither is there unless it is asked for.
    ET.SubElement(devices, "controller", type="usb", model="none")
    for nic in vm.connected:
        _interface(devices, leaving, nic)
    ET.SubElement(ET.SubElement(devices, "serial", type="pty"), "target", port="0")
    if vm.image is not None:
        channel = ET.SubElement(devices, "channel", type="unix")
        ET.SubElement(channel, "target", type="virtio", name=PORT)
    _graphics(devices, leaving)
    card, words = extra.for_libvirt(vm.extra_args)
    ET.SubElement(ET.SubElement(devices, "video"), "model", type=card)
    ET.SubElement(devices, "memballoon", model="virtio" if vm.balloon else "none")
    if words:
        line = ET.SubElement(root, f"{{{QEMU_SPACE}}}commandline")
        for word in words:
            ET.SubElement(line, f"{{{QEMU_SPACE}}}arg", value=word)
    return root


def _text(parent: ET.Element, tag: str, text: str, **attributes: str) -> None:
    ET.SubElement(parent, tag, attributes).text = text


def _metadata(root: ET.Element, vm: VM) -> None:
    said = {"vm_id": str(vm.vm_id)}
    said |= {key: str(value) for key in _OF_IMAGE if (value := getattr(vm, key)) is not None}
    ours = ET.SubElement(ET.SubElement(root, "metadata"), f"{{{SPACE}}}vm", said)
    for nic in vm.connected:
        ET.SubElement(ours, f"{{{SPACE}}}interface", name=nic.name, mac=nic.mac)
    for each in vm.disks:
        ET.SubElement(ours, f"{{{SPACE}}}disk", name=each.name, size_gb=str(each.size_gb))


_OF_IMAGE = ("image", "disk", "disk_gb")


def _os(root: ET.Element, leaving: Leaving) -> None:
    vm = leaving.vm
    found = ET.SubElement(root, "os")
    _text(found, "type", "hvm", arch="x86_64", machine=leaving.kind)
    if vm.boot == UEFI:
        _text(found, "loader", CODE, readonly="yes", type="pflash")
        _text(found, "nvram", variables_of(leaving), template=VARIABLES)
    for device in ("cdrom", "hd") if vm.boot == CDROM else ("hd",):
        ET.SubElement(found, "boot", dev=device)


def variables_of(leaving: Leaving) -> str:
    """Where libvirt is to keep the UEFI variables: raw, as libvirt below 9.2 knows no other."""
    path = disk.absolute(boot.path_of(leaving.vm), leaving.home)
    return f"{path.removesuffix('.qcow2')}.fd"


def _cpu(root: ET.Element, leaving: Leaving) -> None:
    model, *features = (leaving.vm.cpu or "").split(",")
    if not model:
        model = "max" if leaving.worker.accel == "tcg" else "host"
    modes = {"host": "host-passthrough", "max": "maximum"}
    if model in modes:
        found = ET.SubElement(root, "cpu", mode=modes[model])
    else:
        # QEMU starts with fewer features than the model has, and so does vmops.
        found = ET.SubElement(root, "cpu", mode="custom", match="exact", check="none")
        _text(found, "model", model, fallback="forbid")
    for word in features:
        name, policy = _feature(word)
        if name:
            ET.SubElement(found, "feature", policy=policy, name=name)


def _feature(word: str) -> tuple[str, str]:
    """A feature of a CPU and libvirt's word for having it or not; no name for what is neither."""
    name, equals, value = word.partition("=")
    if equals:
        policy = {"on": "require", "off": "disable"}.get(value, "")
        return (name, policy) if policy else ("", "")
    if name[0] not in "+-":
        return name, "require"
    return name[1:], "disable" if name[0] == "-" else "require"


def _disks(devices: ET.Element, leaving: Leaving) -> None:
    vm = leaving.vm
    virtio = iter(f"vd{letter}" for letter in _LETTERS)
    bus, letters = ("sata", "sd") if leaving.is_q35 else ("ide", "hd")
    for volume in volumes(vm):
        is_virtio = not volume.first or vm.drive_model == "virtio"
        target = (next(virtio), "virtio") if is_virtio else (f"{letters}a", bus)
        _disk(devices, leaving, volume, target)
    if vm.boot == CDROM and vm.iso is not None:
        _cd(devices, disk.absolute(vm.iso, leaving.home), (f"{letters}c", bus))
    if vm.seed is not None:
        is_old = vm.drive_model == disk.IDE
        if not is_old:
            ET.SubElement(devices, "controller", type="scsi", index="0", model="virtio-scsi")
        # libvirt makes a controller of an older model for a letter that is far from "a".
        seed = (f"{letters}d", bus) if is_old else ("sda", "scsi")
        _cd(devices, leaving.seed_path, seed)


def _disk(devices: ET.Element, leaving: Leaving, volume: Volume, target: tuple[str, str]) -> None:
    found = ET.SubElement(devices, "disk", type="file", device="disk")
    driver = ET.SubElement(found, "driver", name="qemu", type=volume.format)
    if not volume.first or leaving.vm.image is not None:
        driver.set("discard", "unmap")
    ET.SubElement(found, "source", file=disk.absolute(volume.path, leaving.home))
    ET.SubElement(found, "target", dev=target[0], bus=target[1])
    if not volume.first:
        _text(found, "serial", volume.name)


def _cd(devices: ET.Element, path: str, target: tuple[str, str]) -> None:
    found = ET.SubElement(devices, "disk", type="file", device="cdrom")
    ET.SubElement(found, "driver", name="qemu", type="raw")
    ET.SubElement(found, "source", file=path)
    ET.SubElement(found, "target", dev=target[0], bus=target[1])
    ET.SubElement(found, "readonly")


def _interface(devices: ET.Element, leaving: Leaving, nic: Nic) -> None:
    found = ET.SubElement(devices, "interface", type="bridge")
    ET.SubElement(found, "mac", address=nic.mac)
    ET.SubElement(found, "source", bridge=leaving.bridge)
    ET.SubElement(found, "virtualport", type="openvswitch")
    native, tagged = vlans(nic)
    vlan = ET.SubElement(found, "vlan", {"trunk": "yes"} if tagged else {})
    if native is not None:
        untagged = {"nativeMode": "untagged"} if tagged else {}
        ET.SubElement(vlan, "tag", {"id": str(native), **untagged})
    for number in tagged:
        ET.SubElement(vlan, "tag", id=str(number))
    ET.SubElement(found, "target", dev=nic.tap)
    ET.SubElement(found, "model", type=nic.model)


def _graphics(devices: ET.Element, leaving: Leaving) -> None:
    port = leaving.vm.vnc_port
    if port is None:
        listen = ET.SubElement(ET.SubElement(devices, "graphics", type="vnc"), "listen")
        listen.set("type", "socket")
        return
    address = leaving.worker.vnc_listen or display.UNSET_LISTEN
    found = ET.SubElement(devices, "graphics", type="vnc", port=str(port), autoport="no")
    found.set("listen", address)
    ET.SubElement(found, "listen", type="address", address=address)


def _notes(leaving: Leaving) -> Iterator[str]:
    vm = leaving.vm
    name = vm.name
    yield f"{name}: before libvirt starts it, stop it here: fab stop --vm {name}"
    if any(each.path.startswith("~") for each in volumes(vm)):
        yield (
            f"{name}: its disks stay in the home of the SSH user: libvirt's QEMU has to be let in"
            " there, or move them and correct the paths (docs/export.md)"
        )
    if vm.seed is not None:
        yield f"{name}: put {seed_file(vm)} where the XML has it: {leaving.seed_path}"
    if vm.boot == UEFI:
        old = disk.absolute(boot.path_of(vm), leaving.home)
        yield (
            f"{name}: its UEFI variables go along with: qemu-img convert -O raw {old}"
            f" {variables_of(leaving)}"
        )
    if leaving.worker.accel == "auto":
        yield f'{name}: on a worker without KVM write type="qemu" and <cpu mode="maximum"/>'
    if vm.vnc_port is not None and is_loopback(leaving.worker.vnc_listen or display.UNSET_LISTEN):
        yield (
            f"{name}: nobody asks for a one-time password any more: every user of the worker"
            f" reaches its VNC on port {vm.vnc_port}"
        )
    lost = [word for word in (vm.cpu or "").split(",")[1:] if not _feature(word)[0]]
    if lost:
        yield f"{name}: libvirt has no words for {', '.join(lost)} of its cpu: left out"
    yield from unplugged(vm)
