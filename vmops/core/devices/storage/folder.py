"""The disks that a worker keeps for VMs, and the room that is left for them.

A disk takes room as its guest writes, so the room that disks may come to take is promised and not
taken. That more is promised than is free is no fault: it is what makes twenty VMs of one image
cost that image once. It is said, as a guest that finds the folder full stands still.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

_FILE = re.compile(r"disk-(.+)-([A-Za-z0-9][A-Za-z0-9_]*)\.(qcow2|raw)")
"""The name of a VM may hold hyphens and points, that of a disk holds none."""


class DiskFile(NamedTuple):
    """A disk in the folder. `used` bytes it takes now, `size` it may come to take."""

    file: str
    vm: str
    name: str
    format: str
    used: int
    size: int

    @property
    def promised(self) -> int:
        """What it may yet come to take."""
        return max(0, self.size - self.used)


class DiskFolder(NamedTuple):
    """What is free there, in bytes, None where that is not known; and the disks by the name of
    their file."""

    free: int | None = None
    files: Mapping[str, DiskFile] = MappingProxyType({})

    def of(self, vm: str) -> tuple[DiskFile, ...]:
        """All disks of a VM."""
        return tuple(file for file in self.files.values() if file.vm == vm)

    def formats(self, vm: str, name: str) -> set[str]:
        """In which formats a disk of that name lies there."""
        return {file.format for file in self.of(vm) if file.name == name}

    @property
    def promised(self) -> int:
        """What all of them together may yet come to take."""
        return sum(file.promised for file in self.files.values())


NO_FOLDER = DiskFolder()


def disk_file(file: str, *, used: int = 0, size: int = 0) -> DiskFile | None:
    """What a file of that name is; None for one that is no disk of a VM."""
    found = _FILE.fullmatch(file)
    return DiskFile(file, found[1], found[2], found[3], used, size) if found else None
