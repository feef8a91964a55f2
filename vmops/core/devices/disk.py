"""A VM's disk: the image that QEMU opens."""

from __future__ import annotations

from vmops.core.tools import qemu

THERE, MISSING, ODD = "there", "missing", "odd"
"""What a worker says of an image's path: `odd` is neither a file nor a block device."""


def absolute(image: str, home: str) -> str:
    """The path with a leading `~` replaced by `home`."""
    return home + image[1:] if image == "~" or image.startswith("~/") else image


def words(image: str) -> tuple[str, ...]:
    """The drive with that image, an absolute path: the documented words."""
    return ("-drive", f"file={qemu.escaped(image)},format=qcow2")


def parse(found: qemu.Options) -> str:
    """The image of a command line; empty without a drive."""
    return qemu.split(qemu.last(found, "drive") or "").get("file", "")


def objection(state: str, *, path: str, vm: str) -> tuple[str, str]:
    """What keeps QEMU from opening the image, and the cure; empty where nothing does."""
    if state == MISSING:
        return f"no image {path}", f"make it there, or correct vms.{vm}.qcow_image"
    if state == ODD:
        return f"{path} is neither a file nor a block device", "correct qcow_image"
    return "", ""
