"""TAP devices: the commands that make and remove them, and what the kernel says of them.

A TAP that vmops makes carries `vmops:VM` as its alias. Undo removes a TAP only with that alias.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from vmops.core.script.command import FACT_BYTES, Command, command
from vmops.core.script.functions import WHERE_VMS
from vmops.core.tools.qemu import whole

_GROUP_BASE = 0x766D0000
"""Link groups of removals: a number that nobody else is likely to use, plus the VM's."""


def alias(vm: str) -> str:
    """The mark of a TAP that belongs to this VM."""
    return f"vmops:{vm}"


def mark(tap: str, vm: str) -> Command:
    """Put the VM's mark on a TAP that is there."""
    return command("ip", "link", "set", "dev", tap, "alias", alias(vm))


def unmark(tap: str) -> Command:
    """Take a TAP's mark away."""
    return command("ip", "link", "set", "dev", tap, "alias", "")


class Tap(NamedTuple):
    """A TAP that is there. Its alias is empty where it is unmarked. `in_use` is that a process has
    it open, whether it is `up` or down."""

    alias: str = ""
    in_use: bool = False
    up: bool = True
    mtu: int = 1500


def parse_taps(text: str) -> Mapping[str, Tap]:
    """Every TAP by name, from `tap_facts`. A line that cannot be read costs that line."""
    rows = (row for line in text.split("\n") if len(row := line.split(" ", 4)) == 5)
    return MappingProxyType(
        {
            name: Tap(owner, in_use == "1", state == "up", whole(mtu))
            for name, state, in_use, mtu, owner in rows
            if whole(mtu)
        }
    )


def set_up_taps(
    taps: Sequence[str], vm: str, *, bridge: str, user: int, there: Container[str] = ()
) -> Command:
    """Make the TAPs that are not `there` yet, and mark all of them as this VM's, in one `ip`
    process. It stops at the first that fails.

    They are left down: see `raise_taps`. Only root and the user id `user` may open one that is made
    here. Each gets the bridge's MTU before it is a port, as a bridge takes the smallest of its
    ports'; and none has a life in the worker's own IP: see `set_up_taps` in shell/network.sh.
    """
    lines = []
    for tap in taps:
        if tap not in there:
            lines.append(f"sudo ip tuntap add mode tap name {tap} user {user}")
        mtu = f"$(cat /sys/class/net/{bridge}/mtu)"
        lines.append(f"sudo ip link set dev {tap} alias {alias(vm)} mtu {mtu}")
    return Command(("set_up_taps", bridge, "\n".join(lines), *taps), common=2)


def raise_taps(taps: Sequence[str]) -> Command:
    """Set the TAPs up. Not before the switch has taken their ports: it opens a device with the
    flags that it found, and would set it down again."""
    return Command(("raise_taps", *taps), common=1)


def restore_tap(tap: str, vm: str, before: Tap) -> Command:
    """Give a TAP that was there already its mark, state and MTU again, if it carries the VM's."""
    state = "up" if before.up else "down"
    return command("restore_tap", tap, alias(vm), before.alias, state, str(before.mtu))


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
        seen, guest = (whole(n, otherwise=-1) for n in (counters + [""] * 9)[:9:8])
        if colon and min(seen, guest) >= 0:
            found[device.strip()] = Traffic(guest, seen)
    return MappingProxyType(found)
