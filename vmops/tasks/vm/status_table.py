"""How the status of VMs looks: plain columns in a pipe, a drawn table on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from posixpath import basename
from typing import TYPE_CHECKING

from vmops.core.images.names import base_of
from vmops.core.inventory.networks.impairment import UNIMPAIRED
from vmops.core.names import OVN_BRIDGE
from vmops.core.plan.status import InterfaceStatus, VMStatus, cpu_since
from vmops.tasks.frame.harmless import one_line
from vmops.tasks.frame.output import give_table

if TYPE_CHECKING:
    from rich.console import RenderableType

Before = Mapping[tuple[str, str], VMStatus]
"""The look before by `key`, for what is measured between two looks."""

Cells = tuple[str, ...]
"""The lines of one cell."""

_UNITS = ["", "k", "M", "G", "T", "P"]
_NOTHING = "-"
_WITH = ", with snapshots"


def key(item: VMStatus) -> tuple[str, str]:
    """What tells a VM from all others of the same look."""
    return item.vm, item.worker


def give_status(found: Sequence[VMStatus], *, detailed: bool) -> None:
    """The table on standard output, as a terminal or a pipe wants it."""
    if sys.stdout.isatty():
        from rich.console import Console

        console = Console()
        console.print(drawn(found, detailed=detailed, before={}, width=console.width))
    else:
        give_table(*plain(found, detailed=detailed, before={}))


def plain(
    found: Sequence[VMStatus], *, detailed: bool, before: Before
) -> tuple[list[str], list[list[str]]]:
    """Headings and rows, one line for each VM."""
    headings = ["VM", "WORKER", "STATE", "PID", "UPTIME", "CPU", "MEMORY", "DISK", "VNC"]
    rows = [_line(item, before) for item in found]
    if not detailed:
        return headings, rows
    for row, item in zip(rows, found, strict=True):
        row += [_known(count) for count in _counters(item)]
        row.append(", ".join(_interfaces(item)) or _NOTHING)
        row.append(" <- ".join(_images(item)) or _NOTHING)
        row.append(_drift(item) or _NOTHING)
    more = ["READ", "WRITTEN", "IN", "OUT", "INTERFACES", "IMAGE", "DRIFT"]
    return [*headings, *more], rows


def _line(item: VMStatus, before: Before) -> list[str]:
    runs = item.pid is not None
    return [
        item.vm,
        item.worker,
        " ".join(_state(item)),
        str(item.pid) if runs else _NOTHING,
        duration(item.uptime_s) if runs else _NOTHING,
        _cpu(item, before) if runs else _NOTHING,
        f"{item.memory_mb} MiB" if runs else _NOTHING,
        _room(item) or _NOTHING,
        _vnc(item) or _NOTHING,
    ]


def drawn(
    found: Sequence[VMStatus], *, detailed: bool, before: Before, width: int
) -> RenderableType:
    """The table for a terminal; with details a VM has several lines, so that 80 columns do."""
    from rich.console import Group
    from rich.text import Text

    from vmops.tasks.frame import tables

    headings, rows = (
        _folded(found, before) if detailed else plain(found, detailed=False, before=before)
    )
    if not detailed:
        rows = [[one_line(cell) for cell in row] for row in rows]
    differences = [
        Text(one_line(f"{item.vm} is not as hosts.toml says: {_drift(item)}"), "yellow")
        for item in found
        if detailed and item.drift
    ]
    return Group(tables.drawn(headings, rows, width=width), *differences)


def _folded(found: Sequence[VMStatus], before: Before) -> tuple[list[str], list[list[str]]]:
    headings = ["VM", "STATE", "LOAD", "I/O", "INTERFACES", "VNC, IMAGE"]
    rows = []
    for item in found:
        read, written, received, sent = (_known(count) for count in _counters(item))
        runs = item.pid is not None
        images = [("<- " if number else "") + name for number, name in enumerate(_images(item))]
        cells: list[Cells] = [
            (item.vm, item.worker),
            (
                *_state(item),
                *((f"PID {item.pid}", f"up {duration(item.uptime_s)}") if runs else ()),
            ),
            (f"{_cpu(item, before)} CPU", f"{item.memory_mb} MiB", *_disk_lines(item))
            if runs
            else (),
            (f"r {read} w {written}", f"in {received} out {sent}") if runs else (),
            _interfaces(item),
            (*((_vnc(item),) if item.vnc else ()), *images),
        ]
        rows.append(["\n".join(map(one_line, lines)) or _NOTHING for lines in cells])
    return headings, rows


def _room(item: VMStatus) -> str:
    """What the disks of a running VM take on the worker, and how large its guest finds them; with
    snapshots they take more than that, and nothing is wrong."""
    if not item.disks:
        return ""
    used, whole = sum(d.used for d in item.disks), sum(d.virtual_size for d in item.disks)
    return f"{size(used)} of {size(whole)}" + (_WITH if _has_snapshots(item) else "")


def _has_snapshots(item: VMStatus) -> bool:
    return any(disk.has_snapshots for disk in item.disks)


def _vnc(item: VMStatus) -> str:
    """Where its VNC listens; of a UNIX socket, whose path says nothing new, that it is one."""
    return "socket" if item.vnc.startswith("unix:") else item.vnc


def _disk_lines(item: VMStatus) -> Cells:
    """A line for the room, and one for the snapshots that are in it."""
    return tuple(f"disk {_room(item)}".split(", ")) if item.disks else ()


def _drift(item: VMStatus) -> str:
    return "; ".join(map(str, item.drift))


def _state(item: VMStatus) -> Cells:
    """The state, QEMU's own word where that says more, and that hosts.toml does not know it, or
    has it on another worker."""
    own_word = item.monitor not in ("", item.state)
    return (
        item.state,
        *((item.monitor,) if own_word else ()),
        *(() if item.managed else ("unmanaged",)),
        *((f"belongs on {item.home}",) if item.home else ()),
    )


def _cpu(item: VMStatus, before: Before) -> str:
    percent = cpu_since(before.get(key(item)), item)
    return _NOTHING if percent is None else f"{percent:.1f}%"


def _counters(item: VMStatus) -> tuple[int | None, int | None, int | None, int | None]:
    """Bytes read and written by the disks, received and sent by the interfaces; None: not known."""
    carried = [nic.traffic for nic in item.interfaces if nic.traffic is not None]
    return (
        sum(disk.read_bytes for disk in item.disks) if item.disks else None,
        sum(disk.written_bytes for disk in item.disks) if item.disks else None,
        sum(traffic.received_bytes for traffic in carried) if carried else None,
        sum(traffic.sent_bytes for traffic in carried) if carried else None,
    )


def _known(count: int | None) -> str:
    return _NOTHING if count is None else size(count)


def _interfaces(item: VMStatus) -> Cells:
    """Those that are to be connected, or are."""
    connected = [
        nic
        for nic in item.interfaces
        if nic.vlan_id or nic.trunks or nic.logical_port or nic.port is not None
    ]
    return tuple(
        " ".join((_interface(nic, runs=item.pid is not None), *_addresses(item, nic)))
        for nic in connected
    )


def _addresses(item: VMStatus, nic: InterfaceStatus) -> Cells:
    """What the guest itself says it has there."""
    return tuple(each.address for each in item.addresses if each.mac == nic.mac)


def _interface(nic: InterfaceStatus, *, runs: bool) -> str:
    """Its name, and its VLAN as Open vSwitch has it; the wanted one where there is no port."""
    wanted = "ovn" if nic.logical_port else "trunk" if nic.trunks else nic.vlan_id
    if nic.plugged is None:
        return f"{nic.name}:{wanted} unknown"
    if nic.port is None:
        return f"{nic.name}:{wanted}{' no port' if runs else ''}"
    there = "trunk" if nic.port.tag is None or nic.port.trunks else nic.port.tag
    there = "ovn" if nic.port.bridge == OVN_BRIDGE else there
    more = " link down" if nic.link == "down" else ""
    more += f" ({nic.impaired})" if nic.impaired not in (None, UNIMPAIRED) else ""
    return f"{nic.name}:{there}{more if nic.plugged else f' {nic.fault}'}".rstrip()


def _images(item: VMStatus) -> Cells:
    """The file of the first disk, then its backing files, an image's by 12 digits as image.list has
    them; their whole paths are in the JSON."""
    images = item.disks[0].images if item.disks else (item.image,) if item.image else ()
    bases = [base_of(path) for path in images]
    return tuple(b.short if b else basename(p) for p, b in zip(images, bases, strict=True))


def size(count: int) -> str:
    """Bytes as `512`, `2.0k` or `1.5G`."""
    from rich.filesize import pick_unit_and_suffix

    unit, suffix = pick_unit_and_suffix(count, _UNITS, 1000)
    return f"{count / unit:.1f}{suffix}" if suffix else str(count)


def duration(seconds: float | None) -> str:
    """Seconds as `12s`, `3m 4s`, `5h 6m` or `7d 8h`; `-` where they are not known."""
    if seconds is None:
        return _NOTHING
    whole = int(seconds)
    for unit_s, unit, part_s, part in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "m"),
        (60, "m", 1, "s"),
    ):
        if whole >= unit_s:
            return f"{whole // unit_s}{unit} {whole % unit_s // part_s}{part}"
    return f"{whole}s"
