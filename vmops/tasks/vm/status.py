"""Seeing VMs from the command line: status, ps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from invoke.tasks import task

from vmops.errors import InventoryError
from vmops.tasks.frame.common import (
    FORMAT_HELP,
    PARALLEL_HELP,
    VM_HELP,
    check_parallel,
    dry,
    each,
    text_of,
)
from vmops.tasks.frame.output import check_format, finish, give_json, reporting, say
from vmops.tasks.frame.selection import groups_of_fleet, groups_of_workers
from vmops.tasks.worker import WORKER_HELP

if TYPE_CHECKING:
    from vmops.core.facts.status import InterfaceStatus, VMStatus
    from vmops.ops.route import Group
    from vmops.ops.vm.status import Survey

WATCH_HELP = "Look again and again, until q or Ctrl-C; in a pipe a block for each look."
INTERVAL_HELP = "Seconds between two looks of --watch, such as 0.5 (default 2)."


@task(
    help={
        "vm": VM_HELP,
        "worker": WORKER_HELP,
        "parallel": PARALLEL_HELP,
        "format": FORMAT_HELP,
        "watch": WATCH_HELP,
        "interval": INTERVAL_HELP,
    }
)
@reporting
def status(
    c: Any,
    vm: str | None = None,
    worker: str | None = None,
    parallel: int = 0,
    format: str = "text",
    watch: bool = False,
    interval: float = 2.0,
) -> None:
    """
    Show every VM of the selected workers: state, PID, load, disks, network, VNC, ports, drift.

    A worker or a monitor that cannot be asked gives 'unknown', never 'stopped'.
    Example: fab status --vm 'web*' --watch
    """
    as_json = check_format(format)
    check_parallel(parallel)
    wait_s = _interval(watch, interval)
    groups = _groups(c, vm, worker)
    if not dry(c, groups, "status"):
        look = _looking(groups, detailed=True, parallel=parallel)
        _show(look, detailed=True, as_json=as_json, interval=wait_s)


@task(
    help={
        "worker": WORKER_HELP,
        "parallel": PARALLEL_HELP,
        "format": FORMAT_HELP,
        "watch": WATCH_HELP,
        "interval": INTERVAL_HELP,
    }
)
@reporting
def ps(
    c: Any,
    worker: str | None = None,
    parallel: int = 0,
    format: str = "text",
    watch: bool = False,
    interval: float = 2.0,
) -> None:
    """
    List all VMs on the selected workers, a line for each, also those that hosts.toml lacks.

    Example: fab -H 10.0.10.1 ps
    """
    as_json = check_format(format)
    check_parallel(parallel)
    wait_s = _interval(watch, interval)
    groups = groups_of_workers(c, worker)
    if not dry(c, groups, "status"):
        look = _looking(groups, detailed=False, parallel=parallel)
        _show(look, detailed=False, as_json=as_json, interval=wait_s)


def _groups(c: Any, vm: str | None, worker: str | None) -> list[Group]:
    """The VMs that `--vm` and `--worker` both mean; without `--vm` also a worker that has none."""
    return groups_of_fleet(c, vm, worker, to_start=False) if vm else groups_of_workers(c, worker)


def _interval(watch: bool, interval: float) -> float | None:
    if interval <= 0:
        raise InventoryError(f"--interval {interval:g}: must be more than 0 seconds")
    return interval if watch else None


def _looking(groups: list[Group], *, detailed: bool, parallel: int) -> Callable[[], Survey]:
    def look() -> Survey:
        from vmops.ops.vm.status import merged, survey

        surveys = each(
            groups,
            lambda g: [survey(g.route, g.vms, unmanaged=not detailed)],
            parallel=parallel,
        )
        return merged(surveys)

    return look


def _show(
    look: Callable[[], Survey], *, detailed: bool, as_json: bool, interval: float | None
) -> None:
    """One look, with its exit code, or with an interval one after the other."""
    if interval is not None:
        from vmops.tasks.vm.watch import watch_json, watch_text

        if as_json:
            watch_json(look, interval, as_dict)
        else:
            watch_text(look, interval, detailed=detailed)
        return
    seen = look()
    for note in seen.notes:
        say(note)
    if as_json:
        give_json([as_dict(item) for item in seen.vms])
    elif seen.vms:
        from vmops.tasks.vm.status_table import give_status

        give_status(seen.vms, detailed=detailed)
    elif not seen.errors:
        say("no VMs")
    finish(list({str(error): error for error in seen.errors}.values()))


def as_dict(item: VMStatus) -> dict[str, Any]:
    """The documented JSON object of a VM's status."""
    runs = item.pid is not None
    return {
        "vm": item.vm,
        "worker": item.worker,
        "address": item.address,
        "state": item.state,
        "monitor": item.monitor or None,
        "managed": item.managed,
        "pid": item.pid,
        "uptime_s": item.uptime_s if runs else None,
        "cpu_s": item.cpu_s if runs else None,
        "cpu_percent": item.cpu_percent if runs else None,
        "memory_mb": item.memory_mb if runs else None,
        "vnc": item.vnc or None,
        "image": item.image or None,
        "disks": [disk._asdict() for disk in item.disks],
        "interfaces": [_interface_as_dict(nic) for nic in item.interfaces],
        "drift": [{"field": d.field, "running": d.running, "wanted": d.wanted} for d in item.drift],
        "error": text_of(item.error),
    }


def _interface_as_dict(nic: InterfaceStatus) -> dict[str, Any]:
    """What is wanted of the interface; under `port` what Open vSwitch has of it."""
    port = nic.port
    return {
        "name": nic.name,
        "tap": nic.tap,
        "bridge": nic.bridge,
        "vlan_id": nic.vlan_id,
        "mac": nic.mac,
        "plugged": nic.plugged,
        "port": port
        and {
            "bridge": port.bridge,
            "tag": port.tag,
            "trunks": list(port.trunks),
            "owner": port.owner or None,
            "ofport": port.ofport,
            "error": port.error or None,
        },
        "received_bytes": nic.traffic.received_bytes if nic.traffic else None,
        "sent_bytes": nic.traffic.sent_bytes if nic.traffic else None,
    }
