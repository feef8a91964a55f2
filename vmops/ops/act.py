"""Observe, decide, act: the one way in which anything changes on a worker.

Observing is one exchange, acting another, however many VMs and interfaces there are. When what was
observed no longer holds under the lock, it is all looked at again.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Sequence
from math import ceil
from typing import NamedTuple

from vmops.core.facts import observed as facts
from vmops.core.facts.observed import Observed
from vmops.core.inventory.model import VM, Worker
from vmops.core.names import RunDirectory
from vmops.core.plan.vm import Plan
from vmops.core.script import script
from vmops.core.script.command import Block, BlockResult
from vmops.errors import ConnectionLost, UnexpectedOutput, VmopsError, WorkFailed
from vmops.ops.route import Route

commands = logging.getLogger("vmops.commands")
"""What is about to run on a worker, as a person would type it: `fab -e` shows it."""

OBSERVE_LIMIT_S = 60.0
ACT_LIMIT_S = 120.0
LOOKS = 3
"""How often a plan is made anew because another operator changed the VM in between."""

LANES = 12
"""How many VMs of one worker are acted on at once, by one script: most of the time each of them
waits for the switch, the kernel or its QEMU."""


class Done(NamedTuple):
    """What came of one VM: the plan, what its steps did, or the error that ended it.

    `result` is None where nothing was to be done or nothing could be tried.
    """

    vm: VM
    worker: Worker
    plan: Plan | None = None
    result: BlockResult | None = None
    error: VmopsError | None = None


Decide = Callable[[VM, Observed], Plan]
"""What is to be done for one VM; raises WorkFailed where that cannot begin."""

DecideAll = Callable[[Sequence[VM], Observed], Sequence[Plan | WorkFailed]]
"""The same for all VMs of one worker together: a plan for each in order, or why there is none."""


def perform(
    route: Route,
    blocks: Sequence[Block],
    *,
    time_limit_s: float,
    lanes: int = 1,
    answer_mb: int = 16,
) -> list[BlockResult]:
    """Run the blocks on the worker in one exchange, `lanes` of them at once.

    Raises WorkerUnreachable, CommandTimeout, ConnectionLost, or UnexpectedOutput for an answer of
    more than `answer_mb` MiB; the script on the worker undoes or
    finishes its blocks by itself when the connection is lost.
    """
    from vmops.remote.exchange import exchange

    if commands.isEnabledFor(logging.INFO):
        commands.info("# on %s:\n%s", route.worker.name, script.shown(blocks))
    nonce = secrets.token_hex(16)
    text = script.render(blocks, nonce=nonce, lanes=lanes)
    reply = exchange(
        route.worker,
        text,
        time_limit=time_limit_s,
        most_bytes=answer_mb * 2**20,
        config=route.config,
    )
    results = script.parse(blocks, nonce=nonce, stdout=reply.stdout, stderr=reply.stderr)
    return list(results)


def observe(route: Route, vms: Sequence[VM] = ()) -> Observed:
    """The worker's facts, with what these VMs need to start. Raises as `perform` does."""
    (result,) = perform(route, [facts.ask(vms)], time_limit_s=OBSERVE_LIMIT_S)
    try:
        return facts.read(result, vms)
    except ValueError as unreadable:
        raise UnexpectedOutput(str(unreadable), worker=route.worker.name) from unreadable


def carry_out(
    route: Route, vms: Sequence[VM], decide: Decide, *, ending: bool = False
) -> list[Done]:
    """Decide for each VM and do it: one `Done` for each, in order. Never raises a VmopsError.

    With `ending` nothing is asked that only a start needs.
    """
    return carry_out_all(route, vms, one_by_one(decide), ending=ending)


def one_by_one(decide: Decide) -> DecideAll:
    """Decisions for several VMs that have nothing to do with each other."""

    def decide_one(vm: VM, seen: Observed) -> Plan | WorkFailed:
        try:
            return decide(vm, seen)
        except WorkFailed as error:
            return error

    return lambda vms, seen: [decide_one(vm, seen) for vm in vms]


def carry_out_all(
    route: Route, vms: Sequence[VM], decide: DecideAll, *, ending: bool = False
) -> list[Done]:
    """Decide for all VMs of a worker together and do it; see `carry_out`."""
    done: dict[str, Done] = {}
    waiting = list(vms)
    try:
        for _ in range(LOOKS):
            if waiting:
                seen = observe(route, () if ending else waiting)
                done |= {item.vm.name: item for item in _once(route, waiting, seen, decide)}
                waiting = [vm for vm in waiting if _changed(done[vm.name])]
    except VmopsError as error:
        done |= {vm.name: Done(vm, route.worker, error=error) for vm in waiting}
    return [done[vm.name] for vm in vms]


def _once(route: Route, vms: Sequence[VM], seen: Observed, decide: DecideAll) -> list[Done]:
    done: list[Done] = []
    for vm, decided in zip(vms, decide(vms, seen), strict=True):
        if isinstance(decided, WorkFailed):
            decided.worker = decided.worker or route.worker.name
            done.append(Done(vm, route.worker, error=decided))
        else:
            done.append(Done(vm, route.worker, plan=decided))
    blocks = [item.plan.block for item in done if item.plan and item.plan.block]
    if not blocks:
        return done
    lanes = min(LANES, len(blocks))
    limit = ACT_LIMIT_S * ceil(len(blocks) / lanes)
    try:
        acted = perform(route, blocks, time_limit_s=limit, lanes=lanes)
    except VmopsError as error:
        return [i._replace(error=error) if i.plan and i.plan.block else i for i in done]
    results = {entry.subject: entry for entry in acted}
    return [_with_result(item, results.get(item.vm.name)) for item in done]


def _with_result(item: Done, result: BlockResult | None) -> Done:
    if item.plan is None or item.plan.block is None or result is None:
        return item
    error = _error_of(item.vm, item.worker, result)
    return Done(item.vm, item.worker, item.plan, result, error)


def _changed(item: Done) -> bool:
    return item.result is not None and item.result.outcome == "changed"


def _error_of(vm: VM, worker: Worker, result: BlockResult) -> VmopsError | None:
    if result.outcome == "lost":
        return ConnectionLost(
            f"{vm.name}: the answer is cut short", worker=worker.name, cure="fab status"
        )
    if result.outcome == "locked":
        return WorkFailed(
            f"{vm.name} is being changed by somebody else, for more than {script.LOCK_WAIT_S} s",
            worker=worker.name,
            cure=f"see who: sudo fuser -v {RunDirectory(vm.name).lock}",
        )
    if result.outcome == "unlocked":
        return WorkFailed(
            f"its lock cannot be made there: {result.why}",
            worker=worker.name,
            vm=vm.name,
            cure="/run/vmops/.lock must be a folder that root may write to",
        )
    if result.outcome == "changed":
        return WorkFailed(f"{vm.name} was changed by somebody else meanwhile", worker=worker.name)
    return None
