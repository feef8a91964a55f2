"""What every act of a move needs: its worker looked at, its plan carried out, files brought."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from vmops.core.devices.live import mirror
from vmops.core.devices.live.mirror import Tuning
from vmops.core.devices.storage import moving
from vmops.core.devices.storage.moving import mark
from vmops.core.facts import observed as facts
from vmops.core.facts import supposed
from vmops.core.facts.observed import Observed
from vmops.core.images.names import FOLDER
from vmops.core.images.progress import Progress
from vmops.core.inventory.model import VM, Worker
from vmops.core.plan.group import Terms
from vmops.core.plan.life import EXIT, KILL, TERM
from vmops.core.plan.moving import behind, cold
from vmops.core.plan.moving.course import Next, Side
from vmops.core.plan.moving.live import Stopped
from vmops.core.plan.network.rebinding import Rebinding
from vmops.core.plan.phase import Plan
from vmops.core.plan.stopping import GENTLY, Manner
from vmops.errors import WorkFailed
from vmops.ops.act import Done, execute, observe
from vmops.ops.network import rebinding
from vmops.ops.route import Route
from vmops.ops.vm import lifecycle, outcome

_ENDINGS = (EXIT, TERM, KILL)

Tell = Callable[[str], None]
"""What has been done, in a few words."""


class Move(NamedTuple):
    """VMs that are to be on the worker of `to`. `others` are the ways to all other workers by name,
    `cold` that one which runs is stopped for it. Else it is moved live, as `tuning` has it; without
    that, not at all. With `direct` it is sent from worker to worker where these two can do it.
    `northbound` is the worker that has OVN's central, None without one.
    `own_line` tells of a VM whether the line of hosts.toml that says where it is is its own; `vms`
    are all that are in there. `all_stopped` is the command that moves all of several VMs with a
    stop, where it is one of these that is moved."""

    to: Route
    others: Mapping[str, Route]
    cold: bool = False
    tuning: Tuning | None = Tuning()
    direct: bool = False
    manner: Manner = GENTLY
    terms: Terms = lifecycle.USUAL_TERMS
    northbound: str | None = None
    own_line: Callable[[VM], bool] = lambda vm: True
    vms: Mapping[str, VM] = MappingProxyType({})
    all_stopped: str = ""
    tell: Tell = lambda words: None
    progress: Callable[[str, str, Progress | None], None] = lambda file, worker, progress: None

    def stopped(self, vm: VM) -> Stopped:
        """How the VM is moved with a stop."""
        if self.all_stopped:
            return Stopped(self.all_stopped, for_all=True)
        return Stopped(f"fab migrate --cold --vm {vm.name} --to {self.to.worker.name}")


def do(route: Route, vm: VM, plan: Plan, seen: Observed) -> Done | None:
    """Carry the plan out. None where what it was made of holds no more; raises what went wrong."""
    begun = Done(vm, route.worker, plan=plan, seen=seen)
    (done,) = execute({route.worker.name: route}, [begun])
    if done.result is not None and done.result.outcome == "changed":
        return None
    failure = done.result.failure if done.result else None
    came = outcome.stopped(done)
    if came.error is not None and (failure is None or failure.step.label in _ENDINGS):
        raise came.error
    if failure is not None and done.result is not None:
        raise WorkFailed(
            f"{failure.step.label} failed: {outcome.reason_of(failure, usual=mirror.why)}",
            worker=route.worker.name,
            vm=vm.name,
            cure=outcome.undone(done.result, "mend that, then the same command again"),
        )
    return done


def bring_bases(move: Move, vm: VM, source: Route, seen: Observed) -> None:
    """Bring the images that its disks stand on."""
    from vmops.remote.image.carry import Where

    for base in cold.bases_of(source.worker, vm, seen):
        carry(move, vm, source, Where(base.path, base.digest, FOLDER, base.name))


def carry(move: Move, vm: VM, source: Route, file: object) -> None:
    """Bring one file, and tell how far it is."""
    from vmops.remote.image.carry import Where
    from vmops.remote.image.carry import carry as send

    assert isinstance(file, Where)
    name, there = f"{vm.name} {file.path.rpartition('/')[2]}", move.to.worker.name
    try:
        sent = send(
            source.worker,
            move.to.worker,
            file,
            on_progress=lambda progress: move.progress(name, there, progress),
            config=move.to.config,
        )
    finally:
        move.progress(name, there, None)
    if sent:
        move.tell(f"{vm.name}: {file.path} is on {there}, {sent / 2**20:.1f} MiB sent")


def expect(move: Move, vm: VM, source: Route, found: Next, seen: tuple[Observed, Observed]) -> bool:
    """Have the destination expect the VM; False where somebody has changed something since it was
    looked at. What it has left there before is set aside."""
    here, there = source.worker, move.to.worker
    cold.check_leaves(here, vm, seen[0])
    cold.check_comes(there, vm, seen[1], seen[0], starts=found.ran)
    behind.check_set_aside(there, vm, seen[1], vms=move.vms.values())
    was, token = seen[1].moves.get(vm.name), found.token or secrets.token_hex(4)
    again = was is not None and was.returns
    wanted = mark("expected", here.name, token, ran=found.ran, again=again)
    if do(move.to, vm, cold.expect(there, vm, seen[1], wanted), seen[1]) is None:
        return False
    if behind.left_behind(vm, seen[1]):
        aside = moving.aside(vm.qcow_image, seen[1].moves[vm.name].token)
        move.tell(f"{vm.name}: the disk that it had left on {there.name} is {aside} there now")
    return True


def carried(move: Move, vm: VM, to: Worker) -> tuple[Route, Rebinding] | None:
    """The way to OVN's central, and what it is to be told of the VM; None for one that has no
    interface there."""
    if move.northbound is None or not any(nic.port for nic in vm.connected):
        return None
    routes = {**move.others, move.to.worker.name: move.to}
    central = routes[move.northbound]._replace(transcript=move.to.transcript)
    home = routes[vm.worker].worker if vm.worker in routes else None
    return central, Rebinding(vm, to, home)


def let_in(move: Move, vm: VM, to: Worker, *, leaves: Worker | None = None) -> None:
    """Have OVN let the VM in on a worker, and on no other but the one that it `leaves`."""
    if found := carried(move, vm, to):
        central, wanted = found
        rebinding.rebind(central, wanted._replace(leaves=leaves))


def look_at(vm: VM, route: Route) -> Observed:
    """What a worker has of the VM, and what its start there would need."""
    return observe(route, facts.for_moving([vm]), vms=[vm], suppose=supposed.blank)


def side(route: Route, vm: VM, seen: Observed) -> Side:
    """What that says of the VM in a move."""
    return cold.side_of(route.worker, vm, seen)
