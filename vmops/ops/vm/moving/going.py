"""A VM that goes from one worker to another while it runs: mirrored disks, then its memory.

Up to the mark at the source whatever fails leaves it running there; what was begun at the
destination is removed again. From the mark on the same command goes on (plan/moving/course.py).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from vmops.core.devices.live import mirror
from vmops.core.devices.live.mirror import Tuning
from vmops.core.devices.storage.moving import mark
from vmops.core.facts.monitors import asked_of
from vmops.core.facts.observed import Observed
from vmops.core.facts.question import Unanswered
from vmops.core.images.progress import Progress
from vmops.core.inventory.model import VM, Worker
from vmops.core.plan.moving import cold, live
from vmops.core.plan.phase import Plan
from vmops.core.script.command import BlockResult
from vmops.core.tools import monitor
from vmops.errors import MonitorError, NotRunning, UnexpectedOutput, VmopsError
from vmops.ops.act import Done, ask, outdated, unreadable
from vmops.ops.network import rebinding
from vmops.ops.route import Route
from vmops.ops.vm.moving.acts import Move, bring_bases, carried, do, let_in, look_at
from vmops.ops.vm.outcome import Outcome
from vmops.wait import lengthening, wait_for

if TYPE_CHECKING:
    from vmops.remote.direct import DirectWay

_LONGEST_S = 7 * 86400.0
"""How long disks may be mirrored."""

_STILL_S = 900.0
"""For how long nothing may come of it. It begins with a look at where the data of a disk are."""

_MOST_SILENCES = 30
"""How often in a row a monitor may not say how far its mirrors are: its QEMU is busy."""

Both = tuple[Observed, Observed]
"""What the source and the destination have of the VM."""


class StayedError(Exception):
    """The VM runs on where it was, and nothing of the move is left. `why` is what went wrong."""

    def __init__(self, why: VmopsError) -> None:
        super().__init__(str(why))
        self.why = why


def check(move: Move, vm: VM, source: Route, seen: Both) -> None:
    """Raise for what keeps a VM that runs from moving live, before anything is begun."""
    running = seen[0].vm(vm.name).process
    assert running is not None, "only what runs is moved live"
    stopped = move.stopped(vm)
    live.check_leaves(source.worker, vm, seen[0], stopped=stopped)
    live.check_same(move.to.worker, vm, seen[1], running, stopped=stopped)
    live.check_snapshots(vm, source.worker, machine_of(source, vm), stopped=stopped)
    if in_ovn := carried(move, vm, move.to.worker):
        rebinding.check_live(*in_ovn, stopped=stopped)


def go(move: Move, vm: VM, source: Route, seen: Both) -> bool:
    """Move it, from where the destination expects it to where it runs there. False where somebody
    has changed something since it was looked at.

    Raises StayedError where it stays, and what went wrong where the same command goes on.
    """
    check(move, vm, source, seen)
    bring_bases(move, vm, source, seen[0])
    plan = live.receive(move.to.worker, vm, seen[1], seen[0], token=secrets.token_hex(4))
    try:
        let_in(move, vm, move.to.worker, leaves=source.worker)
        if do(move.to, vm, plan, seen[1]) is None:
            let_in(move, vm, source.worker)
            return False
        _go(move, vm, source)
    except VmopsError as error:
        if _stays(move, vm, source):
            raise StayedError(error) from error
        raise
    return True


def both_running(move: Move, vm: VM, source: Route) -> Both:
    """What both workers say now. Raises WorkFailed where one of the two QEMUs has gone."""
    seen = look_at(vm, source), look_at(vm, move.to)
    for at, route in zip(seen, (source, move.to), strict=True):
        if at.vm(vm.name).process is None:
            raise outdated(vm.name, route.worker.name)
    return seen


def _go(move: Move, vm: VM, source: Route) -> None:
    here, there = source.worker, move.to.worker
    seen = both_running(move, vm, source)
    machines = (machine_of(route, vm) for route in (source, move.to))
    live.check_machines(vm, there, *machines, stopped=move.stopped(vm))
    wanted = mark("leaving", there.name, seen[1].moves[vm.name].token, ran=True)
    with way(move, vm, source, seen[0]):
        must(source, vm, live.mirrors(here, vm, seen[0], tuning=move.tuning or Tuning()), seen[0])
        _await_mirrors(move, vm, source, seen[0])
        plan = live.leave(here, vm, seen[0], wanted, tuning=move.tuning or Tuning())
        sent = must(source, vm, plan, seen[0])
        taken = must(move.to, vm, live.switch(there, vm, seen[1]), seen[1])
    let_in(move, vm, there)
    dark = dark_ms(vm, sent.result, taken.result)
    said = "" if dark is None else f", its guest stood still for {dark} ms"
    move.tell(f"{vm.name}: runs on {there.name}{said}")


def must(route: Route, vm: VM, plan: Plan, seen: Observed) -> Done:
    """Carry the plan out. Raises where what it was made of holds no more, and what went wrong."""
    done = do(route, vm, plan, seen)
    if done is None:
        raise outdated(vm.name, route.worker.name)
    return done


@contextmanager
def way(move: Move, vm: VM, source: Route, seen: Observed) -> Iterator[None]:
    """Have what its QEMU says at the source carried to the one that waits for it."""
    from vmops.remote.way import Way

    must(source, vm, live.open_way(source.worker, vm, seen), seen)
    direct = _direct(move, vm, source) if move.direct else None
    running = seen.vm(vm.name).process
    assert running is not None, "only what runs says anything"
    most = mirror.most_streams(len(live.disks_of(vm, running)))
    to, config = move.to.worker, move.to.config
    with direct or Way(source.worker, to, vm.name, most=most, config=config):
        yield


def _direct(move: Move, vm: VM, source: Route) -> DirectWay | None:
    """The way from worker to worker; None where these two cannot do it, which is told."""
    from vmops.remote.direct import DirectWay
    from vmops.remote.once import CannotBe, End

    here, there = source.worker, move.to.worker
    try:
        return DirectWay(End(here, move.to.config), End(there, move.to.config), vm.name)
    except CannotBe as why:
        why_not = f"{here.name} cannot send it to {there.name}: {why}"
        move.tell(f"{vm.name}: by way of this machine, as {why_not}")
        return None


def _await_mirrors(move: Move, vm: VM, source: Route, seen: Observed) -> None:
    """Wait until all that its disks had is there. Raises MonitorError where a mirror has ended."""
    running = seen.vm(vm.name).process
    assert running is not None, "only what runs has mirrors"
    disks = live.disks_of(vm, running)
    began = moved = time.monotonic()
    silences = most = 0

    def ended(why: str) -> MonitorError:
        here = source.worker.name
        return MonitorError(why, worker=here, vm=vm.name, cure="the same command again")

    def ready() -> bool | None:
        nonlocal silences, moved, most
        try:
            (jobs,) = _answers(source, vm, mirror.JOBS)
            found = mirror.read_mirrors(jobs, disks)
        except UnexpectedOutput:
            silences += 1
            if silences > _MOST_SILENCES:
                raise
            return None
        except ValueError as over:
            raise ended(str(over)) from over
        silences = 0
        now = time.monotonic()
        # What its guest writes meanwhile makes it longer, and is no progress.
        if found.done > most:
            moved, most = now, found.done
        if not found.is_ready and now - moved > _STILL_S:
            minutes = f"{_STILL_S / 60:g} minutes"
            raise ended(f"nothing more of its disks was sent for {minutes}")
        seconds = now - began
        told = Progress("mirroring", found.done, found.total, 0, found.done, seconds)
        move.progress(f"{vm.name} disks", move.to.worker.name, told)
        return True if found.is_ready else None

    try:
        if wait_for(ready, _LONGEST_S, pauses=lengthening(0.05)) is None:
            raise MonitorError("its disks did not come to an end", vm=vm.name)
    finally:
        move.progress(f"{vm.name} disks", move.to.worker.name, None)


def machine_of(route: Route, vm: VM) -> mirror.Machine:
    """What its QEMU on this worker is. Raises UnexpectedOutput, NotRunning."""
    try:
        return mirror.read_machine(_answers(route, vm, *mirror.LOOK))
    except ValueError as strange:
        raise UnexpectedOutput(str(strange), worker=route.worker.name, vm=vm.name) from strange


def _answers(route: Route, vm: VM, *lines: monitor.Line) -> tuple[Any, ...]:
    """What its monitor answers to these requests. Raises UnexpectedOutput where it does not, and
    NotRunning where its QEMU has gone."""
    question = asked_of([vm], *lines)
    try:
        heard = ask(route, question)[question].get(vm.name)
    except Unanswered as error:
        raise unreadable(route, error) from error
    where = {"worker": route.worker.name, "vm": vm.name, "cure": f"fab status --vm {vm.name}"}
    if heard is None or heard.ended == "no socket":
        raise NotRunning("it runs no more", **where)
    if monitor.is_refused(heard) or len(heard.answers) < len(lines):
        raise UnexpectedOutput(monitor.why(heard) or "its answer is cut short", **where)
    return heard.answers


def _stays(move: Move, vm: VM, source: Route) -> bool:
    """Whether it is still the source's; then what was begun is taken back. One that cannot be asked
    may have handed it over."""
    try:
        here, there = look_at(vm, source), look_at(vm, move.to)
        if vm.name in here.moves or here.vm(vm.name).process is None:
            return False
        comes = there.moves.get(vm.name)
        do(source, vm, live.unmirror(source.worker, vm, here), here)
        if comes is not None:
            is_live = comes.how == "receiving"
            drop = live.drop(move.to.worker, vm, there) if is_live else None
            plan = drop or cold.give_up(move.to.worker, vm, there, ())
            if do(move.to, vm, plan, there) is None:
                return False
        let_in(move, vm, source.worker)
        return True
    except VmopsError:
        return False


def dark_ms(vm: VM, sent: BlockResult | None, taken: BlockResult | None) -> int | None:
    """How long its guest stood still, by both workers' clocks; None where these do not tell."""
    stopped = _moment(vm, sent, mirror.HAND_OVER, "STOP")
    resumed = _moment(vm, taken, mirror.RUN_ON, "RESUME")
    if stopped is None or resumed is None or not 0 <= resumed - stopped < 600:
        return None
    return round((resumed - stopped) * 1000)


def _moment(vm: VM, result: BlockResult | None, step: str, event: str) -> float | None:
    found = result.find(step) if result is not None else None
    try:
        heard = monitor.read_talk(found.stdout)[vm.name] if found is not None else None
        named = [one for one in heard.events if one["event"] == event] if heard else []
        at: Mapping[str, int] = named[-1]["timestamp"]
        return at["seconds"] + at["microseconds"] / 1e6
    except (ValueError, KeyError, TypeError, IndexError):
        return None


def show_way(move: Move, here: Worker) -> None:
    """In a dry run, what carries it from here."""
    assert move.to.transcript is not None, "shown only in a dry run"
    how, there = "by an ssh for it alone, " if move.direct else "", move.to.worker.name
    words = f"# {how}carry what comes from there to the sockets of {there}"
    move.to.transcript.noted(here, words)


def show(move: Move, vm: VM, source: Route, seen: Both) -> Outcome:
    """What all acts would run."""
    here, there = source.worker, move.to.worker
    transcript = move.to.transcript
    assert transcript is not None, "shown only in a dry run"
    runs, blank = seen
    comes = mark("expected", here.name, "TOKEN", ran=True)
    received = mark("receiving", here.name, "TOKEN", ran=True)
    leaves = mark("leaving", there.name, "TOKEN", ran=True)
    expected = blank._replace(moves={vm.name: comes}, images={})
    do(move.to, vm, cold.expect(there, vm, blank, comes), blank)
    transcript.noted(there, f"# bring what its disks stand on from {here.name}")
    let_in(move, vm, there, leaves=here)
    do(move.to, vm, live.receive(there, vm, expected, runs, token="TOKEN"), expected)
    waits = runs._replace(moves={vm.name: received})
    do(source, vm, live.open_way(here, vm, runs), runs)
    show_way(move, here)
    do(source, vm, live.mirrors(here, vm, runs, tuning=move.tuning or Tuning()), runs)
    do(source, vm, live.leave(here, vm, runs, leaves, tuning=move.tuning or Tuning()), runs)
    do(move.to, vm, live.switch(there, vm, waits), waits)
    let_in(move, vm, there)
    left = blank._replace(moves={vm.name: leaves})
    do(source, vm, cold.clear(here, vm, left), left)
    return Outcome(vm.name, there.name, "move")
