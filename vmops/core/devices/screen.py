"""What the monitor is asked for a picture of the screen, and how that is fetched and removed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vmops.core.names import RunDirectory
from vmops.core.script.command import Block, Step, command
from vmops.core.tools.qmp import Request

VERSION = Request("query-version")

PICTURE = "its picture"
"""The label of the step that prints it."""

_FIRST_WITH_PNG = (7, 1)
_FETCH_LIMIT_S = 30
_LARGEST_MIB = 128


def knows_png(version: Mapping[str, Any]) -> bool:
    """From the answer to `VERSION`. Raises ValueError when that cannot be read."""
    try:
        return (int(version["qemu"]["major"]), int(version["qemu"]["minor"])) >= _FIRST_WITH_PNG
    except (KeyError, TypeError) as missing:
        raise ValueError("the answer to query-version has no version") from missing


def dump(path: str, *, png: bool) -> Request:
    """Write the screen to that file on the worker, as PNG or as PPM."""
    return Request("screendump", {"filename": path, **({"format": "png"} if png else {})})


def picture_path(vm: str, nonce: str) -> str:
    """A file in the VM's run directory, the one place where its QEMU may write."""
    return f"{RunDirectory(vm).path}/screen-{nonce}"


def fetch(vm: str, path: str) -> Block:
    """Print the file and remove it. The directory is QEMU's, so no link in it is followed."""
    read = command(
        "dd",
        f"if={path}",
        "iflag=nofollow,nonblock,fullblock",
        "bs=1M",
        f"count={_LARGEST_MIB}",
        "status=none",
        time_limit_s=_FETCH_LIMIT_S,
        most_bytes=_LARGEST_MIB << 20,
    )
    remove = command("rm", "-f", "--", path)
    return Block(vm, (Step(PICTURE, (read,), undo=(remove,)), Step("remove", (remove,))))
