"""What an operation is to leave: VMs, disks and images in a state, as far as one can see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from . import things
from .operations import Operation
from .outside import CAME, FROZEN, SEED, Look, Shape, there_of
from .states import State
from .targets import CHANGED, GUESTS, OVER_GUESTS, TALKING, TARGETS, Target


def wanted_targets(operation: Operation) -> dict[str, Target]:
    """The operation's VMs as its hosts.toml has them."""
    home = CHANGED if operation.file == "changed" else TARGETS
    every = (*home, *GUESTS, *OVER_GUESTS, *TALKING)
    return {target.name: target for target in every if target.name in operation.vms}


RUNS = ("running", "paused", "adopted", "saved", "unlinked", "impaired", "frozen")
MORE: Mapping[State, tuple[str, ...]] = {
    "saved": ("1 snapshots",),
    "suspended": ("memory",),
    "unlinked": ("a cable pulled",),
    "impaired": ("a slow line",),
    "frozen": (FROZEN,),
}
"""What there is of a VM in that state beside the usual."""


def is_as_wanted(shape: Shape, target: Target, state: State, *, came: bool = False) -> bool:
    """The VM is whole in that state, as far as can be seen from outside. `came`: with the memory
    that it had elsewhere, or in a file."""
    if state == "gone":
        return shape.is_nothing
    seed = (SEED,) if target.seeded and state in RUNS else ()
    if shape.more != (*seed, *MORE.get(state, ()), *((CAME,) if came else ())):
        return False
    if target.disk_gb and shape.disk != str(target.disk_gb):
        return False
    if shape.further != tuple((target.file_of(name), shape.qemus > 0) for name in target.further):
        return False
    plugged = all(nic.is_right(target) for nic in shape.nics)
    if state == "adopted" and not shape.directory:
        return False
    if state == "suspended":
        return shape.qemus == 0 and not any(nic.has_port or nic.has_tap for nic in shape.nics)
    if state in RUNS:
        return plugged and shape.qemus == 1 and all(nic.is_up for nic in shape.nics)
    return plugged and shape.qemus == 0


def not_as_wanted(seen: Look, operation: Operation) -> list[str]:
    """A line for each VM, thing or image of an operation that is not as it is to leave it."""
    targets = wanted_targets(operation)
    if operation.of_image:
        (name,) = operation.vms
        found = seen.shapes[name].disk
        return [] if found == operation.end else [f"{name} is {found}, not {operation.end}"]
    lines = things.not_as_wanted(seen.things, operation)
    if operation.moves:
        return lines + _not_moved(seen, operation)
    came = operation.keeps_memory and operation.end in RUNS
    return lines + [
        f"{name} is not {operation.end}: {seen.shapes[name]}"
        for name in operation.vms
        if not is_as_wanted(seen.shapes[name], targets[name], operation.end, came=came)
    ]


def _not_moved(seen: Look, operation: Operation) -> list[str]:
    """A VM that moves runs on one worker, and of the other one its mark alone is left there."""
    lines = []
    for name, target in wanted_targets(operation).items():
        ends = [seen.shapes[name], seen.shapes[there_of(name)]]
        left, home = ends if operation.end == "moved" else ends[::-1]
        gone = Shape(0, left.nics, left.directory, more=("mark left",))
        if operation.shares:
            # Of what lies in their folder both see the same; the mark says at which worker it is.
            gone = replace(gone, disk=home.disk, more=("mark at",))
            home = replace(home, more=tuple(word for word in home.more if word != "mark at"))
        if left != gone or any(nic.has_tap or nic.has_port for nic in left.nics):
            lines.append(f"{name} has not left: {left}")
        if not is_as_wanted(home, target, "running", came=operation.keeps_memory):
            lines.append(f"{name} is not {operation.end}: {home}")
    return lines
