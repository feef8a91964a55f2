"""Seeing VMs from the command line: status, ps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from vmops.tasks.frame import options
from vmops.tasks.frame.context import Context, is_dry, is_host
from vmops.tasks.frame.output import say
from vmops.tasks.frame.selection import (
    groups_of_fleet,
    groups_of_workers,
    inventory,
    other_routes,
)
from vmops.tasks.frame.task import task
from vmops.tasks.frame.work import Report, Work, each, errors_of, text_of

if TYPE_CHECKING:
    from vmops.core.inventory.networks.impairment import Impaired
    from vmops.core.plan.status import InterfaceStatus, VMStatus
    from vmops.errors import VmopsError
    from vmops.ops.route import Group
    from vmops.ops.vm.status import Survey

Scope = Literal["named", "some", "all"]
"""Which VMs are looked at: those that were named, those of some workers, all of the inventory's."""


@task(
    {
        "vm": options.VMS,
        "worker": options.WORKER,
        "parallel": options.PARALLEL,
        "format": options.FORMAT,
        "watch": options.WATCH,
        "interval": options.INTERVAL,
    },
    asks_again=True,
)
def status(
    c: Context,
    vm: str | None = None,
    worker: str | None = None,
    parallel: int = 0,
    format: str = "text",
    watch: bool = False,
    interval: float = 2.0,
) -> Work[Survey] | None:
    """
    Show every VM of the selected workers: state, PID, load, disks, network, VNC, ports, drift.

    A worker or a monitor that cannot be asked gives 'unknown', never 'stopped'.
    Example: fab status --vm 'web*' --watch
    """
    groups = _groups(c, vm, worker, parallel=parallel)
    scope: Scope = "named" if vm else "some" if worker or is_host(c) else "all"
    work = _looking(c, groups, scope, detailed=True, parallel=parallel)
    if vm is not None and not is_dry(c) and not is_host(c):
        work = work._replace(report=work.report._replace(merged=_with_moved(c, groups)))
    if not watch or is_dry(c):
        return work
    _watch(work, interval, detailed=True, as_json=format == options.JSON)
    return None


@task(
    {
        "worker": options.WORKER,
        "parallel": options.PARALLEL,
        "format": options.FORMAT,
        "watch": options.WATCH,
        "interval": options.INTERVAL,
    },
    asks_again=True,
)
def ps(
    c: Context,
    worker: str | None = None,
    parallel: int = 0,
    format: str = "text",
    watch: bool = False,
    interval: float = 2.0,
) -> Work[Survey] | None:
    """
    List all VMs on the selected workers, one per line, including those that hosts.toml lacks.

    Example: fab -H 10.0.10.1 ps
    """
    groups = groups_of_workers(c, worker, parallel=parallel)
    work = _looking(c, groups, "some", detailed=False, parallel=parallel)
    if not watch or is_dry(c):
        return work
    _watch(work, interval, detailed=False, as_json=format == options.JSON)
    return None


def _groups(c: Context, vm: str | None, worker: str | None, *, parallel: int) -> list[Group]:
    """The VMs that `--vm` and `--worker` both mean; without `--vm` also a worker that has none."""
    if vm:
        return groups_of_fleet(c, vm, worker, parallel=parallel)
    return groups_of_workers(c, worker, parallel=parallel, moved=True)


def _with_moved(c: Context, groups: Sequence[Group]) -> Callable[[Sequence[Survey]], list[Survey]]:
    """All surveys as one. Of a VM that is named and stopped, the other workers are asked."""

    def together(surveys: Sequence[Survey]) -> list[Survey]:
        from vmops.ops.vm.status import merged, moved

        routes = [*(group.route for group in groups), *other_routes(c, groups)]
        vms = [vm for group in groups for vm in group.vms]
        return [moved(merged(surveys), vms, routes)]

    return together


def _looking(
    c: Context, groups: list[Group], scope: Scope, *, detailed: bool, parallel: int
) -> Work[Survey]:
    """The VMs of these groups; where they are all of the inventory's, also those that run on
    another worker than theirs."""
    vms = inventory(c).vms
    homes = {name: vm.worker for name, vm in vms.items() if vm.worker is not None}
    copies = [vms[name] for name in homes] if scope == "all" else []

    def look(group: Group) -> list[Survey]:
        from vmops.ops.vm.expiring import today, warned
        from vmops.ops.vm.status import survey, with_homes

        found = survey(group.route, group.vms, unmanaged=not detailed, copies=copies)
        found = warned(found, group.vms, today())
        return [with_homes(found, homes)]

    def together(surveys: Sequence[Survey]) -> list[Survey]:
        from vmops.ops.vm.status import merged

        return [merged(surveys, named=scope == "named")]

    def show(surveys: Sequence[Survey]) -> None:
        for seen in surveys:
            _show(seen, detailed=detailed)

    report = Report(show, as_list, errors=_errors, merged=together)
    return Work(groups, look, report, parallel)


def _watch(work: Work[Survey], interval_s: float, *, detailed: bool, as_json: bool) -> None:
    from vmops.tasks.vm.watch import watch_json, watch_text

    def look() -> Survey:
        (seen,) = work.report.merged(each(work.groups, work.do, parallel=work.parallel))
        return seen

    if as_json:
        watch_json(look, interval_s, as_dict)
    else:
        watch_text(look, interval_s, detailed=detailed)


def _show(seen: Survey, *, detailed: bool) -> None:
    if seen.vms:
        from vmops.tasks.vm.status_table import give_status

        give_status(seen.vms, detailed=detailed)
    elif not seen.errors:
        say("no VMs")


def _errors(seen: Survey) -> Sequence[VmopsError]:
    return seen.errors


def as_list(seen: Survey) -> list[dict[str, Any]]:
    """The documented JSON object of each VM."""
    return [as_dict(item) for item in seen.vms]


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
        "home": item.home or None,
        "pid": item.pid,
        "uptime_s": item.uptime_s if runs else None,
        "cpu_s": item.cpu_s if runs else None,
        "cpu_percent": item.cpu_percent if runs else None,
        "memory_mb": item.memory_mb if runs else None,
        "vnc": item.vnc or None,
        "image": item.image or None,
        "disks": [{"name": disk.name, **disk._asdict()} for disk in item.disks],
        "agent": item.agent,
        "addresses": [address._asdict() for address in item.addresses],
        "interfaces": [_interface_as_dict(nic) for nic in item.interfaces],
        "drift": [{"field": d.field, "running": d.running, "wanted": d.wanted} for d in item.drift],
        "error": text_of(errors_of(item)),
    }


def _interface_as_dict(nic: InterfaceStatus) -> dict[str, Any]:
    """What is wanted of the interface; under `port` what Open vSwitch has of it."""
    port = nic.port
    return {
        "name": nic.name,
        "tap": nic.tap,
        "bridge": nic.bridge,
        "vlan_id": nic.vlan_id,
        "trunks": list(nic.trunks),
        "ovn_port": nic.logical_port or None,
        "mac": nic.mac,
        "plugged": nic.plugged,
        "link": nic.link,
        "impaired": _impaired_as_dict(nic.impaired),
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


def _impaired_as_dict(found: Impaired | None) -> dict[str, Any] | None:
    """Both ways, each with what is 0 where it is not impaired; null where that is not known."""
    return found and {"in": found.into._asdict(), "out": found.out._asdict()}
