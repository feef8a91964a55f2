"""Snapshots of a running VM, its memory and all its disks: kept by QEMU inside its qcow2 files.

The name of one in the files has behind it what the machine was like (`Shape`): QEMU loads memory
into any machine, and leaves one dead that is not the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from vmops.core.devices.live.nics import interface_of
from vmops.core.devices.machine import CommandLine
from vmops.core.script.command import Command, Step
from vmops.core.tools import monitor
from vmops.core.tools.monitor import Await, Heard, Line, Need, Talk
from vmops.core.tools.qmp import RESUME, STATUS, Request, disk_name

SAVE, LOAD, DELETE = "snapshot-save", "snapshot-load", "snapshot-delete"
"""The requests of the monitor, and the labels of the steps that make them."""

LOOK = (STATUS, Request("query-block"), Request("query-pci"), Request("query-jobs"))
"""What `read` reads."""

LIMIT_S = 300.0
"""How long one may take. QEMU stands still meanwhile, and its monitor with it."""

_JOB, _UNDO = "vmops-snapshot", "vmops-snapshot-undo"
_MOST_BYTES = 255
"""What QEMU keeps of a name."""

_FROZEN = "frozen "
"""Stands before the shape. A vmops that knows nothing of it takes no machine back to such a one."""

_BUILT_IN_SLOTS = 2
"""The last PCI slot of what every `pc` has: the rest is what the command line and hot-plug gave."""


class Shape(NamedTuple):
    """What a machine is like, as far as its memory depends on it: in a word, and by card the place
    and the model, in hex."""

    machine: str
    cards: Mapping[str, str] = MappingProxyType({})

    def __str__(self) -> str:
        return " ".join((self.machine, *(f"{name}:{at}" for name, at in self.cards.items())))

    def differences(self, then: Shape) -> Iterator[str]:
        """In words, where a machine that is like this is not like it was `then`."""
        if self.machine != then.machine:
            yield f"it was {then.machine} and is {self.machine}"
        for name in dict.fromkeys((*then.cards, *self.cards)):
            if name not in self.cards:
                yield f"{name} was in it"
            elif name not in then.cards:
                yield f"{name} was not in it"
            elif self.cards[name] != then.cards[name]:
                yield f"{name} was another model, or in another place"


class Snapshot(NamedTuple):
    """A snapshot as the disks have it. `taken_s` counts from 1970, `memory` is in bytes.

    Without a `shape` it was not made by vmops. `missing` are the disks that do not have it.
    `frozen` is that its guest's file systems were, and are when the machine is taken back to it.
    """

    name: str
    tag: str
    taken_s: int
    memory: int
    shape: Shape | None = None
    missing: tuple[str, ...] = ()
    frozen: bool = False


class Writable(NamedTuple):
    """A disk that its guest may write to: QEMU's name for its node, its own, and its format."""

    node: str
    name: str
    format: str


class Found(NamedTuple):
    """What a running VM has: QEMU's word for its status, its shape, disks, snapshots, and whether a
    job of ours is under way, or has ended and was not looked at."""

    status: str
    shape: Shape
    disks: tuple[Writable, ...]
    snapshots: tuple[Snapshot, ...]
    job: str = ""


def read(heard: Heard, line: CommandLine, *, vm_id: int) -> Found:
    """From what `LOOK` was answered. Raises ValueError where that cannot be read."""
    if len(heard.answers) < len(LOOK) or monitor.is_refused(heard):
        raise ValueError(monitor.why(heard) or "it does not say what it has")
    try:
        answers: Sequence[Any] = heard.answers
        status, drives, buses, jobs = answers[: len(LOOK)]
        writable = [one for one in drives if "inserted" in one and not one["inserted"]["ro"]]
        states = {str(job["id"]): str(job["status"]) for job in jobs}
        return Found(
            str(status["status"]),
            Shape(machine_of(line), dict(_cards(buses, line, vm_id))),
            tuple(_disk(one) for one in writable),
            tuple(_snapshots(writable)),
            states.get(_JOB, states.get(_UNDO, "")),
        )
    except (KeyError, TypeError, AttributeError, IndexError) as unreadable:
        raise ValueError(f"the monitor's answer lacks {unreadable}") from unreadable


def machine_of(line: CommandLine) -> str:
    """What a shape says of the machine beside its cards."""
    cpu = "".join((line.cpu or "default").split())
    return f"{line.ram_mb}MiB/{line.cores}/{line.accel}/{cpu}"


def _cards(buses: Any, line: CommandLine, vm_id: int) -> Iterator[tuple[str, str]]:
    """The cards by name. Those that the documented words give no id stand in their order."""
    nameless = [nic.tap for nic in line.nics if nic.card.startswith("/")]
    for card in sorted(buses[0]["devices"], key=lambda one: (one["slot"], one["function"])):
        if card["slot"] <= _BUILT_IN_SLOTS:
            continue
        name = str(card["qdev_id"])
        if not name and card["class_info"]["class"] == 0x200 and nameless:
            name = nameless.pop(0)
        name = interface_of(vm_id, name) if name.startswith("tap") else name
        at = f"{card['slot']:x}.{card['function']:x}"
        yield name or f"card-{at}", f"{at}.{card['id']['device']:04x}"


def _disk(drive: Any) -> Writable:
    inserted = drive["inserted"]
    name = str(drive["device"] or drive.get("qdev") or inserted["node-name"])
    return Writable(str(inserted["node-name"]), disk_name(name), str(inserted["drv"]))


def _snapshots(drives: Sequence[Any]) -> Iterator[Snapshot]:
    has: dict[str, dict[str, Any]] = {}
    for drive in drives:
        for one in drive["inserted"]["image"].get("snapshots", ()):
            has.setdefault(str(one["name"]), {})[_disk(drive).name] = one
    names = [_disk(drive).name for drive in drives]
    for tag, on in has.items():
        name, _, shape = tag.partition(" ")
        frozen = shape.startswith(_FROZEN)
        yield Snapshot(
            name,
            tag,
            max(int(one["date-sec"]) for one in on.values()),
            max(int(one["vm-state-size"]) for one in on.values()),
            _shape(shape.removeprefix(_FROZEN)),
            tuple(disk for disk in names if disk not in on),
            frozen,
        )


def _shape(text: str) -> Shape | None:
    machine, *cards = text.split(" ")
    pairs = (card.rpartition(":") for card in cards)
    return Shape(machine, {name: at for name, _, at in pairs}) if machine.count("/") >= 3 else None


def tag_of(name: str, shape: Shape, *, frozen: bool = False) -> str:
    """What a snapshot is called in the files. Where there is too much to say, the cards are a
    hash."""
    head = f"{name} {_FROZEN if frozen else ''}"
    tag = f"{head}{shape}"
    return tag if len(tag.encode()) <= _MOST_BYTES else f"{head}{squeezed(shape)}"


def squeezed(shape: Shape) -> Shape:
    """The same with all its cards as one."""
    return Shape(shape.machine, {"a-card": hashlib.sha256(str(shape).encode()).hexdigest()[:16]})


# Steps


def saving(vm: str, found: Found, name: str, *, frozen: bool = False) -> Step:
    """Save one. Where that fails, what there is of it is deleted."""
    tag = tag_of(name, found.shape, frozen=frozen)
    nodes = [disk.node for disk in found.disks]
    job = {"job-id": _JOB, "tag": tag, "vmstate": nodes[0], "devices": nodes}
    undo = {"job-id": _UNDO, "tag": tag, "devices": nodes}
    return Step(
        SAVE,
        (_talk(vm, *_job(_JOB, Request(SAVE, job), found)),),
        undo=(
            _taken_back(vm, Request("job-dismiss", {"id": _JOB})),
            _taken_back(vm, *_job(_UNDO, Request(DELETE, undo))),
        ),
        about=(name,),
    )


def loading(vm: str, found: Found, snapshot: Snapshot, *, run_on: bool) -> Step:
    """Take the machine back to one; with `run_on` its guest runs from there."""
    nodes = [disk.node for disk in found.disks]
    job = {"job-id": _JOB, "tag": snapshot.tag, "vmstate": nodes[0], "devices": nodes}
    more = (RESUME,) if run_on else ()
    lines = (*_job(_JOB, Request(LOAD, job), found), *more, STATUS)
    return Step(LOAD, (_talk(vm, *lines),), about=(snapshot.name,))


def deleting(vm: str, found: Found, snapshot: Snapshot) -> Step:
    """Remove one from all disks that have it."""
    nodes = [disk.node for disk in found.disks if disk.name not in snapshot.missing]
    job = {"job-id": _JOB, "tag": snapshot.tag, "devices": nodes}
    lines = _job(_JOB, Request(DELETE, job), found)
    return Step(DELETE, (_talk(vm, *lines),), about=(snapshot.name,))


def _job(name: str, request: Request, found: Found | None = None) -> tuple[Line, ...]:
    """A job from its start to its end; whether it did what it was to do, only the list of jobs
    says."""
    stale = () if found is None or not found.job else (Request("job-dismiss", {"id": name}),)
    return (
        *stale,
        request,
        Await("JOB_STATUS_CHANGE", LIMIT_S, holding='"status": "concluded"', then="go on"),
        Request("query-jobs"),
        Need('"error": "', absent=True),
        Request("job-dismiss", {"id": name}),
    )


def _talk(vm: str, *lines: Line) -> Command:
    return monitor.talk([Talk(vm, lines, LIMIT_S)])


def _taken_back(vm: str, *lines: Line) -> Command:
    entry = _talk(vm, *lines)
    return entry._replace(argv=("take_back", *entry.argv))


def why(heard: Heard) -> str:
    """In words, why a job failed."""
    jobs = next((answer for answer in heard.answers if isinstance(answer, list)), [])
    said = (job.get("error") for job in jobs if isinstance(job, dict))
    return next((str(text) for text in said if text), "") or monitor.why(heard)
