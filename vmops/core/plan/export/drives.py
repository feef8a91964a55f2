"""The disks and CDs of a domain of libvirt's in the words of hosts.toml.

The first disk is taken where it lies. Further ones vmops keeps itself, so one that is not there
already has to be brought, and how large it is the XML does not say.
"""

from __future__ import annotations

import shlex
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import Any, NamedTuple

from vmops.core.devices import disk
from vmops.core.images.names import disk_path, own_disk
from vmops.core.inventory import rules
from vmops.core.inventory.machine.rules import CDROM
from vmops.core.plan.export.libvirt import SPACE

Notes = list[str]

_HERE = ("file", "dev", "name", "volume", "dir")
"""Where a disk's source may say what it is."""


class Drive(NamedTuple):
    """A disk of a domain. `path` is empty where it is no file, and `what` says what it is then."""

    device: str
    path: str
    what: str
    format: str
    target: str
    bus: str
    serial: str
    order: int


def read(root: ET.Element, ours: ET.Element, vm: str, said: Notes) -> dict[str, Any]:
    """`qcow_image` or `image`, `disk_model`, `disks`, and `boot` with `iso` for a CD."""
    drives = [_drive(each) for each in root.findall("devices/disk")]
    disks = sorted((d for d in drives if d.device == "disk"), key=lambda d: d.order)
    if not disks:
        raise ValueError("it has no disk")
    first, *more = disks
    found = _first(first, ours, vm, said)
    if first.bus not in ("ide", "sata", "virtio"):
        said.append(f"its first disk is on {first.bus or 'no bus'}: virtio is taken for it")
    model = "ide" if first.bus in ("ide", "sata") else "virtio"
    if model != ("virtio" if "image" in found else "ide"):
        found["disk_model"] = model
    found["disks"] = [entry for each in more if (entry := _further(each, ours, vm, said))]
    return found | _cd(root, drives, first, vm, said)


def _drive(disk_: ET.Element) -> Drive:
    source, driver, target = (disk_.find(tag) for tag in ("source", "driver", "target"))
    source, driver, target = (
        ET.Element("none") if each is None else each for each in (source, driver, target)
    )
    where = next((source.get(key, "") for key in _HERE if source.get(key)), "")
    pool = source.get("pool")
    boot = disk_.find("boot")
    order = "" if boot is None else boot.get("order", "")
    kind = disk_.get("type", "file")
    return Drive(
        device=disk_.get("device", "disk"),
        path=where if kind in ("file", "block") else "",
        what=f"{kind} {f'{pool}/' if pool else ''}{where}".strip(),
        format=driver.get("type", "raw"),
        target=target.get("dev", ""),
        bus=target.get("bus", ""),
        serial=(disk_.findtext("serial") or "").strip(),
        order=int(order) if order.isascii() and order.isdecimal() and len(order) < 9 else 1 << 30,
    )


def _first(first: Drive, ours: ET.Element, vm: str, said: Notes) -> dict[str, Any]:
    image = ours.get("image")
    if image is not None and _is_at(first.path, own_disk(vm)):
        found: dict[str, Any] = {"image": image}
        found |= {"disk": ours.get("disk")} if ours.get("disk") else {}
        size = ours.get("disk_gb", "")
        return found | ({"disk_gb": int(size)} if size.isascii() and size.isdecimal() else {})
    if first.path and first.format == disk.FORMAT and first.what.startswith("file "):
        return {"qcow_image": first.path}
    to = f"~/vm_images/{vm}.qcow2"
    if first.path:
        convert = (
            f"qemu-img convert -f {quoted(first.format)} -O qcow2 {quoted(first.path)} {_home(to)}"
        )
        said.append(
            f"its disk {first.what} is {first.format}, and has to be a file in qcow2. With it"
            f" stopped, on the worker: {convert}"
        )
    else:
        said.append(f"its disk is {first.what or 'nowhere'}: bring it to {to} there, as qcow2")
    return {"qcow_image": to}


def _further(drive: Drive, ours: ET.Element, vm: str, said: Notes) -> dict[str, Any] | None:
    name = drive.serial if rules.DISK["name"].objection(drive.serial) is None else drive.target
    format = drive.format if drive.format in rules.DISK_FORMATS else "qcow2"
    path = disk_path(vm, name, format)
    sizes = {each.get("name"): each.get("size_gb", "") for each in ours.iter(f"{{{SPACE}}}disk")}
    size = sizes.get(name, "")
    if drive.path and _is_at(drive.path, path) and size.isascii() and size.isdecimal():
        return {"name": name, "size_gb": int(size), "format": format}
    entry = f'[[vms.{vm}.disks]] name = "{name}", size_gb = ITS SIZE, format = "{format}"'
    source = quoted(drive.path) if drive.path else f"WHERE IT IS ({drive.what})"
    convert = f"qemu-img convert -f {quoted(drive.format)} -O {format} {source} {_home(path)}"
    said.append(
        f"its disk {drive.target} is left out: {drive.what}. To have it here, with it stopped, on"
        f" the worker: {convert}; and in hosts.toml, a key a line: {entry}"
    )
    return None


def _cd(
    root: ET.Element, drives: Sequence[Drive], first: Drive, vm: str, said: Notes
) -> dict[str, Any]:
    """A CD that is booted first is taken, and others are said."""
    boots = [each.get("dev") for each in root.findall("os/boot")]
    cds = [each for each in drives if each.device == "cdrom" and each.path]
    found: dict[str, Any] = {}
    for each in sorted(cds, key=lambda cd: cd.order):
        is_first = each.order < first.order or boots[:1] == ["cdrom"]
        if is_first and not found and not each.path.endswith(f"/{vm}-seed.iso"):
            found = {"boot": CDROM, "iso": each.path}
        else:
            said.append(f"its CD {each.path} is left out; a seed is said by cloud_init here")
    for each in drives:
        if each.device not in ("disk", "cdrom"):
            said.append(f"its {each.device} {each.target} is left out")
    return found


def _is_at(path: str, rule: str) -> bool:
    """True for a path that is the one by rule in somebody's home."""
    return path.endswith(rule.removeprefix("~"))


def quoted(path: str) -> str:
    """A path as a word of a shell's."""
    return shlex.quote(path)


def quoted_disk(vm: str, name: str, format: str) -> str:
    """The path of a disk that vmops keeps, for a shell of the SSH user's."""
    return _home(disk_path(vm, name, format))


def _home(path: str) -> str:
    """A path that begins with `~`, which a shell reads in no quotes."""
    return f"~/{quoted(path.removeprefix('~/'))}"
