"""What brings VMs into the state in which an operation begins, and the images for it."""

from __future__ import annotations

import hashlib
import random
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.guests import PowerButton, boot_sector_image, cache_directory
from vmops.core.images.names import Base

from .operations import SLOW, Operation
from .states import File, State
from .targets import Image


def first_file(operation: Operation) -> File:
    """The hosts.toml by which the state before an operation is made."""
    if operation.overlaid:
        return "ovn"
    if "networks" in operation.file:
        return "networks"
    has_own = operation.paired or operation.file == "agents"
    return operation.file if has_own else "hosts"


def tasks(state: State, operation: Operation) -> Sequence[tuple[str, ...]]:
    """What brings VMs into a state, for all of them by their names."""
    if operation.moves:
        away = ("-H", "{there}", "launch")
        how = () if operation.keeps_memory else ("--cold", "--force")
        if operation.had == "drained":
            return (away, ("drain", *how, "--worker", "{there}"))
        first = away if state == "away" else ("-H", "{here}", "launch")
        move = ("migrate", *how, "--to", "{there}")
        return (first, move) if state == "moved" else (first,)
    # A guest whose agent listens was booted long ago.
    plug, launch = ("plug",), ("resume",) if operation.file == "agents" else ("launch",)
    frozen = ("--freeze",) if operation.file == "agents" else ()
    found: dict[State, Sequence[tuple[str, ...]]] = {
        "plugged": (plug,),
        "rebooted": (plug,),
        "paused": (launch, ("pause",)),
        "saved": (launch, ("snapshot.save", "--name", "s1", *frozen)),
        "suspended": (launch, ("suspend",)),
        "unlinked": (launch, ("nic.down", "--vm", "web1:eth1")),
        "impaired": (launch, ("net.impair", "--vm", "web1:eth1", *SLOW)),
    }
    found |= dict.fromkeys(("gone", "documented", "absent", "partial", "whole"), ())
    return found.get(state, (launch,))


IMAGE_BYTES = 3 << 20


def made_image(folder: Path, name: str) -> Image:
    """The boot sector as a raw image of some size that cannot be packed."""
    path = folder / name
    source = boot_sector_image(cache_directory(), PowerButton.ONCE)
    argv = ("qemu-img", "convert", "-O", "raw", str(source), str(path))
    subprocess.run(argv, check=True, timeout=60)
    begin = path.read_bytes()
    rest = random.Random(name).randbytes(IMAGE_BYTES - len(begin))
    path.write_bytes(begin + rest)
    base = Base(hashlib.sha256(begin + rest).hexdigest(), "raw")
    return Image(name, base, str(path) if name == "sent" else "")
