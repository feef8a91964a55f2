"""Pictures of VMs' screens: the monitor writes each on the worker, the same exchange brings it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from vmops.core.devices import screen
from vmops.core.devices.picture import Picture, read_picture
from vmops.core.facts.question import Answers, block_of
from vmops.core.facts.vms import RUNNING, RunningVM
from vmops.core.inventory.model import VM
from vmops.core.script.command import BlockResult
from vmops.core.tools import monitor
from vmops.core.tools.monitor import Heard
from vmops.errors import UnexpectedOutput, VmopsError, WorkFailed
from vmops.ops.act import perform, running_of
from vmops.ops.guest.monitors import failure
from vmops.ops.route import Route

FETCH_LIMIT_S = 60.0


class Shot(NamedTuple):
    """One VM's picture, or the error that there is instead."""

    vm: str
    worker: str
    picture: Picture | None = None
    error: VmopsError | None = None


def screenshots(route: Route, vms: Sequence[VM]) -> list[Shot]:
    """A picture of each VM's screen, in order. Never raises a VmopsError.

    Nothing stays on the worker, except after a time-out or a lost connection: then the file goes
    with the VM's run directory.
    """
    names = [vm.name for vm in vms]
    shots = _take(route, names, png=True)
    old = [vm for vm, (_, heard) in shots.items() if heard and screen.knows_no_png(heard)]
    if old:
        shots |= _take(route, old, png=False)
    return [shots[name][0] for name in names]


def _take(route: Route, vms: Sequence[str], *, png: bool) -> dict[str, tuple[Shot, Heard | None]]:
    """For each VM its picture, and what its monitor said to that."""
    worker = route.worker.name
    paths = {vm: screen.picture_path(vm, secrets.token_hex(8)) for vm in vms}
    asked = (RUNNING,) if route.watch is None else route.watch.beside((RUNNING,))
    blocks = [block_of(asked), *(screen.take(vm, p, png=png) for vm, p in paths.items())]
    gone: Mapping[str, VmopsError] = {}
    try:
        seen, *taken = perform(route, blocks, time_limit_s=FETCH_LIMIT_S)
        gone = {} if route.watch is None else route.watch.errors(Answers(seen))
        running = running_of(route, Answers(seen), vms)
    except VmopsError as error:
        return {vm: (Shot(vm, worker, error=error), None) for vm in vms}
    if route.transcript is not None:
        return {vm: (Shot(vm, worker), None) for vm in vms}
    shots = {vm: _shot(route, running[vm], result) for vm, result in zip(vms, taken, strict=True)}
    return shots | {vm: (Shot(vm, worker, error=error), None) for vm, error in gone.items()}


def _shot(route: Route, running: RunningVM, result: BlockResult) -> tuple[Shot, Heard | None]:
    vm, worker = running.name, route.worker.name
    heard = _heard(vm, result)
    error = failure(route, running, heard, screen.LINES)
    if error is not None:
        return Shot(vm, worker, error=error), heard
    found = result.find(screen.PICTURE)
    if found is None or not found.ok:
        why = found.reason() if found else "the answer was cut short"
        what = f"its picture cannot be fetched: {why}"
        return Shot(vm, worker, error=WorkFailed(what, worker=worker, vm=vm)), heard
    try:
        return Shot(vm, worker, read_picture(found.stdout)), heard
    except ValueError as unreadable:
        what = f"what QEMU wrote is {unreadable}"
        return Shot(vm, worker, error=UnexpectedOutput(what, worker=worker, vm=vm)), heard


def _heard(vm: str, result: BlockResult) -> Heard:
    found = result.find(screen.DUMP)
    try:
        return monitor.read_talk(found.stdout if found else b"")[vm]
    except (ValueError, KeyError):
        return Heard(vm, ended="no socket")
