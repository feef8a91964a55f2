"""What runs: the run directories, and the process behind each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from vmops.core.devices import disk, machine
from vmops.core.devices.disk import NO_BASES, Bases
from vmops.core.devices.seed import drive
from vmops.core.devices.storage import boot, further
from vmops.core.facts import logs
from vmops.core.facts.question import Question, text_of
from vmops.core.inventory.guest.told import Written
from vmops.core.inventory.model import VM
from vmops.core.names import RunDirectory
from vmops.core.script.command import FACT_BYTES, StepResult, command
from vmops.core.tools import image_chain, process
from vmops.core.tools.image_chain import Chain
from vmops.core.tools.process import Process
from vmops.errors import WorkFailed

State = Literal["running", "stopped", "crashed", "unknown"]


class RunningVM(NamedTuple):
    """What /run/vmops/NAME and /proc say of one VM.

    `process` is there only when it is this VM's QEMU. `pid` is its PID, or what its pidfile names:
    QEMU removes the file when it ends by itself and leaves it when it is killed. `odd` is that
    something else lies in its place, and nothing else tells which process it is, so that nothing is
    known. `ended` is that vmops has ended it, or is about to; `adopted` that somebody else has
    started it. `taps` are those that the process has open, by the kernel; None where that was not
    looked at or could not be. `seed` is the instance-id of what its guest was told, empty for
    nothing.
    """

    name: str
    directory: bool = False
    pid: int | None = None
    process: Process | None = None
    odd: bool = False
    ended: bool = False
    adopted: bool = False
    taps: frozenset[str] | None = None
    seed: str = ""

    @property
    def state(self) -> State:
        """`crashed` when a pidfile is left, its process is not, and vmops has not ended that;
        `unknown` when it is odd."""
        if self.process is not None:
            return "running"
        if self.odd:
            return "unknown"
        return "stopped" if self.pid is None or self.ended else "crashed"

    @property
    def powered_off(self) -> bool:
        """True when it ended by itself, and nobody has removed what it left."""
        return self.directory and self.pid is None and not self.odd and not self.ended

    def doubt(self, worker: str) -> WorkFailed:
        """The error for a VM of which it is not known whether it runs."""
        pidfile = RunDirectory(self.name).pidfile
        return WorkFailed(
            "it is not known whether it runs: what is in its pidfile's place was not written by"
            " QEMU",
            worker=worker,
            vm=self.name,
            cure=f"see there: sudo ls -l {pidfile}; remove it if no QEMU runs with it: "
            f"pgrep -fa {pidfile}",
        )

    @property
    def command_line(self) -> machine.CommandLine:
        """What the running QEMU was started with."""
        return machine.parse(self.process.argv if self.process else ())

    @property
    def own_taps(self) -> frozenset[str]:
        """The TAPs that are its process's: those it was started with, and those it has open."""
        started_with = (card.tap for card in self.command_line.nics)
        return frozenset(started_with) | (self.taps or frozenset())

    def lacks_tap(self, tap: str) -> bool:
        """True where it runs and its process does not have that TAP open, which may be there."""
        return self.process is not None and self.taps is not None and tap not in self.taps

    def started_with(self, tap: str) -> bool:
        """True where it runs and was started with a card at that TAP."""
        return any(card.tap == tap for card in self.command_line.nics)


def _vms(said: StepResult) -> dict[str, RunningVM]:
    return {vm: _vm(vm, raw) for vm, raw in said.parts}


def _vm(name: str, raw: bytes) -> RunningVM:
    """One VM, from what was said of its directory, its record, its pidfile, and of the process."""
    *said, facts = (raw.split(b"\n", 5) + [b""] * 5)[:6]
    directory, record, pidfile, seed, taps = (
        line.decode(errors="replace").split(" ") for line in said
    )
    if directory[0] != "directory":
        return RunningVM(name)
    known = record[1:] if record[1:] != [""] else []
    found = process.parse(facts)
    if found is not None and _is_of(found, name, directory[-1], known):
        adopted = "adopted" in known
        return RunningVM(
            name,
            directory=True,
            pid=found.pid,
            process=found,
            adopted=adopted,
            taps=None if "?" in taps else frozenset(taps[1:]),
            seed=seed[-1],
        )
    left, ended = pidfile[-1], "ended" in known
    if left == "odd":
        pid = int(known[0]) if known else None
        return RunningVM(name, directory=True, pid=pid, odd=not known, ended=ended)
    pid = int(left) if left.isdecimal() else None
    return RunningVM(name, directory=True, pid=pid, ended=ended)


def _is_of(found: Process, name: str, group: str, record: Sequence[str]) -> bool:
    """True for the VM's QEMU: by PID, start time and user, as root has written them down.

    Without a record (an older version has started it, or its start was cut short) by its command
    line, and its user has to be the group of the directory.
    """
    if record:
        return [str(found.pid), str(found.started), str(found.uid)] == list(record[:3])
    return str(found.uid) == group and machine.is_of(found.argv, name)


RUNNING = Question(
    "running VMs",
    (logs.trim(), command("all_vm_facts", most_bytes=FACT_BYTES)),
    _vms,
    time_limit_s=30.0,
)
"""Every VM that has a run directory, by name. Quick, for who asks often."""


def images(vms: Sequence[VM], bases: Bases = NO_BASES) -> Question[Mapping[str, Chain]]:
    """The images of these VMs and all behind each, by path as written, as the SSH user finds them;
    and of the inventory's images that they have, those that are known, by `disk.key_of_base`.

    QEMU opens images as root: see tools/image_chain.py.
    """
    asked = {vm.qcow_image: (vm.qcow_image, disk.FORMAT) for vm in vms}
    for vm in vms:
        asked |= boot.asked(vm)
        for each in vm.disks:
            path = further.path_of(vm, each)
            asked[path] = (path, each.format)
    for name in {vm.image for vm in vms if vm.image}:
        if base := bases.get(name):
            asked[disk.key_of_base(name)] = (base.path, image_chain.as_base(base.format))

    def read(said: StepResult) -> Mapping[str, Chain]:
        chains = image_chain.parse_several(text_of(said))
        if len(chains) != len(asked):
            raise ValueError(f"{len(chains)} answers to {len(asked)} questions")
        return dict(zip(asked, chains, strict=True))

    commands = (image_chain.read_chains(list(asked.values())),)
    return Question("images", commands if asked else (), read)


def seeds(vms: Sequence[VM]) -> Question[Mapping[str, Written]]:
    """What the guests of VMs were told that run with another seed than they are to have now."""
    words = [word for vm in vms for word in (vm.name, _wanted_seed(vm))]

    def read(said: StepResult) -> Mapping[str, Written]:
        return {vm: _seed(raw) for vm, raw in said.parts}

    most = len(vms) * _SEED_BYTES
    asked = (command("other_seeds", *words, most_bytes=most),) if vms else ()
    return Question("seeds", asked, read)


_SEED_BYTES = 4 << 20
"""Room for one of them."""


def _wanted_seed(vm: VM) -> str:
    return "-" if vm.seed is None else drive.instance_of(vm.seed)


def _seed(raw: bytes) -> Written:
    import zlib
    from base64 import b64decode

    instance, _, packed = raw.partition(b"\n")
    try:
        cd = zlib.decompressobj(wbits=31).decompress(b64decode(packed), _SEED_BYTES)
        return Written(instance.decode(), cd)
    except zlib.error as error:
        raise ValueError(str(error)) from error
