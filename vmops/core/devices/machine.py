"""The machine as a whole: QEMU's command line from its devices, and its meaning read back.

The arguments are the documented ones in the documented order, followed by what makes the VM
identifiable, controllable and unprivileged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from vmops.core.devices import agent, console, disk, display, nic
from vmops.core.devices.display import Screen
from vmops.core.devices.drift import Drift, word
from vmops.core.devices.live import balloon, ports
from vmops.core.devices.nic import RunningNic
from vmops.core.devices.seed import drive
from vmops.core.devices.storage import boot, further
from vmops.core.devices.storage.boot import Firmware, RunningBoot
from vmops.core.devices.storage.further import RunningDisk
from vmops.core.inventory.model import VM
from vmops.core.names import RunDirectory, qemu_uid, vm_uuid
from vmops.core.script.command import Command, Word
from vmops.core.script.functions import START_QEMU
from vmops.core.tools import qemu

START_LIMIT_S = 60
LOG_KIB = 2048
"""Room for the console's log and QEMU's own, on a tmpfs of that size."""

NOBODY = 65534

_SANDBOX = "on,obsolete=deny,elevateprivileges=allow,spawn=allow,resourcecontrol=deny"
"""Denying more makes QEMU kill itself when it daemonizes or drops its user id."""


class Launch(NamedTuple):
    """What the worker adds to a VM for its command line.

    `accel` is "kvm" or "tcg", `cpu` the CPU's model, `image` an absolute path, `uid` whom QEMU
    becomes, `home` the SSH user's, `firmware` its UEFI. With `incoming` it waits for the memory of
    a suspended VM, and where it is `live` for that of one that runs elsewhere, and its guest stays
    still then. `ports` is how many places for cards it has, where it has no bus that takes them.
    """

    accel: str
    cpu: str
    image: str
    screen: Screen
    uid: int
    home: str
    firmware: Firmware = Firmware()
    incoming: bool = False
    live: bool = False
    ports: int = ports.SPARE


class CommandLine(NamedTuple):
    """What a running QEMU's command line says. Missing parts are empty or 0."""

    name: str = ""
    uuid: str = ""
    pidfile: str = ""
    ram_mb: int = 0
    cores: int = 0
    accel: str = ""
    cpu: str = ""
    screen: Screen = Screen()
    image: str = ""
    disk_model: str = ""
    disks: tuple[RunningDisk, ...] = ()
    boot: RunningBoot = RunningBoot()
    machine: str = ""
    extra: tuple[str, ...] = ()
    nics: tuple[RunningNic, ...] = ()
    has_seed: bool = False
    has_balloon: bool = False


def build(vm: VM, launch: Launch) -> Command:
    """What starts QEMU: the VM's name, a time limit, whom it becomes, and its command line.

    An interface takes part where the step that plugs it has set its flag. Whom it becomes is put
    last, by the option that this QEMU has for it.
    """
    run = RunDirectory(vm.name)
    words: list[Word] = [qemu.BINARY]
    words += ["-enable-kvm"] if launch.accel == "kvm" else ["-accel", launch.accel]
    words += ["-m", str(vm.ram_mb), "-smp", str(vm.cores)]
    words += [*display.words(launch.screen), *nic.words(vm)]
    words += [*disk.words(vm, launch.image, named=launch.live)]
    words += ["-daemonize", "-cpu", launch.cpu, "-name", qemu.escaped(vm.name), "-uuid", vm.uuid]
    # Where there is no interface QEMU would make one, with a way out through the worker.
    words += ["-pidfile", run.pidfile, "-nic", "none"]
    for socket in (run.monitor, run.monitor_for_humans):
        words += ["-qmp", f"unix:{socket},server=on,wait=off"]
    words += [*boot.machine_words(vm), *boot.words(vm, launch.home, launch.firmware)]
    words += further.words(vm, launch.home)
    words += agent.words(vm)
    words += drive.words(vm)
    words += balloon.words(vm)
    words += ports.words(vm.machine, launch.ports)
    # The documented words of a VM with qcow_image are left as they are, but where they cannot do.
    words = _opened_once(words) if launch.incoming or vm.image is not None else words
    words += ["-incoming", "defer"] if launch.incoming else []
    words += ["-S"] if launch.live else []
    words += [*console.words(vm.name), "-D", run.qemu_log, "-sandbox", _SANDBOX]
    words += vm.extra_args
    user = f"{launch.uid}:{launch.uid}"
    return Command((START_QEMU, vm.name, str(START_LIMIT_S), user, *words))


def _opened_once(words: Sequence[Word]) -> list[Word]:
    """A QEMU that waits for memory, or has written its own down, would open its disks again: as a
    user of its own by then, and they are the SSH user's."""
    found: list[Word] = []
    for each in words:
        is_drive = bool(found) and found[-1] == "-drive" and isinstance(each, str)
        found.append(f"{each},auto-read-only=off" if is_drive else each)
    return found


def cpu_for(vm: VM, *, accel: str) -> str:
    """The CPU that the VM asks for, or all that the accelerator has."""
    return vm.cpu or ("host" if accel == "kvm" else "max")


def uid_for(vm: VM, *, whole_range: bool) -> int:
    """A user id of the VM's own where the worker maps the whole range, else nobody's."""
    return qemu_uid(vm.vm_id) if whole_range else NOBODY


def parse(argv: Sequence[str]) -> CommandLine:
    """The meaning of a QEMU command line, of `build`'s or of anybody's. Never raises."""
    found = qemu.options(argv)
    has_kvm = qemu.last(found, "enable-kvm") is not None
    name = qemu.split(qemu.last(found, "name") or "")
    image, disk_model = disk.parse(found)
    return CommandLine(
        name=name.get("", "") or name.get("guest", ""),
        uuid=qemu.last(found, "uuid") or "",
        pidfile=qemu.last(found, "pidfile") or "",
        ram_mb=_number(qemu.last(found, "m")),
        cores=_number(qemu.last(found, "smp")),
        accel="kvm" if has_kvm else qemu.last(found, "accel") or "",
        cpu=qemu.last(found, "cpu") or "",
        screen=display.parse(found),
        image=image,
        disk_model=disk_model,
        disks=further.parse(found),
        boot=boot.parse(found),
        machine=_kind(found),
        extra=_extra(argv),
        nics=nic.parse(found),
        has_seed=drive.is_there(found),
        has_balloon=balloon.is_there(found),
    )


def is_of(argv: Sequence[str], vm: str) -> bool:
    """True when this command line is that VM's: its `-pidfile` is the VM's own."""
    line = parse(argv)
    return line.pidfile == RunDirectory(vm).pidfile and line.name == vm


def drift(line: CommandLine, vm: VM, launch: Launch) -> list[Drift]:
    """Where a running machine and the wanted one differ, its interfaces apart (`nic.drift`)."""
    pairs = (
        ("vm_id", vm.vm_id if line.uuid == vm.uuid else _vm_id(vm.name, line), vm.vm_id),
        ("accel", line.accel, launch.accel),
        ("ram_mb", line.ram_mb, vm.ram_mb),
        ("cores", line.cores, vm.cores),
        # One that was started without -cpu has QEMU's own default: that is no reason to end it.
        *((("cpu", line.cpu or "QEMU's", launch.cpu),) if line.cpu or vm.cpu else ()),
        ("machine", line.machine or "pc", vm.machine or "pc"),
        ("boot", line.boot.boot, boot.wanted(vm, launch.home).boot),
        ("iso", line.boot.iso or "none", boot.wanted(vm, launch.home).iso or "none"),
        ("extra_args", " ".join(line.extra) or "none", " ".join(vm.extra_args) or "none"),
        ("disk_model", line.disk_model or disk.IDE, vm.drive_model),
    )
    found = [Drift(name, word(has), word(want)) for name, has, want in pairs if has != want]
    found += display.drift(line.screen, launch.screen)
    if line.has_balloon != vm.balloon:
        has, want = word(line.has_balloon), word(vm.balloon)
        found.append(Drift("balloon", has, want, later=True))
    if line.image != launch.image:
        found.append(Drift("qcow_image", line.image, launch.image))
    return found


def _vm_id(name: str, line: CommandLine) -> int | str:
    """The number that a running VM's uuid was made of, if its TAPs tell it; else the uuid."""
    for card in line.nics:
        number = qemu.whole(card.tap.removeprefix("tap_").partition("_")[0])
        if number and vm_uuid(name, number) == line.uuid:
            return number
    return f"that of uuid {line.uuid or 'none'}"


def _kind(found: qemu.Options) -> str:
    """The machine's kind, as the last of its options has it."""
    named = qemu.last([(name.replace("machine", "M"), value) for name, value in found], "M")
    split = qemu.split(named or "")
    return split.get("", "") or split.get("type", "")


def _extra(argv: Sequence[str]) -> tuple[str, ...]:
    """The words behind all of ours: `extra_args`, and then whom QEMU becomes."""
    if _SANDBOX not in argv:
        return ()
    behind = [*argv[list(argv).index(_SANDBOX) + 1 :]]
    if behind[-2:-1] in (["-runas"], ["-run-with"]):
        del behind[-2:]
    return tuple(behind)


def _number(text: str | None) -> int:
    return qemu.whole((text or "").partition(",")[0].removesuffix("M"))
