"""A worker that exists in memory only: what the steps of a plan mean, and a script's way with them.

Blocks are carried out as `core/script/render.py` writes them: guards, flags, batches, what several
blocks do together, and undo. Any command may fail, and the script may be ended in the middle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from vmops.core.devices import machine
from vmops.core.facts.host import Host
from vmops.core.facts.observed import Observed
from vmops.core.facts.vms import RunningVM
from vmops.core.inventory.networks.impairment import Impaired
from vmops.core.script import groups
from vmops.core.script.command import (
    Batch,
    Block,
    BlockResult,
    Command,
    Outcome,
    Step,
    StepResult,
    Word,
)
from vmops.core.tools import ip, ovs, qmp
from vmops.core.tools.image_chain import Chain
from vmops.core.tools.lines import tc
from vmops.core.tools.monitor import Heard
from vmops.core.tools.process import Process

from . import life, wiring
from .parts import Cut, Directory, Failed, Fault, Qemu
from .wiring import read_queue

_Meaning = Callable[["Simulated", list[str], str], "str | None"]

_COMMANDS: dict[str, _Meaning] = {**wiring.MEANINGS, **life.MEANINGS}
"""Every command that a plan may hold. One that is missing has to be given its meaning first."""

_OF_SWITCH = ("vsctl", "ovs-vsctl", "holds_ports", "holds_trunks", "remove_own_ports")


@dataclass
class Simulated:
    """The worker's state, and what runs on it. Nothing here knows what a plan wants."""

    host: Host
    bridges: tuple[str, ...] = ("br-int",)
    taps: dict[str, ip.Tap] = field(default_factory=dict)
    ports: dict[str, ovs.Port] = field(default_factory=dict)
    processes: dict[int, Qemu] = field(default_factory=dict)
    directories: dict[str, Directory] = field(default_factory=dict)
    images: dict[str, Chain] = field(default_factory=dict)
    clock: int = 100
    fault: Fault | None = None
    commands: int = 0
    fired: bool = False
    trunks: set[str] = field(default_factory=set)
    """Ports that had no tag when the script began."""
    queues: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """tc's words of the queue at each device that has one."""
    wrong: list[str] = field(default_factory=list)
    """What must never happen and did."""

    # What a look at it shows

    def observed(self) -> Observed:
        """All its facts."""
        used = {tap for qemu in self.processes.values() for tap in qemu.taps}
        ports = {
            name: port._replace(
                ofport=1 if name in self.taps else -1,
                error="" if name in self.taps else f"could not open network device {name}",
            )
            for name, port in self.ports.items()
        }
        screens = {machine.parse(qemu.argv).screen.port for qemu in self.processes.values()}
        running = {vm: self.vm(vm) for vm in self.directories}
        return Observed(
            self.host,
            ovs.Switch(dict.fromkeys(self.bridges, "system"), ports),
            taps={name: tap._replace(in_use=name in used) for name, tap in self.taps.items()},
            listening=frozenset(screens - {0}),
            vms=running,
            images=self.images,
            impaired={
                tap: Impaired(
                    read_queue(self.queues.get(tap, ())),
                    read_queue(self.queues[mirror]),
                )
                if (mirror := tc.mirror(tap)) in self.queues
                else Impaired(read_queue(self.queues[tap]))
                for tap in self.taps
                if tap in self.queues or tc.mirror(tap) in self.queues
            },
            monitors={
                name: Heard(name, answers=({"status": qmp.RUNNING}, *_drives(self, found)))
                for name, found in running.items()
                if found.process and self.processes[found.process.pid].listens
            },
        )

    def vm(self, name: str) -> RunningVM:
        """What is seen of one VM."""
        if name not in self.directories:
            return RunningVM(name)
        directory = self.directories[name]
        pid = directory.record or directory.pidfile
        found = self.processes.get(pid) if pid else None
        if pid is None or found is None or not machine.is_of(found.argv, name):
            left = directory.pidfile
            return RunningVM(name, directory=True, pid=left, ended=directory.ended)
        state = "T" if found.held else "S"
        process = Process(pid, found.started, state, cpu_ticks=0, rss_kib=1024, argv=found.argv)
        seed = directory.seed
        return RunningVM(name, directory=True, pid=pid, process=process, seed=seed)

    def qemus(self, vm: str) -> list[int]:
        """The PIDs of all QEMUs of a VM, whatever a pidfile says."""
        return [pid for pid, qemu in self.processes.items() if qemu.vm == vm]

    def ends(self, pid: int, *, cleanly: bool) -> None:
        """A QEMU is no more; on a clean exit it removes its pidfile."""
        vm = self.processes.pop(pid).vm
        if cleanly and vm in self.directories and self.directories[vm].pidfile == pid:
            self.directories[vm].pidfile = None

    def begins(self, qemu: Qemu) -> int:
        """A process begins: its PID."""
        self.clock += 1
        self.processes[self.clock] = qemu
        return self.clock

    # Scripts

    def run(self, blocks: Sequence[Block], *, lanes: int = 1) -> list[BlockResult]:
        """One script with these blocks. Raises Cut."""
        self.commands = 0
        self.trunks = {name for name, port in self.ports.items() if port.tag is None}
        if min(lanes, len(blocks)) < 2:
            return [_Run(self, block).whole() for block in blocks]
        found: dict[int, BlockResult] = {}
        for numbers in groups.groups(blocks):
            for number, run in zip(numbers, self._group([blocks[n] for n in numbers]), strict=True):
                found[number] = run.whole()
        return [found[number] for number in range(len(blocks))]

    def _group(self, blocks: Sequence[Block]) -> list[_Run]:
        """Blocks of a group, after what they do together."""
        runs = [_Run(self, block) for block in blocks]
        if len(blocks) < 2:
            return runs
        joining = [run.guards_hold() for run in runs]
        flags = {groups.flag(place) for place, joins in enumerate(joining) if joins}
        steps = [found[1] for block in blocks if (found := groups.step_of(block))]
        try:
            for entry in groups.commands(steps):
                self.command(entry, flags)
            joined = True
        except Failed:
            joined = False
            self.all_of(groups.undo(steps), flags)
        for run, joins in zip(runs, joining, strict=True):
            run.locked = joins
            run.joined = joins and joined
        return runs

    def all_of(self, commands: Sequence[Command], flags: set[str]) -> bool:
        """An undo: each of its commands, whatever the ones before did."""
        results = []
        for entry in commands:
            try:
                self.command(entry, flags)
            except Failed:
                results.append(False)
        return not results

    def command(self, entry: Command, flags: set[str]) -> str:
        """One command: what it printed. Raises Failed or Cut."""
        words = list(_resolved(entry.argv, flags))
        if words[:1] == ["only_if"]:
            words = words[2:] if words[1] in flags else []
        if not words:
            return ""
        number, self.commands = self.commands, self.commands + 1
        fault = self.fault
        due = fault is not None and number == fault.at
        if fault is not None and fault.lasts and words[0] in _OF_SWITCH:
            due = number >= fault.at
        if due and fault is not None:
            self.fired = True
            if fault.manner == "cut":
                raise Cut
            if fault.manner == "refused":
                raise Failed(words[0])
        assert words[0] in _COMMANDS, f"what does {words[0]} mean? Say it in tests/unit/simulated"
        said = _COMMANDS[words[0]](self, words[1:], (entry.stdin or b"").decode(errors="replace"))
        self._see_that_nothing_is_doubled()
        if due and fault is not None and fault.manner == "reported":
            raise Failed(words[0])
        return said or ""

    def is_gone(self) -> bool:
        """True when the operator is not there any more to read what the script says."""
        fault = self.fault
        gone = fault is not None and fault.manner == "gone" and self.commands > fault.at
        self.fired = self.fired or gone
        return gone

    def _see_that_nothing_is_doubled(self) -> None:
        names = [qemu.vm for qemu in self.processes.values() if qemu.vm]
        self.wrong += [f"two QEMUs of {vm}" for vm in names if names.count(vm) > 1]

    def copy(self) -> Simulated:
        """The same worker, on which something else may happen."""
        return replace(
            self,
            taps=dict(self.taps),
            ports=dict(self.ports),
            processes={
                pid: replace(qemu, disks=dict(qemu.disks), cards=set(qemu.cards))
                for pid, qemu in self.processes.items()
            },
            images=dict(self.images),
            queues=dict(self.queues),
            directories={vm: replace(found) for vm, found in self.directories.items()},
            wrong=list(self.wrong),
        )


def _drives(worker: Simulated, found: RunningVM) -> tuple[Any, ...]:
    return worker.processes[found.process.pid].drives() if found.process else ()


def _resolved(argv: Sequence[Word], flags: set[str]) -> Iterator[str]:
    for word in argv:
        if isinstance(word, str):
            yield word
        elif word.flag in flags:
            yield from word.words


class _Run:
    """A block on its way, as `render._block` writes it and frames.sh carries it out."""

    def __init__(self, worker: Simulated, block: Block) -> None:
        self.worker, self.block = worker, block
        self.steps = block.numbered()
        self.finishes = not any(step.undo for step in self.steps)
        self.flags: set[str] = set()
        self.kept: list[int] = []
        self.done: list[StepResult] = []
        self.undone: list[StepResult] = []
        self.locked = self.joined = False

    def whole(self) -> BlockResult:
        """The block from its beginning to its end. Raises Cut."""
        outcome = self._outcome()
        return BlockResult(self.block.subject, outcome, tuple(self.done), tuple(self.undone))

    def guards_hold(self) -> bool:
        """A guard fails for a reason only: then somebody else has been there."""
        fault, self.worker.fault = self.worker.fault, None
        try:
            for entry in self.block.guards:
                self.worker.command(entry, set())
        except Failed:
            return False
        finally:
            self.worker.fault = fault
        return True

    def _outcome(self) -> Outcome:
        for index, step in enumerate(self.block.before):
            if not self._step(index, step):
                return "failed"
        if not self.locked and not self.guards_hold():
            return "changed"
        index = len(self.block.before)
        for entry in self.block.steps:
            if isinstance(entry, Batch):
                if not self._batch(index, entry):
                    return "failed"
                index += 1 + len(entry.apart)
            else:
                if not self._step(index, entry):
                    return "failed"
                index += 1
        if not self._goes_on():
            self._fail()
            return "failed"
        return "done"

    def _batch(self, index: int, batch: Batch) -> bool:
        if self._works(index, batch.together):
            return True
        self._undo(index)
        return all(self._step(index + n, step) for n, step in enumerate(batch.apart, start=1))

    def _step(self, index: int, step: Step) -> bool:
        """False when the block ends here."""
        if self._works(index, step):
            return True
        if step.may_fail:
            self._undo(index)
            return True
        self._fail(index)
        return False

    def _works(self, index: int, step: Step) -> bool:
        if not self._goes_on():
            return False
        said = ""
        code = 0
        if not (self.joined and step.joint):
            try:
                for entry in step.commands:
                    said += self.worker.command(entry, self.flags)
            except Failed:
                code = 1
        self.done.append(StepResult(step, code, said.encode()))
        if code or not self._goes_on():
            return False
        self.kept.insert(0, index)
        self.flags |= set(step.sets)
        return True

    def _goes_on(self) -> bool:
        return self.finishes or not self.worker.is_gone()

    def _fail(self, *steps: int) -> None:
        for index in (*steps, *self.kept):
            self._undo(index)

    def _undo(self, index: int) -> None:
        ok = self.worker.all_of(self.steps[index].undo, self.flags)
        self.undone.append(StepResult(self.steps[index], 0 if ok else 1))
