"""What an image is called on a worker: by its content, so a changed one is another one.

A base that were replaced under its overlays would corrupt them all.
"""

from __future__ import annotations

import re
from typing import NamedTuple

FOLDER = "~/vm_images/.vmops"
"""Of the SSH user, closed to others. QEMU reads there as it opens its files: before it drops
root."""

SHORT = 12
"""So many digits of a sha256 are shown."""

_NAME = re.compile(r"base-([0-9a-f]{64})\.(qcow2|raw)")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def is_digest(text: str) -> bool:
    """True for a sha256 as sha256sum writes it."""
    return _DIGEST.fullmatch(text) is not None


class Base(NamedTuple):
    """An image as workers keep it: its sha256, and "qcow2" or "raw"."""

    digest: str
    format: str

    @property
    def name(self) -> str:
        """The file's name in `FOLDER`: `base-SHA256.qcow2`, or `.raw`.

        The digest is there whole: nothing else has to tell what a file there should hold.
        """
        return f"base-{self.digest}.{self.format}"

    @property
    def short(self) -> str:
        """As people are told of it: enough of the digest for `--image`, and for a line."""
        return f"base-{self.digest[:SHORT]}"

    @property
    def path(self) -> str:
        """The path of that file, `~` being the SSH user's home."""
        return f"{FOLDER}/{self.name}"


def base_of(name: str) -> Base | None:
    """What a file of that name, or path, should be; None for one that is no base of ours."""
    found = _NAME.fullmatch(name.rpartition("/")[2])
    return Base(found[1], found[2]) if found else None


def own_disk(vm: str) -> str:
    """Where a VM's first disk lies, which stands on a base or is a copy of one."""
    return disk_path(vm, "root", "qcow2")


def strays(disk: str, backing: str) -> bool:
    """True for a disk of a VM's own whose backing file is no base beside it."""
    folder, _, name = disk.rpartition("/")
    if not folder.endswith("/vm_images/.vmops") or not name.startswith("disk-") or not backing:
        return False
    where, _, _ = backing.rpartition("/")
    return base_of(backing) is None or where not in ("", folder)


def disk_path(vm: str, disk: str, format: str) -> str:
    """Where a VM's own disk lies: beside the bases, whose names begin otherwise."""
    return f"{FOLDER}/disk-{vm}-{disk}.{format}"
