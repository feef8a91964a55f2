"""What the beginning of an image says of it: enough to refuse what no disk should stand on."""

from __future__ import annotations

import struct
from typing import NamedTuple

HEAD_BYTES = 4096

_MAGIC = b"QFI\xfb"
_BACKING_AND_SIZE = struct.Struct(">Q4x4xQ")
_FEATURES = struct.Struct(">Q")
_DATA_FILE = 4


class Header(NamedTuple):
    """Of a qcow2 image: its size as a guest sees it, in bytes, and whether it needs other files."""

    virtual_size: int
    has_backing: bool
    has_data_file: bool


def read_header(head: bytes) -> Header | None:
    """The header of a qcow2 image; None for what is none."""
    if len(head) < 32 or not head.startswith(_MAGIC) or head[4:8] not in (b"\0\0\0\2", b"\0\0\0\3"):
        return None
    backing, size = _BACKING_AND_SIZE.unpack_from(head, 8)
    features = 0
    if head[7] == 3 and len(head) >= 80:
        (features,) = _FEATURES.unpack_from(head, 72)
    return Header(size, backing != 0, bool(features & _DATA_FILE))


def objection(head: bytes, format: str) -> tuple[str, str]:
    """Why an image that begins so is no base of that format, and the cure; empty where it is."""
    header = read_header(head)
    if format == "raw":
        if header is None:
            return "", ""
        return "is a qcow2 image, and hosts.toml calls it raw", 'say format = "qcow2"'
    if header is None:
        return (
            "is not a qcow2 image",
            'say format = "raw", or convert it with qemu-img convert -O qcow2',
        )
    if header.has_backing or header.has_data_file:
        other = "backing file" if header.has_backing else "data file"
        return (
            f"is of no use without its {other}, which is not sent",
            "make one file of it: qemu-img convert -O qcow2",
        )
    return "", ""
