"""What is next on a VM's way from one worker to another, told by what both of them say. Pure.

Nobody keeps a record of a move but the two workers, so whoever comes next, after whatever cut,
looks at both and goes on. Who may start the VM is told by the marks alone (docs/migration.md):
a worker with a mark does not start it, and the one act that hands it over is the removal of the
destination's mark. tests/unit/test_moving_model.py tries every order of these acts, cuts and
launches.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from vmops.core.devices.storage.moving import Mark

Act = Literal[
    "expect",
    "leave",
    "bring",
    "start",
    "clear",
    "done",
    "blocked",
    "drop",
    "end",
    "switch",
    "wake",
]
"""`expect`: the destination gets its mark. `leave`: the VM ends at the source, which gets its mark.
`bring`: the disks are copied and taken, which removes the destination's mark. `start`: it is
started there. `clear`: the source's disks go. `blocked`: something has to be mended first.

Of a live move that was cut: `drop`: what waits at the destination is ended, and what has come of it
removed; where the source is `leaving`, it is expected anew, and its disks are brought. `end`: the
source's QEMU, which has sent all, is ended. `switch`: all has come, so the destination's mark goes
and its guest runs. `wake`: the mark is gone, and its guest stands still yet."""

Back = Literal["stay", "give up", "settle"]
"""`stay`: the source's mark says from now on that the VM goes nowhere. `give up`: what has come to
the destination goes, and its mark. `settle`: the source's mark goes. In this order: while the
source says that the VM leaves, somebody else may make the destination expect it anew."""


class Side(NamedTuple):
    """What one worker says of the VM: whether a QEMU of it is there, whether any disk is, and its
    mark. `memory` is that this QEMU has `sent` it all and stands still, or that all of it has come
    there, is `loaded`, and its guest has not run since."""

    runs: bool = False
    has: bool = False
    mark: Mark | None = None
    memory: Literal["", "sent", "loaded"] = ""

    @property
    def may_start(self) -> bool:
        """True where a launch would start it there, on the disks that are there."""
        return self.mark is None


class Next(NamedTuple):
    """The next act. `token` is that of a move which was begun, `ran` that the VM is to be started
    at its end, `why` what blocks it."""

    act: Act
    token: str = ""
    ran: bool = False
    why: str = ""
    cure: str = ""


class Ends(NamedTuple):
    """Where a VM goes from and to, by the workers' names."""

    source: str
    destination: str


def next_act(vm: str, ends: Ends, source: Side, destination: Side) -> Next:
    """What is to be done now to take the VM from `ends.source` to `ends.destination`."""
    left, comes = source.mark, destination.mark
    for name, mark in ((ends.source, left), (ends.destination, comes)):
        if mark is not None and mark.how == "unreadable":
            return _unreadable(vm, name)
    if comes is not None and comes.how not in ("expected", "receiving"):
        comes = None
    if comes is not None and comes.peer != ends.source:
        what = f"{ends.destination} expects it from {comes.peer}"
        return _blocked(vm, what, comes.peer)
    if left is None:
        return _before(ends, source, destination, comes)
    if left.how in ("expected", "receiving"):
        return _blocked(vm, f"it is on its way from {left.peer} to {ends.source}", ends.source)
    if left.peer != ends.destination:
        return _blocked(vm, f"it is on its way from {ends.source} to {left.peer}", left.peer)
    begun = Next("done", left.token, left.ran)
    if left.how == "left":
        return begun
    if _is_handed_over(destination):
        if destination.memory == "loaded":
            return begun._replace(act="wake")
        if source.runs:
            return begun._replace(act="end")
        starts = left.ran and not destination.runs
        return begun._replace(act="start" if starts else "clear")
    if left.how == "staying":
        return _blocked(vm, f"it is on its way back to {ends.source}", ends.source)
    is_ours = comes is not None and comes.token == left.token
    is_live = comes is not None and comes.how == "receiving"
    has_all = is_ours and is_live and destination.memory == "loaded"
    if source.runs and not (has_all and source.memory == "sent"):
        why = f"its guest stands still on {ends.source}: what had come of it is lost"
        return _blocked(vm, why, ends.source)
    if has_all:
        return begun._replace(act="end" if source.runs else "switch")
    if is_live:
        return begun._replace(act="drop") if is_ours else Next("drop")
    return begun._replace(act="bring" if is_ours else "expect")


def _before(ends: Ends, source: Side, destination: Side, comes: Mark | None) -> Next:
    """While the source is not marked the VM is its own."""
    if comes is not None and comes.how == "receiving":
        return Next("drop")
    if comes is not None:
        return Next("leave", comes.token, comes.ran or source.runs)
    if destination.runs or destination.has:
        return Next(
            "blocked",
            why=f"{ends.destination} has a disk of it already",
            cure="if that is not wanted, remove it there",
        )
    return Next("expect", ran=source.runs)


def _is_handed_over(destination: Side) -> bool:
    """True where the destination has what came, and its mark no more."""
    return destination.mark is None and (destination.runs or destination.has)


def way_back(source: Side, destination: Side) -> Back | None:
    """What is next where the VM is to stay at the source, which it was leaving; None where it was
    not, or has been handed over."""
    mark, comes = source.mark, destination.mark
    is_coming = comes is not None and comes.how in ("expected", "receiving")
    if mark is None:
        return "give up" if is_coming else None
    if mark.how not in ("leaving", "staying") or _is_handed_over(destination):
        return None
    if mark.how == "leaving":
        # Back here it would begin anew; there it has all that it had in memory.
        is_there = comes is not None and (comes.how, comes.token) == ("receiving", mark.token)
        return None if is_there and destination.memory == "loaded" else "stay"
    return "give up" if is_coming else "settle"


def _blocked(vm: str, why: str, to: str) -> Next:
    return Next("blocked", why=why, cure=f"first: fab migrate --vm {vm} --to {to}")


def _unreadable(vm: str, worker: str) -> Next:
    return Next(
        "blocked",
        why=f"its mark on {worker} cannot be read",
        cure=f"look at it there: ~/vm_images/.vmops/moving-{vm}",
    )


def _waits(side: Side) -> bool:
    """True where what runs there is a QEMU that waits for the VM."""
    return side.mark is not None and side.mark.how in ("receiving", "elsewhere")


def is_new(source: Side, destination: Side) -> bool:
    """True where nothing of a move from the one to the other has been begun."""
    comes, goes = destination.mark, source.mark
    is_coming = comes is not None and comes.how in ("expected", "receiving")
    return not is_coming and (goes is None or goes.how not in ("leaving", "staying"))


def source_of(home: str | None, to: str, sides: Mapping[str, Side]) -> str | None:
    """The worker from which the VM comes to `to`; None where it is nowhere, or there already.

    `home` is where hosts.toml has it.
    """
    here = sides.get(to, Side())
    if here.mark is not None and here.mark.how in ("expected", "receiving"):
        return here.mark.peer
    others = {name: side for name, side in sides.items() if name != to}
    for name, side in others.items():
        mark = side.mark
        if mark is not None and mark.how in ("leaving", "staying") and mark.peer == to:
            return name
    for name, side in others.items():
        if side.runs and not _waits(side):
            return name
    if here.mark is not None and here.mark.how == "elsewhere":
        # What lies there are disks that both see: it is not there, even where its worker is silent.
        return here.mark.peer
    if here.runs or (here.has and here.mark is None):
        return None
    holders = [n for n, s in others.items() if s.has and s.mark is None]
    holders += [n for n, s in others.items() if s.mark is not None and s.mark.how == "leaving"]
    if home in holders:
        return home
    return holders[0] if len(holders) == 1 else None
