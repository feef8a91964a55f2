"""Words for QEMU that have no key here: which are let through, and why others are not.

QEMU opens files as root before it becomes the VM's own user, and what vmops knows of a VM it reads
from the command line. So there is a list of what may stand in `extra_args`, and none of what may
not: QEMU has some 150 options, and grows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from vmops.core.inventory.complaints import Fault, show

MOST_WORDS = 64
_LONGEST = 1000

OPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "boot": r"[a-z0-9=,-]+",
        "device": r"[A-Za-z0-9][^{}]*",
        "fw_cfg": r"name=opt/[^{}]*",
        "global": r"[A-Za-z0-9][^{}]*",
        "icount": r"[a-z0-9=,-]+",
        "k": r"[a-z]{2}(-[a-z]{2})?",
        "no-hpet": "",
        "no-reboot": "",
        "overcommit": r"[a-z0-9=,-]+",
        "rtc": r"[A-Za-z0-9=,:-]+",
        "smbios": r"type=[^{}]*",
        "usb": "",
        "vga": r"[a-z0-9-]+",
        "watchdog-action": r"[a-z-]+",
    }
)
"""The options, and what the value of each has to look like; empty for one that takes none."""

DEVICES = (
    *("virtio-rng-pci", "virtio-balloon-pci", "virtio-serial-pci", "virtio-gpu-pci", "virtio-vga"),
    *("virtio-keyboard-pci", "virtio-mouse-pci", "virtio-tablet-pci"),
    *(
        "qemu-xhci",
        "nec-usb-xhci",
        "usb-ehci",
        "ich9-usb-ehci1",
        "ich9-usb-uhci1",
        "piix3-usb-uhci",
    ),
    *("usb-hub", "usb-kbd", "usb-mouse", "usb-tablet", "usb-wacom-tablet"),
    *("pcie-root-port", "pci-bridge", "pcie-pci-bridge", "ioh3420"),
    *("i6300esb", "ib700", "pvpanic", "pvpanic-pci", "vmgenid", "intel-iommu", "amd-iommu"),
    *("VGA", "secondary-vga", "bochs-display", "cirrus-vga", "qxl-vga", "ramfb"),
    *("isa-debug-exit", "edu", "vmcoreinfo"),
)
"""Models of devices that open nothing of the worker."""

_NAMES_A_FILE = frozenset(
    (
        *("file", "filename", "path", "romfile", "rootdir", "splash", "kernel", "initrd", "data"),
        *("host", "hostdev", "sysfsdev", "mdev", "mem-path", "memdev", "fd", "fds", "vhostfd"),
        *("vhostforce", "chardev", "netdev", "drive", "rrfile", "rrsnapshot", "loader"),
    )
)
"""Properties that name a file or device of the worker, or something that vmops has made there."""

_WORD = re.compile(r"[ -~]+")


def words(value: Sequence[Any]) -> tuple[str, ...] | None:
    """The list, where it is one of printable texts; None else."""
    good = len(value) <= MOST_WORDS and all(
        isinstance(word, str) and len(word) <= _LONGEST and _WORD.fullmatch(word) for word in value
    )
    return tuple(value) if good else None


def extra_faults(value: Sequence[str]) -> Iterator[Fault]:
    """What is wrong with each of the words, which are good texts."""
    place = 0
    while place < len(value):
        option = value[place]
        name = option.removeprefix("-").removeprefix("-") if option.startswith("-") else ""
        if name not in OPTIONS:
            why = "stands where an option has to" if not name else "is not let through"
            listed = ", ".join(f"-{each}" for each in OPTIONS)
            yield _fault(place, option, f"{why}: it may open files as root; there is: {listed}")
            return
        place += 1
        if not OPTIONS[name]:
            continue
        if place == len(value):
            yield _fault(place - 1, option, "has to have a value behind it")
            return
        if why := _objection(name, value[place]):
            yield _fault(place, value[place], why)
        place += 1


def _objection(option: str, value: str) -> str:
    if not re.fullmatch(OPTIONS[option], value):
        return f"must be as in QEMU's own words for -{option}, and no JSON"
    first, *rest = value.replace(",,", "").split(",")
    if option == "device":
        model = first.removeprefix("driver=")
        if model not in DEVICES:
            return f"the device {model} is not let through; there is: {', '.join(DEVICES)}"
    for part in (first, *rest):
        key = part.partition("=")[0].rpartition(".")[2]
        named = part.partition("=")[2] if key == "property" else key
        if named in _NAMES_A_FILE:
            return f"{named} names something of the worker, which QEMU would open as root"
    return ""


def _fault(place: int, value: str, why: str) -> Fault:
    return Fault(("extra_args", place), f"{show(value)}: {why}")
