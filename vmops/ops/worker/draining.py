"""A worker that is emptied before its reboot, and filled again: drain, undrain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from vmops.core.facts import supposed
from vmops.core.facts.host import HOST
from vmops.core.facts.images import MOVES, OWN_DISKS, SUSPENDED
from vmops.core.facts.observed import Observed
from vmops.core.facts.vms import RUNNING, images
from vmops.core.facts.wiring import DRAINED
from vmops.core.inventory.model import VM
from vmops.core.plan.moving import marks
from vmops.core.plan.placement.choice import Wish
from vmops.core.plan.placement.choose import choose
from vmops.core.plan.placement.home import belongs
from vmops.core.script.command import Block, Command, Step
from vmops.core.tools import ovs
from vmops.errors import UnexpectedOutput, VmopsError, WorkFailed
from vmops.ops.act import observe, perform
from vmops.ops.route import Route
from vmops.ops.vm.moving.acts import Move
from vmops.ops.vm.moving.migrate import NothingOfItError, migrate
from vmops.ops.vm.outcome import Outcome
from vmops.ops.vm.seeds import told
from vmops.ops.worker.placing import ask

_MARK_LIMIT_S = 60.0


class Draining(NamedTuple):
    """How VMs are taken from a worker and back: `how` each is moved, whatever its `to`; `routes`
    are the ways to all workers by name, and `wish` is that the VMs of the inventory be placed."""

    how: Move
    routes: Mapping[str, Route]
    wish: Wish


def drain(work: Draining, here: Route) -> list[Outcome]:
    """Take all VMs of the worker to where there is room, and give it none from now on.

    It is written down there first, with the names of those VMs; what was cut is gone on with by the
    same call. One that cannot be moved is left where it is, with its error, and so is one that is
    on its way there. Raises VmopsError where the worker cannot be asked, or a disk there could not
    be looked at.
    """
    name = here.worker.name
    seen = _seen(here, work.wish.vms)
    vms = tuple(vm for vm in work.wish.vms if belongs(vm, name, seen))
    before = seen.drained.away if seen.drained is not None else ()
    away = tuple(dict.fromkeys([*before, *(vm.name for vm in vms)]))
    _write(here, ovs.mark_drained(away))
    if here.transcript is not None:
        here.transcript.noted(
            here.worker, "# of these VMs, each that runs there or has its disk there:"
        )
        here.transcript.noted(
            here.worker, f"fab migrate{_how(work)} --vm VM --to WORKER  # as placed"
        )
        return []
    known = {vm.name for vm in work.wish.vms}
    found = [_stranger(here, vm) for vm in sorted(seen.vms) if vm not in known and _runs(vm, seen)]
    found += [_coming(here, vm, seen) for vm in marks.coming(seen) if vm in known]
    if not vms:
        return found
    wish = work.wish._replace(vms=told(vms), leaving=name)
    for choice in choose(ask(list(work.routes.values()), wish), wish):
        if choice.error is not None:
            found.append(Outcome(choice.vm.name, name, "nothing", error=choice.error))
        else:
            found += _move(work, choice.vm, choice.worker, f"fab drain --cold --worker {name}")
    return found


def undrain(work: Draining, here: Route, *, stay: bool = False) -> list[Outcome] | None:
    """Let the worker have VMs again, and bring those back that were taken away from it, or with
    `stay` leave them where they are; None where it was not drained. One that cannot be brought is
    still written down: the same call goes on with it. Of one that was destroyed meanwhile nothing
    is brought, and none that hosts.toml gives another worker, whatever is written down, nor one
    that somebody has moved on since. Raises VmopsError as `drain` does."""
    seen = _seen(here, ())
    if here.transcript is not None:
        if not stay:
            here.transcript.noted(here.worker, "# each VM that was taken away by drain:")
            here.transcript.noted(
                here.worker, f"fab migrate{_how(work)} --vm VM --to {here.worker.name}"
            )
        _write(here, (ovs.unmark_drained(),))
        return []
    if seen.drained is None:
        return None
    if stay:
        _write(here, (ovs.unmark_drained(),))
        if seen.drained.away:
            work.how.tell(f"{', '.join(seen.drained.away)}: left where they are now")
        return []
    away = list(seen.drained.away)
    _write(here, ovs.mark_drained(away, is_open=True))
    known = {vm.name: vm for vm in work.wish.vms}
    settled = _settled(work, here, seen)
    found = []
    for name in seen.drained.away:
        came = _come_back(work, known.get(name), here.worker.name, settled.get(name, ""))
        came = [one for one in came if not isinstance(one.error, NothingOfItError)]
        found += came
        if not any(one.error for one in came):
            away.remove(name)
            left = ovs.mark_drained(away, is_open=True) if away else (ovs.unmark_drained(),)
            _write(here, left)
    if not seen.drained.away:
        _write(here, (ovs.unmark_drained(),))
    return found


def _come_back(work: Draining, vm: VM | None, to: str, settled: str) -> list[Outcome]:
    if vm is None:
        return []
    if vm.worker not in (None, to):
        settled = f"left where it is, hosts.toml gives it {vm.worker}"
    if settled:
        work.how.tell(f"{vm.name}: {settled}")
        return []
    return _move(work, vm, to, f"fab undrain --cold --worker {to}")


def _settled(work: Draining, here: Route, seen: Observed) -> dict[str, str]:
    """Which VMs were moved on from where the drain took them, not by a drain of that worker, and in
    words what is done about that."""
    home = here.worker.name
    found = {}
    looks: dict[str, Observed | None] = {}
    for name in seen.drained.away if seen.drained is not None else ():
        took = seen.moves.get(name)
        if took is None or took.how != "left" or took.peer not in work.routes:
            continue
        if took.peer not in looks:
            looks[took.peer] = _seen_if_there(work.routes[took.peer])
        there = looks[took.peer]
        onward = there.moves.get(name) if there is not None else None
        if there is None or onward is None or onward.how != "left" or onward.peer == home:
            continue
        if not marks.is_away(name, there):
            what = f"left where it is, as it was moved from {took.peer} to {onward.peer} since"
            found[name] = f"{what}; {marks.back(name, home, away=False)}"
    return found


def _seen_if_there(route: Route) -> Observed | None:
    """What a move from there will find out anyway is no error here."""
    try:
        return _seen(route, ())
    except VmopsError:
        return None


def _how(work: Draining) -> str:
    return " --cold" * work.how.cold + " --direct" * work.how.direct


def _move(work: Draining, vm: VM, to: str, all_stopped: str) -> list[Outcome]:
    others = {name: route for name, route in work.routes.items() if name != to}
    move = work.how._replace(to=work.routes[to], others=others, all_stopped=all_stopped)
    # What migrate says of hosts.toml is for a move that stays.
    return [one._replace(notes=()) if not one.error else one for one in migrate(move, [vm])]


def _seen(here: Route, vms: Sequence[VM]) -> Observed:
    questions = (HOST, RUNNING, SUSPENDED, MOVES, OWN_DISKS, images(vms), DRAINED)
    seen = observe(here, questions, vms=vms, suppose=supposed.blank)
    for name, why in seen.faults.items():
        raise UnexpectedOutput(f"{name}: {why}", worker=here.worker.name, cure="fab doctor")
    return seen


def _write(here: Route, commands: tuple[Command, ...]) -> None:
    block = Block("", (Step("mark of a drained worker", commands),))
    (result,) = perform(here, [block], time_limit_s=_MARK_LIMIT_S)
    if result.failure is not None:
        what = f"{result.failure.step.label}: {result.failure.reason()}"
        raise WorkFailed(what, worker=here.worker.name, cure="fab doctor")


def _runs(vm: str, seen: Observed) -> bool:
    return seen.vm(vm).process is not None


def _coming(here: Route, vm: str, seen: Observed) -> Outcome:
    name, peer = here.worker.name, seen.moves[vm].peer
    error: VmopsError = WorkFailed(
        f"it is on its way from {peer} to {name}, and that is not taken back unasked",
        worker=name,
        vm=vm,
        cure=f"if nobody moves it now: fab migrate --vm {vm} --to {peer}",
    )
    return Outcome(vm, name, "nothing", error=error)


def _stranger(here: Route, vm: str) -> Outcome:
    name = here.worker.name
    error: VmopsError = WorkFailed(
        "it runs there and hosts.toml does not have it: it is left where it is",
        worker=name,
        vm=vm,
        cure=f"to end it: fab -H {name} stop --vm {vm}",
    )
    return Outcome(vm, name, "nothing", error=error)
