"""What a task would run, worked out for a worker that has everything and runs nothing yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vmops.core.facts.observed import Host, Observed, RunningVM, ask, ask_running, ask_status
from vmops.core.inventory.model import VM, Worker
from vmops.core.names import RunDirectory
from vmops.core.plan import vm as plan
from vmops.core.plan.steps import EXIT, KILL, TERM
from vmops.core.script import script
from vmops.core.script.command import Block
from vmops.core.tools import ip, ovs, qmp
from vmops.core.tools.process import Process
from vmops.core.tools.qemu import BINARY
from vmops.core.tools.qmp import Request
from vmops.errors import WorkFailed
from vmops.ops.route import Route
from vmops.ops.vm.shutdown import QUIT_WAIT_S

_LOOKS = {
    "status": (ask_status, qmp.LOOK),
    "pid": (ask_status, ()),
    "wait": (ask_running, (qmp.STATUS,)),
    "wait stopped": (ask_running, ()),
}
"""What the tasks that only look ask the worker, and then the monitors of what runs there."""

_TURNS = {"pause": (qmp.PAUSE,), "resume": (qmp.RESUME,), "reset": (qmp.RESET,)}

_STARTS = ("launch", "boot")

HOME = "~"
"""The SSH user's home is known only on the worker."""


def blank(worker: Worker, *vms: VM) -> Observed:
    """A worker that lacks nothing and on which nothing of the VMs is there."""
    host = Host(
        home=HOME,
        user=worker.user or "ubuntu",
        uptime_s=0.0,
        memory_mb=2**31,
        available_mb=2**31,
        cpus=1,
        kvm="usable",
        qemu=BINARY,
        whole_uid_range=True,
    )
    switch = ovs.Switch({worker.bridge: ""})
    return Observed(host, switch, images={vm.qcow_image: "there" for vm in vms})


def running(worker: Worker, vm: VM) -> Observed:
    """The same worker with the VM plugged and running; its PID is shown as 0."""
    process = Process(pid=0, started=0, state="S", cpu_ticks=0, rss_kib=0, argv=())
    before = blank(worker, vm)
    return Observed(
        before.host,
        ovs.Switch({worker.bridge: ""}, {n.tap: _port(worker, vm, n.tap) for n in vm.connected}),
        taps={nic.tap: ip.Tap(ip.alias(vm.name)) for nic in vm.connected},
        vms={vm.name: RunningVM(vm.name, directory=True, pid=0, process=process)},
    )


def _plugged(worker: Worker, vm: VM) -> Observed:
    """The same worker with the VM's interfaces plugged and nothing running."""
    there = running(worker, vm)
    ports = {
        nic.tap: ovs.Port(
            nic.tap, worker.bridge, nic.vlan_id, external_ids={ovs.OWNER: vm.name}, ofport=1
        )
        for nic in vm.connected
    }
    images = {vm.qcow_image: "there"}
    return Observed(there.host, ovs.Switch({worker.bridge: ""}, ports), there.taps, images=images)


def _port(worker: Worker, vm: VM, tap: str) -> ovs.Port:
    return ovs.Port(tap, worker.bridge, None, external_ids={ovs.OWNER: vm.name})


def shown(route: Route, vms: tuple[VM, ...], task: str, **options: Any) -> str:
    """The commands of a task for these VMs, with a comment for each step."""
    if task in _TURNS:
        return "\n".join(asked(route, vm.name, _TURNS[task]) for vm in vms)
    if task in _LOOKS:
        return _look(route, vms, task)
    if task == "restart":
        ended = shown(route, vms, "stop", **options)
        return "\n".join((ended, shown(route, vms, "launch")))
    worker = route.worker
    head = f"# on {worker.name} ({worker.address}), as root:"
    if task in _STARTS and any(vm.qcow_image.startswith(HOME) for vm in vms):
        head += f"\n# no shell expands file={HOME}/: write the path of the SSH user's home there"
    plans: Mapping[str, Callable[[VM], plan.Plan]] = {
        "launch": lambda vm: plan.launch(worker, vm, blank(worker, vm), **options),
        "plug": lambda vm: plan.plug(worker, vm, blank(worker, vm), **options),
        "boot": lambda vm: plan.boot(worker, vm, _plugged(worker, vm), **options),
        "stop": lambda vm: plan.stop(
            vm, running(worker, vm), by=(KILL,) if options["force"] else (EXIT, TERM, KILL)
        ),
        "unplug": lambda vm: plan.unplug(vm, _plugged(worker, vm)),
    }
    blocks: list[Block] = []
    try:
        if task in plans:
            blocks = [made.block for vm in vms if (made := plans[task](vm)).block]
        else:
            blocks = [ask(vms)]
    except WorkFailed as refused:
        return f"{head}\n# {refused}"
    commands = f"{head}\n{script.shown(blocks)}"
    if task != "stop" or options["force"]:
        return commands
    timeout_s = options["timeout_s"]
    again = (
        f"# the same again after {timeout_s / 2:g} s; after {timeout_s:g} s {qmp.QUIT}\n"
        f"# a QEMU that has not said within {QUIT_WAIT_S:g} s that it ends gets SIGTERM at once"
    )
    questions = [f"{asked(route, vm.name, [qmp.POWER_DOWN])}\n{again}" for vm in vms]
    return "\n".join((*questions, commands))


def console(route: Route, vm: str, *, lines: int) -> str:
    """What sitting down at a VM's console would run."""
    from vmops.ops.guest.console import questions

    worker = route.worker
    head = f"# on {worker.name} ({worker.address}), as root:"
    line = f"# on {worker.name}, through SSH: socket {RunDirectory(vm).console}"
    return "\n".join((head, script.shown(questions(vm, lines=lines)), line))


def _look(route: Route, vms: Sequence[VM], task: str) -> str:
    question, requests = _LOOKS[task]
    head = f"# on {route.worker.name} ({route.worker.address}), as root:"
    said = [head, script.shown([question()])]
    if requests:
        said += [f"# where it runs:\n{asked(route, vm.name, requests)}" for vm in vms]
    return "\n".join(said)


def asked(route: Route, vm: str, requests: Sequence[Request], after: Sequence[Block] = ()) -> str:
    """What a VM's monitor would be told, line by line, and the commands that would follow."""
    head = f"# on {route.worker.name}, to the monitor of {vm}, {RunDirectory(vm).monitor}:"
    lines = [head]
    lines += map(str, requests)
    return "\n".join([*lines, *([script.shown(after)] if after else [])])
