"""A worker as it is, seen past vmops: what is there of some VMs, and everything else."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmops.lab import Lab

from . import overlay, things
from .targets import Image, Target

PROBE = Path(__file__).with_name("probe.py")
LOOK_LIMIT_S = 60
FURTHER = ("data",)
"""Names of further disks that VMs may have."""
WAITS = "mark receiving"
"""That a QEMU waits for a VM that is moved while it runs."""
STILL = "a QEMU that stands still, as its VM is at the other worker"
"""The same in a folder that both share: it waits for the VM, or has sent it."""
GUEST_RUNS = "a guest that runs"
"""What must never be beside that."""
CAME = "memory that came"
"""That its QEMU has had its memory from another one, and has not begun anew."""
SEED = "a whole seed"
FROZEN = "a guest that is frozen"
SILENT = "an agent that says nothing"
TOLD = {"frozen": (FROZEN,), "silent": (SILENT,)}
FOLDERS = ("/run/vmops/web10", "/home/ubuntu")


@dataclass(frozen=True)
class Nic:
    """One TAP and its port. A port whose `tag` is None is a trunk of all VLANs, but where `seat`
    says which port it is for OVN, and on which bridge."""

    tap: str
    tag: int | None
    has_port: bool
    has_tap: bool
    is_up: bool
    seat: str = ""

    def is_right(self, target: Target) -> bool:
        """It is plugged where the VM is to have it."""
        there = self.has_port and self.has_tap
        wanted = (target.taps[self.tap], target.seats[self.tap])
        return there and (self.tag, self.seat) == wanted

    def __str__(self) -> str:
        device = ("up" if self.is_up else "down") if self.has_tap else "no TAP"
        port = self.seat or f"tag {self.tag}"
        return f"{self.tap} ({device}, {port if self.has_port else 'no port'})"


@dataclass(frozen=True)
class Shape:
    """What is there of one VM.

    `disk` is how large the one is that was made for it, in GiB, empty without one; or the state of
    an image, in the words of image.list. `further` are its further disks: the file, and whether a
    QEMU of its has that open. `more` is what else there is of it: its memory, a snapshot, the mark
    of a move, a file that comes.
    """

    qemus: int
    nics: tuple[Nic, ...] = ()
    directory: bool = False
    disk: str = ""
    further: tuple[tuple[str, bool], ...] = ()
    more: tuple[str, ...] = ()

    @property
    def is_nothing(self) -> bool:
        """Nothing at all is there."""
        left = self.qemus or self.directory or self.disk or self.further or self.more
        return not (left or any(n.has_tap or n.has_port for n in self.nics))

    def __str__(self) -> str:
        there = ", ".join(str(nic) for nic in self.nics if nic.has_tap or nic.has_port)
        directory = "a run directory" if self.directory else "no run directory"
        disk = f", disk: {self.disk}" if self.disk else ""
        disk += "".join(
            f", {name} ({'open' if is_open else 'closed'})" for name, is_open in self.further
        )
        disk += "".join(f", {word}" for word in self.more)
        return f"{self.qemus} QEMU, {directory}, {there or 'no interfaces'}{disk}"


@dataclass(frozen=True)
class Look:
    """One look at a worker.

    `qemus` gives the PID and the start time of each QEMU of a VM, `sessions` the number of SSH
    sessions, `others` everything that belongs to no target.
    """

    shapes: dict[str, Shape]
    qemus: dict[str, tuple[tuple[int, int], ...]]
    flocks: tuple[str, ...]
    sessions: int
    others: dict[str, Any]
    things: dict[str, tuple[str, ...]]


def look(lab: Lab, worker: str, targets: Sequence[Target], images: Sequence[Image]) -> Look:
    """Look at a worker. Raises what subprocess raises, and ValueError, when that fails."""
    argv = ("python3", "-I", "-c", PROBE.read_text(), *FOLDERS)
    seen = json.loads(lab.run(worker, argv, timeout=LOOK_LIMIT_S).stdout)
    qemus: dict[str, list[tuple[int, int]]] = {target.name: [] for target in targets}
    strangers, sessions = [], 0
    for process in seen["processes"]:
        owner = next((target for target in targets if _runs(process["argv"], target)), None)
        if owner is not None:
            qemus[owner.name].append((process["pid"], process["began"]))
        elif things.is_ours(process["argv"]):
            continue
        elif process["argv"][0].startswith("sshd"):
            sessions += "listener" not in process["argv"][0]
        else:
            strangers.append(process)
    shapes = {target.name: _shape(seen, target, qemus[target.name], worker) for target in targets}
    shapes |= {image.name: Shape(0, disk=_image_state(seen, image)) for image in images}
    qemus |= {image.name: [] for image in images}
    return Look(
        shapes=shapes,
        qemus={name: tuple(found) for name, found in qemus.items()},
        flocks=tuple(seen["flocks"]),
        sessions=sessions,
        others=_others(seen, strangers, targets, images),
        things=things.read(seen),
    )


def is_same(one: Look, other: Look) -> bool:
    """Nothing of the targets has changed."""
    mine = (one.shapes, one.qemus, one.things)
    return mine == (other.shapes, other.qemus, other.things)


def both(here: Look, there: Look, *, worker: str) -> Look:
    """Two workers as one: what is on the second one, that `worker`, is called so."""
    return Look(
        shapes=here.shapes | {there_of(name): shape for name, shape in there.shapes.items()},
        qemus=here.qemus | {there_of(name): found for name, found in there.qemus.items()},
        flocks=(*here.flocks, *there.flocks),
        sessions=here.sessions + there.sessions,
        others=here.others | {f"{name} on {worker}": one for name, one in there.others.items()},
        things=here.things | {there_of(name): found for name, found in there.things.items()},
    )


def there_of(name: str) -> str:
    """What a VM is called where the second worker's part of it is meant."""
    return f"{name} there"


def doubled(seen: Look, target: Target) -> list[str]:
    """A line for what runs twice. One that waits for a VM that is moved live, and has not run its
    guest, is none that runs; nor is one whose VM is at the other worker by the mark that both see,
    unless its guest runs."""
    sides = [name for name in (target.name, there_of(target.name)) if name in seen.qemus]
    waits = [name for name in sides if is_still(seen.shapes[name])]
    found = [qemu for name in sides if name not in waits for qemu in seen.qemus[name]]
    lines = [f"two QEMUs of {target.name}: {found}"] if len(found) > 1 else []
    for name in waits:
        if len(seen.qemus[name]) > 1:
            lines.append(f"two QEMUs wait for {name}: {seen.qemus[name]}")
        if GUEST_RUNS in seen.shapes[name].more:
            lines.append(f"the guest of {name} runs, and its mark is still there")
    return lines


def is_still(shape: Shape) -> bool:
    """Its QEMU is one that waits for what comes from the other worker, or has sent that."""
    return WAITS in shape.more or STILL in shape.more


def _runs(argv: Sequence[str], target: Target) -> bool:
    """A QEMU with that VM's disk, whatever else its command line says."""
    disk = any(f"/{target.image}" in word for word in argv)
    return disk and Path(argv[0]).name.startswith("qemu-system")


def _shape(
    seen: Mapping[str, Any], target: Target, qemus: Sequence[tuple[int, int]], worker: str
) -> Shape:
    ports = {row["name"]: row["tag"] for row in seen["ovs"]["port"]}
    links = seen["links"]
    nics = tuple(
        Nic(
            tap,
            tag=tag_of(ports.get(tap)),
            has_port=tap in ports,
            has_tap=tap in links,
            is_up=tap in links and "UP" in links[tap]["flags"],
            seat=_seat(seen, tap),
        )
        for tap in target.taps
    )
    disk = _disk(seen, target) if target.disk_gb else ""
    opened = {name for pid, _ in qemus for name in seen["open"].get(str(pid), ())}
    further = tuple(
        (name, name in opened)
        for name in map(target.file_of, FURTHER)
        if name in opened or _named(seen, name) or _named(seen, f"{name}.new")
    )
    directory = target.name in seen["directories"]
    more = _more(seen, target)
    pids = [pid for pid, _ in qemus]
    argvs = [process["argv"] for process in seen["processes"] if process["pid"] in pids]
    came = bool(argvs) and all("-incoming" in argv for argv in argvs)
    more += (CAME,) if came else ()
    how, peer = seen["marks"].get(target.name, ("", ""))
    if argvs and how == "at" and peer != worker:
        status = seen["waiting"].get(target.name)
        # One whose monitor somebody else has is taken for what its command line says.
        more += (STILL,) if status != "running" and (status or came) else ()
    return Shape(len(qemus), nics, directory, disk, further, more)


def _seat(seen: Mapping[str, Any], tap: str) -> str:
    """Which port it is for OVN, and the bridge, where it is not the one of VLANs."""
    (row,) = [each for each in seen["ovs"]["interface"] if each["name"] == tap] or [None]
    if row is None:
        return ""
    port = next(each["_uuid"] for each in seen["ovs"]["port"] if each["name"] == tap)
    bridge = next((b["name"] for b in seen["ovs"]["bridge"] if _has(b, port)), "no bridge")
    if bridge != overlay.BRIDGE:
        return "" if bridge == "br-int" else f"on {bridge}"
    return f"{dict(row['external_ids'][1]).get('iface-id')} on {bridge}"


def _has(bridge: Mapping[str, Any], port: Any) -> bool:
    kind, ports = bridge["ports"]
    return bool(port in ports if kind == "set" else bridge["ports"] == port)


def _more(seen: Mapping[str, Any], target: Target) -> tuple[str, ...]:
    """What else there is of a VM."""
    mark, _ = seen["marks"].get(target.name, ("", ""))
    status = seen["waiting"].get(target.name)
    saved = seen["snapshots"].get(target.image, 0)
    names = {Path(path).name for there in seen["files"].values() for path in there}
    comes = any(_comes(name, target.image) for name in names)
    rows = [row for row in seen["ovs"]["interface"] if row["name"] in target.taps]
    queues = {seen["links"][tap]["qdisc"] for tap in target.taps if tap in seen["links"]}
    pulled = any("vmops-link" in str(row["external_ids"]) for row in rows)
    return (
        *((SEED,) if target.seeded and target.name in seen["seeds"] else ()),
        *((f"mark {mark}",) if mark else ()),
        *((GUEST_RUNS,) if mark == "receiving" and status == "running" else ()),
        *(("memory",) if f"memory-{target.name}" in names else ()),
        *((f"{saved} snapshots",) if saved else ()),
        *(("a disk that comes",) if comes else ()),
        *(("a cable pulled",) if pulled else ()),
        *(("a slow line",) if queues & {"tbf", "netem"} else ()),
        *TOLD.get(seen["agents"].get(target.name, ""), ()),
    )


def _comes(name: str, file: str) -> bool:
    """A file on its way from another worker, before it has its name."""
    return re.fullmatch(rf"arrived-[0-9a-f]+-{re.escape(file)}(\.part)?", name) is not None


def _named(seen: Mapping[str, Any], name: str) -> list[Any] | None:
    """The file of that name, wherever it lies."""
    paths = {path: state for there in seen["files"].values() for path, state in there.items()}
    return next((state for path, state in paths.items() if path.endswith(f"/{name}")), None)


def _disk(seen: Mapping[str, Any], target: Target) -> str:
    found = _named(seen, target.image)
    size = f"{found[-1] / 2**30:g}" if found else ""
    return f"{size} unfinished" if _named(seen, f"{target.image}.new") else size


def _image_state(seen: Mapping[str, Any], image: Image) -> str:
    found = _named(seen, image.base.name)
    if found is not None:
        return "whole" if found[-2] == image.base.digest else "damaged"
    part = _named(seen, f"{image.base.name}.part")
    return "partial" if part and part[-3] else "absent"


def tag_of(column: object) -> int | None:
    """A tag as OVSDB writes it: a number, or an empty set."""
    return column if isinstance(column, int) else None


def _others(
    seen: Mapping[str, Any],
    processes: Sequence[Mapping[str, Any]],
    targets: Sequence[Target],
    images: Sequence[Image],
) -> dict[str, Any]:
    """Everything beside the targets, flat: what it is, and how it looks."""
    taps = {tap for target in targets for tap in target.taps}
    files = [target.image for target in targets] + [image.base.name for image in images]
    files += [target.file_of(name) for target in targets for name in FURTHER]
    files += [f"{what}-{target.name}" for target in targets for what in ("memory", "moving")]
    own_files = {f"{name}{end}" for name in files for end in ("", ".new", ".part")}
    taps |= things.devices() | {row["name"] for row in things.tunnels(seen)}
    own = {row["_uuid"][1] for row in seen["ovs"]["port"] if row["name"] in taps}
    found: dict[str, Any] = {f"process {p['pid']}": p for p in processes}
    # OVN's own daemons make that bridge, and write into it.
    taps.add(overlay.BRIDGE)
    found |= {f"link {name}": link for name, link in seen["links"].items() if name not in taps}
    for table in ("port", "interface"):
        for row in seen["ovs"][table]:
            if row["name"] not in taps:
                found[f"{table} {row['name']}"] = row
    for row in seen["ovs"]["bridge"]:
        if row["name"] == overlay.BRIDGE:
            continue
        kind, ports = row["ports"]
        every = [ports] if kind == "uuid" else [port for _, port in ports]
        found[f"bridge {row['name']}"] = {**row, "ports": sorted(set(every) - own)}
    for there in seen["files"].values():
        for path, state in there.items():
            name = Path(path).name
            if name not in own_files and not any(_comes(name, file) for file in files):
                found[f"file {path}"] = state
    return found | things.others(seen)


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What has come, gone or changed, a line for each."""
    lines = []
    for name in sorted(before.keys() | after.keys()):
        if name not in after:
            lines.append(f"gone: {name} {_short(before[name])}")
        elif name not in before:
            lines.append(f"new: {name} {_short(after[name])}")
        elif before[name] != after[name]:
            lines.append(f"changed: {name}: {_change(before[name], after[name])}")
    return lines


def _change(before: object, after: object) -> str:
    if isinstance(before, dict) and isinstance(after, dict):
        keys = [key for key in before if before[key] != after.get(key)]
        return "; ".join(f"{key} was {before[key]}, is {after.get(key)}" for key in keys)
    return f"was {_short(before)}, is {_short(after)}"


def _short(value: object) -> str:
    if isinstance(value, dict) and "argv" in value:
        value = " ".join(value["argv"])
    text = str(value).replace("\n", " ")
    return text if len(text) <= 160 else f"{text[:160]}..."
