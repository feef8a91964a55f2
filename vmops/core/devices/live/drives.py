"""Disks, CD and memory of a running QEMU, as its monitor tells them: it may have others by now than
it was started with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from vmops.core.devices.storage import boot, further
from vmops.core.devices.storage.boot import RunningBoot
from vmops.core.devices.storage.further import RunningDisk
from vmops.core.inventory.machine.rules import CDROM
from vmops.core.tools.monitor import Heard
from vmops.core.tools.qmp import BLOCK, FILES, Request

NODES = Request("query-named-block-nodes", {"flat": True})
BALLOON = Request("query-balloon")
"""Refused by a QEMU without a balloon, so nothing may stand behind it."""

MORE = (NODES, BALLOON)
HAS = (BLOCK, FILES, *MORE)
"""What `has` reads, in whatever order it was answered."""

MIB = 1 << 20


class Drives(NamedTuple):
    """What a QEMU has: its further disks, its CD drive by path of the medium, None without a drive,
    the memory that its balloon leaves the guest, 0 without one, and the files that it was given, by
    their number. `said` is False where its monitor has not told, and its command line does. `port`
    is the root port that takes the next card, where the machine has those.

    `first_medium` is that the CD is still the one that it was started with.
    """

    disks: tuple[RunningDisk, ...] = ()
    cd: str | None = None
    first_medium: bool = True
    ram_mb: int = 0
    files: Mapping[int, str] = MappingProxyType({})
    said: bool = False
    port: str = ""

    @property
    def medium(self) -> int | None:
        """The number of the file that is its CD, where it was given that."""
        return next((at for at, path in self.files.items() if path == self.cd), None)

    def number_for(self, path: str) -> int:
        """The number for a file that it is to be given: always the same for the same path, and no
        other's, or QEMU could take another file for it."""
        import zlib

        number = zlib.crc32(path.encode()) & 0x3FFFFFFF
        while self.files.get(number, path) != path:
            number += 1
        return number


def has(started_with: Sequence[RunningDisk], ran: RunningBoot, heard: Heard | None) -> Drives:
    """From what `HAS` was answered. Never raises: what cannot be read was not said."""
    drive = ran.iso if ran.boot == CDROM else None
    otherwise = Drives(tuple(started_with), drive)
    if heard is None:
        return otherwise
    try:
        return _read(started_with, ran, heard) or otherwise
    except (KeyError, TypeError, AttributeError, ValueError):
        return otherwise


def _read(started_with: Sequence[RunningDisk], ran: RunningBoot, heard: Heard) -> Drives | None:
    blocks = _list(heard, "removable")
    nodes = _list(heard, "node-name")
    if not blocks or not nodes:
        return None
    files = {
        int(entry["fdset-id"]): str(entry["fds"][0].get("opaque", ""))
        for entry in _list(heard, "fdset-id")
        if entry["fds"]
    }
    attached = {str(entry["inserted"]["node-name"]) for entry in blocks if "inserted" in entry}
    first = {each.name: each.path for each in started_with}
    disks = tuple(
        each._replace(path=first.get(each.name, each.path))
        for each in _disks(nodes, attached, files)
    )
    balloon = next((a for a in heard.answers if isinstance(a, dict) and "actual" in a), None)
    found = Drives(
        disks, ram_mb=int(balloon["actual"]) // MIB if balloon else 0, files=files, said=True
    )
    for entry in blocks:
        if entry.get("qdev") == boot.CD:
            medium = entry.get("inserted")
            is_first = medium is not None and medium["node-name"] == boot.CD
            path = ran.iso if is_first else _path(medium, files) if medium else ""
            return found._replace(cd=path, first_medium=is_first)
    return found


def _list(heard: Heard, key: str) -> list[dict[str, Any]]:
    """The answer that is a list of what has such a key; empty where there is none."""
    for answer in heard.answers:
        if isinstance(answer, list) and answer and all(key in entry for entry in answer):
            return answer
    return []


def _disks(
    nodes: Sequence[Mapping[str, Any]], attached: set[str], files: Mapping[int, str]
) -> Iterator[RunningDisk]:
    for node in nodes:
        name = further.name_of(str(node["node-name"]))
        if name:
            is_attached = further.node_of(name) in attached
            yield RunningDisk(name, _path(node, files), str(node["drv"]), attached=is_attached)


def _path(node: Mapping[str, Any], files: Mapping[int, str]) -> str:
    """The file behind a node: one that was handed over goes by its number."""
    name = str(node["file"])
    number = name.removeprefix("/dev/fdset/")
    return files.get(int(number), name) if number != name and number.isdecimal() else name
