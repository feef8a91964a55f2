"""What a worker needs before it can run VMs, looked at in one exchange; each failure has a cure."""

from __future__ import annotations

from collections.abc import Sequence
from posixpath import dirname
from typing import Any, NamedTuple

from vmops.core.facts import observed as facts
from vmops.core.facts.observed import Observed
from vmops.core.inventory.model import VM, Worker
from vmops.core.script.command import Block, BlockResult, Step, command
from vmops.core.tools import ip, ovs, qemu
from vmops.errors import VmopsError, WorkFailed
from vmops.ops.act import OBSERVE_LIMIT_S, perform
from vmops.ops.route import Route

LOW_DISK_MB = 1024

_QEMU, _VSWITCHD, _DISK = "QEMU version", "ovs-vswitchd version", "free disk"


class Check(NamedTuple):
    """One thing that was looked at: its name, what was found, and the cure where it is not `ok`."""

    name: str
    ok: bool
    found: str
    cure: str = ""


class Report(NamedTuple):
    """All checks of one worker. `unreachable` is why there are none."""

    worker: str
    address: str
    checks: tuple[Check, ...] = ()
    unreachable: VmopsError | None = None

    @property
    def errors(self) -> list[VmopsError]:
        """One error for each check that failed."""
        if self.unreachable is not None:
            return [self.unreachable]
        return [
            WorkFailed(f"{check.name}: {check.found}", worker=self.worker, cure=check.cure)
            for check in self.checks
            if not check.ok
        ]

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON has it."""
        return {
            "worker": self.worker,
            "address": self.address,
            "ok": not self.errors,
            "error": str(self.unreachable) if self.unreachable else None,
            "checks": [
                {"name": c.name, "ok": c.ok, "found": c.found, "cure": c.cure or None}
                for c in self.checks
            ],
        }


def examine(route: Route, vms: Sequence[VM] = ()) -> Report:
    """Check the worker, and that it has what these VMs need. Never raises a VmopsError."""
    worker = route.worker
    block = facts.ask(vms)
    folders = sorted({dirname(vm.qcow_image) for vm in vms})
    more = Block("", (*block.steps, *_steps(folders)))
    try:
        (result,) = perform(route, [more], time_limit_s=OBSERVE_LIMIT_S)
        seen = facts.read(result, vms)
    except ValueError as unreadable:
        return Report(worker.name, worker.address, unreachable=WorkFailed(str(unreadable)))
    except VmopsError as error:
        return _without_root(worker, error)
    checks = (
        Check("SSH", True, f"{worker.address}, user {seen.host.user}"),
        Check("sudo", True, _sudo(route)),
        _kvm(worker, seen),
        _qemu(seen, result),
        *_switch(worker, seen, result),
        Check("memory", True, f"{seen.host.available_mb} of {seen.host.memory_mb} MiB available"),
        *_disk(result, folders),
        *(_image(vm, seen) for vm in vms),
        *_vnc(vms, seen),
        *_left(vms, seen),
    )
    return Report(worker.name, worker.address, checks)


def _without_root(worker: Worker, error: VmopsError) -> Report:
    """A plain WorkFailed comes after the login: no root shell has started."""
    if type(error) is not WorkFailed:
        return Report(worker.name, worker.address, unreachable=error)
    checks = (
        Check("SSH", True, worker.address),
        Check("sudo", False, error.what, error.cure),
    )
    return Report(worker.name, worker.address, checks)


def _sudo(route: Route) -> str:
    given = route.config is not None and route.config.sudo.password is not None
    return "root, with the password that was given" if given else "root without a question"


def _steps(folders: Sequence[str]) -> tuple[Step, ...]:
    appctl = ("ovs-appctl", "--timeout=5", "-t", "ovs-vswitchd", "version")
    return (
        Step(_QEMU, (command(qemu.BINARY, "--version", time_limit_s=10),), may_fail=True),
        Step(_VSWITCHD, (command(*appctl, time_limit_s=10),), may_fail=True),
        *(Step(f"{_DISK} {f}", (command("disk_facts", f),), may_fail=True) for f in folders),
    )


def _kvm(worker: Worker, seen: Observed) -> Check:
    found = {"usable": "usable", "absent": "no /dev/kvm", "denied": "cannot be opened"}
    needed = worker.accel == "kvm"
    words = found.get(seen.host.kvm, seen.host.kvm)
    if seen.host.kvm != "usable" and not needed:
        words += f', not needed: accel = "{worker.accel}"'
    return Check(
        "/dev/kvm",
        seen.host.kvm == "usable" or not needed,
        words,
        'enable virtualisation there, or set accel = "auto" or "tcg"',
    )


def _qemu(seen: Observed, result: BlockResult) -> Check:
    cure = "there: sudo apt install qemu-system-x86"
    if not seen.host.qemu:
        return Check("QEMU", False, f"no {qemu.BINARY}", cure)
    version = result.find(_QEMU)
    if version is None or not version.ok:
        return Check("QEMU", False, version.reason() if version else "no answer", cure)
    return Check("QEMU", True, version.stdout.decode(errors="replace").splitlines()[0])


def _switch(worker: Worker, seen: Observed, result: BlockResult) -> list[Check]:
    start = "there: sudo systemctl restart openvswitch-switch"
    if seen.switch.fault:
        return [Check("ovsdb-server", False, seen.switch.fault, start)]
    checks = [Check("ovsdb-server", True, f"{len(seen.switch.ports)} ports")]
    version = result.find(_VSWITCHD)
    alive = version is not None and version.ok
    reason = version.reason() if version else "no answer"
    checks.append(Check("ovs-vswitchd", alive, reason, "" if alive else start))
    there = worker.bridge in seen.switch.bridges
    have = ", ".join(sorted(seen.switch.bridges)) or "none"
    bridge = f"datapath {seen.switch.bridges.get(worker.bridge) or 'system'}"
    checks.append(
        Check(
            f"bridge {worker.bridge}",
            there,
            bridge if there else f"not there; there are: {have}",
            f"there: sudo ovs-vsctl add-br {worker.bridge}; or set `bridge` in the inventory",
        )
    )
    broken = [port for port in seen.switch.ports.values() if port.error and port.owner]
    checks.extend(
        Check(
            f"port {port.name}",
            False,
            f"{port.error} (owner {port.owner})",
            f"there: sudo ovs-vsctl del-port {port.name}",
        )
        for port in broken
        if ovs.OWNER in port.external_ids
    )
    return checks


def _disk(result: BlockResult, folders: Sequence[str]) -> list[Check]:
    checks = []
    for folder in folders:
        answer = result.find(f"{_DISK} {folder}")
        if answer is None or not answer.ok:
            reason = answer.reason() if answer else "no answer"
            cure = f"there: mkdir -p {folder}"
            checks.append(Check(f"folder {folder}", False, reason, cure))
            continue
        free_mb = int(answer.stdout.split()[-1]) // 1024
        enough = free_mb >= LOW_DISK_MB
        checks.append(Check(f"folder {folder}", enough, f"{free_mb} MiB free", "make room there"))
    return checks


def _image(vm: VM, seen: Observed) -> Check:
    path = seen.image_path(vm.qcow_image)
    found = {
        "there": path,
        "missing": f"no {path}",
        "odd": f"{path} is neither a file nor a block device",
    }
    answer = seen.images.get(vm.qcow_image, "")
    words = found.get(answer, f"{path} could not be looked at")
    cure = f"put it there, or correct vms.{vm.name}.qcow_image"
    return Check(f"image of {vm.name}", answer == "there", words, cure)


def _vnc(vms: Sequence[VM], seen: Observed) -> list[Check]:
    checks = []
    for vm in vms:
        if vm.vnc_port not in seen.listening:
            continue
        own = seen.vm(vm.name).command_line.vnc_port == vm.vnc_port
        checks.append(
            Check(
                f"VNC port of {vm.name}",
                own,
                f"{vm.vnc_port}, {vm.name} itself" if own else f"{vm.vnc_port} is in use",
                f"see who: sudo ss -ltnp 'sport = :{vm.vnc_port}'; or change vnc_port",
            )
        )
    return checks


def _left(vms: Sequence[VM], seen: Observed) -> list[Check]:
    """TAPs and ports with our mark whose VM has no run directory: plugged only, or left behind."""
    owners = {
        name: tap.alias.removeprefix(ip.alias(""))
        for name, tap in seen.taps.items()
        if tap.alias.startswith(ip.alias(""))
    }
    owners |= {
        port.name: port.external_ids[ovs.OWNER]
        for port in seen.switch.ports.values()
        if ovs.OWNER in port.external_ids
    }
    broken = {port.name for port in seen.switch.ports.values() if port.error}
    known = {vm.name for vm in vms}
    checks = []
    for name, owner in sorted(owners.items()):
        if seen.vm(owner).directory or name in broken:
            continue
        by_hand = f"there: sudo ovs-vsctl --if-exists del-port {name}; sudo ip link del {name}"
        cure = f"fab unplug --vm {owner}" if owner in known else by_hand
        found = f"plugged for {owner}, which is not booted"
        checks.append(Check(f"port {name}", owner in known, found, cure))
    return checks
