"""TAP devices with iproute2: the commands that make and remove them, and what `tap_facts` says.

A TAP that vmops makes carries `vmops:VM` as its alias. Undo removes a TAP only with that alias.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from vmops.core.command import Command, command

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
    return command("ip", "-batch", "-", stdin="\n".join(lines))


def create_tap(tap: str, vm: str) -> tuple[Command, ...]:
    """The documented two commands for one TAP, which must not exist."""
    return (
        command("ip", "tuntap", "add", "mode", "tap", "name", tap),
        command("ip", "link", "set", "dev", tap, "up", "alias", alias(vm)),
    )


def adopt_tap(tap: str, vm: str) -> Command:
    """Take a TAP that is there already: up, and marked as this VM's."""
    return command("ip", "link", "set", "dev", tap, "up", "alias", alias(vm))


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


def parse_taps(text: str) -> Mapping[str, str]:
    """TAP name to alias, from `tap_facts`; the alias of an unmarked TAP is empty."""
    pairs = (line.partition(" ") for line in text.splitlines() if line)
    return MappingProxyType({tap: owner for tap, _, owner in pairs})
