"""Interfaces of a running VM: what is added and removed without a restart, and links."""

from __future__ import annotations

from itertools import chain, repeat

from vmops.core.devices import impairing, machine
from vmops.core.devices import nic as nics
from vmops.core.devices.live import nics as live
from vmops.core.devices.nic import Plugging, RunningNic
from vmops.core.facts.observed import Observed
from vmops.core.facts.wiring import TAPS
from vmops.core.inventory.model import VM, Nic, Worker
from vmops.core.inventory.networks.impairment import UNIMPAIRED, Impaired
from vmops.core.plan.checks import check_impairing, check_read
from vmops.core.plan.guards import block_of
from vmops.core.plan.phase import Phase, Plan
from vmops.core.script.command import Step
from vmops.core.tools import ip, process
from vmops.core.tools.process import Process
from vmops.errors import MonitorError, WorkFailed


def plugging_of(worker: Worker, vm: VM, observed: Observed) -> Plugging:
    """What plugging needs: the user id that its QEMU drops to may open the VM's TAPs, unless others
    have that id too."""
    whole = observed.host.whole_uid_range
    user = machine.uid_for(vm, whole_range=True) if whole else 0
    return Plugging(worker, vm, observed.wiring, user)


def lacking(vm: VM, observed: Observed) -> tuple[Nic, ...]:
    """The wanted interfaces that its QEMU does not have."""
    has = {card.tap for card in observed.nics(vm.name) if not card.is_bare}
    return tuple(nic for nic in vm.connected if nic.tap not in has)


def too_many(vm: VM, observed: Observed) -> tuple[RunningNic, ...]:
    """What its QEMU has and should not have."""
    wanted = {nic.tap for nic in vm.connected}
    return tuple(card for card in observed.nics(vm.name) if card.tap not in wanted)


def cut_off(vm: VM, observed: Observed) -> tuple[Nic, ...]:
    """The wanted interfaces whose TAP was removed under its QEMU, which has not opened another.
    Where its monitor is silent, those that it was started with count."""
    running = observed.vm(vm.name)
    if observed.nics_were_said(vm.name):
        cut = {card.tap for card in observed.nics(vm.name) if card.cut_off and not card.is_bare}
    elif running.taps is not None:
        cut = {card.tap for card in running.command_line.nics} - running.taps
    else:
        cut = set()
    return tuple(nic for nic in vm.connected if nic.tap in cut)


def check_not_cut_off(worker: Worker, vm: VM, observed: Observed, *, name: str = "") -> None:
    """Raise WorkFailed where an interface is cut off, or just the one of that name: a TAP that is
    made or changed now would lead nowhere."""
    for nic in cut_off(vm, observed):
        if name in ("", nic.name):
            raise WorkFailed(
                f"its TAP {nic.tap} was removed while it ran, and its QEMU opens no other",
                worker=worker.name,
                vm=vm.name,
                interface=nic.name,
                cure=f"fab restart --vm {vm.name}",
            )


def changing(
    worker: Worker, vm: VM, observed: Observed, running: Process, *, strict: bool
) -> tuple[Step, ...]:
    """The steps that take out what is too much, then add what is lacking and nobody else's.

    One that fails stops no other, unless it is `strict`. Those to come out go first: their places
    in the machine are free then.
    """
    job = plugging_of(worker, vm, observed)
    bare = {card.tap: card for card in observed.nics(vm.name) if card.is_bare}
    out = [live.removing(job, card, running) for card in too_many(vm, observed)]
    own = [n for n in lacking(vm, observed) if not nics.conflict(vm, n, observed.wiring)]
    free = chain(observed.free_ports(vm.name), repeat(""))
    added = [
        live.adding(job, nic, running, bare=bare.get(nic.tap), port=port)
        for nic, port in zip(own, free, strict=False)
    ]
    impaired = [
        impairing.step(nic, observed.wiring.impaired, only=nics.flag(nic))
        for nic in own
        if impairing.is_due(nic, observed.wiring.impaired, anew=True)
    ]
    return tuple(step._replace(may_fail=not strict) for step in (*out, *added, *impaired))


def impair(worker: Worker, vm: VM, observed: Observed, *, name: str, wanted: Impaired) -> Plan:
    """Impair one interface so, whatever hosts.toml says of it; nothing where it is so already.

    Raises WorkFailed where it is not plugged, is somebody else's, or the worker cannot do that.
    """
    running = observed.vm(vm.name)
    assert running.process is not None, "only what runs is impaired by hand"
    nic = next(each for each in vm.nics if each.name == name)
    check_read(worker, vm, observed, TAPS)
    check_not_cut_off(worker, vm, observed, name=name)
    if nic.tap not in observed.taps or nics.conflict(vm, nic, observed.wiring):
        raise WorkFailed(
            f"{name} is not plugged",
            worker=worker.name,
            vm=vm.name,
            interface=name,
            cure=f"fab plug --vm {vm.name}",
        )
    check_impairing(worker, vm, observed, nic, wanted)
    known = observed.wiring.impaired
    if known is not None and known.get(nic.tap, UNIMPAIRED) == wanted:
        return Plan(vm, "nothing")
    step = impairing.impair(nic, wanted, known)
    guards = (process.still_running(vm.name, running.process), ip.are_there([nic.tap]))
    block = block_of(vm, (step,), guards=guards, change="impair")
    return Plan(vm, "impair", (Phase(worker.name, block),))


def set_link(worker: Worker, vm: VM, observed: Observed, *, name: str, up: bool) -> Plan:
    """Pull the cable of one interface, or put it in again; nothing where it is so already.

    Raises MonitorError where the monitor does not say what QEMU has, and WorkFailed where it does
    not have that interface, or not its TAP.
    """
    running = observed.vm(vm.name)
    assert running.process is not None, "only what runs has a link"
    nic = next(each for each in vm.nics if each.name == name)
    if not observed.nics_were_said(vm.name):
        _, why = observed.monitor_status(vm.name)
        raise MonitorError(
            why or "its monitor does not say what it has", worker=worker.name, vm=vm.name
        )
    card = next((each for each in observed.nics(vm.name) if each.tap == nic.tap), None)
    if card is None or card.is_bare:
        raise WorkFailed(
            f"it runs without {name}",
            worker=worker.name,
            vm=vm.name,
            interface=name,
            cure=f"to add it: fab launch --vm {vm.name}",
        )
    check_not_cut_off(worker, vm, observed, name=name)
    port = observed.switch.ports.get(nic.tap)
    if port is None:
        raise WorkFailed(
            f"{name} has no port",
            worker=worker.name,
            vm=vm.name,
            interface=name,
            cure=f"fab plug --vm {vm.name}",
        )
    if port.is_pulled != up:
        return Plan(vm, "nothing")
    step = live.setting_link(vm.name, card, up=up)
    guards = (process.still_running(vm.name, running.process),)
    change = "nic-up" if up else "nic-down"
    block = block_of(vm, (step,), guards=guards, change=change)
    return Plan(vm, "link", (Phase(worker.name, block),))
