"""TAP devices: the commands that make and remove them, and what the kernel says of them.

A TAP that vmops makes carries `vmops:VM` as its alias. Undo removes a TAP only with that alias.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from vmops.core.script.command import FACT_BYTES, Command, command
from vmops.core.script.functions import WHERE_VMS

_GROUP_BASE = 0x766D0000
"""Link groups of removals: a number that nobody else is likely to use, plus the VM's."""


def alias(vm: str) -> str:
    """The mark of a TAP that belongs to this VM."""
    return f"vmops:{vm}"


def create_taps(taps: Sequence[str], vm: str) -> Command:
    """One `ip` process for all TAPs; each must not exist. It stops at the first that fails."""
    lines = []
    for tap in taps:
        lines.append(f"tuntap add mode tap name {tap}")
        lines.append(f"link set dev {tap} up alias {alias(vm)}")
    return command("ip", "-batch", "-", stdin="".join(f"{line}\n" for line in lines).encode())


def create_tap(tap: str, vm: str) -> tuple[Command, ...]:
    """The documented two commands for one TAP, which must not exist."""
    return (
        command("ip", "tuntap", "add", "mode", "tap", "name", tap),
        command("ip", "link", "set", "dev", tap, "up", "alias", alias(vm)),
    )


def adopt_tap(tap: str, vm: str) -> Command:
    """Take a TAP that is there already: up, and marked as this VM's."""
    return command("ip", "link", "set", "dev", tap, "up", "alias", alias(vm))


def are_there(taps: Sequence[str]) -> Command:
    """A guard: none of these TAPs was removed."""
    return command("ls", "-d", *(f"/sys/class/net/{tap}" for tap in taps))


def undo_create(tap: str, vm: str) -> Command:
    """Remove the TAP if it carries the VM's mark; absent is fine."""
    return command("remove_own_tap", tap, alias(vm))


def remove_taps(taps: Sequence[str], vm_id: int) -> tuple[Command, ...]:
    """Remove the TAPs, absent ones too, as one link group: the kernel then waits once for all.

    `-force` goes on past a TAP that is absent; `gone_taps` is what proves the removal.
    """
    group = str(_GROUP_BASE + vm_id)
    lines = [f"link set dev {tap} group {group}" for tap in taps]
    lines.append(f"link del group {group}")
    return (
        command("remove_taps", "\n".join(lines)),
        command("gone_taps", *taps),
    )


class Tap(NamedTuple):
    """A TAP that is there. Its alias is empty where it is unmarked. `in_use` is that a process has
    it open: the kernel gives a TAP a carrier then."""

    alias: str = ""
    in_use: bool = False


def parse_taps(text: str) -> Mapping[str, Tap]:
    """Every TAP by name, from `tap_facts`."""
    rows = (row for line in text.split("\n") if len(row := line.split(" ", 2)) == 3)
    return MappingProxyType({name: Tap(owner, carrier == "1") for name, carrier, owner in rows})


class Traffic(NamedTuple):
    """What has gone through a TAP since it was made, in bytes, as its guest sees it."""

    received_bytes: int
    sent_bytes: int


def count_traffic() -> Command:
    """What `parse_traffic` reads; nothing where there is no VM."""
    return command(WHERE_VMS, "cat", "/proc/net/dev", most_bytes=FACT_BYTES)


def parse_traffic(text: str) -> Mapping[str, Traffic]:
    """The traffic of each network device. What a TAP has sent, its guest has received."""
    found = {}
    for line in text.split("\n"):
        device, colon, numbers = line.partition(":")
        counters = numbers.split()
        if colon and len(counters) >= 9 and counters[0].isdigit() and counters[8].isdigit():
            found[device.strip()] = Traffic(int(counters[8]), int(counters[0]))
    return MappingProxyType(found)
