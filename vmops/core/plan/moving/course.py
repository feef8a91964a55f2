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

Act = Literal["expect", "leave", "bring", "start", "clear", "done", "blocked"]
"""`expect`: the destination gets its mark. `leave`: the VM ends at the source, which gets its mark.
`bring`: the disks are copied and taken, which removes the destination's mark. `start`: it is
started there. `clear`: the source's disks go. `blocked`: something has to be mended first."""

Back = Literal["stay", "give up", "settle"]
"""`stay`: the source's mark says from now on that the VM goes nowhere. `give up`: what has come to
the destination goes, and its mark. `settle`: the source's mark goes. In this order: while the
source says that the VM leaves, somebody else may make the destination expect it anew."""


class Side(NamedTuple):
    """What one worker says of the VM: whether it runs there, whether any disk of it is there, and
    its mark."""

    runs: bool = False
    has: bool = False
    mark: Mark | None = None

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
    if comes is not None and comes.how != "expected":
        comes = None
    if comes is not None and comes.peer != ends.source:
        what = f"{ends.destination} expects it from {comes.peer}"
        return _blocked(vm, what, comes.peer)
    if left is None:
        return _before(ends, source, destination, comes)
    if left.how == "expected":
        return _blocked(vm, f"it is on its way from {left.peer} to {ends.source}", ends.source)
    if left.peer != ends.destination:
        return _blocked(vm, f"it is on its way from {ends.source} to {left.peer}", left.peer)
    begun = Next("done", left.token, left.ran)
    if left.how == "left":
        return begun
    if _is_handed_over(destination):
        starts = left.ran and not destination.runs
        return begun._replace(act="start" if starts else "clear")
    if left.how == "staying":
        return _blocked(vm, f"it is on its way back to {ends.source}", ends.source)
    is_ours = comes is not None and comes.token == left.token
    return begun._replace(act="bring" if is_ours else "expect")


def _before(ends: Ends, source: Side, destination: Side, comes: Mark | None) -> Next:
    """While the source is not marked the VM is its own."""
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
    return destination.runs or (destination.has and destination.mark is None)


def way_back(source: Side, destination: Side) -> Back | None:
    """What is next where the VM is to stay at the source, which it was leaving; None where it was
    not, or has been handed over."""
    mark = source.mark
    if mark is None or mark.how not in ("leaving", "staying") or _is_handed_over(destination):
        return None
    if mark.how == "leaving":
        return "stay"
    comes = destination.mark
    return "give up" if comes is not None and comes.how == "expected" else "settle"


def _blocked(vm: str, why: str, to: str) -> Next:
    return Next("blocked", why=why, cure=f"first: fab migrate --vm {vm} --to {to}")


def _unreadable(vm: str, worker: str) -> Next:
    return Next(
        "blocked",
        why=f"its mark on {worker} cannot be read",
        cure=f"look at it there: ~/vm_images/.vmops/moving-{vm}",
    )


def source_of(home: str | None, to: str, sides: Mapping[str, Side]) -> str | None:
    """The worker from which the VM comes to `to`; None where it is nowhere, or there already.

    `home` is where hosts.toml has it.
    """
    here = sides.get(to, Side())
    if here.mark is not None and here.mark.how == "expected":
        return here.mark.peer
    others = {name: side for name, side in sides.items() if name != to}
    for name, side in others.items():
        mark = side.mark
        if mark is not None and mark.how in ("leaving", "staying") and mark.peer == to:
            return name
    for name, side in others.items():
        if side.runs:
            return name
    if here.runs or (here.has and here.mark is None):
        return None
    holders = [name for name, side in others.items() if side.has and side.mark is None]
    holders += [n for n, s in others.items() if s.mark is not None and s.mark.how == "leaving"]
    if home in holders:
        return home
    return holders[0] if len(holders) == 1 else None
