"""Disks, CD and memory of a running VM: what changes without a restart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, repeat

from vmops.core.devices import disk
from vmops.core.devices.drift import Drift
from vmops.core.devices.live import balloon, disks
from vmops.core.devices.live.nics import RELEASE_LIMIT_S
from vmops.core.devices.storage import boot, further
from vmops.core.facts.images import OWN_DISKS
from vmops.core.facts.observed import IMAGES, Observed
from vmops.core.inventory.machine.rules import CDROM
from vmops.core.inventory.model import VM, Disk, Worker
from vmops.core.plan.capacity import no_room
from vmops.core.plan.checks import check_read
from vmops.core.plan.guards import block_of
from vmops.core.plan.phase import Action, Phase, Plan
from vmops.core.script.command import Command, Step
from vmops.core.tools import monitor, process
from vmops.core.tools.monitor import Talk
from vmops.core.tools.process import Process
from vmops.errors import LaunchFailed

FIELDS = ("disk_gb", "disks", "iso", "ram_mb")
"""What is changed here, as `Drift` calls it."""


def with_changes(
    worker: Worker, vm: VM, observed: Observed, plan: Plan, found: Sequence[Drift], *, strict: bool
) -> Plan:
    """The same plan, with what is live of these differences made under the running guest.

    What comes out goes first: its place in the machine is free then. One that fails stops no other,
    unless it is `strict`. Raises LaunchFailed for a file that QEMU must not have.
    """
    running = observed.vm(vm.name).process
    assert running is not None, "only what runs is changed"
    changes: tuple[Step, ...] = ()
    guards: tuple[Command, ...] = ()
    waits_s = 0.0
    if any(item.is_of(["disks"]) for item in found):
        out, added = _too_many(vm, observed), _lacking(vm, observed)
        waits_s += len(out) * RELEASE_LIMIT_S
        changes = (*out, *_adding(worker, vm, observed, running, added))
        guards = tuple(_guards(vm, observed, added))
    if any(item.field == "iso" for item in found):
        changes = (*changes, _changing_cd(worker, vm, observed))
    if any(item.field == "ram_mb" for item in found):
        changes = (*changes, balloon.setting(vm))
        waits_s += balloon.LIMIT_S
    steps = [step._replace(may_fail=not strict) for step in changes]
    steps += _growing(vm, observed, running)
    if not steps:
        return plan
    still = process.still_running(vm.name, running)
    block = plan.block or block_of(vm, (), guards=(still,), change="change" if changes else "grow")
    block = block._replace(guards=(*block.guards, *guards), steps=(*block.steps, *steps))
    if plan.phases:
        waits_s += plan.phases[0].waits_s
    action: Action = "change" if changes else plan.action if plan.phases else "grow"
    return plan._replace(action=action, phases=(Phase(worker.name, block, waits_s=waits_s),))


def _too_many(vm: VM, observed: Observed) -> tuple[Step, ...]:
    has, wanted = observed.drives(vm.name), {each.name for each in vm.disks}
    return tuple(disks.removing(vm, one, has) for one in has.disks if one.name not in wanted)


def _lacking(vm: VM, observed: Observed) -> VM:
    """The VM with those disks alone that its QEMU does not have."""
    has = {each.name for each in observed.drives(vm.name).disks if each.attached}
    return replace(vm, disks=tuple(each for each in vm.disks if each.name not in has))


def _new(lacking: VM, observed: Observed) -> VM:
    """Of these those of which its QEMU does not have the file open either."""
    has = {each.name for each in observed.drives(lacking.name).disks}
    return replace(lacking, disks=tuple(each for each in lacking.disks if each.name not in has))


def _adding(
    worker: Worker, vm: VM, observed: Observed, running: Process, lacking: VM
) -> Iterator[Step]:
    check_read(worker, vm, observed, IMAGES, OWN_DISKS)
    new, images, host = _new(lacking, observed), observed.images, observed.host
    fault = further.refusal(new, images, user=host.user, folder=observed.folder)
    if fault is not None:
        raise LaunchFailed(fault.what, worker=worker.name, vm=vm.name, cure=fault.cure)
    if lack := no_room(worker, new, observed):
        raise lack
    has = observed.drives(vm.name)
    # Interfaces take the first ones of these (interfaces.changing).
    free = chain(reversed(observed.free_ports(vm.name)), repeat(""))
    for each, port in zip(lacking.disks, free, strict=False):
        prepared = further.preparing(_alone(new, each), images)
        there = has._replace(port=port)
        yield disks.adding(vm, each, prepared, there, running, home=host.home)


def _alone(vm: VM, wanted: Disk) -> VM:
    return replace(vm, disks=tuple(each for each in vm.disks if each == wanted))


def _guards(vm: VM, observed: Observed, lacking: VM) -> Iterator[Command]:
    new = _new(lacking, observed)
    yield from further.guards(new, observed.images)
    for each in new.disks:
        yield disks.no_node(vm.name, each)


def _changing_cd(worker: Worker, vm: VM, observed: Observed) -> Step:
    iso = boot.wanted(vm, observed.host.home).iso
    if vm.boot == CDROM and iso:
        check_read(worker, vm, observed, IMAGES)
        fault = boot.refusal(vm, observed.images, observed.firmware, user=observed.host.user)
        if fault is not None:
            raise LaunchFailed(fault.what, worker=worker.name, vm=vm.name, cure=fault.cure)
    return disks.changing_cd(vm, observed.drives(vm.name), iso=iso)


def _growing(vm: VM, observed: Observed, running: Process) -> list[Step]:
    """What makes the disks that it has larger. One that is added is made so before."""
    has = {each.name for each in observed.drives(vm.name).disks}
    there = replace(vm, disks=tuple(each for each in vm.disks if each.name in has))
    requests = (
        *disk.growing(vm, observed.images, running.argv),
        *further.growing(there, observed.images),
    )
    return [Step(disk.GROW, (monitor.talk([Talk(vm.name, requests)]),))] if requests else []
