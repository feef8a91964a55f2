"""A guest that counts on its serial port, eighteen lines a second: it shows whether its memory was
kept.

What it does is written in counter.s. It needs 1 MiB of disk and `-m 32` at most.
"""

from __future__ import annotations

import re
from pathlib import Path

from .boot_sector import boot_disk
from .cache import built_once

_SOURCE = Path(__file__).with_name("counter.s")


def counter_image(cache: Path) -> Path:
    """A qcow2 of 1 MiB with the counter on it. Needs binutils and qemu-utils.

    Raises GuestBuildError when a tool is missing or fails.
    """
    return built_once(
        cache,
        "counter",
        inputs=[_SOURCE, Path(__file__)],
        build=lambda work: boot_disk(work, _SOURCE),
    )


def counts(printed: str) -> list[int]:
    """All numbers that it printed, in order."""
    return [int(number, 16) for number in re.findall(r"COUNT ([0-9A-F]{8})\r?\n", printed)]
