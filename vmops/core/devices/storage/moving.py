"""A VM between two workers: the marks that say so beside its disks, and its disks on their way.

A mark is a file in the images folder. It outlives the VM's run directory and a reboot, and keeps
the VM from being started there.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from vmops.core.images.names import FOLDER
from vmops.core.inventory import rules
from vmops.core.script.command import Command, Step, command

MARK, UNMARK, TAKE = "mark", "remove mark", "take disks"
SET_ASIDE = "set the old disk aside"

How = Literal[
    "leaving", "staying", "left", "expected", "receiving", "at", "elsewhere", "unreadable"
]

_HOWS = ("leaving", "staying", "left", "expected", "receiving", "at")


class Mark(NamedTuple):
    """What a mark says: the VM is `leaving` this worker for its `peer`, it is `staying` after all,
    it has `left` for good, it is `expected` here from its peer, or this worker is `receiving` it
    live: a QEMU waits for its memory, and what lies here as its disks is not whole. In a folder
    that workers share, it is `at` its peer; seen from any other it is `elsewhere` (shared.py).

    `token` is the same on both workers and no other move's. `ran` is that it is to be started when
    it is there. `text` is the mark as it stands, by which it is known again. `again` is that the VM
    had left this worker before: so it has, once more, where it does not come.
    """

    how: How
    peer: str = ""
    token: str = ""
    ran: bool = False
    text: str = ""
    again: bool = False

    @property
    def returns(self) -> bool:
        """True where what comes to the worker has left it before."""
        return self.again or self.how == "left"


class Arriving(NamedTuple):
    """A file that comes to a worker: `path` is what it will be called, `digest` its sha256."""

    path: str
    digest: str

    @property
    def folder(self) -> str:
        """Where it comes to."""
        return self.path.rpartition("/")[0]

    @property
    def name(self) -> str:
        """What it is called there until it is taken: nothing opens a file of that name."""
        return f"arrived-{self.digest}-{self.path.rpartition('/')[2]}"


def mark(how: How, peer: str, token: str, *, ran: bool = False, again: bool = False) -> Mark:
    """A mark and its text."""
    words = {"how": how, "peer": peer, "token": token, "ran": ran}
    words |= {"again": True} if again else {}
    return Mark(how, peer, token, ran, json.dumps(words), again)


def read(line: str) -> tuple[str, Mark]:
    """A VM and its mark from what `move_facts` says of one. Never raises."""
    vm, _, text = line.partition(" ")
    try:
        said = json.loads(text)
        how, peer, token, ran = (said[key] for key in ("how", "peer", "token", "ran"))
        known = how in _HOWS and isinstance(ran, bool)
        # The peer stands in commands that the operator is told to type.
        if known and rules.WORKER["name"].objection(peer) is None and isinstance(token, str):
            return vm, Mark(how, peer, token, ran, text, said.get("again") is True)
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    return vm, Mark("unreadable", text=text)


def path_of(vm: str) -> str:
    """Where it lies, `~` being the SSH user's home."""
    return f"{FOLDER}/moving-{vm}"


def guard(vm: str, seen: Mapping[str, Mark]) -> Command:
    """That the VM's mark is what was seen, or that there is still none."""
    found = seen.get(vm)
    return command("mark_is", path_of(vm), found.text if found else "")


# Steps


def marking(vm: str, wanted: Mark) -> Step:
    """Put the mark there, in one go, in the place of one that is there."""
    return Step(MARK, (command("write_mark", path_of(vm), wanted.text),))


def unmarking(vm: str) -> Step:
    """Take it away; absent is fine."""
    return Step(UNMARK, (command("drop_mark", path_of(vm)),))


def no_more(vm: str, was: Mark) -> Step:
    """It does not come: take its mark away, or say again that it has left, and where it is."""
    if was.returns:
        return marking(vm, mark("left", was.peer, was.token))
    return unmarking(vm)


def taking(files: Iterable[Arriving]) -> tuple[Step, ...]:
    """Give what has come its name. What had it before is never written over."""
    return tuple(_taking(each) for each in files)


def _taking(file: Arriving) -> Step:
    words = (f"{file.folder}/{file.name}", file.path)
    back = (command("give_back_disk", *words),)
    return Step(TAKE, (command("take_disk", *words),), undo=back, about=(file.path,))


def aside(path: str, token: str) -> str:
    """What a disk is called that was left behind by the move of that token, when it is set aside.
    A mark may hold any text for a token."""
    if not re.fullmatch(r"[0-9a-f]{8}", token):
        token = hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{path}.moved-{token}"


def setting_aside(path: str, token: str) -> Step:
    """Give a disk that was left behind another name, so that a newer one can come; absent is fine.
    Fails where another disk in its folder may stand on it."""
    words = (path, aside(path, token))
    back = (command("put_disk_back", *words),)
    return Step(SET_ASIDE, (command("set_disk_aside", *words),), undo=back, about=words)


def forgetting(paths: Iterable[str]) -> Step:
    """Remove what has come for these files and was not taken."""
    return Step("what has come", tuple(command("remove_arrived", path) for path in paths))
