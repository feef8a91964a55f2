"""Plans that bring a VM up: launch, plug, boot. Pure decisions.

Every function raises a WorkFailed (the reason, and its cure) when the work cannot begin: then
nothing has been done.
"""

from __future__ import annotations

from vmops.core.devices import disk, display, impairing, nic
from vmops.core.devices.drift import Drift
from vmops.core.devices.live import memory
from vmops.core.devices.live.nics import LINK, RELEASE_LIMIT_S, no_card
from vmops.core.devices.nic import PLUGGED, Skip, port_drift
from vmops.core.devices.storage import shared
from vmops.core.facts.observed import Observed
from vmops.core.inventory.model import VM, Worker
from vmops.core.plan.checks import (
    check_boot,
    check_forwarding,
    check_not_smaller,
    check_switch,
    check_tun,
    check_unused,
    hashed_notes,
    leftover_notes,
    silence_cure,
)
from vmops.core.plan.drift import drift, launch_values
from vmops.core.plan.guards import block_of, still_absent
from vmops.core.plan.life import ahead_of_boot, booting, clearing
from vmops.core.plan.live import drives, interfaces
from vmops.core.plan.live.interfaces import plugging_of
from vmops.core.plan.live.suspending import check_fits
from vmops.core.plan.moving.marks import check_may_start
from vmops.core.plan.phase import Action, Phase, Plan
from vmops.core.script.command import Batch, Block, Step
from vmops.core.tools import ovs, process, qmp
from vmops.errors import LaunchFailed, PortConflict


def launch(
    worker: Worker, vm: VM, observed: Observed, *, strict: bool = False, room: bool = True
) -> Plan:
    """As `launch_bare`, but where none of its interfaces can be plugged, the VM is not started: it
    would run without a network, and need a restart to get one."""
    starts = observed.vm(vm.name).process is None and bool(vm.connected)
    if starts:
        check_tun(worker, vm, observed)
    plan = launch_bare(worker, vm, observed, strict=strict, room=room)
    if not starts or plan.block is None:
        return plan
    if len(plan.skips) == len(vm.connected):
        reasons = "; ".join(f"{skip.interface}: {skip.reason}" for skip in plan.skips)
        raise PortConflict(
            f"no interface can be plugged: {reasons}", worker=worker.name, vm=vm.name
        )
    block = ahead_of_boot(plan.block, nic.at_least_one(vm))
    return plan._replace(phases=(Phase(worker.name, block),))


def launch_bare(
    worker: Worker, vm: VM, observed: Observed, *, strict: bool = False, room: bool = True
) -> Plan:
    """Plug and boot; nothing where it runs as asked; change it where that needs no restart.

    The action is `restart`, without a phase, where it runs otherwise. Without `room` its memory and
    VNC port are not looked at: they are for all VMs that start together (group.py). The VM starts
    even where none of its interfaces can be plugged, as the documented class has it.
    """
    check_may_start(worker, vm, observed)
    if observed.vm(vm.name).process is not None:
        return _of_running(worker, vm, observed, strict=strict)
    check_boot(worker, vm, observed, room=room)
    check_fits(worker, vm, observed)
    suspended = vm.name in observed.suspended
    steps, skips = _plugging(worker, vm, observed, strict=strict or suspended)
    claim = _claiming(worker, vm, observed)
    steps = (*claim, *clearing(vm, observed), *steps, *booting(worker, vm, observed))
    block = block_of(vm, steps, guards=still_absent(vm, observed), change="launch")
    notes = _start_notes(worker, vm, observed)
    phase = Phase(worker.name, block, waits_s=_wait_s(vm, observed))
    return Plan(vm, "start", (phase,), skips=skips, notes=notes)


def _claiming(worker: Worker, vm: VM, observed: Observed) -> tuple[Step, ...]:
    found, shares = observed.moves.get(vm.name), worker.shared_images is not None
    return shared.claiming(vm.name, worker.name, found, shares=shares)


def _wait_s(vm: VM, observed: Observed) -> float:
    """How long a start takes at most beyond what any may: copies, and memory that is read."""
    reading_s = memory.LIMIT_S if vm.name in observed.suspended else 0
    return disk.wait_s(vm, observed.images) + reading_s


def plug(worker: Worker, vm: VM, observed: Observed, *, strict: bool = False) -> Plan:
    """The TAPs and ports only; an interface that is plugged as asked is left alone.

    The run directory of a VM that died goes: what is plugged from now on is not what it left.
    Raises WorkFailed where the VM runs and an interface is cut off: only a restart helps.
    """
    runs = observed.vm(vm.name).process
    check_switch(worker, vm, observed)
    if runs is None:
        check_tun(worker, vm, observed)
    check_unused(worker, vm, observed)
    if runs:
        interfaces.check_not_cut_off(worker, vm, observed)
    steps, skips = _plugging(worker, vm, observed, strict=strict)
    steps = steps if runs else (*clearing(vm, observed), *steps)
    busy = any(step.commands for step in Block("", steps).numbered())
    action: Action = "replug" if busy else "nothing"
    guards = (process.still_running(vm.name, runs),) if runs else still_absent(vm, observed)
    block = block_of(vm, steps, guards=guards, change="plug")
    phases = (Phase(worker.name, block),) if busy else ()
    return Plan(vm, action, phases, skips=skips, notes=hashed_notes(vm))


def _plugging(
    worker: Worker, vm: VM, observed: Observed, *, strict: bool
) -> tuple[tuple[Step | Batch, ...], tuple[Skip, ...]]:
    steps, skips = nic.plugging(plugging_of(worker, vm, observed), vm.connected, strict=strict)
    pulled = [n.tap for n in vm.connected if _is_pulled(n.tap, observed)]
    if pulled and observed.vm(vm.name).process is None:
        # A QEMU that is started has all cables in.
        links = tuple(ovs.mark_link(tap, up=True) for tap in pulled)
        steps = (*steps, Step(LINK, links, may_fail=True))
    return steps, skips


def _is_pulled(tap: str, observed: Observed) -> bool:
    port = observed.switch.ports.get(tap)
    return port is not None and port.is_pulled


def boot(
    worker: Worker, vm: VM, observed: Observed, *, strict: bool = False, room: bool = True
) -> Plan:
    """QEMU only, with the interfaces that are plugged: on a missing TAP QEMU would make a private
    one, and the VM's network would be dead."""
    check_may_start(worker, vm, observed)
    if observed.vm(vm.name).process is not None:
        return _of_running(worker, vm, observed, strict=strict)
    check_boot(worker, vm, observed, room=room)
    check_fits(worker, vm, observed)
    strict = strict or vm.name in observed.suspended
    unplugged = {n.name: port_drift(worker, vm, n, observed.wiring) for n in vm.connected}
    skips = tuple(
        Skip(name, f"is not plugged ({'; '.join(map(str, found))})")
        for name, found in unplugged.items()
        if found
    )
    if skips and strict:
        raise LaunchFailed(
            f"{skips[0].interface} {skips[0].reason}",
            worker=worker.name,
            vm=vm.name,
            cure=f"plug it first: fab plug --vm {vm.name}",
        )
    ready = [n for n in vm.connected if not unplugged[n.name]]
    known = observed.wiring.impaired
    steps = (
        *_claiming(worker, vm, observed),
        *clearing(vm, observed),
        Step(PLUGGED, (), sets=tuple(nic.flag(n) for n in ready)),
        *(impairing.step(n, known) for n in ready if impairing.is_due(n, known, anew=False)),
        *booting(worker, vm, observed),
    )
    block = block_of(vm, steps, guards=still_absent(vm, observed), change="boot")
    notes = _start_notes(worker, vm, observed)
    phase = Phase(worker.name, block, waits_s=_wait_s(vm, observed))
    return Plan(vm, "start", (phase,), skips=skips, notes=notes)


def _of_running(worker: Worker, vm: VM, observed: Observed, *, strict: bool) -> Plan:
    state, note = standing(worker, vm, observed)
    left_out = tuple(
        Skip(n.name, reason)
        for n in vm.connected
        if (reason := nic.conflict(vm, n, observed.wiring))
    )
    fields = tuple(f"interfaces.{skip.interface}" for skip in left_out)
    differs = tuple(d for d in drift(worker, vm, observed) if not d.is_of(fields))
    found = tuple(d for d in differs if not d.later)
    if later := tuple(d for d in differs if d.later):
        state = (*state, *later)
        what = "; ".join(map(_at_next_start, later))
        note = (*note, f"{vm.name}: {what}; to restart it: fab restart --vm {vm.name}")
    if not found and not (strict and left_out):
        return Plan(vm, "nothing", drift=state, skips=left_out, notes=note)
    if not all(item.live for item in found):
        check_not_smaller(worker, vm, observed)
        return Plan(vm, "restart", drift=(*state, *found), skips=left_out, notes=note)
    if all(
        item.is_of(tuple(f"interfaces.{n.name}.switch" for n in vm.connected)) for item in found
    ):
        check_forwarding(worker, vm, observed)
    replug = _changed(worker, vm, observed, strict=strict)
    if any(item.is_of(drives.FIELDS) for item in found):
        replug = drives.with_changes(worker, vm, observed, replug, found, strict=strict)
    return replug._replace(drift=(*state, *found), notes=(*note, *replug.notes))


def _changed(worker: Worker, vm: VM, observed: Observed, *, strict: bool) -> Plan:
    """The plan that plugs the interfaces of a running VM as asked, and adds and removes some."""
    lacking, too_many = interfaces.lacking(vm, observed), interfaces.too_many(vm, observed)
    foreign = tuple(
        Skip(n.name, reason) for n in lacking if (reason := nic.conflict(vm, n, observed.wiring))
    )
    if (len(lacking) == len(foreign) and not too_many) or (foreign and strict):
        return plug(worker, vm, observed, strict=strict)
    running = observed.vm(vm.name).process
    assert running is not None, "only a VM that runs is changed"
    check_switch(worker, vm, observed)
    check_tun(worker, vm, observed)
    check_unused(worker, vm, observed)
    there = [n for n in vm.connected if n not in lacking]
    job = interfaces.plugging_of(worker, vm, observed)
    plugs, skips = nic.plugging(job, there, strict=strict)
    changes = interfaces.changing(worker, vm, observed, running, strict=strict)
    new = tuple(
        no_card(vm.name, n) for n in lacking if n.name not in {s.interface for s in foreign}
    )
    guards = (process.still_running(vm.name, running), *new)
    block = block_of(vm, (*plugs, *changes), guards=guards, change="change")
    phase = Phase(worker.name, block, waits_s=len(too_many) * RELEASE_LIMIT_S)
    return Plan(vm, "change", (phase,), skips=(*skips, *foreign), notes=hashed_notes(vm))


def _at_next_start(item: Drift) -> str:
    """The instance-ids of two seeds say nothing to a person."""
    if item.field == "cloud_init":
        return "its guest is told what cloud_init says now at its next start"
    return f"{item}, from its next start on"


def standing(
    worker: Worker, vm: VM, observed: Observed
) -> tuple[tuple[Drift, ...], tuple[str, ...]]:
    """The drift and the note of a running VM whose guest stands still. Nothing that starts VMs
    makes it run on: somebody may have had a reason."""
    process_ = observed.vm(vm.name).process
    if process_ is None:
        return (), ()
    if process_.stopped:
        note = f"{vm.name} is frozen: a signal holds its QEMU (SIGSTOP)"
        cure = f"to continue it, on {worker.name}: sudo kill -CONT {process_.pid}"
        return (Drift("state", "held by a signal", qmp.RUNNING),), (f"{note}; {cure}",)
    status, _ = observed.monitor_status(vm.name)
    if status in ("", qmp.RUNNING):
        return (), ()
    cure = "restart" if qmp.awakening(status) is None else "resume"
    note = f"{vm.name} is not running: it is {status}; fab {cure} --vm {vm.name}"
    return (Drift("state", status, qmp.RUNNING),), (note,)


def _start_notes(worker: Worker, vm: VM, observed: Observed) -> tuple[str, ...]:
    notes = leftover_notes(vm, observed, doing="starting")
    if vm.name in observed.suspended:
        notes = (*notes, f"{vm.name} was suspended: it goes on from its memory")
    risk = display.risk(vm.name, worker.name, launch_values(worker, vm, observed).screen)
    silence = observed.switch.lifeless(worker.bridge) if has_vlans(vm) else ""
    if silence:
        silence = f"{vm.name} on {worker.name}: {silence}; {silence_cure(worker, observed)}"
    return (*notes, *(f"warning: {reason}" for reason in (risk, silence) if reason))


def has_vlans(vm: VM) -> bool:
    """True where an interface of it is on the bridge that carries VLANs."""
    return any(not nic.port for nic in vm.connected)
