"""A guest that prints much on its serial port: 6 MiB, as fast as it can, for each byte typed.

What it does is written in talker.s. It needs 1 MiB of disk and `-m 32` at most.
"""

from __future__ import annotations

from pathlib import Path

from .boot_sector import boot_disk
from .cache import built_once

_SOURCE = Path(__file__).with_name("talker.s")

LAST_LINE = 0x18000
"""The number of its last line; each is `VMOPS-LINE ` and eight hex digits, and 64 bytes long."""

DONE = "VMOPS-TALKER-DONE"
"""What it prints after that line."""


def talker_image(cache: Path) -> Path:
    """A qcow2 of 1 MiB with the talker on it. Needs binutils and qemu-utils.

    Raises GuestBuildError when a tool is missing or fails.
    """
    return built_once(
        cache,
        "talker",
        inputs=[_SOURCE, Path(__file__)],
        build=lambda work: boot_disk(work, _SOURCE, LINES=LAST_LINE),
    )
