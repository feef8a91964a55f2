"""A guest of 2 KiB that is up 0.1 s after QEMU starts: serial port, screen, keyboard, power button.

What it does is written in boot_sector.s. It needs 1 MiB of disk and `-m 32` at most.
"""

from __future__ import annotations

import os
from enum import IntEnum
from pathlib import Path

from .cache import built_once
from .tools import run, to_qcow2

_SOURCE = Path(__file__).with_name("boot_sector.s")
_DISK_BYTES = 1 << 20

BANNER = "VMOPS-GUEST-UP"
"""What every guest here prints on its serial port when it is ready."""


class PowerButton(IntEnum):
    """How often the power button is pressed until the guest powers off."""

    DEAF = 0
    ONCE = 1
    TWICE = 2


def boot_sector_image(cache: Path, button: PowerButton = PowerButton.ONCE) -> Path:
    """A qcow2 of 1 MiB with the boot sector on it. Needs binutils and qemu-utils.

    Raises GuestBuildError when a tool is missing or fails.
    """

    def build(work: Path) -> Path:
        return boot_disk(work, _SOURCE, PRESSES=button.value)

    name = f"boot-sector-{button.name.lower()}"
    return built_once(cache, name, inputs=[_SOURCE, Path(__file__)], build=build)


def boot_disk(work: Path, source: Path, **symbols: int) -> Path:
    """A qcow2 of 1 MiB in `work` that begins with the assembled source, given these symbols."""
    program, raw = work / "boot_sector.o", work / "disk.raw"
    defined = [word for name, value in symbols.items() for word in ("--defsym", f"{name}={value}")]
    run("as", "--32", *defined, "-o", program, source)
    flat = ("-m", "elf_i386", "-Ttext=0x7c00", "--oformat=binary")
    run("ld", *flat, "-o", raw, program)
    os.truncate(raw, _DISK_BYTES)
    return to_qcow2(raw, work / "disk.qcow2")
