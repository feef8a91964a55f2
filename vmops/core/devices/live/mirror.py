"""A live migration in the words of QEMU's monitor: disks that are mirrored, memory that follows.

The QEMU that a VM leaves writes to sockets in its run directory (shell/way.pl), the one that waits
for it listens on sockets in its own: no port is opened on either worker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from vmops.core.devices.live import sending
from vmops.core.names import RunDirectory
from vmops.core.script.command import Command, Step, command
from vmops.core.tools import monitor
from vmops.core.tools.monitor import Await, Heard, Line, Need, Talk
from vmops.core.tools.qmp import RESUME, STATUS, Request

WAIT, WAY, MIRROR, UNMIRROR, HAND_OVER, RUN_ON = (
    "wait for it",
    "way",
    "mirror disks",
    "end mirrors",
    "hand over",
    "run on",
)

NBD, RAM = "nbd", "ram"
"""The two streams, and the names of their sockets."""

MEMORY_LIMIT_S = 1800.0
"""How long the memory of a guest may take. One that changes it faster than it can be sent is slowed
down more and more; then it is given up."""

_SPARE = 3


def most_streams(disks: int) -> int:
    """How many connections QEMU may make in a move: one for each disk, one for its memory, and
    few more. It may be its guest's by now, and each costs threads here and processes there."""
    return disks + 1 + _SPARE


PATIENCE_S = 60
SILENCE_S = 20
"""How long whoever carries what QEMU says may take to come for it, and may say nothing later."""

_FAILED = "QEMU could not send its memory, or could not let go of its disks"

_MIGRATION = "MIGRATION"
_ANSWER_LIMIT_S = 60.0
_JOB_LIMIT_S = 60.0


class Tuning(NamedTuple):
    """How long the guest may stand still for the last of its memory, and how much may be sent in a
    second; 0 is as much as there is room for."""

    downtime_ms: int = 300
    bandwidth_mbit: int = 0

    @property
    def bytes_s(self) -> int:
        """What may be sent in a second, in bytes; 0 without a limit."""
        return self.bandwidth_mbit * 1_000_000 // 8


class Mirrored(NamedTuple):
    """A disk of a VM: its name, what QEMU calls it at the source, and its node where it goes."""

    name: str
    device: str
    node: str

    @property
    def job(self) -> str:
        """The job that mirrors it, and the node that it writes to."""
        return f"move-{self.name}"


def waiting(vm: str, disks: Sequence[Mirrored]) -> Step:
    """Have a QEMU that was started for it listen for these disks and memory."""
    run = RunDirectory(vm)
    lines: list[Line] = [sending.told("return-path")]
    lines += [_nbd_server(run)] if disks else []
    for disk in disks:
        export = {"type": "nbd", "id": disk.job, "node-name": disk.node, "name": disk.name}
        lines.append(Request("block-export-add", {**export, "writable": True}))
    lines.append(Request("migrate-incoming", {"uri": f"unix:{run.way(RAM)}"}))
    streams = (NBD, RAM) if disks else (RAM,)
    names = (run.way(stream).rpartition("/")[2] for stream in streams)
    return Step(WAIT, (_talk(vm, *lines), command("open_sockets", vm, *names)))


def _nbd_server(run: RunDirectory) -> Request:
    address = {"type": "unix", "data": {"path": run.way(NBD)}}
    return Request("nbd-server-start", {"addr": address})


def opening_way(vm: str, *, uid: int, disks: int) -> Step:
    """Make the sockets of the source; they go when whoever carries what is said there has gone, or
    is silent, and when QEMU comes to them more often than so many disks take."""
    words = (str(uid), str(PATIENCE_S), str(SILENCE_S), str(most_streams(disks)))
    return Step(WAY, (command("open_way", vm, *words),))


def mirroring(vm: str, disk: Mirrored, tuning: Tuning) -> Step:
    """Begin to write a disk, and all that is written to it from now on, to the destination's. What
    it stands on is there. Undone, it is not mirrored any more."""
    server = {"type": "unix", "path": RunDirectory(vm).way(NBD)}
    node = {"driver": "nbd", "node-name": disk.job, "server": server, "export": disk.name}
    job: dict[str, Any] = {"job-id": disk.job, "device": disk.device, "target": disk.job}
    # Whether one came to its end only the list of jobs says, while it has not been dismissed.
    job |= {"sync": "top", "auto-dismiss": False, "speed": tuning.bytes_s}
    talk = _talk(vm, Request("blockdev-add", node), Request("blockdev-mirror", job))
    return Step(f"{MIRROR} {disk.name}", (talk,), undo=_ended(vm, disk), about=(disk.name,))


def unmirroring(vm: str, disks: Sequence[Mirrored]) -> Step:
    """End what mirrors these disks; absent is fine."""
    return Step(UNMIRROR, tuple(each for disk in disks for each in _ended(vm, disk)))


def _ended(vm: str, disk: Mirrored) -> tuple[Command, ...]:
    stop = Request("block-job-cancel", {"device": disk.job, "force": True})
    over = Await("JOB_STATUS_CHANGE", _JOB_LIMIT_S, '"status": "concluded"', then="go on")
    return (
        _wrapped("never_mind", _talk(vm, stop, over)),
        _wrapped("take_back", _talk(vm, Request("job-dismiss", {"id": disk.job}))),
        _wrapped("take_back", _talk(vm, Request("blockdev-del", {"node-name": disk.job}))),
    )


JOBS = Request("query-block-jobs")


class Mirrors(NamedTuple):
    """How far the mirrors are, in bytes, and whether each has come to where it only follows."""

    done: int
    total: int
    is_ready: bool


def read_mirrors(jobs: Any, disks: Sequence[Mirrored]) -> Mirrors:
    """From the answer to `JOBS`. Raises ValueError with the reason where one of them has ended."""
    try:
        known = {str(job["device"]): job for job in jobs}
        found = [known[disk.job] for disk in disks if disk.job in known]
        if len(found) < len(disks):
            raise ValueError("the mirror of a disk has ended")
        for job in found:
            if job.get("error") or job["status"] in ("aborting", "concluded", "null"):
                raise ValueError(str(job.get("error") or "the mirror of a disk has ended"))
        return Mirrors(
            sum(int(job["offset"]) for job in found),
            sum(int(job["len"]) for job in found),
            all(job["ready"] is True for job in found),
        )
    except (KeyError, TypeError, AttributeError) as missing:
        raise ValueError(f"the list of its jobs lacks {missing}") from missing


def handing_over(vm: str, disks: Sequence[Mirrored], tuning: Tuning) -> Step:
    """Send its memory; stop its guest, finish the mirrors, send what is left. When that is done the
    destination has said that it has all of it. Undone before, the guest runs on."""
    run = RunDirectory(vm)
    jobs: list[Line] = []
    for disk in disks:
        jobs.append(Request("block-job-cancel", {"device": disk.job}))
        over = f'"device": "{disk.job}"'
        jobs.append(Await("BLOCK_JOB_COMPLETED", _JOB_LIMIT_S, over, then="go on"))
    dismissed = (Request("job-dismiss", {"id": disk.job}) for disk in disks)
    lines: tuple[Line, ...] = (
        sending.told("return-path", "pause-before-switchover", "auto-converge"),
        sending.limits(bytes_s=tuning.bytes_s, downtime_ms=tuning.downtime_ms),
        Request("migrate", {"uri": f"unix:{run.way(RAM)}"}),
        _came("pre-switchover"),
        Request("query-migrate"),
        Need('"status": "pre-switchover"'),
        *jobs,
        Request("query-jobs"),
        Need('"error": "', absent=True),
        *dismissed,
        Request("migrate-continue", {"state": "pre-switchover"}),
        _came("completed"),
        Request("query-migrate"),
        Need('"status": "completed"'),
    )
    # One that was cancelled, or has failed, lets its guest run on by itself.
    cancel = _wrapped(
        "never_mind", _talk(vm, Request("migrate_cancel"), _came("cancelled", "stop"))
    )
    undo = (cancel, *(each for disk in disks for each in _ended(vm, disk)))
    return Step(HAND_OVER, (_talk(vm, *lines),), undo=undo)


def _came(status: str, then: Any = "go on") -> Await:
    texts = tuple(f'"status": "{word}"' for word in (status, "failed"))
    return Await(_MIGRATION, MEMORY_LIMIT_S if then == "go on" else 5.0, texts, then=then)


def why(heard: Heard) -> str:
    """In words, why a talk of a move did not come to its end."""
    for answer in heard.answers:
        if isinstance(answer, Mapping) and answer.get("status") == "failed":
            said = answer.get("error-desc")
            return f"{_FAILED}: {said}" if said else _FAILED
        for job in answer if isinstance(answer, list) else ():
            if isinstance(job, Mapping) and job.get("error"):
                return f"QEMU says of a disk: {job['error']}"
    return monitor.why(heard)


def was_sent(vm: str) -> Command:
    """That the VM's memory was sent, and its guest stands still since."""
    return _talk(vm, STATUS, Need('"status": "postmigrate"'))


def taking(vm: str, *, mirrored: bool = True) -> Step:
    """See that all has come, and let go of the sockets of disks that were `mirrored`: a guest gets
    these only then."""
    come: tuple[Line, ...] = (Request("query-migrate"), Need('"status": "completed"'))
    if not mirrored:
        return Step("has come", (_talk(vm, *come),))
    # One that was cut behind this has closed them already.
    talk = _talk(vm, *come, Request("nbd-server-stop"))
    return Step("has come", (_wrapped("take_back", talk),))


def running_on(vm: str) -> Step:
    """Let the guest run, and tell the switches where it is by now."""
    told = {"initial": 50, "max": 550, "rounds": 5, "step": 50}
    lines = (RESUME, Request("announce-self", told), STATUS, Need('"running": true'))
    return Step(RUN_ON, (_talk(vm, *lines),))


def back_to_life(vm: str) -> Step:
    """Let a guest run on whose memory was sent in vain."""
    return Step(RUN_ON, (_talk(vm, RESUME, STATUS, Need('"running": true')),))


def _talk(vm: str, *lines: Line) -> Command:
    return monitor.talk([Talk(vm, lines, _ANSWER_LIMIT_S)])


def _wrapped(name: str, entry: Command) -> Command:
    return entry._replace(argv=(name, *entry.argv))


# What two QEMUs have to have in common

LOOK = (
    Request("query-block"),
    Request("query-cpus-fast"),
    Request("qom-get", {"path": "/machine", "property": "type"}),
    Request("qom-get", {"path": "/machine/unattached/device[0]", "property": "feature-words"}),
)
"""What `read_machine` reads."""


class Machine(NamedTuple):
    """What a machine is: QEMU's word for its type, with its version, and what its CPUs can do, by
    the register that says so. `snapshots` are those that its disks hold."""

    type: str
    features: Mapping[str, int]
    snapshots: tuple[str, ...] = ()


def read_machine(answers: Sequence[Any]) -> Machine:
    """From what `LOOK` was answered. Raises ValueError where that cannot be read."""
    try:
        drives, _, kind, words = answers
        kept = [
            str(one["name"]).partition(" ")[0]
            for drive in drives
            for one in drive.get("inserted", {}).get("image", {}).get("snapshots", ())
        ]
        return Machine(str(kind).removesuffix("-machine"), _features(words), tuple(kept))
    except (KeyError, TypeError, AttributeError, ValueError) as unreadable:
        raise ValueError(f"the monitor's answer lacks {unreadable}") from unreadable


def _features(words: Any) -> dict[str, int]:
    return {
        f"{one['cpuid-input-eax']:x}.{one.get('cpuid-input-ecx', 0):x}."
        f"{one['cpuid-register'].lower()}": int(one["features"])
        for one in words
    }


def lacking(here: Mapping[str, int], there: Mapping[str, int]) -> tuple[str, ...]:
    """The bits that a CPU has here and would not have there, by register."""
    return tuple(
        f"{register} bit {bit}"
        for register, features in here.items()
        for bit in range(32)
        if features >> bit & 1 and not there.get(register, 0) >> bit & 1
    )
