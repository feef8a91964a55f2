"""What a worker says of itself: the block that asks, and the facts that it answers with.

"Could not read" is never "absent": a part that failed carries its fault.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple

from vmops.core.facts import logs
from vmops.core.inventory.model import VM
from vmops.core.names import RunDirectory
from vmops.core.script.command import (
    FACT_BYTES,
    Block,
    BlockResult,
    Command,
    Step,
    StepResult,
    command,
)
from vmops.core.script.functions import NO_VMS, WHERE_VMS
from vmops.core.tools import ip, ovs, process, qemu
from vmops.core.tools.process import Process
from vmops.errors import WorkFailed

WHOLE_UID_RANGE = 4294967295

State = Literal["running", "stopped", "crashed", "unknown"]


class Host(NamedTuple):
    """The worker itself. Memory is in MiB; `kvm` is usable, denied or absent."""

    home: str
    user: str
    uptime_s: float
    memory_mb: int
    available_mb: int
    cpus: int
    kvm: str
    qemu: str
    whole_uid_range: bool


class RunningVM(NamedTuple):
    """What /run/vmops/NAME and /proc say of one VM.

    `process` is there only when the pidfile's process is this VM's QEMU. `pid` is what the pidfile
    names: QEMU removes the file when it ends by itself and leaves it when it is killed. `odd` is
    that something else lies in its place, so that nothing is known.
    """

    name: str
    directory: bool = False
    pid: int | None = None
    process: Process | None = None
    odd: bool = False

    @property
    def state(self) -> State:
        """`crashed` when a pidfile is left and its process is not, `unknown` when it is odd."""
        if self.process is not None:
            return "running"
        if self.odd:
            return "unknown"
        return "stopped" if self.pid is None else "crashed"

    @property
    def powered_off(self) -> bool:
        """True when it ended by itself, and nobody has removed what it left."""
        return self.directory and self.pid is None and not self.odd

    def doubt(self, worker: str = "") -> WorkFailed:
        """The error for a VM of which it is not known whether it runs."""
        pidfile = RunDirectory(self.name).pidfile
        return WorkFailed(
            "whether it runs is not known: QEMU has not written what is in its pidfile's place",
            worker=worker,
            vm=self.name,
            cure=f"see there: sudo ls -l {pidfile}; remove it if no QEMU runs with it: "
            f"pgrep -fa {pidfile}",
        )

    @property
    def command_line(self) -> qemu.CommandLine:
        """What the running QEMU was started with."""
        return qemu.parse(self.process.argv if self.process else ())


class Observed(NamedTuple):
    """A worker's facts at one moment. `images` maps the paths that were asked to `there`,
    `missing`, or `odd` for what is neither a file nor a block device. `traffic` is by device, and
    is there only after `ask_status`."""

    host: Host
    switch: ovs.Switch
    taps: Mapping[str, ip.Tap] = MappingProxyType({})
    listening: Collection[int] = ()
    vms: Mapping[str, RunningVM] = MappingProxyType({})
    images: Mapping[str, str] = MappingProxyType({})
    traffic: Mapping[str, ip.Traffic] = MappingProxyType({})

    def vm(self, name: str) -> RunningVM:
        """The VM of that name; one that nothing is known of is not running."""
        return self.vms.get(name, RunningVM(name))

    def image_path(self, image: str) -> str:
        """An image's absolute path: a leading `~` is the SSH user's home."""
        return absolute(image, self.host.home)


def absolute(image: str, home: str) -> str:
    """The path with a leading `~` replaced by `home`."""
    return home + image[1:] if image == "~" or image.startswith("~/") else image


HOST, TAPS, LISTENING, SWITCH, DAEMON, RUNNING, IMAGES, TRAFFIC = (
    "the worker",
    "TAPs",
    "listening ports",
    "Open vSwitch",
    "ovs-vswitchd",
    "running VMs",
    "images",
    "traffic",
)


def _step(label: str, *commands: Command) -> Step:
    return Step(label, commands, may_fail=True)


_RUNNING = _step(RUNNING, logs.trim(), command("all_vm_facts", most_bytes=FACT_BYTES))
_THERE = (
    _step(HOST, command("host_facts")),
    _RUNNING,
    _step(TAPS, command("tap_facts", most_bytes=FACT_BYTES)),
)


def ask_running() -> Block:
    """The block which reads only what `read_running` gives: quick, for who asks often."""
    return Block("", (_RUNNING,))


def ask_status() -> Block:
    """The block which reads what the status of VMs needs: little where nothing runs.

    Without a VM or a TAP the switch is not asked: its ports lead nowhere then.
    """
    query = ovs.query()
    switch = query._replace(argv=(WHERE_VMS, *query.argv))
    return Block("", (*_THERE, _step(SWITCH, switch), _step(TRAFFIC, ip.count_traffic())))


def ask(vms: Sequence[VM] = ()) -> Block:
    """The block which reads everything that a plan to start these VMs needs, in one exchange.

    Without VMs it is what ending one needs.
    """
    images = [vm.qcow_image for vm in vms]
    starting = (
        _step(LISTENING, command("listening_facts", most_bytes=FACT_BYTES)),
        _step(IMAGES, command("image_facts", *images)),
        _step(DAEMON, command("switch_facts")),
    )
    return Block("", (*_THERE, *(starting if vms else ()), _step(SWITCH, ovs.query())))


def read(result: BlockResult, vms: Sequence[VM] = ()) -> Observed:
    """The facts from what `ask` or `ask_status` brought back.

    Raises ValueError when the worker's own facts cannot be read: nothing can be decided then.
    """
    said = {entry.step.label: entry for entry in result.steps}
    if HOST not in said or RUNNING not in said:
        raise ValueError("the answer is cut short")
    host = _host(said[HOST].stdout.decode(errors="replace"))
    answers = said[IMAGES].stdout.decode().split() if IMAGES in said else []
    return Observed(
        host=host,
        switch=_switch(said)._replace(dead=_text(said, DAEMON).strip() == "dead"),
        taps=ip.parse_taps(_text(said, TAPS)),
        listening=_listening(_text(said, LISTENING)),
        vms=_vms(said[RUNNING]),
        images={vm.qcow_image: answer for vm, answer in zip(vms, answers, strict=False)},
        traffic=ip.parse_traffic(_text(said, TRAFFIC)),
    )


def read_running(result: BlockResult) -> Mapping[str, RunningVM]:
    """What runs by name, from the answer to `ask_running` or `ask`. Raises ValueError."""
    found = result.find(RUNNING)
    if found is None:
        raise ValueError("the answer is cut short")
    return _vms(found)


def _text(said: Mapping[str, StepResult], label: str) -> str:
    return said[label].stdout.decode(errors="replace") if label in said else ""


def _host(text: str) -> Host:
    facts = dict(line.partition(" ")[::2] for line in text.split("\n"))
    try:
        return Host(
            home=facts["home"],
            user=facts["user"],
            uptime_s=float(facts["uptime"]),
            memory_mb=int(facts["MemTotal:"]) // 1024,
            available_mb=int(facts["MemAvailable:"]) // 1024,
            cpus=_count(facts.get("cpus", "0")),
            kvm=facts["kvm"],
            qemu=facts["qemu"],
            whole_uid_range=int(facts["uids"]) == WHOLE_UID_RANGE,
        )
    except (KeyError, ValueError) as missing:
        raise ValueError(f"the worker's facts lack {missing}") from missing


def _count(ranges: str) -> int:
    """The number of CPUs in a kernel list such as `0-3,6`."""
    spans = [part.split("-") for part in ranges.split(",")]
    return sum(int(span[-1]) - int(span[0]) + 1 for span in spans)


def _switch(said: Mapping[str, StepResult]) -> ovs.Switch:
    entry = said.get(SWITCH)
    if entry is None or not entry.ok:
        return ovs.Switch(fault=entry.reason() if entry else "no answer")
    text = _text(said, SWITCH)
    if text.strip() == NO_VMS:
        return ovs.Switch()
    try:
        return ovs.parse(text)
    except (ValueError, KeyError, IndexError, TypeError) as unreadable:
        return ovs.Switch(fault=f"ovs-vsctl's answer cannot be read: {unreadable}")


def _listening(text: str) -> frozenset[int]:
    """TCP ports with a listener, from `ss -Hltn`: the local address is the fourth column."""
    rows = (line.split() for line in text.split("\n"))
    ports = (row[3].rpartition(":")[2] for row in rows if len(row) > 3)
    return frozenset(int(port) for port in ports if port.isdigit())


def _vms(said: StepResult) -> dict[str, RunningVM]:
    return {vm: _vm(vm, raw) for vm, raw in said.parts}


def _vm(name: str, raw: bytes) -> RunningVM:
    head, _, rest = raw.partition(b"\n")
    if head != b"directory":
        return RunningVM(name)
    line, _, facts = rest.partition(b"\n")
    pid = line.removeprefix(b"pid ")
    if line == b"pid odd":
        return RunningVM(name, directory=True, odd=True)
    if not line.startswith(b"pid ") or not pid.isdigit():
        return RunningVM(name, directory=True)
    seen = process.parse(facts)
    ours = seen is not None and qemu.is_of(seen.argv, name)
    return RunningVM(name, directory=True, pid=int(pid), process=seen if ours else None)
