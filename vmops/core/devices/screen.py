"""What the monitor is asked for a picture of the screen, and how that is fetched and removed."""

from __future__ import annotations

from vmops.core.names import RunDirectory
from vmops.core.script.command import Block, Command, Step, command
from vmops.core.tools import monitor
from vmops.core.tools.monitor import Heard, Refused, Talk
from vmops.core.tools.qmp import Request

DUMP, PICTURE = "screendump", "its picture"
"""The labels of the step in which QEMU writes it, and of the one that prints it."""

LINES = (Request("screendump"),)
"""What the monitor is asked, for who reads its answer."""

_FETCH_LIMIT_S = 30
_LARGEST_MIB = 32
"""25 without compression, of a screen of 3840 by 2160."""


def dump(path: str, *, png: bool) -> Request:
    """Write the screen to that file on the worker, as PNG or as PPM."""
    return Request("screendump", {"filename": path, **({"format": "png"} if png else {})})


def knows_no_png(heard: Heard) -> bool:
    """True where a QEMU below 7.1 refuses the format."""
    return any(isinstance(a, Refused) and "format" in a.text for a in heard.answers)


def picture_path(vm: str, nonce: str) -> str:
    """A file in the VM's run directory, the one place where its QEMU may write."""
    return f"{RunDirectory(vm).path}/screen-{nonce}"


def take(vm: str, path: str, *, png: bool) -> Block:
    """Have the picture written to the file, print that and remove it."""
    talk = monitor.talk([Talk(vm, (dump(path, png=png),))])
    return Block(vm, (Step(DUMP, (talk,), undo=(_remove(path),)), *fetching(path)))


def fetching(path: str) -> tuple[Step, ...]:
    """Print the file and remove it. The directory is QEMU's to write in, so no link there is
    followed."""
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
    return (Step(PICTURE, (read,), undo=(_remove(path),)), Step("remove", (_remove(path),)))


def _remove(path: str) -> Command:
    return command("rm", "-f", "--", path)
