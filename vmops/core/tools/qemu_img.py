"""Disks of VMs: made, grown and removed on the worker with the SSH user's rights.

A disk lies beside the base that it stands on, and names it without a folder: a home may move.
"""

from __future__ import annotations

from vmops.core.images.names import Base
from vmops.core.script.command import Command, command

CLONE_LIMIT_S = 3600.0
"""What `clone_base` in images.sh gives a copy."""


def make_overlay(disk: str, base: Base, *, size: int = 0) -> Command:
    """A qcow2 disk on a base, `size` bytes large; 0 is as large as the base is.

    The base's format is written down, so QEMU never guesses it. Fails when the disk is there.
    """
    return command("make_overlay", base.name, base.format, disk, *((str(size),) if size else ()))


def clone_base(disk: str, base: Base) -> Command:
    """A full copy of a base, in the base's format; a reflink where the file system can.

    Fails when the disk is there.
    """
    return command("clone_base", base.name, disk)


def make_disk(disk: str, format: str, *, size: int) -> Command:
    """An empty disk of so many bytes, "qcow2" or "raw". Fails when it is there, and for 0, which is
    that nobody knows: a dry run shows a word for it."""
    return command("make_disk", format, disk, str(size or "SIZE"))


def grow_disk(disk: str, format: str, *, size: int) -> Command:
    """Make a disk that no QEMU has open `size` bytes large. A smaller size than it has fails."""
    return command("grow_disk", format, disk, str(size))


def no_disk(disk: str) -> Command:
    """Fails when something lies where the disk is to be made."""
    return command("no_disk", disk)


def remove_disk(disk: str) -> Command:
    """Remove a disk; absent is fine. The base stays."""
    return command("remove_disk", disk)
