"""Observe, decide, act: the one way in which anything changes on a worker.

Observing is one exchange, each phase of a plan another, however many VMs and interfaces there are.
When what was observed no longer holds under the lock, it is all looked at again.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import Any, NamedTuple

from vmops.core.devices.storage import further
from vmops.core.facts import observed as facts
from vmops.core.facts import supposed
from vmops.core.facts.observed import Observed
from vmops.core.facts.question import Answers, Question, Unanswered, block_of, time_limit_s
from vmops.core.facts.vms import RUNNING, RunningVM
from vmops.core.inventory.model import VM, Worker
from vmops.core.names import RunDirectory
from vmops.core.plan.elsewhere import as_it_is_there
from vmops.core.plan.phase import Phase, Plan
from vmops.core.script import script
from vmops.core.script.command import Block, BlockResult, most_bytes
from vmops.core.tools import image_chain
from vmops.errors import (
    CommandTimeout,
    ConnectionLost,
    PortConflict,
    UnexpectedOutput,
    VmopsError,
    WorkFailed,
)
from vmops.ops.fleet import on_each
from vmops.ops.route import Group, Route
from vmops.wait import check_answers, note_silence

commands = logging.getLogger("vmops.commands")
"""What is about to run on a worker, as a person would type it: `fab -e` shows it."""

LOOKS = 3
"""How often a plan is made anew because another operator changed the VM in between."""

LANES = 12
"""How many VMs of one worker are acted on at once, by one script: most of the time each of them
waits for the switch, the kernel or its QEMU. What waits for guests runs all at once."""

Suppose = Callable[[Worker, Sequence[VM]], Observed]
"""What a dry run supposes the worker to answer: see core/facts/supposed.py."""


class Done(NamedTuple):
    """What came of one VM: the plan, what each phase did, or the error that ended it.

    `results` has what was tried, in order. `recovered` is what came of making it good again after a
    phase had failed.
    """

    vm: VM
    worker: Worker
    plan: Plan | None = None
    results: tuple[BlockResult, ...] = ()
    error: VmopsError | None = None
    recovered: BlockResult | None = None
    seen: Observed | None = None

    @property
    def result(self) -> BlockResult | None:
        """What the last phase that was tried did; None where nothing was."""
        return self.results[-1] if self.results else None


DecideAll = Callable[[Sequence[VM], Observed], Sequence[Plan | WorkFailed]]
"""What is to be done for all VMs of one worker: a plan for each in order, or why there is none."""


def perform(
    route: Route,
    blocks: Sequence[Block],
    *,
    time_limit_s: float,
    lanes: int = 1,
) -> list[BlockResult]:
    """Run the blocks on the worker in one exchange, `lanes` of them at once.

    Raises WorkerUnreachable, CommandTimeout, ConnectionLost, or UnexpectedOutput for an answer of
    more than all commands together may print; the script on the worker undoes or finishes its
    blocks by itself when the connection is lost.
    """
    if route.transcript is not None:
        route.transcript.ran(route.worker, blocks)
        return [BlockResult(block.subject, "done") for block in blocks]
    if route.missing is not None:
        raise route.missing
    from vmops.remote.exchange import exchange

    if commands.isEnabledFor(logging.INFO):
        commands.info("# on %s:\n%s", route.worker.name, script.shown(blocks))
    nonce = secrets.token_hex(16)
    text = script.render(blocks, nonce=nonce, lanes=lanes)
    reply = exchange(
        route.worker,
        text,
        time_limit=time_limit_s,
        most_bytes=most_bytes(blocks),
        config=route.config,
    )
    results = script.parse(blocks, nonce=nonce, stdout=reply.stdout, stderr=reply.stderr)
    return list(results)


def ask(route: Route, *questions: Question[Any], lock: str = "") -> Answers:
    """What the worker answers to these questions, in one exchange. Raises as `perform` does.

    With a `lock`, they are asked while nobody changes what it guards; a WorkFailed where it is not
    to be had. On a route with a watch, GoneError where the first answer has marks of its VMs.
    Within a command a worker that did not answer is not asked again: that is raised anew.
    """
    if route.transcript is not None:
        route.transcript.asked(route.worker, questions)
        return Answers(BlockResult("", "done"))
    if route.watch is not None:
        questions = route.watch.beside(questions)
    block = block_of(questions, lock=lock)
    check_answers(route.worker.name)
    try:
        (result,) = perform(route, [block], time_limit_s=time_limit_s(questions))
    except (ConnectionLost, CommandTimeout) as error:
        note_silence(route.worker.name, error)
        raise
    if lock and result.outcome in ("locked", "unlocked"):
        raise _without_lock(lock.rpartition("/")[2], route.worker, result)
    answers = Answers(result)
    if route.watch is not None:
        route.watch.check(answers)
    return answers


def unreadable(route: Route, error: Unanswered) -> UnexpectedOutput:
    """The error for an answer without which nothing can be done."""
    return UnexpectedOutput(str(error), worker=route.worker.name, cure=error.cure)


def observe(
    route: Route,
    questions: Sequence[Question[Any]],
    *,
    vms: Sequence[VM],
    suppose: Suppose,
    lock: str = "",
) -> Observed:
    """The worker's facts. Raises as `ask` does, and UnexpectedOutput."""
    answers = ask(route, *questions, lock=lock)
    if route.transcript is not None:
        return suppose(route.worker, vms)
    try:
        return facts.read(route.worker, answers, questions)
    except Unanswered as error:
        raise unreadable(route, error) from error


def running(route: Route, vms: Sequence[str], *, lock: str = "") -> Mapping[str, RunningVM]:
    """The run directory and the process of each of these VMs. Raises as `observe` does.

    With a `lock`, looked at while nobody changes what it guards.
    """
    answers = ask(route, RUNNING, lock=lock)
    return running_of(route, answers, vms)


def running_of(route: Route, answers: Answers, vms: Sequence[str]) -> Mapping[str, RunningVM]:
    """The same from answers to RUNNING and other questions."""
    if route.transcript is not None:
        return {name: supposed.running_vm(name) for name in vms}
    try:
        found = answers[RUNNING]
    except Unanswered as error:
        raise unreadable(route, error) from error
    return {name: found.get(name, RunningVM(name)) for name in vms}


def carry_out(
    route: Route,
    vms: Sequence[VM],
    decide: DecideAll,
    *,
    questions: Callable[[Sequence[VM]], Sequence[Question[Any]]],
    suppose: Suppose,
) -> list[Done]:
    """Observe, decide for all these VMs of a worker, and do it: one `Done` for each, in order.

    What the route has `seen` is not looked at a first time. What looks like somebody else's is
    looked at again while nobody changes the VM: it may be its own QEMU, in the middle of a start.
    Never raises a VmopsError.
    """

    def look_again(vm: VM) -> Done:
        lock = RunDirectory(vm.name).lock
        # There is room for all, or none starts: it is decided with those that were refused with it.
        why = done[vm.name].error
        vms = [vm, *(each for each in waiting if each != vm and done[each.name].error is why)]
        try:
            seen = observe(route, questions(vms), vms=vms, suppose=suppose, lock=lock)
        except VmopsError as error:
            return Done(vm, route.worker, error=error)
        vms = [as_it_is_there(route.worker, each, seen) for each in vms]
        first = zip(vms[:1], decide(vms, seen), strict=False)
        (found,) = _once(route, first, seen)
        return found

    done: dict[str, Done] = {}
    waiting = list(vms)
    try:
        for look in range(LOOKS):
            if waiting:
                known = route.seen if look == 0 else None
                if known is not None and route.watch is not None:
                    route.watch.check_seen(known)
                seen = known or observe(route, questions(waiting), vms=waiting, suppose=suppose)
                waiting = [as_it_is_there(route.worker, vm, seen) for vm in waiting]
                decided = zip(waiting, decide(waiting, seen), strict=True)
                done |= {item.vm.name: item for item in _once(route, decided, seen)}
                in_doubt = [vm for vm in waiting if _is_in_doubt(done[vm.name], seen)]
                done |= {vm.name: look_again(vm) for vm in in_doubt}
                waiting = [vm for vm in waiting if _is_outdated(done[vm.name])]
    except VmopsError as error:
        done |= {vm.name: Done(vm, route.worker, error=error) for vm in waiting}
    return [done[vm.name] for vm in vms]


def one_by_one(decide: Callable[[VM, Observed], Plan]) -> DecideAll:
    """Decisions for several VMs that have nothing to do with each other."""

    def decide_one(vm: VM, seen: Observed) -> Plan | WorkFailed:
        try:
            return decide(vm, seen)
        except WorkFailed as error:
            return error

    return lambda vms, seen: [decide_one(vm, seen) for vm in vms]


def _once(route: Route, decided: Any, seen: Observed) -> list[Done]:
    done = []
    for vm, found in decided:
        if isinstance(found, WorkFailed):
            done.append(Done(vm, route.worker, error=found, seen=seen))
        else:
            done.append(Done(vm, route.worker, plan=found, seen=seen))
    return execute({route.worker.name: route}, done)


def execute(routes: Mapping[str, Route], begun: Sequence[Done]) -> list[Done]:
    """Carry the plans out, phase by phase; each phase of all of them in one exchange with each
    worker it names. A plan whose phase fails goes no further, and what it has done before is made
    good again. Never raises a VmopsError.
    """
    done = {item.vm.name: item for item in begun}
    for index in range(max((len(d.plan.phases) for d in begun if d.plan), default=0)):
        going = [d for d in done.values() if _goes_on(d, index)]
        for item in _phase(routes, index, going):
            done[item.vm.name] = item
        failed = [done[d.vm.name] for d in going if not _goes_on(done[d.vm.name], index + 1)]
        for item in _recover(routes, index, failed):
            done[item.vm.name] = item
    return list(done.values())


def _goes_on(item: Done, index: int) -> bool:
    """True when all its phases before `index` are done, and there is one more or none to come."""
    if item.plan is None or item.error is not None or len(item.results) != index:
        return False
    is_done = all(result.outcome == "done" for result in item.results)
    return is_done and index <= len(item.plan.phases)


def _phase(routes: Mapping[str, Route], index: int, going: Sequence[Done]) -> list[Done]:
    """One phase of each plan, on all workers at once."""
    due = [item for item in going if item.plan and index < len(item.plan.phases)]
    by_worker: dict[str, list[Done]] = {}
    for item in due:
        by_worker.setdefault(_phase_of(item, index).worker, []).append(item)
    groups = [Group(routes[name], tuple(d.vm for d in items)) for name, items in by_worker.items()]
    found: list[Done] = []
    for _, items in on_each(
        groups, lambda group: _on_one(group.route, index, by_worker[group.route.worker.name])
    ):
        found += items
    return found


def _phase_of(item: Done, index: int) -> Phase:
    assert item.plan is not None, "only what has a plan has a phase"
    return item.plan.phases[index]


def _on_one(route: Route, index: int, items: Sequence[Done]) -> list[Done]:
    phases = [_phase_of(item, index) for item in items]
    waits = any(phase.waits_s for phase in phases)
    lanes = len(phases) if waits else min(LANES, len(phases))
    limit = max(phase.time_limit_s for phase in phases) * ceil(len(phases) / lanes)
    try:
        acted = perform(route, [p.block for p in phases], time_limit_s=limit, lanes=lanes)
    except VmopsError as error:
        return [item._replace(error=error) for item in items]
    return [
        item._replace(results=(*item.results, result), error=_error_of(item, result, index))
        for item, result in zip(items, acted, strict=True)
    ]


def _recover(routes: Mapping[str, Route], index: int, failed: Sequence[Done]) -> list[Done]:
    """Make good again, from the last to the first, what earlier phases of these plans have done."""
    found = []
    for item in failed:
        lost = item.result is None or item.result.outcome not in ("failed", "locked")
        if item.plan is None or lost:
            continue
        for phase in reversed(item.plan.phases[:index]):
            if phase.recovery is not None:
                found.append(item._replace(recovered=_recovered(routes, phase)))
    return found


def _recovered(routes: Mapping[str, Route], phase: Phase) -> BlockResult:
    block = phase.recovery
    assert block is not None, "asked for only where there is one"
    try:
        (result,) = perform(routes[phase.worker], [block], time_limit_s=phase.time_limit_s)
    except VmopsError:
        return BlockResult(block.subject, "lost")
    return result


def _is_in_doubt(item: Done, seen: Observed) -> bool:
    """True where it was refused as a TAP, the disk or the VNC port is in use: its own QEMU may have
    them, in the middle of another operator's start or stop.

    What the QEMU has that runs is no doubt, where the VM was to be restarted.
    """
    if item.error is None or item.plan is not None:
        return False
    if seen.vm(item.vm.name).process is not None:
        from vmops.core.plan.restarting import without

        seen = without(item.vm, seen)
    chain = seen.images.get(item.vm.qcow_image, ())
    in_use = bool(image_chain.in_use(chain)) or further.in_use(item.vm, seen.images)
    is_port_held = item.vm.vnc_port in seen.listening
    return isinstance(item.error, PortConflict) or in_use or is_port_held


def _is_outdated(item: Done) -> bool:
    """True when what its plan was made of had changed before anything was done."""
    return len(item.results) == 1 and item.results[0].outcome == "changed"


def _error_of(item: Done, result: BlockResult, index: int) -> VmopsError | None:
    name, worker = item.vm.name, item.worker.name
    if result.outcome == "lost":
        return ConnectionLost(
            "the answer was cut short", worker=worker, vm=name, cure=f"fab status --vm {name}"
        )
    if result.outcome in ("locked", "unlocked"):
        return _without_lock(name, item.worker, result)
    if result.outcome == "changed" and index == 0:
        return outdated(name, worker)
    return None


def outdated(vm: str, worker: str) -> WorkFailed:
    """That a plan was given up, as one of its guards did not hold any more: one that asks a monitor
    does not where that has fallen silent, either."""
    return WorkFailed(
        "it is not as it was a moment ago: somebody else has changed it, or its QEMU is silent",
        worker=worker,
        vm=vm,
        cure=f"fab status --vm {vm}; then the same command again",
    )


def _without_lock(vm: str, worker: Worker, result: BlockResult) -> WorkFailed:
    if result.outcome == "locked":
        return WorkFailed(
            f"{vm} is being changed by another command, for more than {script.LOCK_WAIT_S} s; if it"
            " is being moved, that takes as long as its memory",
            worker=worker.name,
            vm=vm,
            cure=f"see who: sudo fuser -v {RunDirectory(vm).lock}",
        )
    return WorkFailed(
        f"its lock cannot be made there: {result.why}",
        worker=worker.name,
        vm=vm,
        cure="/run/vmops/.lock must be a folder that root may write to",
    )
