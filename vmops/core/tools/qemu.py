"""QEMU's command line: the documented arguments in the documented order, then what makes the VM
identifiable, controllable and unprivileged. Read back from /proc, the same line is the truth about
what runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from vmops.core.inventory.model import VM, Nic
from vmops.core.names import RunDirectory, qemu_uid
from vmops.core.script.command import Command, OnlyIf, Word
from vmops.core.script.functions import START_QEMU

BINARY = "qemu-system-x86_64"
START_LIMIT_S = 60
LOG_KIB = 2048
"""Room for the console's log and QEMU's own, on a tmpfs of that size."""

NOBODY = 65534
DEVICES: Mapping[str, str] = MappingProxyType({"virtio": "virtio-net-pci"})
"""The models of an interface whose name in hosts.toml is not that of QEMU's device."""

_SANDBOX = "on,obsolete=deny,elevateprivileges=allow,spawn=allow,resourcecontrol=deny"
"""Denying more makes QEMU kill itself when it daemonizes or drops its user id."""


class Launch(NamedTuple):
    """What the worker adds to a VM for its command line.

    `accel` is "kvm" or "tcg". `image` is an absolute path. With `vnc_password` QEMU refuses every
    VNC client until a password is set through the monitor. `uid` is whom QEMU becomes.
    """

    accel: str
    image: str
    vnc_listen: str
    vnc_password: bool
    uid: int


def flag(nic: Nic) -> str:
    """The flag of the step that plugs this interface."""
    return f"nic{nic.position}"


def escaped(value: str) -> str:
    """A value inside a QEMU option: a comma is written twice."""
    return value.replace(",", ",,")


def build(vm: VM, launch: Launch) -> Command:
    """What starts QEMU: its time limit, whom it becomes, and its command line.

    An interface takes part where the step that plugs it has set its flag. Whom it becomes is put
    last, by the option that this QEMU has for it.
    """
    run = RunDirectory(vm.name)
    words: list[Word] = [BINARY]
    words += ["-enable-kvm"] if launch.accel == "kvm" else ["-accel", launch.accel]
    words += ["-m", str(vm.ram_mb), "-smp", str(vm.cores), "-vnc", vnc_option(vm, launch)]
    words += [OnlyIf(flag(nic), _nic(number, nic)) for number, nic in enumerate(vm.connected)]
    words += ["-drive", f"file={escaped(launch.image)},format=qcow2", "-daemonize"]
    words += ["-name", escaped(vm.name), "-uuid", vm.uuid, "-pidfile", run.pidfile]
    for socket in (run.monitor, run.monitor_for_humans):
        words += ["-qmp", f"unix:{socket},server=on,wait=off"]
    words += [
        "-chardev",
        f"socket,id=console,path={run.console},server=on,wait=off,"
        f"logfile={run.console_log},logappend=on",
        *("-serial", "chardev:console"),
        *("-D", run.qemu_log),
        *("-sandbox", _SANDBOX),
    ]
    return Command((START_QEMU, str(START_LIMIT_S), f"{launch.uid}:{launch.uid}", *words))


def _nic(number: int, nic: Nic) -> tuple[str, ...]:
    device = DEVICES.get(nic.model, nic.model)
    return (
        *("-netdev", f"tap,id=net{number},ifname={escaped(nic.tap)},script=no,downscript=no"),
        *("-device", f"{device},netdev=net{number},mac={nic.mac}"),
    )


def vnc_option(vm: VM, launch: Launch) -> str:
    """`ADDRESS:DISPLAY`, an IPv6 address in brackets, `,password=on` where one is wanted."""
    address = f"[{launch.vnc_listen}]" if ":" in launch.vnc_listen else launch.vnc_listen
    return f"{address}:{vm.vnc_port - 5900}{',password=on' if launch.vnc_password else ''}"


def uid_for(vm: VM, *, whole_range: bool) -> int:
    """A user id of the VM's own where the worker maps the whole range, else nobody's."""
    return qemu_uid(vm.vm_id) if whole_range else NOBODY


class RunningNic(NamedTuple):
    """An interface as QEMU was started with it."""

    tap: str
    mac: str
    device: str


class CommandLine(NamedTuple):
    """What a running QEMU's command line says. Missing parts are empty or 0."""

    name: str = ""
    uuid: str = ""
    pidfile: str = ""
    ram_mb: int = 0
    cores: int = 0
    accel: str = ""
    vnc_address: str = ""
    vnc_port: int = 0
    vnc_password: bool = False
    image: str = ""
    nics: tuple[RunningNic, ...] = ()
    options: Mapping[str, str] = MappingProxyType({})

    @property
    def vnc(self) -> str:
        """`ADDRESS:PORT`, or empty where there is no VNC."""
        address = f"[{self.vnc_address}]" if ":" in self.vnc_address else self.vnc_address
        return f"{address}:{self.vnc_port}" if self.vnc_port else ""


def is_of(argv: Sequence[str], vm: str) -> bool:
    """True when this command line is that VM's: its `-pidfile` is the VM's own."""
    line = parse(argv)
    return line.pidfile == RunDirectory(vm).pidfile and line.name == vm


def parse(argv: Sequence[str]) -> CommandLine:
    """The meaning of a QEMU command line, of `build`'s or of anybody's. Never raises."""
    pairs = list(_pairs(argv))
    last = dict(pairs)
    address, display, vnc_rest = _vnc(last.get("vnc", ""))
    devices = [split_option(value) for name, value in pairs if name == "device"]
    taps = {
        option.get("id", ""): option.get("ifname", "")
        for option in (split_option(value) for name, value in pairs if name == "netdev")
    }
    drive = split_option(last.get("drive", ""))
    return CommandLine(
        name=_name(split_option(last.get("name", ""))),
        uuid=last.get("uuid", ""),
        pidfile=last.get("pidfile", ""),
        ram_mb=_number(last.get("m", "")),
        cores=_number(last.get("smp", "")),
        accel="kvm" if "enable-kvm" in last else last.get("accel", ""),
        vnc_address=address,
        vnc_port=5900 + display if display >= 0 else 0,
        vnc_password="password=on" in vnc_rest,
        image=drive.get("file", ""),
        nics=tuple(
            RunningNic(taps[device["netdev"]], device.get("mac", ""), device[""])
            for device in devices
            if device.get("netdev") in taps
        ),
        options=MappingProxyType(last),
    )


def _pairs(argv: Sequence[str]) -> list[tuple[str, str]]:
    """Option name and value; a word that begins with a dash is no value."""
    pairs = []
    words = list(argv[1:])
    for here, following in zip(words, [*words[1:], "-"], strict=False):
        if here.startswith("-"):
            pairs.append((here.lstrip("-"), "" if following.startswith("-") else following))
    return pairs


def split_option(value: str) -> dict[str, str]:
    """`first,key=value,…` as a dict, the first word without `=` under "", doubled commas undone."""
    parts = [part.replace("\0", ",") for part in value.replace(",,", "\0").split(",")]
    found: dict[str, str] = {}
    for part in parts:
        key, equals, rest = part.partition("=")
        found.setdefault(key if equals else "", rest if equals else part)
    return found


def _vnc(value: str) -> tuple[str, int, str]:
    where, _, rest = value.partition(",")
    address, _, display = where.rpartition(":")
    number = _whole(display, otherwise=-1)
    return address.removeprefix("[").removesuffix("]"), number, rest


def _number(text: str) -> int:
    return _whole(text.partition(",")[0].removesuffix("M"), otherwise=0)


def _whole(digits: str, *, otherwise: int) -> int:
    """Python takes no number of thousands of digits, and of some digits no number at all."""
    return int(digits) if digits.isdecimal() and len(digits) < 20 else otherwise


def _name(option: dict[str, str]) -> str:
    return option.get("", "") or option.get("guest", "")
