"""A VM that goes to another worker which has the same folder of disks: nothing is copied.

One that goes on running sends its memory to a QEMU there, which opens the same disks when this one
has let go of them. Up to the mark whatever fails leaves it running where it was.
"""

from __future__ import annotations

from collections.abc import Mapping

from vmops.core.devices.live.mirror import Tuning
from vmops.core.devices.storage import shared
from vmops.core.facts.observed import Observed
from vmops.core.inventory.model import VM
from vmops.core.plan.moving import cold, live, together
from vmops.core.plan.moving.course import Next
from vmops.errors import VmopsError
from vmops.ops.route import Route
from vmops.ops.vm.moving import going
from vmops.ops.vm.moving.acts import Move, do, look_at
from vmops.ops.vm.moving.going import Both, StayedError
from vmops.ops.vm.outcome import Outcome


def check(move: Move, vm: VM, source: Route, seen: Both) -> None:
    """Raise for what keeps a VM that runs from moving live, before anything is begun."""
    running = seen[0].vm(vm.name).process
    assert running is not None, "only what runs is moved live"
    stopped = move.stopped(vm)
    live.check_leaves(source.worker, vm, seen[0], stopped=stopped)
    live.check_same(move.to.worker, vm, seen[1], running, stopped=stopped)
    together.check_comes(move.to.worker, vm, seen[1], seen[0], starts=True)


def go(move: Move, vm: VM, source: Route, seen: Both) -> bool:
    """Move it while it runs. False where somebody has changed something since it was looked at.

    Raises StayedError where it stays, and what went wrong where the same command goes on.
    """
    check(move, vm, source, seen)
    plan = together.receive(move.to.worker, vm, seen[1], seen[0])
    try:
        if do(move.to, vm, plan, seen[1]) is None:
            return False
        _go(move, vm, source)
    except VmopsError as error:
        if _stays(move, vm, source):
            raise StayedError(error) from error
        raise
    return True


def _go(move: Move, vm: VM, source: Route) -> None:
    here, there = source.worker, move.to.worker
    seen = going.both_running(move, vm, source)
    machines = (going.machine_of(route, vm) for route in (source, move.to))
    live.check_machines(vm, there, *machines, stopped=move.stopped(vm))
    tuning = move.tuning or Tuning()
    with going.way(move, vm, source, seen[0]):
        plan = together.hand_over_live(here, vm, seen[0], to=there.name, tuning=tuning)
        sent = going.must(source, vm, plan, seen[0])
        comes = seen[1]._replace(moves={vm.name: shared.at(there.name, ran=True)})
        taken = going.must(move.to, vm, together.switch(there, vm, comes), comes)
    dark = going.dark_ms(vm, sent.result, taken.result)
    said = "" if dark is None else f", its guest stood still for {dark} ms"
    move.tell(f"{vm.name}: runs on {there.name}{said}")


def _stays(move: Move, vm: VM, source: Route) -> bool:
    """Whether it is still the source's; then what was begun is taken back. One that cannot be asked
    may have handed it over."""
    try:
        here, there = look_at(vm, source), look_at(vm, move.to)
        mark = here.moves.get(vm.name)
        if mark is None or mark.how != "at" or here.vm(vm.name).process is None:
            return False
        return there.vm(vm.name).process is None or _dropped(move, vm, there)
    except VmopsError:
        return False


def _dropped(move: Move, vm: VM, there: Observed) -> bool:
    return do(move.to, vm, together.drop(move.to.worker, vm, there), there) is not None


def stay(move: Move, vm: VM, there: Route) -> None:
    """End what waits on the worker of `there` for the VM, which is on that of `move.to`."""
    seen = look_at(vm, there)
    if seen.vm(vm.name).process is not None:
        going.must(there, vm, together.drop(there.worker, vm, seen), seen)
    here = look_at(vm, move.to)
    if here.vm(vm.name).process is not None and cold.memory_of(vm, here) == "sent":
        going.must(move.to, vm, together.back_to_life(move.to.worker, vm, here), here)
    move.tell(f"{vm.name}: it stays on {move.to.worker.name}")


def left_from(
    vm: VM, to: str, routes: Mapping[str, Route], seen: Mapping[str, Observed]
) -> Route | None:
    """Where a live move to that worker was cut that had been handed over: the way to the worker
    which the VM has left, or to any that shares the folder where that has nothing of it."""
    mark = seen[to].moves.get(vm.name)
    if mark is None or mark.how != "at":
        return None
    others = [
        name
        for name in seen
        if name != to and together.is_one_folder(routes[to].worker, routes[name].worker)
    ]
    for name in others:
        found = seen[name].vm(vm.name)
        if found.process is not None or found.directory:
            return routes[name]
    waits = mark.ran and seen[to].vm(vm.name).process is not None
    return routes[others[0]] if waits and others else None


def act(move: Move, vm: VM, source: Route, found: Next, seen: Both) -> bool:
    """Do one act of a move that is not live, or was cut; False where somebody has changed something
    since it was looked at."""
    here, there = source.worker, move.to.worker
    if found.act == "expect":
        return do(source, vm, together.claim(here, vm), seen[0]) is not None
    if found.act == "drop":
        return _dropped(move, vm, seen[1])
    if found.act == "end":
        return do(source, vm, live.end(here, vm, seen[0]), seen[0]) is not None
    if found.act == "clear":
        return do(source, vm, together.clear(here, vm, seen[0]), seen[0]) is not None
    if found.act == "wake":
        done = do(move.to, vm, together.wake(there, vm, seen[1]), seen[1])
        if done is not None:
            move.tell(f"{vm.name}: runs on {there.name}")
        return done is not None
    cold.check_leaves(here, vm, seen[0])
    together.check_comes(there, vm, seen[1], seen[0], starts=found.ran)
    plan = together.hand_over(here, vm, seen[0], to=there.name, ran=found.ran, manner=move.manner)
    done = do(source, vm, plan, seen[0])
    if done is not None and seen[0].vm(vm.name).process is not None:
        move.tell(f"{vm.name}: stopped on {here.name}")
    return done is not None


def show(move: Move, vm: VM, source: Route, seen: Both) -> Outcome:
    """What all acts of a live move would run."""
    here, there = source.worker, move.to.worker
    transcript = move.to.transcript
    assert transcript is not None, "shown only in a dry run"
    is_here, is_there = shared.at(here.name), shared.at(there.name, ran=True)
    runs = seen[0]._replace(moves={vm.name: is_here})
    other = seen[1]._replace(moves={vm.name: is_here})
    do(move.to, vm, together.receive(there, vm, other, runs), other)
    do(source, vm, live.open_way(here, vm, runs), runs)
    going.show_way(move, here)
    tuning = move.tuning or Tuning()
    do(source, vm, together.hand_over_live(here, vm, runs, to=there.name, tuning=tuning), runs)
    comes = runs._replace(moves={vm.name: is_there})
    do(move.to, vm, together.switch(there, vm, comes), comes)
    left = seen[1]._replace(moves={vm.name: is_there})
    do(source, vm, together.clear(here, vm, left), left)
    return Outcome(vm.name, there.name, "move")
