"""The worker itself: memory, CPUs, KVM, QEMU, and who is logged in."""

from __future__ import annotations

from typing import NamedTuple

from vmops.core.devices.storage.boot import Firmware
from vmops.core.facts.question import Question, lines_of
from vmops.core.script.command import StepResult, command
from vmops.core.tools import qemu

WHOLE_UID_RANGE = 4294967295


class Host(NamedTuple):
    """A worker's memory (in MiB), CPUs, programs and SSH user. `kvm` is usable, denied or absent.

    `home` and `user` are those of the SSH user, `qemu` is the path of QEMU or empty. Without `perl`
    nothing can be asked of VMs, and without `tun`, /dev/net/tun, none can have a TAP.
    """

    home: str
    user: str
    uptime_s: float
    memory_mb: int
    available_mb: int
    cpus: int
    kvm: str
    qemu: str
    whole_uid_range: bool
    perl: bool = True
    tun: bool = True


def _read(said: StepResult) -> Host:
    facts = dict(line.partition(" ")[::2] for line in lines_of(said))
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
            perl="perl" not in facts,
            tun="tun" not in facts,
        )
    except (KeyError, ValueError) as missing:
        raise ValueError(f"the worker's facts lack {missing}") from missing


def _count(ranges: str) -> int:
    """The number of CPUs in a kernel list such as `0-3,6`."""
    spans = [part.split("-") for part in ranges.split(",")]
    return sum(int(span[-1]) - int(span[0]) + 1 for span in spans)


HOST = Question("the worker", (command("host_facts"),), _read)


def _first_line(said: StepResult) -> str:
    return (lines_of(said) or [""])[0]


QEMU_VERSION = Question(
    "QEMU version", (command(qemu.BINARY, "--version", time_limit_s=10),), _first_line
)


def free_disk_mb(folder: str) -> Question[int]:
    """What is free in a folder, in MiB; a leading `~` is the SSH user's home."""
    return Question(
        f"free disk {folder}",
        (command("disk_facts", folder),),
        _free_mb,
    )


def _free_mb(said: StepResult) -> int:
    """From the free blocks, and how many bytes a block has."""
    blocks, block_bytes = said.stdout.split()
    return int(blocks) * int(block_bytes) // 2**20


def _names(said: StepResult) -> frozenset[str]:
    return frozenset(lines_of(said))


def _firmware(said: StepResult) -> Firmware:
    code, _, variables = _first_line(said).partition(" ")
    return Firmware(code, variables) if code and variables else Firmware()


FIRMWARE = Question("UEFI firmware", (command("firmware_facts"),), _firmware)
"""Where the worker has its UEFI, if it has one."""

ROMS = Question("option ROMs", (command("rom_facts"),), _names)
"""The names of the files that QEMU finds, such as `efi-e1000.rom`."""
