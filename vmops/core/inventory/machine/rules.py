"""What the keys of a VM's machine have to be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from vmops.core.inventory import normal_form as normal
from vmops.core.inventory.complaints import Fault, show
from vmops.core.inventory.machine import extra

DISK, UEFI, CDROM = "disk", "uefi", "cdrom"
BOOTS = (DISK, UEFI, CDROM)
KEYS = ("boot", "iso", "machine", "extra_args")
MACHINE = re.compile(r"pc|q35|pc-(i440fx|q35)-[0-9]{1,2}\.[0-9]{1,2}")
ISO_TEXT = 'the path of an ISO image on the worker, in printable characters: "/...", or "~/..."'
EXTRA_TEXT = (
    f"at most {extra.MOST_WORDS} words of QEMU's command line, in printable ASCII, each option"
    " and each value by itself"
)


def machine(value: str) -> str | None:
    """A PC as QEMU calls it, of today or of a version."""
    return value if MACHINE.fullmatch(value) else None


def iso(value: str) -> str | None:
    """As the path of an image."""
    return normal.image_path(value)


def machine_faults(values: Mapping[str, Any]) -> list[Fault]:
    """What is wrong with these keys together, in values that are good each by itself."""
    found = list(extra.extra_faults(values.get("extra_args") or ()))
    boot, path = values.get("boot"), values.get("iso")
    if boot != CDROM and path is not None:
        found.append(Fault(("iso",), f'{show(path)}: must be left out, as boot is not "{CDROM}"'))
    return found
