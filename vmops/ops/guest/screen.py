"""Pictures of VMs' screens: the monitor writes them on the worker, one exchange fetches them."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from vmops.core.devices import screen
from vmops.core.devices.picture import Picture, read_picture
from vmops.core.inventory.model import VM
from vmops.core.script.command import BlockResult
from vmops.errors import UnexpectedOutput, VmopsError, WorkFailed
from vmops.ops.act import perform
from vmops.ops.guest.monitors import talk
from vmops.ops.route import Route

if TYPE_CHECKING:
    from vmops.remote.monitor import Monitor

FETCH_LIMIT_S = 60.0
PICTURE_MB = 32
"""What a picture may take: 25 without compression, of a screen of 3840 by 2160."""


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
    paths = {vm.name: screen.picture_path(vm.name, secrets.token_hex(8)) for vm in vms}

    async def take(monitor: Monitor) -> None:
        (version,) = await monitor.ask(screen.VERSION)
        await monitor.ask(screen.dump(paths[monitor.vm], png=screen.knows_png(version)))

    answers = talk(route, list(paths), take)
    failed = {vm: error for vm, error in answers.items() if isinstance(error, VmopsError)}
    taken = {vm: path for vm, path in paths.items() if vm not in failed}
    shots = _fetch(route, taken) | {
        vm: Shot(vm, route.worker.name, error=error) for vm, error in failed.items()
    }
    return [shots[vm.name] for vm in vms]


def _fetch(route: Route, paths: dict[str, str]) -> dict[str, Shot]:
    if not paths:
        return {}
    blocks = [screen.fetch(vm, path) for vm, path in paths.items()]
    worker = route.worker.name
    try:
        results = perform(
            route, blocks, time_limit_s=FETCH_LIMIT_S, answer_mb=PICTURE_MB * len(paths)
        )
    except VmopsError as error:
        return {vm: Shot(vm, worker, error=error) for vm in paths}
    return {result.subject: _shot(worker, result) for result in results}


def _shot(worker: str, result: BlockResult) -> Shot:
    found = result.find(screen.PICTURE)
    if found is None or not found.ok:
        why = found.reason() if found else "the answer is cut short"
        what = f"{result.subject}: its picture cannot be fetched: {why}"
        return Shot(result.subject, worker, error=WorkFailed(what, worker=worker))
    try:
        return Shot(result.subject, worker, read_picture(found.stdout))
    except ValueError as unreadable:
        what = f"{result.subject}: what QEMU wrote is {unreadable}"
        return Shot(result.subject, worker, error=UnexpectedOutput(what, worker=worker))
