"""The monitor's protocol: the requests that vmops makes, and the facts in QEMU's answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from vmops.core.tools.qemu import SEED_DRIVE


class Request(NamedTuple):
    """One command of the monitor, with its arguments."""

    command: str
    arguments: Mapping[str, Any] | None = None

    def __str__(self) -> str:
        """The request as the monitor reads it."""
        arguments = {"arguments": self.arguments} if self.arguments else {}
        return json.dumps({"execute": self.command, **arguments})


CAPABILITIES = Request("qmp_capabilities")
"""The first request of a session: without it QEMU refuses all others."""

STATUS = Request("query-status")
POWER_DOWN = Request("system_powerdown")
RESET = Request("system_reset")
PAUSE = Request("stop")
RESUME = Request("cont")
WAKE_UP = Request("system_wakeup")
CANCEL = Request("migrate_cancel")
QUIT = Request("quit")

BLOCK = Request("query-block")
FILES = Request("query-fdsets")
"""The files that it was given, opened; each says what it is called."""

LOOK = (
    STATUS,
    BLOCK,
    Request("query-blockstats"),
    Request("query-chardev"),
    FILES,
)
"""All that `read_look` needs, sent at once."""

SHUTDOWN = "SHUTDOWN"
"""The event before QEMU ends; its data say who ended it."""

RUNNING, PAUSED, SUSPENDED, IO_ERROR = "running", "paused", "suspended", "io-error"
GUEST_OFF = "shutdown"
SENT = "postmigrate"
"""Words of QEMU's status: the guest is off while its QEMU stays."""


def resize(device: str, *, size: int) -> Request:
    """Give a drive so many bytes. A smaller size is granted too, and cuts off what is behind it."""
    return Request("block_resize", {"device": device, "size": size})


class Drive(NamedTuple):
    """A drive of the guest. `images` is the file it writes to, then its backing files, in order.

    Sizes and counters are in bytes, counted since QEMU was started: `virtual_size` is what the
    guest sees, `used` what the first image takes on the worker, snapshots in it included.
    """

    device: str
    images: tuple[str, ...]
    virtual_size: int
    used: int
    read_bytes: int
    written_bytes: int
    has_snapshots: bool = False

    @property
    def name(self) -> str:
        """What hosts.toml calls it, `root` being a VM's first one; else QEMU's name for it."""
        return disk_name(self.device)


def disk_name(device: str) -> str:
    """The name of a disk by what QEMU calls its drive, or its place in the machine."""
    return device.removeprefix("/machine/peripheral/").partition("/")[0].removeprefix("disk-")


class Look(NamedTuple):
    """A VM as its monitor shows it: QEMU's word for its status, its disks, and whether a guest
    agent listens; None where there is no port for one."""

    status: str
    disks: tuple[Drive, ...] = ()
    agent: bool | None = None


def read_status(answer: Any) -> str:
    """QEMU's word for what the VM does. Raises ValueError when that is not to be found."""
    try:
        return str(answer["status"])
    except (KeyError, TypeError) as missing:
        raise ValueError("the answer to query-status has no status") from missing


def read_look(answers: Sequence[Any]) -> Look:
    """What `LOOK` was answered. Raises ValueError when that cannot be read."""
    try:
        status, drives, counters, ports, files = answers
        names = {
            f"/dev/fdset/{one['fdset-id']}": str(fd.get("opaque", ""))
            for one in files
            for fd in one["fds"]
        }
        return Look(read_status(status), _disks(drives, counters, names), _agent(ports))
    except (KeyError, TypeError, AttributeError, OverflowError) as unreadable:
        raise ValueError(f"the monitor's answer lacks {unreadable}") from unreadable


def _disks(drives: Any, counters: Any, names: Mapping[str, str]) -> tuple[Drive, ...]:
    """The drives that have a medium, each with the counters of its place in the machine; the seed's
    is no disk."""
    stats = {_place(entry): entry["stats"] for entry in counters}
    return tuple(
        Drive(
            device=drive["device"] or drive["qdev"],
            images=tuple(names.get(name) or name for name in _chain(drive["inserted"]["image"])),
            virtual_size=int(drive["inserted"]["image"]["virtual-size"]),
            used=int(drive["inserted"]["image"].get("actual-size", 0)),
            read_bytes=int(stats[_place(drive)]["rd_bytes"]),
            written_bytes=int(stats[_place(drive)]["wr_bytes"]),
            has_snapshots=bool(drive["inserted"]["image"].get("snapshots")),
        )
        for drive in drives
        if drive.get("inserted")
        and drive["device"] != SEED_DRIVE
        # What can only be read is no disk: a CD, or the code of a UEFI.
        and not drive["inserted"].get("ro")
    )


def _agent(ports: Any) -> bool | None:
    """Whether the guest has opened the port of its agent."""
    return next((port["frontend-open"] is True for port in ports if port["label"] == "agent"), None)


def _place(entry: Mapping[str, Any]) -> str:
    return str(entry.get("qdev") or entry["device"])


def _chain(image: Mapping[str, Any]) -> list[str]:
    files = [str(image["filename"])]
    while image.get("backing-image"):
        image = image["backing-image"]
        files.append(str(image["filename"]))
    return files


def state_of(status: str) -> Literal["running", "paused"]:
    """The documented state for QEMU's word. In all others than `running` the guest stands still."""
    return "running" if status == RUNNING else "paused"


def awakening(status: str) -> Request | None:
    """What makes the guest run on; None when it runs, or when nothing but a reset would help."""
    return {PAUSED: RESUME, IO_ERROR: RESUME, SUSPENDED: WAKE_UP}.get(status)


def ended_by(farewell: Mapping[str, Any]) -> str:
    """What ended QEMU, from the data of its SHUTDOWN event: `guest`, `quit`, `SIGTERM`, or another
    reason in QEMU's own words."""
    reason = str(farewell.get("reason", ""))
    return {"guest-shutdown": "guest", "host-qmp-quit": "quit", "host-signal": "SIGTERM"}.get(
        reason, reason
    )
