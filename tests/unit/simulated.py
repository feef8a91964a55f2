"""A worker that exists in memory only: what the steps of a plan mean, and a script's way with them.

Blocks are carried out as `core/script/render.py` writes them: guards, flags, batches, what several
blocks do together, and undo. Any command may fail, and the script may be ended in the middle.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, cast

from vmops.core.devices import machine
from vmops.core.devices.disk import is_missing, unobjectionable
from vmops.core.facts.host import Host
from vmops.core.facts.observed import Observed
from vmops.core.facts.vms import RunningVM
from vmops.core.inventory.networks.impairment import Impaired, Impairment
from vmops.core.names import RUN_ROOT
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
from vmops.core.tools.monitor import Heard, Refused
from vmops.core.tools.process import Process

Manner = Literal["refused", "reported", "cut", "gone"]
"""How a command fails: it does nothing; it does its work and is said to have failed; the script is
ended before it, and nothing is undone; the operator is gone by then."""


class Failed(Exception):
    """A command of the script ended with another code than 0."""


class Cut(Exception):
    """The script was ended in the middle: the worker lost its power, or root killed it."""


@dataclass
class Qemu:
    """A process that has TAPs open. `vm` is empty for one that somebody else has started.

    `disks` are its further ones: the file of each, and `cards` those that have a card. The guest of
    a `stubborn` one lets go of none.
    """

    started: int
    argv: tuple[str, ...]
    taps: tuple[str, ...]
    vm: str = ""
    held: bool = False
    deaf: bool = False
    stubborn: bool = False
    disks: dict[str, str] = field(default_factory=dict)
    cards: set[str] = field(default_factory=set)

    @property
    def listens(self) -> bool:
        """True where its monitor answers."""
        return not (self.held or self.deaf)

    def drives(self) -> tuple[Any, ...]:
        """What its monitor answers to what is asked of drives."""
        first = {"node-name": "#block1", "drv": "qcow2", "file": "/first", "ro": False}
        nodes = {
            name: {"node-name": f"disk-{name}", "drv": path.rpartition(".")[2], "file": path}
            for name, path in self.disks.items()
        }
        attached = [first, *(node for name, node in nodes.items() if name in self.cards)]
        blocks = [{"removable": False, "qdev": "", "inserted": node} for node in attached]
        return blocks, [], [first, *nodes.values()], Refused("no balloon")


@dataclass
class Directory:
    """A run directory: the process that root has written down, what the pidfile says, that vmops is
    ending the VM, and the instance-id of its seed."""

    record: int | None = None
    pidfile: int | None = None
    ended: bool = False
    seed: str = ""


class Fault(NamedTuple):
    """Which command fails, counted from 0, and how; `lasts` is that the switch fails from then on.

    It is found again in each script anew.
    """

    at: int
    manner: Manner
    lasts: bool = False


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
                tap: Impaired(_read(self.queues.get(tap, ())), _read(self.queues[mirror]))
                if (mirror := tc.mirror(tap)) in self.queues
                else Impaired(_read(self.queues[tap]))
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
        assert words[0] in _COMMANDS, f"what does {words[0]} mean? Say it in simulated.py"
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


# What the commands mean


def _need(condition: object, why: str) -> None:
    if not condition:
        raise Failed(why)


def _set_up_taps(w: Simulated, words: list[str], _: str) -> None:
    """It stops at the first line that fails. Where several VMs plug at once there are several
    words with lines: what holds no blank is a TAP."""
    for line in [line for word in words[1:] if " " in word for line in word.split("\n")]:
        what, *rest = shlex.split(line)[2:]
        if what == "tuntap":
            name = rest[rest.index("name") + 1]
            _need(name not in w.taps, "File exists")
            w.taps[name] = ip.Tap(up=False)
        else:
            name, alias = rest[rest.index("dev") + 1], rest[rest.index("alias") + 1]
            _need(name in w.taps, "Cannot find device")
            w.taps[name] = w.taps[name]._replace(alias=alias)


def _any_plugged(w: Simulated, words: list[str], _: str) -> None:
    _need(words, "no interface could be plugged")


def _raise_taps(w: Simulated, words: list[str], _: str) -> None:
    for name in words:
        _need(name in w.taps, "Cannot find device")
        w.taps[name] = w.taps[name]._replace(up=True)


def _restore_tap(w: Simulated, words: list[str], _: str) -> None:
    name, mark, alias, state, mtu = words
    if name in w.taps and w.taps[name].alias == mark:
        w.taps[name] = w.taps[name]._replace(alias=alias, up=state == "up", mtu=int(mtu))


def _read(words: Sequence[str]) -> Impairment:
    """What a queue of these words does."""
    said = dict(zip(words[1::2], words[2::2], strict=False))
    found = {key: float(re.sub(r"[a-z%]+$", "", value)) for key, value in said.items()}
    rate = found.get("rate", 0) / 1000
    return Impairment(found.get("delay", 0), 0, found.get("loss", 0), rate)


def _impair_in(w: Simulated, words: list[str], _: str) -> None:
    _need(words[0] in w.taps, "Cannot find device")
    w.queues[words[0]] = tuple(words[1:])


def _impair_out(w: Simulated, words: list[str], _: str) -> None:
    _need(words[0] in w.taps, "Cannot find device")
    w.queues[words[1]] = tuple(words[2:])


def _free_in(w: Simulated, words: list[str], _: str) -> None:
    w.queues.pop(words[0], None)


def _free_out(w: Simulated, words: list[str], _: str) -> None:
    w.queues.pop(words[1], None)


def _remove_tap(w: Simulated, name: str) -> None:
    w.taps.pop(name, None)
    w.queues.pop(name, None)
    w.queues.pop(tc.mirror(name), None)


def _remove_own_tap(w: Simulated, words: list[str], _: str) -> None:
    name, mark = words
    if name in w.taps and w.taps[name].alias == mark:
        _remove_tap(w, name)


def _remove_taps(w: Simulated, words: list[str], _: str) -> None:
    for name in re.findall(r"link set dev (\S+) group", words[0]):
        _remove_tap(w, name)


def _gone_taps(w: Simulated, words: list[str], _: str) -> None:
    _need(not set(words) & set(w.taps), "still there")


def _vsctl(w: Simulated, words: list[str], _: str) -> None:
    """One transaction: all of it, or nothing. What somebody has untagged is not its doing."""
    ports = dict(w.ports)
    change: list[list[str]] = [[]]
    for word in words:
        if word == "--":
            change.append([])
        else:
            change[-1].append(word)
    for entry in change[1:]:
        _change(w, ports, [word for word in entry if word != "--if-exists"], entry)
    for name, port in ports.items():
        is_open = port.tag is None and not port.trunks and name not in w.trunks
        if is_open and w.ports.get(name) != port:
            w.wrong.append(f"port {name} of {port.owner} has no tag")
    w.ports = ports


def _change(w: Simulated, ports: dict[str, ovs.Port], words: list[str], whole: list[str]) -> None:
    may_be_absent = "--if-exists" in whole
    what, *rest = words
    if what == "del-port":
        _need(may_be_absent or rest[0] in ports, "no port")
        ports.pop(rest[0], None)
        return
    if what == "add-port":
        bridge, name, *columns = rest
        _need(bridge in w.bridges and name not in ports, "no bridge, or a port of that name")
        ports[name] = _with(ovs.Port(name, bridge, None), columns)
        w.queues.pop(name, None)
        return
    assert what == "set", words
    _table, name, *columns = rest
    if name not in ports and may_be_absent:
        return
    _need(name in ports, "no row")
    ports[name] = _with(ports[name], columns)


def _with(port: ovs.Port, columns: Sequence[str]) -> ovs.Port:
    for column in columns:
        key, _, value = column.partition("=")
        if key.startswith("external_ids:"):
            mark = key.partition(":")[2]
            port = port._replace(external_ids={**port.external_ids, mark: json.loads(value)})
        elif key == "external_ids":
            pairs = re.findall(r'("(?:[^"\\]|\\.)*")=("(?:[^"\\]|\\.)*")', value)
            marks = {json.loads(mark): json.loads(said) for mark, said in pairs}
            port = port._replace(external_ids=marks)
        elif key == "tag":
            port = port._replace(tag=None if value == "[]" else int(value))
        elif key == "trunks":
            port = port._replace(trunks=tuple(json.loads(value)))
        elif key == "vlan_mode":
            port = port._replace(vlan_mode="" if value == "[]" else value)
        else:
            raise AssertionError(f"a column that is not known here: {column}")
    return port


def _holds_ports(w: Simulated, words: list[str], _: str) -> None:
    for name, tag in zip(words[::2], words[1::2], strict=True):
        _need(name in w.ports and name in w.taps, "the switch could not take it")
        _need(w.ports[name].tag == int(tag), "another tag")
        _need(w.taps[name].up, "does not stay up")


def _holds_trunks(w: Simulated, words: list[str], _: str) -> None:
    for at in range(0, len(words), 4):
        name, tag, trunks, mode = words[at : at + 4]
        _need(name in w.ports and name in w.taps, "the switch could not take it")
        port = w.ports[name]
        _need(port.tag == (None if tag == "[]" else int(tag)), "another tag")
        _need(list(port.trunks) == json.loads(trunks), "other trunks")
        _need(port.vlan_mode == mode, "another mode")
        _need(w.taps[name].up, "does not stay up")


def _remove_own_ports(w: Simulated, words: list[str], _: str) -> None:
    vm, *names = words
    for name in names:
        if name in w.ports and w.ports[name].external_ids.get(ovs.OWNER) == vm:
            del w.ports[name]


def _ls(w: Simulated, words: list[str], _: str) -> None:
    names = [word.removeprefix("/sys/class/net/") for word in words[1:]]
    _need(all(name in w.taps for name in names), "No such file or directory")


def _test(w: Simulated, words: list[str], _: str) -> None:
    assert words[:2] == ["!", "-e"], words
    _need(words[2].removeprefix(f"{RUN_ROOT}/") not in w.directories, "there is one")


def _not_running(w: Simulated, words: list[str], _: str) -> None:
    _need(w.vm(words[0]).process is None, "it runs")


def _still_running(w: Simulated, words: list[str], _: str) -> None:
    found = w.vm(words[0]).process
    _need(found and [str(found.pid), str(found.started)] == words[1:3], "another one runs, or none")


def _not_replaced(w: Simulated, words: list[str], _: str) -> None:
    found = w.directories.get(words[0], Directory())
    pid = found.record or found.pidfile
    _need(pid is None or str(pid) == words[1], "another one")


def _same_remains(w: Simulated, words: list[str], _: str) -> None:
    found = w.directories.get(words[0], Directory())
    _need(words[1] in (str(found.record), str(found.pidfile)), "another one left it")


def _is(w: Simulated, pid: str, started: str) -> bool:
    found = w.processes.get(int(pid))
    return found is not None and found.started == int(started)


def _note_end(w: Simulated, words: list[str], _: str) -> None:
    found = w.directories.get(words[0])
    if found is not None and found.record:
        found.ended = True


def _end_process(w: Simulated, words: list[str], _: str) -> str:
    pid, started, signal, _limit = words[1:]
    if not _is(w, pid, started):
        return ""
    _still_running(w, words, "")
    _note_end(w, words, "")
    found = w.processes[int(pid)]
    if not found.vm:
        w.wrong.append(f"a foreign process got SIG{signal}")
    _need(signal == "KILL" or not (found.held or found.deaf), "still there")
    w.ends(int(pid), cleanly=signal == "TERM")
    return f"SIG{signal}\n"


def _await_end(w: Simulated, words: list[str], _: str) -> None:
    _need(not _is(w, words[0], words[1]), "still there")


def _talk(w: Simulated, _: list[str], stdin: str) -> None:
    """Its guest powers off when the button is pressed, QEMU quits when it is told to, and disks
    come and go."""
    vm = stdin.split(" ")[1]
    found = w.vm(vm).process
    _need(found, "no socket")
    assert found is not None
    qemu = w.processes[found.pid]
    _need(qemu.listens, "busy")
    if '"system_powerdown"' in stdin or '"quit"' in stdin:
        w.ends(found.pid, cleanly=True)
    for line in stdin.split("\n")[1:]:
        what, rest = [*line.split(" ", 1), ""][:2]
        if what == "lack":
            nodes = [f'"node-name": "disk-{name}"' for name in qemu.disks]
            _need(bytes.fromhex(rest).decode() not in nodes, "other")
        elif what == "say":
            _of_drives(w, qemu, json.loads(rest))


def _of_drives(w: Simulated, qemu: Qemu, request: dict[str, Any]) -> None:
    given = request.get("arguments", {})
    name = str(given.get("node-name", given.get("id", ""))).removeprefix("disk-")
    if request["execute"] == "blockdev-add":
        _need(name not in qemu.disks, "Duplicate nodes")
        path = f"/home/ubuntu/vm_images/.vmops/disk-{qemu.vm}-{name}.{given['driver']}"
        qemu.disks[name] = path
        _need_file(w, path)
    elif request["execute"] == "device_add":
        _need(name in qemu.disks and name not in qemu.cards, "there is such a card")
        qemu.cards.add(name)
    elif request["execute"] == "device_del":
        _need(name in qemu.cards, "DeviceNotFound")
        _need(not qemu.stubborn, "silent")
        qemu.cards.remove(name)
    elif request["execute"] == "blockdev-del":
        _need(name in qemu.disks, "Failed to find node")
        _need(name not in qemu.cards, "is in use")
        del qemu.disks[name]
    else:
        known = ("query-named-block-nodes", "remove-fd", "system_powerdown", "query-status", "quit")
        assert request["execute"] in known, f"what does {request['execute']} mean?"


def _take_back(w: Simulated, words: list[str], stdin: str) -> None:
    try:
        _COMMANDS[words[0]](w, words[1:], stdin)
    except Failed as failed:
        _need(str(failed) in ("DeviceNotFound", "Failed to find node"), str(failed))


def _with_files(w: Simulated, words: list[str], stdin: str) -> None:
    _COMMANDS[words[0]](w, words[1:], stdin)


def _unless_file_open(w: Simulated, words: list[str], stdin: str) -> None:
    pid, path, command, *rest = words
    found = w.processes.get(int(pid))
    _need(found is None or path not in found.disks.values(), "still open")
    _COMMANDS[command](w, rest, stdin)


def _is_there(w: Simulated, path: str) -> bool:
    return not is_missing(w.images.get(path))


def _need_file(w: Simulated, path: str) -> None:
    _need(_is_there(w, path.replace("/home/ubuntu", "~")), "No such file")


def _make_disk(w: Simulated, words: list[str], _: str) -> None:
    format, path, size = words
    _no_disk(w, [path], "")
    (image,) = unobjectionable(path, format)
    w.images[path] = (image._replace(virtual_size=int(size)),)


def _no_disk(w: Simulated, words: list[str], _: str) -> None:
    _need(not _is_there(w, words[0]), "there is one")


def _remove_disk(w: Simulated, words: list[str], _: str) -> None:
    path = words[0].replace("~", "/home/ubuntu")
    if any(path in qemu.disks.values() for qemu in w.processes.values()):
        w.wrong.append(f"{path} went under a running QEMU")
    w.images.pop(words[0], None)


def _make_run_directory(w: Simulated, words: list[str], _: str) -> None:
    _need(words[0] not in w.directories, "File exists")
    w.directories[words[0]] = Directory()


def _bring_seed(w: Simulated, words: list[str], _: str) -> None:
    _need(words[0] in w.directories, "No such file or directory")
    w.directories[words[0]].seed = words[2]


def _remove_run_directory(w: Simulated, words: list[str], _: str) -> None:
    if w.vm(words[0]).process is not None:
        w.wrong.append(f"the run directory of {words[0]} was removed while it runs")
    w.directories.pop(words[0], None)


def _end_left(w: Simulated, words: list[str], _: str) -> None:
    used = {tap for qemu in w.processes.values() for tap in qemu.taps}
    _need(not used & set(words[1:]), "a process that vmops did not start uses its TAP")


def _abandon(w: Simulated, words: list[str], stdin: str) -> None:
    found = w.vm(words[0]).process
    if found is not None:
        w.ends(found.pid, cleanly=False)
    _remove_run_directory(w, words, stdin)


def _start_qemu(w: Simulated, words: list[str], _: str) -> None:
    vm, argv = words[0], tuple(words[3:])
    line = machine.parse(argv)
    screens = {machine.parse(qemu.argv).screen.port for qemu in w.processes.values()}
    used = {tap for qemu in w.processes.values() for tap in qemu.taps}
    taps = tuple(nic.tap for nic in line.nics)
    _need(vm in w.directories, "cannot create its pidfile")
    _need(w.vm(vm).process is None, "its pidfile is locked")
    _need(line.screen.port not in screens, "Address already in use")
    _need(not used & set(taps), "Device or resource busy")
    w.wrong += [f"QEMU makes a TAP {tap} of its own" for tap in taps if tap not in w.taps]
    for each in line.disks:
        _need_file(w, each.path)
    disks = {each.name: each.path for each in line.disks}
    pid = w.begins(Qemu(w.clock, argv, taps, vm=vm, disks=disks, cards=set(disks)))
    w.directories[vm].pidfile = pid


def _record_process(w: Simulated, words: list[str], stdin: str) -> None:
    _of_running(w, words, stdin)
    w.directories[words[0]].record = w.directories[words[0]].pidfile


def _of_running(w: Simulated, words: list[str], _: str) -> None:
    _need(w.vm(words[0]).process, "QEMU has ended")


def _report_process(w: Simulated, words: list[str], stdin: str) -> str:
    _of_running(w, words, stdin)
    found = w.vm(words[0]).process
    assert found is not None
    return f"{found.pid} {found.started}\n"


def _nothing(w: Simulated, words: list[str], stdin: str) -> None:
    """It looks, or changes nothing that matters here."""


_Meaning = Callable[[Simulated, list[str], str], "str | None"]

_COMMANDS: dict[str, _Meaning] = cast(
    "dict[str, _Meaning]",
    {
        "set_up_taps": _set_up_taps,
        "any_plugged": _any_plugged,
        "raise_taps": _raise_taps,
        "restore_tap": _restore_tap,
        "remove_own_tap": _remove_own_tap,
        "remove_taps": _remove_taps,
        "gone_taps": _gone_taps,
        "impair_in": _impair_in,
        "impair_out": _impair_out,
        "free_in": _free_in,
        "free_out": _free_out,
        "vsctl": _vsctl,
        "ovs-vsctl": _vsctl,
        "holds_ports": _holds_ports,
        "holds_trunks": _holds_trunks,
        "remove_own_ports": _remove_own_ports,
        "ls": _ls,
        "test": _test,
        "not_running": _not_running,
        "still_running": _still_running,
        "not_replaced": _not_replaced,
        "same_remains": _same_remains,
        "end_process": _end_process,
        "note_end": _note_end,
        "record_process": _record_process,
        "await_end": _await_end,
        "talk_to_monitors": _talk,
        "take_back": _take_back,
        "with_files": _with_files,
        "unless_file_open": _unless_file_open,
        "make_disk": _make_disk,
        "no_disk": _no_disk,
        "remove_disk": _remove_disk,
        "make_run_directory": _make_run_directory,
        "bring_seed": _bring_seed,
        "remove_run_directory": _remove_run_directory,
        "abandon": _abandon,
        "start_qemu": _start_qemu,
        "open_sockets": _of_running,
        "sound_images": _nothing,
        "end_left": _end_left,
        "memory_is": _nothing,
        "mark_is": _nothing,
        "print_log": _nothing,
        "report_process": _report_process,
    },
)
"""Every command that a plan may hold. One that is missing has to be given its meaning first."""

_OF_SWITCH = ("vsctl", "ovs-vsctl", "holds_ports", "holds_trunks", "remove_own_ports")
