"""Small worlds for pure decisions: a worker, a VM, and what was observed, made to order."""

from __future__ import annotations

from typing import Any

from vmops.core.devices import machine
from vmops.core.devices.disk import unobjectionable
from vmops.core.facts.host import Host
from vmops.core.facts.observed import Observed
from vmops.core.facts.vms import RunningVM
from vmops.core.inventory.model import VM, Interface, Settings, Worker
from vmops.core.plan.drift import launch_values
from vmops.core.plan.phase import Plan
from vmops.core.tools import ip, ovs
from vmops.core.tools.process import Process

WORKER = Settings(accel="kvm").worker("w1", address="192.0.2.1")

VM1 = VM(
    "vm1",
    vm_id=1001,
    ram_mb=512,
    cores=1,
    vnc_port=5901,
    qcow_image="~/vm1.qcow2",
    interfaces=(Interface("eth1", vlan_id=101), Interface("eth2", vlan_id=102)),
)

HOST = Host(
    home="/home/ubuntu",
    user="ubuntu",
    uptime_s=1000.0,
    memory_mb=8000,
    available_mb=4000,
    cpus=4,
    kvm="usable",
    qemu="/usr/bin/qemu-system-x86_64",
    whole_uid_range=True,
)

EMPTY = Observed(
    HOST,
    ovs.Switch({"br-int": "system"}),
    images={"~/vm1.qcow2": unobjectionable("/home/ubuntu/vm1.qcow2")},
)

TAP1, TAP2 = "tap_1001_eth1", "tap_1001_eth2"


def port(vm: VM, name: str, tag: int | None, **more: Any) -> ovs.Port:
    marks = {ovs.OWNER: vm.name}
    return ovs.Port(name, "br-int", tag, **{"external_ids": marks, "ofport": 3, **more})


def plugged(vm: VM = VM1, before: Observed = EMPTY) -> Observed:
    """All interfaces of the VM plugged as it wants them."""
    ports = {nic.tap: port(vm, nic.tap, nic.vlan_id) for nic in vm.connected}
    taps = {nic.tap: ip.Tap(ip.alias(vm.name)) for nic in vm.connected}
    switch = ovs.Switch(before.switch.bridges, {**before.switch.ports, **ports})
    return before._replace(switch=switch, taps={**before.taps, **taps})


def running(vm: VM = VM1, worker: Worker = WORKER, before: Observed = EMPTY) -> Observed:
    """The VM plugged and running, as its launch would have left it."""
    seen = plugged(vm, before)
    _, _, _, *argv = machine.build(vm, launch_values(worker, vm, seen)).words()
    process = Process(4821, started=5000, state="S", cpu_ticks=0, rss_kib=1024, argv=tuple(argv))
    mine = RunningVM(vm.name, directory=True, pid=4821, process=process)
    return seen._replace(vms={**seen.vms, vm.name: mine})


def dead(vm: VM = VM1, *, pidfile: bool) -> Observed:
    """The VM's QEMU gone: killed (its pidfile left) or ended by itself."""
    left = RunningVM(vm.name, directory=True, pid=4821 if pidfile else None)
    return plugged(vm)._replace(vms={vm.name: left})


def with_port(seen: Observed, changed: ovs.Port) -> Observed:
    ports = {**seen.switch.ports, changed.name: changed}
    return seen._replace(switch=ovs.Switch(seen.switch.bridges, ports))


def without_port(seen: Observed, name: str) -> Observed:
    ports = {key: value for key, value in seen.switch.ports.items() if key != name}
    return seen._replace(switch=ovs.Switch(seen.switch.bridges, ports))


def labels(made: Plan) -> list[str]:
    assert made.block is not None
    return [step.label for step in made.block.numbered()]


def commands(made: Plan, label: str) -> list[str]:
    assert made.block is not None
    step = next(step for step in made.block.numbered() if step.label == label)
    return [
        " ".join(command.words()) + (command.stdin or b"").decode() for command in step.commands
    ]
