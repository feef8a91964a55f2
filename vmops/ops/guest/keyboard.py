"""Pressing keys of VMs' keyboards, through their monitors."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from vmops.core.devices.keyboard import Chord, bursts
from vmops.core.inventory.model import VM
from vmops.core.tools import qmp
from vmops.errors import MonitorError, VmopsError
from vmops.ops.guest.monitors import ask, unreadable_answer
from vmops.ops.route import Route
from vmops.wait import wait_for


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
    worker = route.worker.name
    awake = ask(route, [vm.name for vm in vms], qmp.STATUS)
    done = {name: Pressed(name, worker, error=_lost(route, name, a)) for name, a in awake.items()}
    for burst in bursts(chords, hold_ms=hold_ms):
        willing = [name for name, pressed in done.items() if pressed.error is None]
        if not willing:
            break
        for name, answers in ask(route, willing, qmp.STATUS, *burst.requests).items():
            error = _lost(route, name, answers)
            sent = done[name].chords + (0 if error else len(burst.requests))
            done[name] = Pressed(name, worker, sent, error)
        if route.transcript is None:
            wait_for(lambda: None, burst.lasts_s, sleep=sleep)
    return list(done.values())


def _lost(route: Route, vm: str, answers: list[Any] | VmopsError) -> VmopsError | None:
    if isinstance(answers, VmopsError):
        return answers
    try:
        status = qmp.read_status(answers[0])
    except ValueError as strange:
        return unreadable_answer(route, vm, strange)
    if status in (qmp.RUNNING, qmp.SUSPENDED):
        return None
    what, cure = f"it is {status}: a key would be lost", "fab resume, or reset"
    return MonitorError(what, worker=route.worker.name, vm=vm, cure=cure)
