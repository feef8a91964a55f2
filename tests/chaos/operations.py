"""The table of operations: a new one enters the sweep and the soak by a line here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

OfVM = Literal[
    "gone",
    "plugged",
    "running",
    "paused",
    "crashed",
    "rebooted",
    "kept",
    "documented",
    "adopted",
]
"""`crashed`: QEMU was killed from outside, its TAPs, ports and run directory are left. `rebooted`:
only the rows of its ports are, as after a restart of the worker. `kept`: only the disk that was
made for it is. `documented`: it runs by the documented lines, and not by vmops; `adopted`: that has
been taken over."""

OfImage = Literal["absent", "partial", "whole"]
"""A VM that begins with `absent` has no image there to make its disk of."""

State = OfVM | OfImage

ONE = ("web1",)
ALL = ("web1", "web2", "web3")
DEAF = ("deaf1",)
DISK = ("disk1",)
PLUG = ("plug1",)
SENT, FETCHED = ("sent",), ("fetched",)


@dataclass(frozen=True)
class Operation:
    """Words that an operator types, from one state of these VMs to another.

    With `changed`, hosts.toml gives web1's first interface another VLAN than the one it started
    with, disk1 a larger disk and plug1 a further one. With `same_qemu`, a QEMU that ran before is
    the one that runs after. `known` is a part of the text of a violation that is known and not
    mended yet: it is reported, and fails no sample.
    """

    name: str
    words: tuple[str, ...]
    start: State
    end: State
    vms: tuple[str, ...] = ONE
    changed: bool = False
    same_qemu: bool = False
    known: str = ""

    @property
    def asks_status(self) -> bool:
        """What it changes cannot be seen from outside of QEMU: `status` has to tell."""
        return "paused" in (self.start, self.end)

    @property
    def asks(self) -> tuple[str, ...]:
        """The words of what tells how its VMs, or its image, are."""
        names = ",".join(self.vms)
        if self.of_image:
            return ("image.list", "--image", names, "--format", "json")
        return ("status", "--vm", names, "--format", "json")

    @property
    def of_image(self) -> bool:
        """What it changes is an image on the worker."""
        return self.end in ("absent", "whole")


def _disk1(task: str, *more: str) -> tuple[str, ...]:
    return (task, "--vm", "disk1", *more)


def _web1(task: str, *more: str) -> tuple[str, ...]:
    return (task, "--vm", "web1", *more)


OPERATIONS = (
    Operation("launch", _web1("launch"), "gone", "running"),
    Operation("launch-strict", _web1("launch", "--strict"), "gone", "running"),
    Operation("launch-three", ("launch", "--vm", "web*"), "gone", "running", ALL),
    Operation("launch-crashed", _web1("launch"), "crashed", "running"),
    Operation("launch-rebooted", _web1("launch"), "rebooted", "running"),
    Operation("launch-other-vlan", _web1("launch"), "rebooted", "running", changed=True),
    Operation("launch-plugged", _web1("launch"), "plugged", "running"),
    Operation(
        *("replug", _web1("launch"), "running", "running"),
        changed=True,
        same_qemu=True,
    ),
    Operation("plug", _web1("plug"), "gone", "plugged"),
    Operation("plug-changed", _web1("plug"), "plugged", "plugged", changed=True),
    Operation("unplug", _web1("unplug"), "plugged", "gone"),
    Operation("boot", _web1("boot"), "plugged", "running"),
    Operation("stop", _web1("stop", "--timeout", "3"), "running", "gone"),
    Operation(
        *("stop-deaf", ("stop", "--vm", "deaf1", "--timeout", "1"), "running", "gone", DEAF),
    ),
    Operation("stop-force", _web1("stop", "--force"), "running", "gone"),
    Operation("stop-crashed", _web1("stop"), "crashed", "gone"),
    Operation("restart", _web1("restart", "--timeout", "3"), "running", "running"),
    Operation("restart-force", _web1("restart", "--force"), "running", "running"),
    Operation("up", ("up", "--vm", "web*"), "gone", "running", ALL),
    Operation("down", ("down", "--vm", "web*", "--timeout", "3"), "running", "gone", ALL),
    Operation("prune", ("prune", "--yes"), "crashed", "gone"),
    Operation("prune-plugged", ("prune", "--yes"), "plugged", "gone"),
    Operation("pause", _web1("pause"), "running", "paused", same_qemu=True),
    Operation("resume", _web1("resume"), "paused", "running", same_qemu=True),
    # A snapshot of that name is refused where there is one, also to whom could not hear of his own.
    Operation(
        *("snapshot", ("snapshot.save", "--vm", "web1", "--name", "s1"), "running", "running"),
        same_qemu=True,
        known="the same command again: exit 1",
    ),
    Operation("reset", _web1("reset"), "running", "running", same_qemu=True),
    Operation("adopt", _web1("adopt"), "documented", "adopted", same_qemu=True),
    Operation("launch-disk", _disk1("launch"), "gone", "running", DISK),
    Operation("launch-supplied", _disk1("launch"), "absent", "running", DISK),
    Operation("grow-cold", _disk1("launch"), "kept", "running", DISK, changed=True),
    Operation(
        *("grow-live", _disk1("launch"), "running", "running", DISK),
        changed=True,
        same_qemu=True,
    ),
    Operation(
        *("hotplug-disk", ("launch", "--vm", "plug1"), "running", "running", PLUG),
        changed=True,
        same_qemu=True,
    ),
    Operation("destroy", _disk1("destroy", "--yes", "--timeout", "3"), "running", "gone", DISK),
    Operation("image-push", ("image.push", "--image", "sent"), "absent", "whole", SENT),
    Operation(
        *("image-push-fan-out", ("image.push", "--image", "sent", "--fan-out"), "absent", "whole"),
        vms=SENT,
    ),
    Operation("image-push-on", ("image.push", "--image", "sent"), "partial", "whole", SENT),
    Operation("image-pull", ("image.pull", "--image", "fetched"), "absent", "whole", FETCHED),
    Operation(
        *("image-remove", ("image.remove", "--image", "sent", "--yes"), "whole", "absent", SENT),
    ),
)
