"""Pressing keys of VMs' keyboards, through their monitors."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from vmops.core.devices.keyboard import Burst, Chord, bursts
from vmops.core.inventory.model import VM
from vmops.core.tools import qmp
from vmops.errors import VmopsError
from vmops.ops.guest.monitors import talk
from vmops.ops.route import Route
from vmops.wait import wait_for

if TYPE_CHECKING:
    from vmops.remote.monitor import Monitor


class Pressed(NamedTuple):
    """How many chords one VM got, and the error that ended it, if any did."""

    vm: str
    worker: str
    chords: int = 0
    error: VmopsError | None = None


def press(
    route: Route,
    vms: Sequence[VM],
    chords: Sequence[Chord],
    *,
    hold_ms: int,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Pressed]:
    """Press the chords on each VM's keyboard, on all at once; back when the guests have had them.

    `hold_ms` is between any two movements of a key. Many chords go in bursts, and the monitors are
    free in between. NotRunning, MonitorError and the like are in the results; a guest that stands
    still would lose what it is sent, so it is sent nothing.
    """
    done = {vm.name: Pressed(vm.name, route.worker.name) for vm in vms}
    for burst in bursts(chords, hold_ms=hold_ms):
        willing = [name for name, pressed in done.items() if pressed.error is None]
        answers = talk(route, willing, partial(_send, burst=burst))
        for name, answer in answers.items():
            error = answer if isinstance(answer, VmopsError) else None
            sent = done[name].chords + (0 if error else len(burst.requests))
            done[name] = Pressed(name, route.worker.name, sent, error)
        if any(pressed.error is None for pressed in done.values()):
            wait_for(lambda: None, burst.lasts_s, sleep=sleep)
    return list(done.values())


async def _send(monitor: Monitor, *, burst: Burst) -> None:
    status = qmp.read_status((await monitor.ask(qmp.STATUS))[0])
    if status not in (qmp.RUNNING, qmp.SUSPENDED):
        raise monitor.failure(f"it is {status}: a key would be lost", cure="fab resume, or reset")
    await monitor.ask(*burst.requests)
