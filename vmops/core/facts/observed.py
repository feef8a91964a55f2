"""What a decision needs to know of a worker: several questions, asked in one exchange."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar, cast

from vmops.core.devices import disk
from vmops.core.devices.disk import NO_BASES, Bases
from vmops.core.devices.display import Screen
from vmops.core.devices.live import drives as live_drives
from vmops.core.devices.live import nics as live_nics
from vmops.core.devices.live import ports as live_ports
from vmops.core.devices.live.drives import Drives
from vmops.core.devices.live.memory import Memory
from vmops.core.devices.nic import RunningNic, Wiring
from vmops.core.devices.storage import shared
from vmops.core.devices.storage.boot import Firmware
from vmops.core.devices.storage.folder import NO_FOLDER, DiskFolder
from vmops.core.devices.storage.moving import Mark
from vmops.core.facts.host import FIRMWARE, HOST, Host
from vmops.core.facts.images import MOVES, OWN_DISKS, STORES, SUSPENDED
from vmops.core.facts.monitors import NAME as MONITORS
from vmops.core.facts.monitors import STATUSES, status_of, statuses_of
from vmops.core.facts.question import Answers, Question, Unanswered
from vmops.core.facts.strangers import QEMUS
from vmops.core.facts.vms import RUNNING, RunningVM, images, seeds
from vmops.core.facts.wiring import (
    DRAINED,
    IMPAIRED,
    LISTENING,
    SWITCH,
    SWITCH_WHERE_VMS,
    TAPS,
    TRAFFIC,
    TRAFFIC_CONTROL,
    VSWITCHD_IS_DEAD,
    in_the_way,
)
from vmops.core.inventory.guest.told import Written
from vmops.core.inventory.machine.rules import UEFI
from vmops.core.inventory.model import VM, Worker
from vmops.core.inventory.networks.impairment import UNIMPAIRED, Impaired
from vmops.core.tools import ip, ovs
from vmops.core.tools.image_chain import Chain
from vmops.core.tools.monitor import Heard
from vmops.core.tools.process import Process

T = TypeVar("T")

Asked = Question[Any]
"""One of several questions with different answers."""

IMAGES = images(())
SEEDS = seeds(())
"""For their names: what is asked depends on the VMs."""


class Observed(NamedTuple):
    """A worker's facts at one moment.

    `faults` says of each question that could not be read why; what it would have told is empty
    then, and must not be taken for absent. `images` maps the paths that were asked to what
    lies there. `traffic` by device and `monitors`, what each of them said, are there where they
    were asked for, and so are `qemus`, every QEMU by PID, whoever started it, `folder`, the
    disks that were made for VMs, and `seeds`, what VMs were told that are to be told something else
    now. `suspended` is the memory that is kept of VMs, `moves` are the marks of those that are
    between two workers, as they are to this one. `stores` are the names of the shared folder that
    it sees in ~/vm_images, None where that was not asked for.
    `impaired` is what is at TAPs, and `lacks` what that takes and the worker does not have.
    """

    host: Host
    switch: ovs.Switch
    taps: Mapping[str, ip.Tap] = MappingProxyType({})
    listening: frozenset[int] = frozenset()
    vms: Mapping[str, RunningVM] = MappingProxyType({})
    images: Mapping[str, Chain] = MappingProxyType({})
    traffic: Mapping[str, ip.Traffic] = MappingProxyType({})
    monitors: Mapping[str, Heard] = MappingProxyType({})
    faults: Mapping[str, str] = MappingProxyType({})
    qemus: Mapping[int, Process] = MappingProxyType({})
    folder: DiskFolder = NO_FOLDER
    seeds: Mapping[str, Written] = MappingProxyType({})
    firmware: Firmware = Firmware()
    suspended: Mapping[str, Memory] = MappingProxyType({})
    moves: Mapping[str, Mark] = MappingProxyType({})
    drained: ovs.Drained | None = None
    stores: frozenset[str] | None = None
    impaired: Mapping[str, Impaired] = MappingProxyType({})
    lacks: tuple[str, ...] = ()

    @property
    def wiring(self) -> Wiring:
        """TAPs and ports together, and what is impaired, unless that could not be read."""
        known = IMPAIRED.name not in self.faults
        return Wiring(self.switch, self.taps, self.impaired if known else None)

    def vm(self, name: str) -> RunningVM:
        """The VM of that name; one that nothing is known of is not running."""
        return self.vms.get(name, RunningVM(name))

    def monitor_status(self, vm: str) -> tuple[str, str]:
        """QEMU's word for what the guest does, and why it is not known: see `status_of`."""
        fault = self.faults.get(MONITORS, "")
        return ("", fault) if fault else status_of(self.monitors.get(vm))

    def word_for(self, vm: str) -> str:
        """The state that a VM is in, as it is said of it: what a signal, its monitor or the memory
        that is kept of it tell beyond that it runs or does not."""
        running = self.vm(vm)
        if running.process is None:
            return "suspended" if vm in self.suspended else running.state
        status, _ = self.monitor_status(vm)
        return "held by a signal" if running.process.stopped else status or running.state

    def nics(self, vm: str) -> tuple[RunningNic, ...]:
        """The interfaces that the VM's QEMU has by now: see `live.nics.has`."""
        return self._nics(vm)[0]

    def nics_were_said(self, vm: str) -> bool:
        """True where its monitor has said which."""
        return self._nics(vm)[1]

    def _nics(self, vm: str) -> tuple[tuple[RunningNic, ...], bool]:
        running = self.vm(vm)
        return live_nics.has(running.command_line.nics, running.taps, self.monitors.get(vm))

    def free_ports(self, vm: str) -> tuple[str, ...]:
        """Where cards can be added to a machine that takes them at root ports: see `live.ports`."""
        running = self.vm(vm).process
        return live_ports.free(running.argv, self.monitors.get(vm)) if running else ()

    def drives(self, vm: str) -> Drives:
        """The disks, CD and memory that the VM's QEMU has by now: see `live.drives.has`."""
        running = self.vm(vm)
        line = running.command_line
        heard = self.monitors.get(vm) if running.process else None
        return live_drives.has(line.disks, line.boot, heard)

    def image_path(self, image: str) -> str:
        """An image's absolute path: a leading `~` is the SSH user's home."""
        return disk.absolute(image, self.host.home)


def for_status() -> tuple[Asked, ...]:
    """What the status of VMs needs: little where nothing runs.

    Here as below, TAPs and ports are asked for before the VMs: a VM has them from before its start
    until after its end, so one that comes or goes meanwhile is not found without them.
    """
    wiring = (VSWITCHD_IS_DEAD, SWITCH_WHERE_VMS, TAPS, IMPAIRED)
    return (HOST, *wiring, RUNNING, SUSPENDED, MOVES, TRAFFIC, DRAINED)


def for_impairing() -> tuple[Asked, ...]:
    """What impairing interfaces of running VMs needs."""
    return (HOST, SWITCH, TAPS, IMPAIRED, TRAFFIC_CONTROL, RUNNING)


def for_destroying(vms: Sequence[VM], *, gently: bool = False) -> tuple[Asked, ...]:
    """What ending VMs and removing their disks needs."""
    return (*for_ending(gently=gently), images(vms), OWN_DISKS)


def for_suspending() -> tuple[Asked, ...]:
    """What suspending VMs needs."""
    return (*for_ending(gently=True), OWN_DISKS)


def for_moving(vms: Sequence[VM], *, bases: Bases = NO_BASES) -> tuple[Asked, ...]:
    """What moving VMs needs of either worker, beside what starting or ending them does."""
    starting = for_starting(vms, gently=True, bases=bases)
    return (*starting, *(q for q in (OWN_DISKS, FIRMWARE) if q not in starting))


def for_ending(*, gently: bool = False) -> tuple[Asked, ...]:
    """What ending VMs needs; `gently` where their guests are to be asked."""
    return (HOST, SWITCH, TAPS, RUNNING, SUSPENDED, MOVES, *((STATUSES,) if gently else ()))


def for_starting(
    vms: Sequence[VM], *, gently: bool = False, bases: Bases = NO_BASES
) -> tuple[Asked, ...]:
    """What starting these VMs needs; `gently` where those that run may be ended first.

    `bases` are the images of the inventory that they may stand on, as workers keep them.
    """
    wiring = (VSWITCHD_IS_DEAD, SWITCH, TAPS, IMPAIRED)
    starting = (HOST, LISTENING, images(vms, bases), *wiring, RUNNING)
    own = (OWN_DISKS,) if any(vm.image or vm.disks or vm.boot == UEFI for vm in vms) else ()
    own = (*own, FIRMWARE) if any(vm.boot == UEFI for vm in vms) else own
    own = (*own, TRAFFIC_CONTROL) if impaired(vms) else own
    own = (*own, STATUSES if gently else statuses_of(vms))
    return (*starting, SUSPENDED, MOVES, STORES, *own)


def impaired(vms: Sequence[VM]) -> bool:
    """True where one of these has an interface that is impaired."""
    return any(nic.impaired != UNIMPAIRED for vm in vms for nic in vm.connected)


def for_restarting(
    vms: Sequence[VM], *, gently: bool = False, bases: Bases = NO_BASES
) -> tuple[Asked, ...]:
    """What starting these VMs needs where one that runs may be ended, and started as it ran."""
    return (*for_starting(vms, gently=gently, bases=bases), seeds(vms))


def read(worker: Worker, answers: Answers, asked: Sequence[Asked]) -> Observed:
    """The facts from the answers to what was asked.

    Raises Unanswered when the worker's own facts cannot be read: nothing can be decided then.
    """
    faults: dict[str, str] = {}
    by_name: dict[str, Question[Any]] = {question.name: question for question in asked}

    def answer(question: Question[T], otherwise: T) -> T:
        if question.name not in by_name:
            return otherwise
        try:
            return cast(T, answers[by_name[question.name]])
        except Unanswered as fault:
            faults[question.name] = str(fault)
            return otherwise

    host, vms = answers[HOST], answers[RUNNING]
    dead = answer(VSWITCHD_IS_DEAD, "")
    nobody: Iterable[Screen] = ()
    switch = answer(SWITCH, ovs.Switch())
    return Observed(
        host=host,
        switch=switch._replace(dead=dead, fault=faults.get(SWITCH.name, "")),
        taps=answer(TAPS, {}),
        listening=in_the_way(answer(LISTENING, nobody), worker.vnc_listen),
        vms=vms,
        images=answer(IMAGES, {}),
        traffic=answer(TRAFFIC, {}),
        monitors=answer(STATUSES, {}),
        faults=faults,
        qemus=answer(QEMUS, {}),
        folder=answer(OWN_DISKS, NO_FOLDER),
        seeds=answer(SEEDS, {}),
        firmware=answer(FIRMWARE, Firmware()),
        suspended=answer(SUSPENDED, {}),
        moves=shared.as_seen(worker.name, answer(MOVES, {})),
        drained=answer(DRAINED, None),
        stores=answer(STORES, None),
        impaired=answer(IMPAIRED, {}),
        lacks=answer(TRAFFIC_CONTROL, ()),
    )
