"""The images folder of a worker: which bases are there, and what stands on each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from vmops.core.devices.live import memory
from vmops.core.devices.live.memory import Memory
from vmops.core.devices.storage import moving
from vmops.core.devices.storage.folder import DiskFile, DiskFolder, disk_file
from vmops.core.devices.storage.moving import Mark
from vmops.core.devices.storage.shared import sign_of
from vmops.core.facts.question import Question, lines_of, text_of
from vmops.core.images.names import Base, base_of, is_digest
from vmops.core.script.command import FACT_BYTES, Command, StepResult, command
from vmops.core.tools import image_chain
from vmops.core.tools.image_chain import Chain

_PART = ".part"
LOOK_LIMIT_S = 120.0
SUM_LIMIT_S = 7300.0


class Kept(NamedTuple):
    """A base in the folder, or what came of one that is not whole yet.

    `size` and `used` are bytes, `changed` seconds since 1970. `disks` are the files in the images
    folder that stand on it, `holders` the processes that have it open.
    """

    base: Base
    is_whole: bool
    size: int
    used: int
    changed: int
    disks: tuple[str, ...] = ()
    holders: tuple[int, ...] = ()

    @property
    def is_in_use(self) -> bool:
        """True where its removal would break a disk."""
        return bool(self.disks or self.holders)


class Folder(NamedTuple):
    """What is there. `unread` are files of which nobody can say what they stand on, and why."""

    kept: tuple[Kept, ...] = ()
    unread: tuple[str, ...] = ()

    def find(self, base: Base) -> Kept | None:
        """This base, whole; None where it is not."""
        found = [one for one in self.kept if one.base == base and one.is_whole]
        return found[0] if found else None


class _File(NamedTuple):
    name: str
    size: int
    used: int
    changed: int
    identity: str


def _read(said: StepResult) -> Folder:
    head, _, rest = text_of(said).partition("chains\n")
    files: list[_File] = []
    holders: dict[str, list[int]] = {}
    for line in filter(None, head.split("\n")):
        match line.split(" "):
            case ["base", name, size, used, changed, identity]:
                files.append(_File(name, int(size), int(used), int(changed), identity))
            case ["pid", pid, identity]:
                holders.setdefault(identity, []).append(int(pid))
            case _:
                raise ValueError(f"an odd line about an image: {line[:80]!r}")
    chains = image_chain.parse_several(rest.strip("\n") + "\n\n") if rest.strip("\n") else ()
    kept = tuple(_kept(file, chains, holders.get(file.identity, ())) for file in files)
    return Folder(kept, tuple(_unread(chains)))


def _kept(file: _File, chains: Sequence[Chain], holders: Sequence[int]) -> Kept:
    is_whole = not file.name.endswith(_PART)
    base = base_of(file.name.removesuffix(_PART))
    if base is None:
        raise ValueError(f"no base: {file.name[:80]!r}")
    disks = tuple(chain[0].path for chain in chains if _stands_on(chain, base, file.identity))
    return Kept(
        base,
        is_whole,
        file.size,
        file.used,
        file.changed,
        disks if is_whole else (),
        tuple(holders) if is_whole else (),
    )


def _stands_on(chain: Chain, base: Base, identity: str) -> bool:
    """By its name, wherever a header says that it is, or by being that file."""
    return any(base_of(image.path) == base or image.identity == identity for image in chain[1:])


def _unread(chains: Sequence[Chain]) -> list[str]:
    """What could not be followed to its end. A backing file that is absent is no base of ours."""
    return [
        f"{last.path}: {last.why or last.fault}"
        for last in (chain[-1] for chain in chains)
        if last.fault and last.fault != "header" and base_of(last.path) is None
        if not (last.fault == "stat" and last.why == "No such file or directory")
    ]


FOLDER: Question[Folder] = Question(
    "images folder",
    (command("image_folder", most_bytes=FACT_BYTES),),
    _read,
    time_limit_s=LOOK_LIMIT_S,
)
"""Reads the header of every file in it: for who asks about images, not for every launch."""


def _read_disks(said: StepResult) -> DiskFolder:
    free: int | None = None
    files: dict[str, DiskFile] = {}
    for line in lines_of(said):
        match line.split(" "):
            case ["free", blocks, block_bytes]:
                free = int(blocks) * int(block_bytes)
            case ["disk", name, used, size]:
                found = disk_file(name, used=int(used), size=int(size))
                if found is not None:
                    files[name] = found
            case _:
                raise ValueError(f"an odd line about a disk: {line[:80]!r}")
    return DiskFolder(free, files)


OWN_DISKS: Question[DiskFolder] = Question(
    "disks", (command("own_disks", most_bytes=FACT_BYTES),), _read_disks
)
"""The disks that were made for VMs, and the room for more."""


SUSPENDED: Question[Mapping[str, Memory]] = Question(
    "suspended VMs",
    (command("memory_facts", most_bytes=FACT_BYTES),),
    lambda said: dict(memory.read(line) for line in lines_of(said)),
)
"""The memory that is kept of VMs, by name."""


MOVES: Question[Mapping[str, Mark]] = Question(
    "moves",
    (command("move_facts", most_bytes=FACT_BYTES),),
    lambda said: dict(moving.read(line) for line in lines_of(said)),
)
"""The marks of VMs that are between two workers, by name."""


STORES: Question[frozenset[str] | None] = Question(
    "shared folder",
    (command("shared_facts"),),
    lambda said: frozenset(lines_of(said)),
)
"""By which names ~/vm_images is one that workers share."""


class Store(NamedTuple):
    """A shared folder as one worker sees it: its file system in a word, and whether root may read
    there and the SSH user write. `identity` is the same on all workers that see the same one."""

    kind: str
    identity: str
    root_reads: bool
    user_writes: bool


def store(name: str) -> Question[Store | None]:
    """The shared folder of that name; None where it is not seen."""

    def read(said: StepResult) -> Store | None:
        for line in lines_of(said):
            root, user, kind, identity = line.split(" ", 3)
            return Store(kind, identity, root == "yes", user == "yes")
        return None

    return Question("shared folder's state", (command("store_facts", sign_of(name)),), read)


def disk_sums(paths: Sequence[str]) -> Question[Mapping[str, str]]:
    """The sha256 of these files, by path. It reads all of them."""

    def read(said: StepResult) -> Mapping[str, str]:
        return {path: _digest(line) for path, line in zip(paths, lines_of(said), strict=True)}

    commands = tuple(command("disk_sum", path) for path in paths)
    return Question("sums of its disks", commands, read, time_limit_s=SUM_LIMIT_S)


def sum_of(base: Base) -> Question[str]:
    """The sha256 of what the worker keeps as this base. It reads all of it."""
    return Question(
        base.name,
        (command("image_sum", base.name),),
        lambda said: _digest(text_of(said)),
        time_limit_s=SUM_LIMIT_S,
    )


def _digest(line: str) -> str:
    """What openssl or sha256sum says of a file. It becomes part of a file's name elsewhere."""
    digest = line.split()[0]
    if not is_digest(digest):
        raise ValueError(f"no sha256: {digest[:80]!r}")
    return digest


def remove(base: Base) -> Command:
    """Remove a base, and what is left of a transfer of it; absent is fine. Refused where a disk
    of ours was made on it meanwhile."""
    return command("remove_base", base.name)


def names_of(bases: Mapping[str, Base], base: Base) -> tuple[str, ...]:
    """What hosts.toml calls a base: by no name, or by several."""
    return tuple(name for name, each in bases.items() if each == base)
