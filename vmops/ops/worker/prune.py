"""What crashes have left on a worker: found, and removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from vmops.core.facts import observed as facts
from vmops.core.facts.leftovers import LEFT, set_aside
from vmops.core.facts.observed import Observed
from vmops.core.facts.question import Unanswered
from vmops.core.facts.wiring import TAPS
from vmops.core.inventory.inventory import Inventory
from vmops.core.inventory.model import Worker
from vmops.core.inventory.rules import OVN
from vmops.core.plan.checks import switch_fault
from vmops.core.plan.phase import ACT_LIMIT_S
from vmops.core.plan.upkeep import pruning
from vmops.core.plan.upkeep.pruning import Leftover
from vmops.errors import VmopsError, WorkFailed
from vmops.ops.act import Done, ask, execute, perform, unreadable
from vmops.ops.route import Route


class Pruned(NamedTuple):
    """What became of one leftover; without one, why its worker could not be looked at."""

    worker: str
    leftover: Leftover | None = None
    removed: bool = False
    error: VmopsError | None = None


def prune(route: Route, *, remove: bool = False, listed: Inventory | None = None) -> list[Pruned]:
    """What is left on the worker, and with `remove` what came of its removal. Never raises.

    What a process uses and what belongs to a VM that runs, or may, is left alone. On a worker of
    the inventory that is `listed`, also tunnels to workers that it does not have, where it has a
    mesh, on that of OVN's central networks that it does not have and nobody uses, and marks of its
    VMs that have left the worker and are nowhere now.
    """
    worker = route.worker
    questions = (*facts.for_ending(), LEFT)
    vms = tuple(listed.vms.values()) if listed else ()
    aside = set_aside(vms)
    try:
        answers = ask(route, *questions, aside)
        if route.transcript is not None:
            return []
        seen = facts.read(route.worker, answers, questions)
        left, paths = answers[LEFT], answers[aside]
    except Unanswered as error:
        return [Pruned(worker.name, error=unreadable(route, error))]
    except VmopsError as error:
        return [Pruned(worker.name, error=error)]
    if seen.switch.fault:
        return [Pruned(worker.name, error=switch_fault(worker, seen))]
    if TAPS.name in seen.faults:
        return [Pruned(worker.name, error=unreadable(route, Unanswered(seen.faults[TAPS.name])))]
    found = (*pruning.leftovers(seen, left, _ends(worker, listed)), *pruning.old_disks(paths, vms))
    more = [
        *_marked(route, seen, listed, remove=remove),
        *_carried(route, listed, remove=remove),
    ]
    if not remove:
        return [*(Pruned(worker.name, each) for each in found), *more]
    begun = [Done(plan.vm, worker, plan) for plan in pruning.plans(worker, found, seen)]
    done = {item.vm.name: item for item in execute({worker.name: route}, begun)}
    cleared = _cleared(route, found)
    return [*(_pruned(worker.name, each, done, cleared) for each in found), *more]


def _marked(
    route: Route, seen: Observed, listed: Inventory | None, *, remove: bool
) -> list[Pruned]:
    """The same of marks of VMs that have left the worker, where they lead nowhere. All workers are
    asked for that, where there is such a mark of a VM of the inventory."""
    here = route.worker.name
    if listed is None or here not in listed.workers:
        return []
    left = (name for name, mark in seen.moves.items() if mark.how == "left")
    vms = [listed.vms[name] for name in left if name in listed.vms]
    if not vms:
        return []
    from vmops.ops.vm.moving import forgetting

    others = [Route(one, route.config) for one in listed.workers.values() if one.name != here]
    try:
        found = [one for one in forgetting.found([route, *others], vms) if one.route is route]
        came = forgetting.forget(found) if remove else []
    except VmopsError as error:
        return [Pruned(here, error=error)]
    errors = {one.vm: one.error for one in came}
    return [
        Pruned(
            here,
            pruning.mark_of(one.vm.name),
            removed=one.vm.name in errors and errors[one.vm.name] is None,
            error=errors.get(one.vm.name),
        )
        for one in found
    ]


def _carried(route: Route, listed: Inventory | None, *, remove: bool) -> list[Pruned]:
    """The same of OVN's rows, on the worker that has its central."""
    name = route.worker.name
    if listed is None or listed.northbound != name:
        return []
    from vmops.ops.network import logical

    known = [network.name for network in listed.networks.values() if network.engine == OVN]
    try:
        found = pruning.carried(logical.look(route), known)
    except VmopsError as error:
        return [Pruned(name, error=error)]
    gone = [each.name for each in found if not each.kept] if remove else []
    came = {one.network: one for one in logical.remove(route, gone)} if gone else {}
    return [
        Pruned(name, each, removed=one is not None and one.done, error=one.error if one else None)
        for each in found
        for one in [came.get(each.name)]
    ]


def _ends(worker: Worker, listed: Inventory | None) -> dict[str, str | None]:
    """The workers and where their tunnels end; none where the inventory has no mesh, or not this
    worker: what tunnels there are is another inventory's, then."""
    if listed is None or listed.mesh is None or worker.name not in listed.workers:
        return {}
    return {name: one.tunnel_ip for name, one in listed.workers.items()}


def _cleared(route: Route, found: Sequence[Leftover]) -> VmopsError | None:
    """Remove that of the worker itself: what went wrong."""
    blocks = pruning.clearing(found)
    if not blocks:
        return None
    try:
        results = perform(route, blocks, time_limit_s=ACT_LIMIT_S)
    except VmopsError as error:
        return error
    for result in results:
        if result.outcome == "done":
            continue
        failed = result.failure
        why = failed.reason() if failed else result.why or "its networks are being changed"
        return WorkFailed(why, worker=route.worker.name, cure="fab prune --yes")
    return None


def _pruned(
    worker: str, each: Leftover, done: Mapping[str, Done], cleared: VmopsError | None
) -> Pruned:
    if each.kept:
        return Pruned(worker, each)
    if each.kind in ("output", "lock", "half a disk", "network", "tunnel"):
        return Pruned(worker, each, removed=cleared is None, error=cleared)
    error = _error_of(done[each.vm])
    return Pruned(worker, each, removed=error is None, error=error)


def _error_of(item: Done) -> VmopsError | None:
    failed = [e for result in item.results for e in result.steps if not e.ok]
    if item.error is not None or not failed:
        return item.error
    what = f"{failed[0].step.label}: {failed[0].reason()}"
    return WorkFailed(what, worker=item.worker.name, vm=item.vm.name, cure="fab doctor")
