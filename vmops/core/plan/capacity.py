"""Room for VMs that start on one worker: memory, disks, and the TCP ports of their VNC."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vmops.core.devices import disk
from vmops.core.devices.storage import further
from vmops.core.facts.observed import Observed
from vmops.core.images.names import FOLDER
from vmops.core.inventory.model import VM, Worker
from vmops.errors import LaunchFailed

Fault = tuple[str, str]
"""What is lacking, and the cure."""


def refusal(
    worker: Worker, vms: Sequence[VM], observed: Observed, *, overcommit: bool = False
) -> LaunchFailed | None:
    """Why the worker has no room for all of these VMs, or None where it has.

    A VM that runs is one to be restarted: what it holds now counts as free. With `overcommit`
    memory is not looked at.
    """
    faults = lacking(vms, observed, overcommit=overcommit)
    if not faults:
        return None
    what = "; ".join(what for what, _ in faults)
    names = ", ".join(vm.name for vm in vms)
    return LaunchFailed(
        f"{names}: {what}" if len(vms) == 1 else f"none of {names} is started: {what}",
        worker=worker.name,
        cure="; ".join(dict.fromkeys(cure for _, cure in faults)),
    )


def no_room(worker: Worker, vm: VM, observed: Observed) -> LaunchFailed | None:
    """The same for the disks alone of a VM that runs and gets some."""
    for what, cure in _disk_faults([vm], observed):
        return LaunchFailed(what, worker=worker.name, vm=vm.name, cure=cure)
    return None


def lacking(vms: Sequence[VM], observed: Observed, *, overcommit: bool) -> list[Fault]:
    """What there is no room for, where all of these VMs are to start."""
    faults = [*_port_faults(vms, observed), *_disk_faults(vms, observed)]
    if not overcommit:
        faults.extend(_memory_faults(vms, observed))
    return faults


def taken(worker: Worker, vm: VM, observed: Observed, among: Sequence[str]) -> LaunchFailed | None:
    """Why this VM cannot start though others may: a VM that runs has its VNC port, and is not one
    of those that are started or restarted with it. hosts.toml has renamed it, perhaps."""
    if vm.vnc_port is None or vm.vnc_port not in observed.listening:
        return None
    for name, running in observed.vms.items():
        is_other = running.process is not None and name != vm.name and name not in among
        if is_other and running.command_line.screen.port == vm.vnc_port:
            return LaunchFailed(
                f"TCP port {vm.vnc_port}, its vnc_port, is that of {name}, which runs here",
                worker=worker.name,
                vm=vm.name,
                cure=f"end it: fab -H {worker.name} stop --vm {name}; or change vnc_port",
            )
    return None


def _memory_faults(vms: Sequence[VM], observed: Observed) -> Iterator[Fault]:
    needed = sum(vm.ram_mb for vm in vms)
    held = (observed.vm(vm.name).process for vm in vms)
    given_back = sum(process.rss_kib // 1024 for process in held if process is not None)
    available = observed.host.available_mb + given_back
    if needed > available:
        who = "needs" if len(vms) == 1 else "together they need"
        yield (
            f"{who} {needed} MiB of memory, {available} MiB are available",
            "stop another VM, start fewer, lower ram_mb, or say --overcommit",
        )


LEAST_FREE = 256 << 20
"""Bytes without which no disk is made: QEMU writes tables into it before a guest writes at all."""


def _disk_faults(vms: Sequence[VM], observed: Observed) -> Iterator[Fault]:
    """What the disks that are to be made take at once, and what is free."""
    free = observed.folder.free
    promised = sum(_promised(vm, observed) for vm in vms)
    needed = LEAST_FREE + sum(disk.taken_at_once(vm, observed.images) for vm in vms)
    if free is None or not promised or needed <= free:
        return
    whose = "its disks need" if len(vms) == 1 else "their disks need"
    yield (
        f"{whose} {needed >> 20} MiB at once, and {free >> 20} MiB are free in {FOLDER}",
        "make room there: fab image.remove --unused, or fab destroy a VM that is not needed",
    )


def thin(worker: Worker, vms: Sequence[VM], observed: Observed) -> str:
    """A warning where the disks of the worker may come to take more than is free, once these VMs
    have theirs; empty where they may not, or get no more than they have.

    That is no reason to refuse: see devices/storage/folder.py.
    """
    more = sum(_promised(vm, observed) for vm in vms)
    total, free = observed.folder.promised + more, observed.folder.free
    if free is None or not more or total <= free:
        return ""
    return (
        f"warning: the disks of {worker.name} may come to take {disk.spoken(total)} more, and"
        f" {disk.spoken(free)} is free there: a guest that finds no room stands still"
        " (status: io-error) until there is some, and fab resume"
    )


def _promised(vm: VM, observed: Observed) -> int:
    return disk.promised(vm, observed.images) + further.promised(vm, observed.images)


def _port_faults(vms: Sequence[VM], observed: Observed) -> Iterator[Fault]:
    given_back = {observed.vm(vm.name).command_line.screen.port for vm in vms}
    takers: dict[int, str] = {}
    for vm in vms:
        port = vm.vnc_port
        if port is None:
            continue
        whose = "vnc_port" if len(vms) == 1 else f"{vm.name}'s vnc_port"
        if port in takers:
            yield (
                f"TCP port {port} is the vnc_port of {takers[port]} and of {vm.name}",
                "give each a vnc_port of its own",
            )
        elif port in observed.listening and port not in given_back:
            others = (o for o in observed.vms.values() if o.process and o.name != vm.name)
            has = next((o.name for o in others if o.command_line.screen.port == port), None)
            if has is not None:
                yield (
                    f"TCP port {port} is in use by {has}, which runs there, {whose} needs it",
                    f"change the vnc_port of one of them; or end it: fab stop --vm {has}",
                )
                continue
            yield (
                f"TCP port {port} is in use, {whose} needs it",
                f"see who has it: sudo ss -ltnp 'sport = :{port}'; or change vnc_port",
            )
        takers.setdefault(port, vm.name)
